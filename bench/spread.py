"""Does a model draw the variety of the world, and not its training pictures over again?

Features are those of the bench's own judge, which had no hand in the training of what it looks at.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from bench.attribute_judge import ANSWERS, AttributeJudge
from tasks.backbones.base import Backbone
from tasks.pretrain.renders import Renders, to_pixels

SIDE = 32  # copies are looked for at this size


def figures(
    judge: AttributeJudge,
    backbone: Backbone,
    pictures: np.ndarray,
    asked: Sequence[dict[str, int]],
    heldout: Renders,
    train: Renders,
) -> dict[str, float]:
    """KID as a multiple of what the autoencoder alone costs, variety within a class, copies of training renders.

    Args:
        pictures: drawn for prompts of one object in a photo. [n s s 3] uint8
        asked: with the index of each picture's class.
    """
    like = [
        n
        for n, scene in enumerate(heldout.scenes)
        if len(scene["objects"]) == 1 and scene["style"] == "photo"
    ]
    half = len(like) // 2
    true, other = heldout.images[like[:half]], heldout.images[like[half:]]
    drawn, real, coded, reference = (
        embed(judge, group) for group in (pictures, true, rebuilt(backbone, true), other)
    )
    classes = np.array([answer["class"] for answer in asked])
    real_classes = np.array(
        [ANSWERS["class"].index(heldout.scenes[n]["objects"][0]["class"]) for n in like[:half]]
    )
    most = min(np.bincount(real_classes).min(), np.bincount(classes).min())
    spreads = [
        vendi(drawn[classes == cls][:most]) / vendi(real[real_classes == cls][:most])
        for cls in range(len(ANSWERS["class"]))
    ]
    return {
        "t2i_kid": round(kid(drawn, reference), 4),
        "t2i_kid_ratio": round(kid(drawn, reference) / kid(coded, reference), 2),
        "t2i_vendi_ratio": round(float(np.mean(spreads)), 3),
        "t2i_copies": round(copies(pictures, true, train.images), 4),
    }


@torch.inference_mode()
def embed(judge: AttributeJudge, pictures: np.ndarray) -> np.ndarray:
    """The judge's features. uint8 [n s s 3] -> float64 [n d]"""
    parts = [judge.features(to_pixels(pictures[n : n + 64])) for n in range(0, len(pictures), 64)]
    return torch.cat(parts).double().numpy()


def kid(left: np.ndarray, right: np.ndarray) -> float:
    """Unbiased squared MMD under the kernel (x.y / d + 1)^3.

    Source: Binkowski et al. 2018, arXiv:1801.01401, eq. 4. Differs: all pictures at once instead of subsets.

    Args:
        left, right: [n d], [m d]
    """

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    n, m = len(left), len(right)
    own, theirs = kernel(left, left), kernel(right, right)
    inside = (own.sum() - np.trace(own)) / (n * (n - 1)) + (theirs.sum() - np.trace(theirs)) / (m * (m - 1))
    return float(inside - 2 * kernel(left, right).mean())


def vendi(features: np.ndarray) -> float:
    """How many different pictures there are, in effect: exp of the entropy of the cosine matrix's eigenvalues.

    Source: Friedman and Dieng 2023, arXiv:2210.02410, definition 3.1.
    """
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(unit @ unit.T / len(unit)).clip(1e-12)
    return float(np.exp(-(values * np.log(values)).sum()))


def copies(drawn: np.ndarray, fresh: np.ndarray, trained: np.ndarray) -> float:
    """Share of drawn pictures nearer to a training picture than 99 % of fresh renders are.

    Mean squared difference of pixels at 32 px. By chance it is 0.01.
    """
    kept = _small(trained)
    limit = np.quantile(_nearest(_small(fresh), kept), 0.01)
    return float((_nearest(_small(drawn), kept) < limit).mean())


def _small(pictures: np.ndarray) -> np.ndarray:
    parts = []
    for start in range(0, len(pictures), 500):
        pixels = to_pixels(np.asarray(pictures[start : start + 500]))
        parts.append(functional.adaptive_avg_pool2d(pixels, SIDE).flatten(1).numpy())
    return np.concatenate(parts)


def _nearest(rows: np.ndarray, among: np.ndarray) -> np.ndarray:
    squares = (among**2).sum(1)
    found = [(squares - 2 * among @ row).min() + (row**2).sum() for row in rows]
    return np.array(found) / rows.shape[1]


@torch.inference_mode()
def rebuilt(backbone: Backbone, pictures: np.ndarray) -> np.ndarray:
    """Pictures through the autoencoder and back. uint8 [n s s 3]"""
    parts = []
    for start in range(0, len(pictures), 32):
        decoded = backbone.decode(backbone.encode_images(to_pixels(pictures[start : start + 32])))
        parts.append(((decoded.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(parts)
