"""CLIP-T: does the picture show what the prompt asks for?

Mean cosine of picture and prompt, identifier taken out.

Source: Ruiz et al. 2023, arXiv:2208.12242, 4.1. Differs: floor is what the training photos themselves score
on the prompts (a model that only repeats its photos gets that much), ceiling what the untuned base gets for
the same prompts and seeds.
"""

import numpy as np

from tasks.metrics import base


def measure(evidence: base.Evidence) -> dict[str, base.Score]:
    """`clip_t`."""
    base.need(
        len(evidence.samples), 2, "clip_t", "samples", "raise the number of sample.prompts or sample.seeds"
    )
    judge = evidence.judges.clip
    prompts = [sample.prompt for sample in evidence.samples]
    texts = judge.embed_text(prompts)
    samples = judge.embed([sample.pixels for sample in evidence.samples])
    values = (samples.astype(np.float64) * texts).sum(1)
    base_values = np.zeros(0)
    if evidence.base:
        of_base = judge.embed([picture.pixels for picture in evidence.base])
        base_texts = judge.embed_text([picture.prompt for picture in evidence.base])
        base_values = (of_base.astype(np.float64) * base_texts).sum(1)
    photos = judge.embed([photo.pixels for photo in evidence.photos])
    floor = float(base.cosines(photos, texts).mean()) if len(photos) else None
    ceiling = float(base_values.mean()) if len(base_values) else None
    return {"clip_t": base.against_base(evidence, values, base_values, floor, ceiling)}
