"""What lies where: the truth that the denoiser's middle is asked for while it learns to denoise.

A denoiser that sees only squared errors finds the outlines of a class late, and a colour that a caption names
perhaps never. The renders know more than their pixels: which part of which class every pixel shows, which setting
the rest, and the first colour of its object, the one that captions speak of. A linear head on an inner layer names
both for each cell of the layer's grid, from noisy latents and the caption alone, and is thrown away after training.
It plays the part that an image encoder's features play in representation alignment (Yu et al. 2024,
arXiv:2410.06940, eq. 8; for U-Nets Tian et al. 2025, arXiv:2503.18414). Differs: the features are the renderer's
truth, so no judge that later scores pictures has a hand in making them.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasks.pretrain.renders import Renders
from tasks.toyworld.captions import CLASSES, COLOURS, SETTINGS
from tasks.toyworld.primitives import PART_NAMES

PARTS = len(PART_NAMES) - 1  # without "none"
LABELS = len(SETTINGS) + len(CLASSES) * PARTS  # a setting, or a part of a class
COLOUR_LABELS = 1 + len(COLOURS)  # no object or one without colour, or the first colour of the object
QUESTIONS = (LABELS, COLOUR_LABELS)  # asked of every cell, number of answers
SIDE = 64  # label maps are kept at this size


def label_map(renders: Renders, indices: np.ndarray) -> np.ndarray:
    """The answers of every pixel, every so many pixels. uint8 [n questions SIDE SIDE] (smaller where the pictures are)"""
    step = max(1, renders.images.shape[1] // SIDE)
    owners, parts = (kept[indices, ::step, ::step] for kept in (renders.masks, renders.parts))
    answers = np.empty((len(owners), len(QUESTIONS), *owners.shape[1:]), np.uint8)
    for row, number in enumerate(indices):
        scene = renders.scenes[number]
        first = [len(SETTINGS) + PARTS * CLASSES.index(one["class"]) for one in scene["objects"]]
        bases = np.array([SETTINGS.index(scene["setting"]), *first])
        answers[row, 0] = bases[owners[row]] + np.where(owners[row] > 0, np.maximum(parts[row], 1) - 1, 0)
        shown = scene["style"] != "sketch"
        colours = [shown * (1 + COLOURS.index(one["colour"])) for one in scene["objects"]]
        answers[row, 1] = np.array([0, *colours])[owners[row]]
    return answers


def shares(labels: Tensor, side: int, answers: int) -> Tensor:
    """How much of each cell every answer covers; sums to 1. uint8 [b s s] -> float [b answers side side]"""
    count, size, _ = labels.shape
    cell = size // side
    line = torch.arange(size, device=labels.device) // cell
    place = line[:, None] * side + line
    first = torch.arange(count, device=labels.device)[:, None, None] * side * side
    index = (first + place) * answers + labels
    covered = torch.zeros(count * side * side * answers, device=labels.device)
    covered.scatter_add_(0, index.flatten(), covered.new_full((1,), 1 / (cell * cell)).expand(labels.numel()))
    return covered.reshape(count, side, side, answers).permute(0, 3, 1, 2)


class Head(nn.Module):
    """Answers every question from an inner layer's features, cell by cell. [b channels h w] -> logits [b answers h w] each"""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.GroupNorm(16, channels)
        self.name = nn.Conv2d(channels, sum(QUESTIONS), 1)

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        return self.name(F.silu(self.norm(features))).split(QUESTIONS, dim=1)


def error(logits: tuple[Tensor, ...], labels: Tensor, subject_weight: float) -> Tensor:
    """Cross-entropy between a cell's shares and the named ones, nats, the questions' sum.

    Cells of an object count 1 + `subject_weight` times.

    Args:
        logits: [b answers h h] for each question
        labels: as `label_map` returns them. uint8 [b questions s s]
    """
    wanted = [shares(labels[:, n], one.shape[-1], one.shape[1]) for n, one in enumerate(logits)]
    weight = 1 + subject_weight * wanted[0][:, len(SETTINGS) :].sum(1)
    pairs = zip(wanted, logits, strict=True)
    missed = -sum((share * one.log_softmax(1)).sum(1) for share, one in pairs)
    return (weight * missed).mean() / weight.mean()
