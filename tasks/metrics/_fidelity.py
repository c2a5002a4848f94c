"""Likeness to the photos under any image judge: the mathematics that DINO and CLIP-I share."""

from collections.abc import Callable

import numpy as np

from tasks.metrics import base
from tasks.metrics._judges import ImageJudge

View = Callable[[base.Picture], np.ndarray]


def measure(evidence: base.Evidence, name: str, judge: ImageJudge) -> dict[str, base.Score]:
    """Likeness of whole pictures, and of subjects alone where every photo has a mask.

    A sample without a mask (the segmenter found no subject in it) is judged whole: dropping it would reward
    pictures in which the subject is missing.
    """
    base.need(len(evidence.photos), 1, name, "photos", "see segment/segment.json for why none was left")
    base.need(len(evidence.samples), 2, name, "samples", "raise the number of sample.prompts or sample.seeds")
    scores = {name: likeness(evidence, judge, lambda picture: picture.pixels)}
    masked = all(photo.subject is not None for photo in evidence.photos)
    if masked and any(sample.subject is not None for sample in evidence.samples):
        scores[f"{name}_subject"] = likeness(
            evidence, judge, lambda picture: picture.pixels if picture.subject is None else picture.subject
        )
    return scores


def likeness(evidence: base.Evidence, judge: ImageJudge, view: View) -> base.Score:
    """Mean pairwise cosine, samples x photos, under one view of each picture."""
    photos, samples, floor = (
        judge.embed([view(picture) for picture in group])
        for group in (evidence.photos, evidence.samples, evidence.base)
    )
    values = base.cosines(samples, photos).mean(1)
    base_values = base.cosines(floor, photos).mean(1) if len(evidence.base) else np.zeros(0)
    return base.against_base(
        evidence,
        values,
        base_values,
        float(base_values.mean()) if len(base_values) else None,
        base.among(photos),
    )
