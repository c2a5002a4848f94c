"""Pictures beside the page: copied, made smaller where large; photos with their masks laid over."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from tasks.shared import images

EDGE = np.array([255, 184, 0], np.float64)  # the outline of a mask, sRGB


def copied(source: Path, folder: Path, name: str, longest_px: int) -> str:
    """Copy a picture as pictures/<name>; one that is larger than `longest_px` is made smaller and becomes a
    JPEG.

    Returns:
        The file's name relative to `folder`.
    Raises:
        UserError: the picture is missing or damaged.
    """
    pixels = images.read(source)
    target = folder / "pictures" / f"{name}{source.suffix.lower()}"
    target.parent.mkdir(parents=True, exist_ok=True)
    if max(pixels.shape[:2]) <= longest_px:
        shutil.copyfile(source, target)
    else:
        target = target.with_suffix(".jpg")
        image = Image.fromarray(pixels)
        image.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS)
        image.save(target, quality=88, optimize=True)
    return target.relative_to(folder).as_posix()


def outlined(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A crop with what is not the subject faded and the subject's outline drawn. [h w 3] uint8

    Args:
        pixels: [h w 3] uint8
        mask: [h w] bool, True = subject
    """
    grey = pixels.mean(2, keepdims=True)
    faded = 0.35 * grey + 0.65 * 235
    result = np.where(mask[..., None], pixels.astype(np.float64), faded)
    if mask.any() and not mask.all():
        thickness = max(1, round(max(mask.shape) / 128))
        result[ndimage.binary_dilation(mask, iterations=thickness) & ~mask] = EDGE
    return result.round().astype(np.uint8)
