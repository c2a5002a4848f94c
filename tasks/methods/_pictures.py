"""Training pictures, encoded once: the VAE and a frozen text encoder never run inside the loop."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tasks.backbones.base import Backbone, Conditioning, Moments
from tasks.shared import progress

ENCODE_BATCH = 8


@dataclass(frozen=True)
class Pictures:
    """Pictures of one kind, at the size the base is trained at."""

    pixels: np.ndarray  # [n h w 3] uint8 sRGB
    masks: np.ndarray | None = None  # [n h w] bool, True = subject; None: the whole picture counts


@dataclass(frozen=True)
class Material:
    """All that a method may learn from, and how it is to be served."""

    instance: Pictures
    words: dict[str, str] = field(default_factory=dict)  # what stands for {subject} and {class} in prompts
    prior: Pictures | None = None
    train_batch_size: int = 1  # instance pictures of a batch
    random_flip: bool = False  # mirror half of the pictures
    seed: int = 0  # of the order in which pictures come


class Encoded:
    """Posteriors of pictures in latent space.

    The moments are kept and every use draws anew from them, so nothing differs from encoding in every step but the time.
    """

    def __init__(self, backbone: Backbone, pictures: Pictures, material: Material):
        pixels = torch.from_numpy(pictures.pixels).permute(0, 3, 1, 2)
        masks = None if pictures.masks is None else torch.from_numpy(pictures.masks).float()
        self.count, self.seed, self.flip = len(pixels), material.seed, material.random_flip
        if self.flip:
            pixels = torch.cat([pixels, pixels.flip(3)])
            masks = None if masks is None else torch.cat([masks, masks.flip(2)])
        starts = range(0, len(pixels), ENCODE_BATCH)
        parts = [
            backbone.encode_moments(
                pixels[start : start + ENCODE_BATCH].to(backbone.device).float() / 127.5 - 1
            )
            for start in progress.each(starts, "encoding pictures, batches", len(starts))
        ]
        self.moments = Moments(torch.cat([p.mean for p in parts]), torch.cat([p.std for p in parts]))
        self.masks = None
        if masks is not None:
            grid = self.moments.mean.shape[-2:]
            self.masks = functional.interpolate(masks[:, None], size=grid, mode="area")[:, 0].to(
                backbone.device
            )

    def take(self, batch: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Latents [b c h w] and masks [b h w] of the batch with this number, drawn from their posteriors."""
        rows = shuffled(self.count, batch * size, size, self.seed)
        if self.flip:
            mirrored = torch.randint(0, 2, (size,), generator=generator).tolist()
            rows = [row + self.count * side for row, side in zip(rows, mirrored, strict=True)]
        return self.moments.rows(rows).draw(generator), None if self.masks is None else self.masks[rows]


@dataclass(frozen=True)
class Unencoded:
    """Rows of prompts that are encoded anew in every step, since the text encoders move."""

    prompts: tuple[str, ...]
    index: tuple[int, ...]  # a prompt's number for each row
    size_px: int


class Prompts:
    """Encoded prompts; kept while the text encoders are frozen, encoded anew (with gradients) while they train."""

    def __init__(self, backbone: Backbone, prompts: Sequence[str], size_px: int, moving: bool):
        self.backbone, self.prompts, self.size_px = backbone, list(prompts), size_px
        with torch.no_grad():
            self.kept = None if moving else self._encode()

    def rows(self, index: Sequence[int]) -> Conditioning:
        """One row for each given number of a prompt."""
        return (self.kept or self._encode()).rows(list(index))

    def later(self, index: Sequence[int]) -> "Conditioning | Unencoded":
        """As `rows`, but what must be encoded anew waits, so that prompts of several subjects are encoded together."""
        if self.kept:
            return self.kept.rows(list(index))
        return Unencoded(tuple(self.prompts), tuple(index), self.size_px)

    def _encode(self) -> Conditioning:
        return self.backbone.encode_prompts(self.prompts, self.size_px)


def shuffled(count: int, start: int, size: int, seed: int) -> list[int]:
    """Rows start..start+size of an endless row of shuffles of 0..count-1; every picture comes equally often.

    A function of its arguments, so that a resumed run sees what the interrupted one would have seen.
    """
    rows: list[int] = []
    for shuffle in range(start // count, (start + size - 1) // count + 1):
        order = np.random.default_rng([seed, shuffle]).permutation(count)
        first, last = max(start - shuffle * count, 0), min(start + size - shuffle * count, count)
        rows += order[first:last].tolist()
    return rows
