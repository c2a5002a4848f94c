"""The miniature's SAM: the segment-anything package's own classes at a thousandth of the size, trained on
renders.

Source: Kirillov et al. 2023, arXiv:2304.02643, and the package. Differs:
- The three masks of a lone point are tied to levels, part, object, object with shadow, in this order. SAM
  lets them compete for one true mask; a renderer knows all three, which trains three outputs at a time and
  gives PerSAM-F scales that mean something.
- The image encoder also predicts, through a head that is thrown away, where objects and the borders of parts
  are.
- Cross-entropy and dice at the decoder's own resolution.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from tasks.pretrain import checkpoints, fitting, flags
from tasks.pretrain.segmenter_figures import figures, quality
from tasks.pretrain.segmenter_pictures import LEVELS, OBJECT, PART, Picture, Renders, drawn
from tasks.segmenters import _sam_checkpoint
from tasks.shared import params

PATCH_PX = 8  # side of a patch; a pixel of the masks is a quarter of it


class Params(params.Params):
    """Size of the segmenter and of its training."""

    size_px: int = Field(default=128, description="longer side that photos are resized to")
    embed_dim: int = Field(default=160, description="width of the image encoder, a multiple of 40")
    depth: int = Field(
        default=4, description="blocks of the image encoder; every second sees the whole picture"
    )
    out_chans: int = Field(default=128, description="width of the embedding and of the mask decoder")
    batch: int = Field(default=16, description="pictures a step")
    prompts: int = Field(default=4, description="prompts a picture, all of one kind")
    boxed: float = Field(
        default=0.4, description="share of pictures that are asked by boxes, the rest by lone points"
    )
    again: float = Field(
        default=0.4, description="share of steps with a second round: a mask and a correcting point"
    )
    others: float = Field(default=0.25, description="share of pictures that are not plain renders")
    unseen: tuple[str, ...] = Field(
        default=("duck", "teapot"),
        description="classes kept out of training, to measure the segmenter on things it has never seen",
    )
    steps: int = Field(default=3200, description="optimizer steps")
    learning_rate: float = Field(default=1e-3, description="AdamW: embeddings, convolutions, norms, heads")
    matrix_rate: float = Field(default=2e-3, description="Muon: matrices of the blocks")
    pictures: int = Field(default=24000, description="the first ones of the train split may be trained on")
    watched: int = Field(default=100, description="the next ones, to watch the training")
    measured: int = Field(
        default=1000, description="pictures of the held-out split that the figures come from"
    )
    seed: int = Field(default=0, description="of weights, pictures and prompts")


def config(options: Params) -> dict[str, Any]:
    """Constructor numbers for `_sam_checkpoint.build`."""
    return {
        "image_encoder": {
            "img_size": options.size_px,
            "patch_size": PATCH_PX,
            "embed_dim": options.embed_dim,
            "depth": options.depth,
            "num_heads": options.embed_dim // 40,
            "mlp_ratio": 4.0,
            "out_chans": options.out_chans,
            "use_rel_pos": False,
            "window_size": 8,
            "global_attn_indexes": list(range(1, options.depth, 2)),
        },
        "prompt_encoder": {"mask_in_chans": 16},
        "mask_decoder": {
            "num_multimask_outputs": len(LEVELS),
            "transformer": {"depth": 2, "mlp_dim": 512, "num_heads": 8},
            "iou_head_depth": 3,
            "iou_head_hidden_dim": 128,
        },
        "pixel_mean": _sam_checkpoint.IMAGENET_MEAN,
        "pixel_std": _sam_checkpoint.IMAGENET_STD,
    }


class Student(nn.Module):
    """The Sam and the dense head that only training needs."""

    def __init__(self, options: Params):
        super().__init__()
        torch.manual_seed(options.seed)
        self.sam = _sam_checkpoint.build(config(options))
        self.dense = nn.Conv2d(
            options.out_chans, 2 * 16, 1
        )  # per cell 4 x 4 pixels of: object here, border here

    def losses(self, pictures: list[Picture], rng: np.random.Generator, options: Params) -> dict[str, Tensor]:
        """The weighted terms of one batch."""
        pixels = torch.from_numpy(np.stack([one.pixels for one in pictures])).permute(0, 3, 1, 2).float()
        features = self.sam.image_encoder(self.sam.preprocess(relit(pixels, rng)))
        again = rng.random() < options.again
        answers = [
            self._asked(one, feature[None], rng, options, again)
            for one, feature in zip(pictures, features, strict=True)
        ]
        logits, quality, truth = (torch.cat(part) for part in zip(*answers, strict=True))
        entropy, dice, overlap = mask_errors(logits, truth)
        return {
            "entropy": 3 * entropy,
            "dice": dice,
            "quality": F.mse_loss(quality, overlap),
            "dense": 0.5
            * F.binary_cross_entropy_with_logits(
                F.pixel_shuffle(self.dense(features), 4), dense_truth(pictures)
            ),
        }

    def _asked(
        self, picture: Picture, feature: Tensor, rng: np.random.Generator, options: Params, again: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """All four outputs for some prompts about one picture: logits [n 4 s s], predicted IoU [n 4], truth
        [n 4 s s].
        """
        clicks = clicked(picture, options.prompts, rng)
        masks = np.stack(
            [[picture.levels[level] == picture.levels[level, y, x] for level in LEVELS] for y, x in clicks]
        )
        truth = shrunk(torch.from_numpy(masks))[:, [OBJECT, *LEVELS]]
        points: Tensor | None = torch.from_numpy(clicks[:, None, ::-1].copy()).float()
        labels: Tensor | None = torch.ones(len(clicks), 1)
        boxes = None
        if rng.random() < options.boxed:
            meant = rng.choice(LEVELS, len(clicks), p=[0.25, 0.6, 0.15])
            chosen = masks[np.arange(len(clicks)), meant]
            boxes = torch.stack([jittered_box(mask, rng) for mask in chosen])
            truth = shrunk(torch.from_numpy(chosen[:, None])).expand(-1, 4, -1, -1)
            if rng.random() < 0.5:
                points, labels = None, None
        logits, quality = self._decoded(feature, points, labels, boxes, None)
        if not again:
            return logits, quality, truth
        level = torch.from_numpy(rng.integers(1, 4, len(clicks)))
        rows = torch.arange(len(clicks))
        earlier, wanted = logits[rows, level].detach(), truth[rows, level]
        points, labels = corrections(earlier, wanted, options.size_px, rng)
        more = self._decoded(feature, points, labels, boxes, earlier[:, None])
        return (
            torch.cat([logits, more[0]]),
            torch.cat([quality, more[1]]),
            torch.cat([truth, wanted[:, None].expand(-1, 4, -1, -1)]),
        )

    def _decoded(self, feature, points, labels, boxes, masks) -> tuple[Tensor, Tensor]:
        prompted = None if points is None else (points, labels)
        sparse, dense = self.sam.prompt_encoder(prompted, boxes, masks)
        return self.sam.mask_decoder.predict_masks(
            feature, self.sam.prompt_encoder.get_dense_pe(), sparse, dense
        )


def mask_errors(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy and dice, means over all masks, and the IoU of each mask at threshold 0.

    Args:
        logits, truth: truth in 0..1, the covered part of each pixel. [n k s s]
    Returns:
        scalar, scalar, [n k]
    """
    entropy = F.binary_cross_entropy_with_logits(logits, truth)
    chance = logits.sigmoid()
    dice = 1 - (2 * (chance * truth).sum((2, 3)) + 1) / (chance.sum((2, 3)) + truth.sum((2, 3)) + 1)
    found, there = logits.detach() > 0, truth > 0.5
    overlap = (found & there).sum((2, 3)) / (found | there).sum((2, 3)).clamp(min=1)
    return entropy, dice.mean(), overlap


def clicked(picture: Picture, count: int, rng: np.random.Generator) -> np.ndarray:
    """Where to click: mostly on objects, now and then on shadows or the background. [count 2], row and
    column
    """
    objects = picture.levels[OBJECT]
    on = np.argwhere((objects > 0) & (objects < 100))
    anywhere = rng.integers(0, objects.shape[0], (count, 2))
    if not len(on):
        return anywhere
    return np.where(rng.random((count, 1)) < 0.85, on[rng.integers(0, len(on), count)], anywhere)


def jittered_box(mask: np.ndarray, rng: np.random.Generator) -> Tensor:
    """The mask's box, each side moved by up to a tenth. XYXY px [4]"""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)
    spread = 0.1 * np.array([box[2] - box[0], box[3] - box[1]] * 2)
    return torch.from_numpy(np.clip(box + rng.uniform(-1, 1, 4) * spread, 0, mask.shape[1])).float()


def corrections(
    logits: Tensor, truth: Tensor, size_px: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A point in the wrong part of each mask: on (1) where something is missing, off (0) where too much was
    taken.

    Args:
        logits, truth: [n s s]
    Returns:
        points [n 1 2], x y in px of the picture; labels [n 1]
    """
    wrong = ((logits > 0) != (truth > 0.5)).flatten(1)
    wrong[~wrong.any(1)] = True  # nothing is wrong: any point will do, its label is true
    chance = torch.from_numpy(rng.random(wrong.shape, dtype=np.float32))
    place = (wrong * (chance + 1e-3)).argmax(1)
    side = logits.shape[-1]
    pixel = size_px / side
    points = torch.stack([place % side, place // side], 1).float()[:, None] * pixel + pixel / 2
    return points, (truth.flatten(1).gather(1, place[:, None]) > 0.5).float()


def shrunk(masks: Tensor) -> Tensor:
    """Masks at half the size, as the covered part of each pixel. bool [n k h w] -> float [n k h/2 w/2]"""
    return F.avg_pool2d(masks.float(), 2)


def dense_truth(pictures: list[Picture]) -> Tensor:
    """Where an object is and where a border between parts is, at half the size. [b 2 s/2 s/2]"""
    levels = np.stack([one.levels for one in pictures])
    here = (levels[:, OBJECT] > 0) & (levels[:, OBJECT] < 100)
    border = np.zeros_like(here)
    border[:, 1:] |= np.diff(levels[:, PART], axis=1) != 0
    border[:, :, 1:] |= np.diff(levels[:, PART], axis=2) != 0
    return F.max_pool2d(torch.from_numpy(np.stack([here, border], 1)).float(), 2)


def relit(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Strong changes of brightness per channel, now and then grey or soft; shapes stay. 0..255 [b 3 h w]"""
    factor = torch.from_numpy(rng.uniform(0.7, 1.3, (len(pixels), 3, 1, 1)).astype(np.float32))
    grey = torch.from_numpy(rng.random((len(pixels), 1, 1, 1)) < 0.1)
    pixels = torch.where(grey, pixels.mean(1, keepdim=True), pixels * factor)
    if rng.random() < 0.3:
        pixels = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return pixels.clamp(0, 255)


def train(data: Path, out: Path, work: Path, options: Params, stop_at: int | None = None) -> None:
    """Train on `data/train`, write `out` in half precision, and measure on `data/heldout`.

    Args:
        data: folder of the rendered splits.
        work: checkpoint and curve; give it again and an interrupted run goes on.
        stop_at: as in `fitting.fit`; then nothing is written to `out`.
    """
    split = Renders(data / "train")
    trained = min(options.pictures, len(split) - options.watched)
    among = split.without(options.unseen, trained)
    student = Student(options)

    def losses(step: int) -> dict[str, Tensor]:
        rng = checkpoints.draws(options.seed, step)
        return student.losses(
            [drawn(split, rng, options.others, among) for _ in range(options.batch)], rng, options
        )

    def watch() -> dict[str, float]:
        return figures(student.sam, split, np.arange(trained, trained + options.watched), options.unseen)

    rates = options.learning_rate, options.matrix_rate
    if not fitting.fit(student, losses, options.steps, options.batch, work, *rates, watch, stop_at):
        return
    _sam_checkpoint.save(student.sam, config(options), out)
    heldout = Renders(data / "heldout")
    indices = np.arange(min(options.measured, len(heldout)))
    found = figures(_sam_checkpoint.open(out), heldout, indices, options.unseen)
    for name, content in {"figures.json": found, "quality.json": quality(found)}.items():
        (out / name).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    flags.run(train, Params, __doc__)
