"""The text judges that ship: two architectures, and each names what it has never seen."""

from pathlib import Path

import numpy as np
import pytest

from tasks.metrics._judges import TextJudge
from tasks.toyworld import subjects
from tasks.toyworld.captions import CLASSES, SETTINGS, setting_phrase
from tasks.toyworld.render import render

PROJECT = Path(__file__).resolve().parent.parent.parent
SHIPPED = ("data/judges/clip", "data/judges/second")


@pytest.fixture(scope="module")
def seen() -> list[tuple[str, str, np.ndarray]]:
    """Class, setting and picture of one ToyBench subject of each class, 128 px."""
    one_each = {subjects.subject_identity(name).cls: name for name in subjects.subjects()}
    scenes = {cls: subjects.subject_scenes(name, 1)[0] for cls, name in one_each.items()}
    return [(cls, scene.setting, render(scene, 128).rgb) for cls, scene in scenes.items()]


@pytest.mark.parametrize("source", SHIPPED)
def test_it_names_class_and_setting_of_individuals_it_has_never_seen(source, seen):
    judge = TextJudge(source, project=PROJECT)
    pictures = judge.embed([picture for _, _, picture in seen])
    for asked, answers, truth in (
        ([f"a photo of a {cls}" for cls in CLASSES], CLASSES, [cls for cls, _, _ in seen]),
        ([setting_phrase(place) for place in SETTINGS], SETTINGS, [place for _, place, _ in seen]),
    ):
        found = [answers[best] for best in (pictures @ judge.embed_text(asked).T).argmax(1)]
        right = sum(a == b for a, b in zip(found, truth, strict=True))
        assert right >= len(CLASSES) - 1, list(zip(truth, found, strict=True))


def test_one_does_not_stand_in_for_the_other():
    one, other = (TextJudge(source, project=PROJECT).model for source in SHIPPED)
    assert type(one) is not type(other)
