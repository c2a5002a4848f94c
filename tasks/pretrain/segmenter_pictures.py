"""Pictures for the segmenter, each with three nested partitions: parts, objects, objects with their shadows.

A click names one mask at each level: all pixels that share the clicked pixel's number. 85 of 100 pictures are
renders; the rest are not toys, so that the segmenter learns edges rather than ten classes: dead leaves (Lee,
Mumford and Huang 2001: shapes that cover each other), and cut-outs of renders and of textured shapes on
photographs.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import ndimage

from tasks.pretrain import renders, textures

PART, OBJECT, WHOLE = 0, 1, 2
LEVELS = (PART, OBJECT, WHOLE)  # of the segmenter's outputs 1, 2 and 3; output 0 answers more than one point
_SHADOW = 100  # numbers of shadows follow those of objects


@dataclass(frozen=True)
class Picture:
    """One training picture."""

    pixels: np.ndarray  # uint8 [s s 3] sRGB
    levels: np.ndarray  # int16 [3 s s]: part, object, whole; 0 is the background


class Renders(renders.Renders):
    """A split of the rendered world with its parts (uint8 ids) and shadows (uint8, bit k-1 = shadow of object
    k).
    """

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.parts, self.shadows = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("parts", "shadows")
        )

    def without(self, classes: Collection[str], count: int) -> np.ndarray:
        """Numbers of those of the first `count` renders that show nothing of these classes."""
        return np.array(
            [
                number
                for number, scene in enumerate(self.scenes[:count])
                if not any(one["class"] in classes for one in scene["objects"])
            ]
        )

    def picture(self, index: int) -> Picture:
        """One render and its partitions; where shadows overlap, the first object's wins."""
        masks, shadows = self.masks[index].astype(np.int16), self.shadows[index]
        whole, parts = masks.copy(), np.where(masks > 0, 1000 * masks + self.parts[index], 0).astype(np.int16)
        objects = masks.copy()
        for number in range(1, int(masks.max()) + 1):
            shade = (masks == 0) & (shadows >> (number - 1) & 1 == 1) & (whole == 0)
            whole[shade] = number
            objects[shade] = parts[shade] = _SHADOW + number
        return Picture(np.array(self.images[index]), np.stack([parts, objects, whole]))


def drawn(split: Renders, rng: np.random.Generator, others: float, among: np.ndarray) -> Picture:
    """A random picture from the renders of these numbers or, with the chance `others`, one that is not a plain
    render.
    """
    if rng.random() >= others:
        return reframed(split.picture(int(rng.choice(among))), rng)
    size = split.images.shape[1]
    if rng.random() < 0.4:
        return dead_leaves(size, rng)
    return pasted(split, size, rng, among)


def reframed(picture: Picture, rng: np.random.Generator) -> Picture:
    """A random window, half of the time mirrored; partitions follow by nearest pixel."""
    size = len(picture.pixels)
    side = int(size * rng.uniform(0.7, 1.0))
    top, left = rng.integers(0, size - side + 1, 2)
    rows, columns = (np.linspace(start, start + side - 1, size).round().astype(int) for start in (top, left))
    if rng.random() < 0.5:
        columns = columns[::-1]
    return Picture(picture.pixels[rows][:, columns], picture.levels[:, rows][:, :, columns])


def dead_leaves(size: int, rng: np.random.Generator) -> Picture:
    """Shapes of one to three textured pieces that fall on each other; a piece is a part, a shape an
    object.
    """
    pixels = texture(size, rng)
    levels = np.zeros((3, size, size), np.int16)
    for number in range(1, int(rng.integers(4, 14))):
        shape = blob(size, rng)
        pieces = np.zeros((size, size), np.int16)
        for piece in range(1, int(rng.integers(1, 4))):
            pieces[blob(size, rng)] = piece
        for piece in np.unique(pieces[shape]):
            inside = shape & (pieces == piece)
            pixels[inside] = texture(size, rng)[inside]
            levels[PART, inside] = 10 * number + piece
        levels[OBJECT, shape] = levels[WHOLE, shape] = number
    return Picture(pixels, levels)


def pasted(split: Renders, size: int, rng: np.random.Generator, among: np.ndarray) -> Picture:
    """One to four cut-outs, small or large, rendered toys or textured shapes, on a piece of a photograph."""
    pixels = texture(size, rng, photograph=True)
    levels = np.zeros((3, size, size), np.int16)
    for number in range(1, int(rng.integers(2, 6))):
        if rng.random() < 0.6:
            source = split.picture(int(rng.choice(among)))
            cut, parts = source.pixels, source.levels[PART]
            shape = source.levels[OBJECT] == 1
        else:
            cut, shape = texture(size, rng, photograph=rng.random() < 0.5), blob(size, rng, middle=True)
            parts = np.ones((size, size), np.int16)
        side = int(size * rng.uniform(0.3, 1.1))
        index = np.linspace(0, size - 1, side).round().astype(int)
        cut, shape, parts = (array[index][:, index] for array in (cut, shape, parts))
        top, left = rng.integers(-side // 4, max(1, size - 3 * side // 4), 2)
        rows, columns = (slice(max(0, start), min(size, start + side)) for start in (top, left))
        inner = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
        shape = shape[inner]
        soft = ndimage.uniform_filter(shape.astype(np.float32), 3)[..., None] * shape[..., None]
        window = pixels[rows, columns]
        pixels[rows, columns] = np.round(window * (1 - soft) + cut[inner] * soft).astype(np.uint8)
        levels[PART, rows, columns][shape] = parts[inner][shape] + 8000 * number // 2
        levels[OBJECT, rows, columns][shape] = levels[WHOLE, rows, columns][shape] = number
    return Picture(pixels, levels)


def blob(size: int, rng: np.random.Generator, middle: bool = False) -> np.ndarray:
    """A random star-shaped figure with a smooth or angular outline. bool [s s]"""
    y, x = np.mgrid[:size, :size] / size
    cx, cy = (0.5, 0.5) if middle else rng.uniform(0, 1, 2)
    radius = rng.uniform(0.3, 0.45) if middle else rng.uniform(0.06, 0.35)
    angle = np.arctan2(y - cy, (x - cx) * rng.uniform(0.6, 1.6))
    outline = np.ones_like(angle)
    for lobes in range(1, int(rng.integers(2, 7))):
        outline += rng.uniform(-0.5, 0.5) / lobes * np.sin(lobes * angle + rng.uniform(0, 6.3))
    if rng.random() < 0.4:  # a polygon
        corners = int(rng.integers(3, 7))
        step = 2 * np.pi / corners
        outline = np.cos(step / 2) / np.cos((angle + rng.uniform(0, 6.3)) % step - step / 2)
    return np.hypot(x - cx, y - cy) < radius * np.maximum(outline, 0.15)


def texture(size: int, rng: np.random.Generator, photograph: bool | None = None) -> np.ndarray:
    """A piece of a photograph, stripes, a gradient or one colour, with a little noise. uint8 [s s 3]"""
    if photograph is None:
        photograph = rng.random() < 0.3
    if photograph:
        pixels = textures.photograph_crop(rng, _photographs(), size).astype(np.float32)
    else:
        one, two = rng.uniform(0, 255, (2, 3))
        y, x = np.mgrid[:size, :size] / size
        along = x * np.cos(turn := rng.uniform(0, 6.3)) + y * np.sin(turn)
        kind = rng.random()
        mix = (
            along
            if kind < 0.4
            else (np.sin(along * rng.uniform(15, 70)) > 0 if kind < 0.6 else np.zeros_like(x))
        )
        pixels = (one + (two - one) * np.clip(mix, 0, 1)[..., None]).astype(np.float32)
    pixels += rng.uniform(0, 8) * rng.standard_normal((size, size, 3), dtype=np.float32)
    return np.clip(pixels, 0, 255).astype(np.uint8)


@lru_cache(maxsize=1)
def _photographs() -> list[np.ndarray]:
    return textures.photographs()
