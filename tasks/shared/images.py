"""Pictures at the border of the program: HWC uint8 sRGB arrays and PNG files with provenance."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from tasks.shared.errors import UserError

PROVENANCE_KEY = "dreamline"
"""Name of the PNG text chunk (and of the safetensors metadata key) that says where a file comes from."""


def read(path: Path) -> np.ndarray:
    """Read one of our own pictures, EXIF orientation applied. [h w 3] uint8 sRGB

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise UserError(
            f"{path}: not a readable picture ({error}); restore it or run its stage again"
        ) from error


def read_mask(path: Path) -> np.ndarray:
    """Read a mask. [h w] bool, True = subject"""
    return read(path)[..., 0] > 127


def read_folder(folder: Path) -> list[np.ndarray]:
    """All PNGs of a folder in the order of their names."""
    return [read(path) for path in sorted(folder.glob("*.png"))]


def save(path: Path, pixels: np.ndarray, provenance: Mapping[str, Any] | None = None) -> None:
    """Write a PNG; equal pixels and provenance give equal bytes.

    Args:
        pixels: [h w 3] uint8, or [h w] bool or uint8 for a mask.
        provenance: facts for the text chunk, such as prompt, seed, base, adapter digest; no personal data.
    """
    array = pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels
    info = PngImagePlugin.PngInfo()
    if provenance is not None:
        info.add_itxt(PROVENANCE_KEY, json.dumps(dict(provenance), sort_keys=True, ensure_ascii=False))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, format="PNG", pnginfo=info, compress_level=6)


def provenance(path: Path) -> dict[str, Any] | None:
    """The provenance that `save` wrote into a PNG, or None."""
    with Image.open(path) as image:
        image.load()
        text = getattr(image, "text", {}).get(PROVENANCE_KEY)
    return json.loads(text) if text else None


def resize(pixels: np.ndarray, size_px: int) -> np.ndarray:
    """Resize a square picture with antialiasing. [size size 3] uint8"""
    if pixels.shape[0] == pixels.shape[1] == size_px:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size_px, size_px), Image.Resampling.LANCZOS))


def grid(rows: Sequence[Sequence[np.ndarray]], gap_px: int = 2) -> np.ndarray:
    """Lay pictures of one size out in rows on white; short rows stay white at the end. [H W 3] uint8"""
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    sheet = np.full(
        (len(rows) * (height + gap_px) - gap_px, columns * (width + gap_px) - gap_px, 3), 255, dtype=np.uint8
    )
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            top, left = y * (height + gap_px), x * (width + gap_px)
            sheet[top : top + height, left : left + width] = picture
    return sheet
