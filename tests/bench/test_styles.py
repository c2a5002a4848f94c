"""Style sets: frozen, of unseen classes, and told apart by what they are scored with."""

import numpy as np
import pytest
import torch

from bench.attribute_judge import AttributeJudge
from bench.toybench import styles
from bench.toybench.style_bench import Critic, Drawn
from bench.toybench.styles import STYLES, Wanted

SIZE = 64


def test_no_prompt_asks_for_a_class_that_its_set_shows():
    shown_by = dict.fromkeys(styles.CLASSES, 0)
    for style in STYLES:
        shown, asked = styles.shown(style), styles.asked(style)
        assert (len(shown), len(asked), len({one.text for one in asked})) == (5, 10, 10)
        assert not {one.cls for one in shown} & {one.cls for one in asked}
        for one in shown:
            shown_by[one.cls] += 1
    assert set(shown_by.values()) == {5}, "each class is shown by half of the sets"


@pytest.mark.parametrize("style", list(STYLES))
def test_a_painted_picture_is_the_same_every_time_and_no_plain_render(style: str):
    wanted = Wanted("cat", "beach")
    picture = styles.painted(style, wanted, SIZE)
    assert picture.shape == (SIZE, SIZE, 3)
    assert np.array_equal(picture, styles.painted(style, wanted, SIZE))
    assert not np.array_equal(picture, styles.painted(style, Wanted("cat", "beach", 1), SIZE))
    others = [styles.painted(other, wanted, SIZE) for other in STYLES if other != style]
    assert min(np.abs(picture.astype(int) - other).mean() for other in others) > 5


def test_true_pictures_are_nearest_to_their_own_style():
    torch.manual_seed(0)
    critic = Critic(AttributeJudge().eval(), SIZE)
    right = []
    for style in STYLES:
        pictures = [Drawn(one, 0, styles.painted(style, one, SIZE)) for one in styles.asked(style)]
        right += [row["style_right"] for row in critic.scores(style, pictures)]
    assert np.mean(right) > 0.9
    grey = [Drawn(Wanted("cat", "beach"), 0, np.full((SIZE, SIZE, 3), 127, np.uint8))]
    assert sum(critic.scores(style, grey)[0]["style_right"] for style in STYLES) == 1
