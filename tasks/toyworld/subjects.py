"""The thirty ToyBench subjects, and "photos" of them as a user would hand them in."""

from __future__ import annotations

import json
import zlib
from functools import lru_cache

import numpy as np

from tasks.toyworld.identity import SPLITS_FILE, Identity, draw_identity
from tasks.toyworld.render import render
from tasks.toyworld.scene import Scene, sample_scene
from tasks.toyworld.settings import SETTINGS

_VIEWS = ("angle", "side", "front", "angle", "behind", "above")


@lru_cache(maxsize=1)
def subjects() -> dict[str, dict]:
    """ToyBench by name: {"name", "class", "seed", "difficulty"}."""
    return {row["name"]: row for row in json.loads(SPLITS_FILE.read_text())["toybench"]}


def subject_identity(name: str) -> Identity:
    """The individual behind a ToyBench name.

    Raises:
        KeyError: no such subject; see `subjects()` for the names.
    """
    row = subjects()[name]
    return draw_identity(row["seed"], row["class"])


def subject_scenes(name: str, count: int = 5) -> list[Scene]:
    """The scenes of a subject's photos: all sides, two to five settings, always the same for a name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    places = rng.choice(SETTINGS, size=int(rng.integers(2, 6)), replace=False)
    return [
        sample_scene(
            rng,
            [],
            identity=subject_identity(name),
            setting=str(places[i % len(places)]),
            style="photo",
            view=_VIEWS[i % len(_VIEWS)],
        )
        for i in range(count)
    ]


def subject_photos(name: str, count: int = 5, size_px: int = 512) -> list[np.ndarray]:
    """Photos of a ToyBench subject, uint8 [h w 3] each."""
    return [render(scene, size_px).rgb for scene in subject_scenes(name, count)]
