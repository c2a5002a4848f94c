"""What lies where: the labels of the renders and the error of naming them."""

import numpy as np
import torch

from tasks.pretrain import layout
from tasks.pretrain.renders import Renders
from tasks.toyworld.captions import CLASSES, SETTINGS


def test_labels_name_setting_class_and_part(world):
    renders = Renders(world / "train")
    indices = np.array([3, 0, 17])
    labels = layout.label_map(renders, indices)
    for row, number in enumerate(indices):
        scene = renders.scenes[number]
        base = len(SETTINGS) + layout.PARTS * CLASSES.index(scene["objects"][0]["class"])
        behind = renders.masks[number] == 0
        assert (labels[row][behind] == SETTINGS.index(scene["setting"])).all()
        assert (labels[row][~behind] == base + renders.parts[number][~behind] - 1).all()
    assert layout.LABELS <= 256  # they are kept as bytes


def test_shares_are_the_mean_of_one_hot_cells():
    labels = np.random.default_rng(0).integers(0, layout.LABELS, (2, 8, 8), np.uint8)
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(labels).long(), layout.LABELS).permute(0, 3, 1, 2)
    expected = torch.nn.functional.avg_pool2d(one_hot.float(), 4)
    torch.testing.assert_close(layout.shares(labels, 2), expected)


def test_error_is_cross_entropy_and_least_at_the_truth():
    labels = np.repeat(np.random.default_rng(1).integers(0, layout.LABELS, (3, 4, 4), np.uint8), 2, 1).repeat(
        2, 2
    )
    truth = torch.from_numpy(labels[:, ::2, ::2]).long()
    logits = torch.randn(3, layout.LABELS, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.cross_entropy(logits, truth)
    torch.testing.assert_close(layout.error(logits, labels, subject_weight=0.0), expected)
    sure = 50 * torch.nn.functional.one_hot(truth, layout.LABELS).permute(0, 3, 1, 2).float()
    assert layout.error(sure, labels, subject_weight=5.0) < 1e-3
