"""What lies where: the labels of the renders and the error of naming them."""

import numpy as np
import torch

from tasks.pretrain import layout
from tasks.pretrain.renders import Renders
from tasks.toyworld.captions import CLASSES, COLOURS, SETTINGS


def test_labels_name_setting_class_part_and_colour(world):
    renders = Renders(world / "train")
    renders.scenes[3]["style"] = "sketch"
    indices = np.array([3, 0, 17])
    labels = layout.label_map(renders, indices)
    for row, number in enumerate(indices):
        scene = renders.scenes[number]
        first = scene["objects"][0]
        base = len(SETTINGS) + layout.PARTS * CLASSES.index(first["class"])
        behind, on_first = renders.masks[number] == 0, renders.masks[number] == 1
        assert (labels[row, 0][behind] == SETTINGS.index(scene["setting"])).all()
        assert (labels[row, 0][on_first] == base + renders.parts[number][on_first] - 1).all()
        colour = 0 if scene["style"] == "sketch" else 1 + COLOURS.index(first["colour"])
        assert (labels[row, 1][behind] == 0).all()
        assert (labels[row, 1][on_first] == colour).all()
    assert max(layout.QUESTIONS) <= 256  # they are kept as bytes


def test_shares_are_the_mean_of_one_hot_cells():
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, layout.LABELS, (2, 8, 8), np.uint8))
    one_hot = torch.nn.functional.one_hot(labels.long(), layout.LABELS).permute(0, 3, 1, 2)
    expected = torch.nn.functional.avg_pool2d(one_hot.float(), 4)
    torch.testing.assert_close(layout.shares(labels, 2, layout.LABELS), expected)


def test_error_is_cross_entropy_and_least_at_the_truth():
    rng = np.random.default_rng(1)
    cells = np.stack([rng.integers(0, answers, (3, 4, 4), np.uint8) for answers in layout.QUESTIONS], 1)
    labels = torch.from_numpy(cells.repeat(2, 2).repeat(2, 3))
    truths = [torch.from_numpy(cells[:, n]).long() for n in range(len(layout.QUESTIONS))]
    draws = torch.Generator().manual_seed(0)
    logits = tuple(torch.randn(3, answers, 4, 4, generator=draws) for answers in layout.QUESTIONS)
    pairs = zip(logits, truths, strict=True)
    expected = sum(torch.nn.functional.cross_entropy(one, truth) for one, truth in pairs)
    torch.testing.assert_close(layout.error(logits, labels, subject_weight=0.0), expected)
    sure = tuple(
        50 * torch.nn.functional.one_hot(truth, answers).permute(0, 3, 1, 2).float()
        for truth, answers in zip(truths, layout.QUESTIONS, strict=True)
    )
    assert layout.error(sure, labels, subject_weight=5.0) < 1e-3
