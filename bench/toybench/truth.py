"""What a right picture would look like, and what judges make of it: possible because the world is rendered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from bench.toybench.lookalikes import gallery
from bench.toybench.prompts import Asked, true_scene
from tasks.metrics._judges import ImageJudge
from tasks.metrics.base import isolated
from tasks.toyworld.identity import Identity
from tasks.toyworld.render import render
from tasks.toyworld.scene import Scene, sample_scene

TRUTHS = 3
"""True pictures of each prompt that a drawn one is compared with."""
GALLERY_VIEWS = 3
"""Pictures of each individual in a gallery."""
UPPER = TRUTHS
"""Number of the true picture that the ceiling encodes and decodes; none of those compared with."""


@dataclass(frozen=True)
class Shown:
    """A render at the size that models draw, and its first object alone."""

    pixels: np.ndarray  # [h w 3] uint8
    mask: np.ndarray  # [h w] bool, the subject
    subject: np.ndarray  # as `isolated` gives it


def shown(scene: Scene, size_px: int) -> Shown:
    """Render at twice the size and scale down, as a photo reaches a model."""
    drawn = render(scene, 2 * size_px)
    pixels = np.asarray(Image.fromarray(drawn.rgb).resize((size_px, size_px), Image.Resampling.BOX))
    mask = drawn.object_masks[0].reshape(size_px, 2, size_px, 2).mean((1, 3)) > 0.5
    alone = isolated(pixels, mask)
    return Shown(pixels, mask, pixels if alone is None else alone)


@lru_cache(maxsize=256)
def truth(identity: Identity, asked: Asked, draw: int, size_px: int) -> Shown:
    """One of the true pictures of a prompt."""
    return shown(true_scene(identity, asked, draw), size_px)


def truths(judge: ImageJudge, identity: Identity, asked: Asked, size_px: int) -> np.ndarray:
    """The subject alone in the true pictures of a prompt, as the judge sees it. [TRUTHS d]"""
    return judge.embed([truth(identity, asked, draw, size_px).subject for draw in range(TRUTHS)])


@dataclass(frozen=True)
class Gallery:
    """Look-alikes of a subject, itself among them."""

    embeddings: np.ndarray  # [n d] unit rows
    owners: np.ndarray  # [n], 0 = the subject

    def rank(self, picture: np.ndarray) -> tuple[float, float]:
        """Whether the nearest picture is the subject's, and the average precision of finding all of them.

        Args:
            picture: a drawn subject as the judge sees it. [d]
        """
        right = self.owners[np.argsort(-(self.embeddings @ picture), kind="stable")] == 0
        found = np.flatnonzero(right)
        precision = np.arange(1, len(found) + 1) / (found + 1)
        return float(right[0]), float(precision.mean())


def gallery_of(judge: ImageJudge, identity: Identity, size_px: int) -> Gallery:
    """Every look-alike alone in the same few scenes, so that nothing but the individual differs.

    A change that its class does not show (a car has no limbs to colour) is no look-alike and is left out.
    """
    everybody = [_views(one, identity.seed, size_px) for one in gallery(identity)]
    kept = [everybody[0], *(views for views in everybody[1:] if _differ(views, everybody[0]))]
    return Gallery(
        judge.embed([picture for views in kept for picture in views]),
        np.repeat(np.arange(len(kept)), GALLERY_VIEWS),
    )


def _views(one: Identity, seed: int, size_px: int) -> list[np.ndarray]:
    draws = [np.random.default_rng([seed, view]) for view in range(GALLERY_VIEWS)]
    return [shown(sample_scene(rng, [], identity=one, style="photo"), size_px).subject for rng in draws]


def _differ(views: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return any(not np.array_equal(one, other) for one, other in zip(views, others, strict=True))
