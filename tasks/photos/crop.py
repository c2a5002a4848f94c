"""Square crops that never cut the subject off."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from tasks.shared import images

Box = tuple[int, int, int, int]  # XYXY px of the photo, far corner exclusive


@dataclass(frozen=True)
class Square:
    """A square in a photo's frame; it may leave the photo."""

    left: int
    top: int
    side: int

    @property
    def box(self) -> Box:
        """XYXY px"""
        return self.left, self.top, self.left + self.side, self.top + self.side


def square(box: Box, size: tuple[int, int], margin: float) -> Square:
    """The square around a subject, moved into the photo, larger than it only where the subject is.

    Args:
        box: the subject's, within the photo.
        size: width, height of the photo.
        margin: on each side, share of the box's longer side. It shrinks where the photo has no room for it: a
            made-up border is worse than a narrow one.
    """
    width, height = size
    x0, y0, x1, y1 = box
    longer = max(x1 - x0, y1 - y0)
    side = max(longer, min(round(longer * (1 + 2 * margin)), width, height))
    return Square(_start(x0, x1, side, width), _start(y0, y1, side, height), side)


def _start(low: int, high: int, side: int, room: int) -> int:
    """Where a span of `side` begins that has low..high as near to its middle as 0..room allows."""
    if side > room:
        return (room - side) // 2  # holds all of the photo
    return min(max((low + high - side) // 2, 0), room - side)


def cut(pixels: np.ndarray, place: Square, padding: Literal["reflect", "edge"]) -> np.ndarray:
    """Cut a square out of a picture [h w 3]; beyond the frame its mirror or edge. [side side 3]"""
    before, inside, after = _parts(pixels, place)
    return np.pad(inside, (*zip(before, after, strict=True), (0, 0)), mode=padding)


def cut_mask(mask: np.ndarray, place: Square) -> np.ndarray:
    """Cut a square out of a mask [h w]; beyond the frame there is no subject. [side side]"""
    before, inside, after = _parts(mask, place)
    return np.pad(inside, tuple(zip(before, after, strict=True)))


def _parts(array: np.ndarray, place: Square) -> tuple[tuple[int, int], np.ndarray, tuple[int, int]]:
    """Rows and columns missing before the frame, the part inside, and those missing after it."""
    height, width = array.shape[:2]
    x0, y0, x1, y1 = place.box
    inside = array[max(y0, 0) : min(y1, height), max(x0, 0) : min(x1, width)]
    return (max(-y0, 0), max(-x0, 0)), inside, (max(y1 - height, 0), max(x1 - width, 0))


def resized(pixels: np.ndarray, mask: np.ndarray, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Both at `size_px`. A pixel is the subject's if half of it is, or any part if none would be left."""
    covered = Image.fromarray(mask.astype(np.float32)).resize((size_px, size_px), Image.Resampling.BOX)
    share = np.asarray(covered)
    small = share > 0.5
    return images.resize(pixels, size_px), small if small.any() else share > 0
