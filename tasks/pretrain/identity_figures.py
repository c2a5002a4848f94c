"""How well an identity judge tells individuals apart, whatever the background and the view."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from tasks.toyworld import subjects
from tasks.toyworld.render import render
from tasks.toyworld.scene import Scene
from tasks.toyworld.settings import SETTINGS

Embed = Callable[[np.ndarray], Tensor]


def area_under_curve(same: Tensor, other: Tensor) -> float:
    """Chance that a pair of the same individual is more alike than a pair of two; ties count half. [m], [k]
    -> 0..1
    """
    ranked = torch.cat([same, other]).double()
    order = ranked.unique(return_inverse=True)[1]
    counts = torch.bincount(order).double()
    rank = (counts.cumsum(0) - (counts - 1) / 2)[order][: len(same)]
    return float((rank.sum() - len(same) * (len(same) + 1) / 2) / (len(same) * len(other)))


def figures(embeddings: Tensor, classes: list[str]) -> dict[str, float]:
    """How well the judge tells individuals apart.

    Args:
        embeddings: unit length; the first half of the views is the gallery of `identity_top1`. [n v d]
        classes: of each individual.
    Returns:
        `identity_auc` (same individual against another of its class), `identity_top1` (nearest gallery mean
        among all n), and the mean cosines `same`, `classmate`, `stranger`
    """
    n, v, _ = embeddings.shape
    flat, owner = embeddings.flatten(0, 1), torch.arange(n).repeat_interleave(v)
    cosine = flat @ flat.T
    kinds = torch.tensor([sorted(set(classes)).index(name) for name in classes])[owner]
    pair = torch.ones(n * v, n * v, dtype=torch.bool).triu(1)
    own, kin = owner[:, None] == owner[None], kinds[:, None] == kinds[None]
    same, mate, stranger = cosine[pair & own], cosine[pair & kin & ~own], cosine[pair & ~kin]
    gallery = F.normalize(embeddings[:, : v // 2].mean(1), dim=-1)
    found = (embeddings[:, v // 2 :] @ gallery.T).argmax(-1)
    return {
        "identity_auc": round(area_under_curve(same, mate), 4),
        "identity_top1": round(float((found == torch.arange(n)[:, None]).float().mean()), 4),
        "same": round(float(same.mean()), 4),
        "classmate": round(float(mate.mean()), 4),
        "stranger": round(float(stranger.mean()), 4),
    }


def toybench_figures(embed: Embed, size_px: int, views: int = 10) -> dict[str, float]:
    """`figures` on the thirty ToyBench subjects, and whether a new background changes an embedding less than
    a new subject.

    `swap_right` is how often a picture is nearer to itself before another background than to another subject
    of its class in the very same scene; `swapped` and `changed` are the two mean cosines.

    Args:
        embed: the judge: uint8 [... s s 3] -> unit length [... d].
        size_px: s.
        views: renders of each subject.
    """
    names = list(subjects.subjects())
    scenes = [subjects.subject_scenes(name, views) for name in names]
    people = [subjects.subject_identity(name) for name in names]
    embeddings = embed(np.stack([[_rendered(scene, size_px) for scene in row] for row in scenes]))
    found = figures(embeddings, [one.cls for one in people])
    rng = np.random.default_rng(0)
    near, far = [], []
    for number, row in enumerate(scenes):
        mates = [one for one in people if one.cls == people[number].cls and one != people[number]]
        for view, scene in enumerate(row[:5]):
            place = str(rng.choice([name for name in SETTINGS if name != scene.setting]))
            swapped = replace(scene, setting=place)
            other = mates[int(rng.integers(len(mates)))]
            changed = replace(scene, objects=(replace(scene.objects[0], identity=other),))
            pair = embed(np.stack([_rendered(swapped, size_px), _rendered(changed, size_px)]))
            cosines = pair @ embeddings[number, view]
            near.append(float(cosines[0]))
            far.append(float(cosines[1]))
    right = float(np.mean(np.array(near) > np.array(far)))
    return found | {
        "swapped": round(float(np.mean(near)), 4),
        "changed": round(float(np.mean(far)), 4),
        "swap_right": round(right, 4),
    }


def _rendered(scene: Scene, size_px: int) -> np.ndarray:
    """The scene as a photo four times as large, scaled down as a processor would. uint8 [s s 3]"""
    large = Image.fromarray(render(scene, 2 * size_px).rgb)
    return np.asarray(large.resize((size_px, size_px), Image.Resampling.BILINEAR, reducing_gap=None))
