"""The numbers of one picture: is it this subject, is it what was asked, and not just a copy of a photo?

Source: SimGT, SimRef and the copy-paste index after WithAnyone's MultiID-Bench: a method that pastes its reference is like
the photos and unlike the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bench.attribute_judge import ANSWERS, AttributeJudge
from bench.toybench import truth
from bench.toybench.prompts import Asked
from tasks.metrics._judges import Judges
from tasks.metrics.base import cosines
from tasks.pretrain.renders import to_pixels
from tasks.toyworld.identity import Identity

HIGHER = (
    "sim_gt",
    "sim_ref",
    "twin_right",
    "rank1",
    "map",
    "clip_t",
    "class_right",
    "setting_right",
    "view_right",
)
"""Scores of a picture for which more is better."""
LOWER = ("copy_paste", "leak")
"""Scores for which less is better."""
PER_PICTURE = HIGHER + LOWER


@dataclass(frozen=True)
class Drawn:
    """A picture to judge."""

    asked: Asked
    seed: int
    pixels: np.ndarray  # [h w 3] uint8
    subject: np.ndarray | None  # the subject alone, None where no mask was found


@dataclass(frozen=True)
class Reference:
    """What a subject's pictures are held against."""

    identity: Identity
    twin: Identity  # who differs from it in the decal only
    photos: np.ndarray  # its photos, subject alone, as the judge sees them. [n d]
    photo_settings: frozenset[str]
    gallery: truth.Gallery
    size_px: int


def measure(
    pictures: Sequence[Drawn], reference: Reference, judges: Judges, eye: AttributeJudge
) -> list[dict[str, float]]:
    """The scores of each picture; one that a prompt does not ask about is missing."""
    embedded = judges.dino.embed([p.pixels if p.subject is None else p.subject for p in pictures])
    seen = judges.clip.embed([p.pixels for p in pictures])
    texts = judges.clip.embed_text([said(p.asked, reference.identity) for p in pictures])
    named = names(eye, [p.pixels for p in pictures])
    rows = []
    for number, picture in enumerate(pictures):
        asked, own = picture.asked, embedded[number]
        true = truth.truths(judges.dino, reference.identity, asked, reference.size_px)
        sim_gt, sim_ref = (
            float(cosines(own[None], true).mean()),
            float(cosines(own[None], reference.photos).mean()),
        )
        twin = truth.truths(judges.dino, reference.twin, asked, reference.size_px)
        near = float(cosines(true, reference.photos).mean())
        row = {"sim_gt": sim_gt, "sim_ref": sim_ref, "copy_paste": (sim_ref - sim_gt) / max(1 - near, 1e-3)}
        row["twin_right"] = float(sim_gt > float(cosines(own[None], twin).mean()))
        if asked.colour is None:  # the gallery shows the subject as it is
            row["rank1"], row["map"] = reference.gallery.rank(own)
        row["clip_t"] = float(seen[number] @ texts[number])
        if asked.second is None:  # the eye was taught lone objects
            row["class_right"] = float(named["class"][number] == reference.identity.cls)
        row["setting_right"] = float(named["setting"][number] == asked.setting)
        row["leak"] = float(named["setting"][number] in reference.photo_settings)
        if asked.view is not None:
            row["view_right"] = float(named["view"][number] == asked.view)
        rows.append(row)
    return rows


def said(asked: Asked, identity: Identity) -> str:
    """The prompt for a judge that never saw the identifier."""
    return asked.text.replace("{subject}", identity.cls)


@torch.inference_mode()
def names(eye: AttributeJudge, pictures: Sequence[np.ndarray]) -> dict[str, list[str]]:
    """What the bench's own judge calls class, setting and view of each picture."""
    logits = eye(to_pixels(np.stack(pictures)).contiguous(memory_format=torch.channels_last))
    return {
        question: [known[int(best)] for best in logits[question].argmax(1)]
        for question, known in ANSWERS.items()
    }
