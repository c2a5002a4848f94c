"""The bench's own eye: what counts as right, and that teaching it pairs changes nothing else."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bench import attribute_judge
from bench.attribute_judge import ANSWERS, NOT_ASKED, PRESENT, AttributeJudge
from tasks.pretrain.renders import to_pixels
from tasks.toyworld.captions import CLASSES
from tasks.toyworld.palette import RGB


class Pairs:
    """Pictures of two squares; the class decides a square's colour."""

    def __init__(self, count: int):
        rng = np.random.default_rng(0)
        colours = np.array(list(RGB.values()), np.uint8)
        self.images = np.full((count, 32, 32, 3), 127, np.uint8)
        self.scenes = []
        for picture in self.images:
            first, second = rng.permutation(len(CLASSES))[:2]
            picture[8:24, 2:14], picture[8:24, 18:30] = colours[first], colours[second]
            self.scenes.append({"objects": [{"class": CLASSES[first]}, {"class": CLASSES[second]}]})

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, rows: np.ndarray) -> torch.Tensor:
        return to_pixels(self.images[rows])


def test_pairs_are_learned_and_every_other_answer_stays(tmp_path: Path):
    torch.manual_seed(0)
    judge, pairs = AttributeJudge().eval(), Pairs(600)
    with torch.no_grad():
        before = judge(pairs.pixels(np.arange(4)))
    share = attribute_judge.all_present(judge, pairs.images, pairs.scenes)
    taught = attribute_judge.taught_pairs(judge, pairs, tmp_path)
    assert share < 0.2
    assert attribute_judge.all_present(taught, pairs.images, pairs.scenes) > 0.6
    with torch.no_grad():
        after = taught(pairs.pixels(np.arange(4)))
    assert all(torch.equal(before[name], after[name]) for name in ANSWERS)
    (kept,) = tmp_path.iterdir()
    stamp = kept.stat().st_mtime_ns
    torch.manual_seed(0)
    again = attribute_judge.taught_pairs(AttributeJudge().eval(), pairs, tmp_path)
    assert kept.stat().st_mtime_ns == stamp
    assert torch.equal(again.heads[PRESENT].weight, taught.heads[PRESENT].weight)


def test_what_was_not_asked_does_not_count():
    judge = AttributeJudge().eval()
    for head in judge.heads.values():
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
        head.bias.data[2] = 1.0  # always the third answer
    pictures = np.zeros((3, 32, 32, 3), np.uint8)
    asked = [{"class": 2, "colour": NOT_ASKED}, {"class": 1, "colour": 2}, {"class": 2}]
    assert attribute_judge.right(judge, pictures, asked) == {
        "class": pytest.approx(2 / 3, abs=1e-4),
        "colour": 1.0,
    }
