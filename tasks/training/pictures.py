"""What the stage reads before training: crops with masks, class pictures."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from tasks.methods.base import Pictures
from tasks.shared import images, manifest
from tasks.shared.errors import UserError

log = logging.getLogger(__name__)


def instance(segment: Path, size_px: int, masked: bool) -> tuple[Pictures, dict[str, Any]]:
    """The subject's crops at the base's size, and the manifest of their stage.

    Raises:
        UserError: the stage is not finished, was tampered with, or found no subject.
    """
    facts = manifest.verify(segment, "segment")
    files = sorted((segment / "images").glob("*.png"))
    if not files:
        raise UserError(
            f"{segment}: no crop of the subject; give better photos, or run the stage 'segment' again"
        )
    crops = [images.read(file) for file in files]
    if max(crop.shape[0] for crop in crops) < size_px:
        log.warning(
            "crops of %d px are enlarged to the base's %d px; raise segment.size_px", len(crops[0]), size_px
        )
    masks = [images.read_mask(segment / "masks" / file.name) for file in files] if masked else None
    pixels = np.stack([images.resize(crop, size_px) for crop in crops])
    return Pictures(pixels, None if masks is None else np.stack([_resized(m, size_px) for m in masks])), facts


def prior(folder: Path, size_px: int, class_word: str) -> tuple[Pictures, dict[str, Any]]:
    """The class pictures at the base's size, and the manifest of their stage.

    Raises:
        UserError: there are none, or they show another class.
    """
    facts = manifest.verify(folder, "class_prior")
    if facts.get("class", class_word) != class_word:
        raise UserError(
            f"{folder}: pictures of class {facts['class']!r}, but subject.yaml says class: {class_word}; "
            "set class_folder to the right one"
        )
    files = sorted(folder.glob("*.png"))
    if not files:
        raise UserError(f"{folder}: no class picture; run the stage 'class_prior' again")
    return Pictures(np.stack([images.resize(images.read(file), size_px) for file in files])), facts


def _resized(mask: np.ndarray, size_px: int) -> np.ndarray:
    return images.resize(np.repeat(mask[..., None] * np.uint8(255), 3, axis=2), size_px)[..., 0] > 127
