"""The one gate between every sampler and the disk: who draws pictures hands them over here."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tasks.guards.base import Context, Guard, Objection, Picture, Verdict
from tasks.shared import images, plugins

_GATE = "output"


def guards() -> list[Guard]:
    """Every guard of the folder, in their order. A file that is there is asked; there is no switch."""
    found = [plugins.load("guards", name).Guard() for name in plugins.names("guards") if name != _GATE]
    return sorted(found, key=lambda guard: (guard.order, type(guard).__module__))


def release(
    pictures: Sequence[Picture], context: Context, asked: Sequence[Guard] | None = None
) -> list[Verdict]:
    """Ask all guards about each picture and write those that none refuses, with their provenance inside.

    Args:
        asked: the guards; default: all of them.
    Returns:
        One verdict a picture, in order. A refused picture has no file.
    Raises:
        UserError: nothing may be released for this subject: its consent record is missing or does not hold.
    """
    asked = guards() if asked is None else asked
    for guard in asked:
        guard.admit(context)
    return [_release_one(picture, context, asked) for picture in pictures]


def review(picture: Picture, context: Context, asked: Sequence[Guard] | None = None) -> Verdict:
    """What the gate would say, without writing anything; for a sampler that can draw again."""
    found: list[Objection] = []
    for guard in guards() if asked is None else asked:
        found += guard.review(picture, context)
    return Verdict(tuple(found))


def _release_one(picture: Picture, context: Context, asked: Sequence[Guard]) -> Verdict:
    verdict = review(picture, context, asked)
    if verdict.word == "refused":
        return verdict
    pixels = _as_bytes(picture.pixels)
    record: dict[str, Any] = {}
    for guard in asked:
        pixels = guard.mark(pixels, picture, context)
        record |= guard.record(picture, context)
    images.save(picture.path, pixels, record)
    for guard in asked:
        guard.seal(picture.path, picture, context)
    return verdict


def _as_bytes(pixels: np.ndarray) -> np.ndarray:
    """[h w 3] uint8, or floating in [0, 1] -> uint8"""
    if pixels.dtype == np.uint8:
        return pixels
    return (pixels.clip(0, 1) * 255).round().astype(np.uint8)
