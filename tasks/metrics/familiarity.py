"""Does the base model know the kind of picture that the photos are? A toy base that is shown real photos
does not.

Asks both judges how near a photo lies to what the base draws for the class (its class pictures and its
answers to the prompts), and takes as yardstick how near each of the base's own pictures lies to the rest of
them. `familiarity` is the photos' mean cosine, `familiarity_base` the yardstick, `familiarity_gap` the
distance in standard deviations of the base's own pictures, of the judge that sees the greater gap. Beyond
`FOREIGN` the photos are not of the base's world: fine-tuning can carry over a colour or a shape, no more,
and the report says so. The rule knows no model by name; Differs: it is ours, no paper's.
"""

import numpy as np

from tasks.metrics import base
from tasks.metrics._judges import ImageJudge

FOREIGN = 4.0
"""Gap, in standard deviations, beyond which photos count as foreign to the base."""


def measure(evidence: base.Evidence) -> dict[str, base.Score]:
    """`familiarity`, from the judge that finds the photos stranger."""
    base.need(
        len(evidence.photos), 1, "familiarity", "photos", "see segment/segment.json for why none was left"
    )
    drawn = [*evidence.class_base, *evidence.base]
    base.need(len(drawn), 4, "familiarity", "pictures by the base", "raise sample.prompts or sample.seeds")
    photos = [photo.pixels for photo in evidence.photos]
    own = [picture.pixels for picture in drawn]
    found = [_gap(judge, photos, own) for judge in (evidence.judges.clip, evidence.judges.dino)]
    near, yardstick, gap = max(found, key=lambda numbers: numbers[2])
    return {"familiarity": base.Score(near, marks={"base": yardstick, "gap": gap})}


def _gap(judge: ImageJudge, photos: list[np.ndarray], own: list[np.ndarray]) -> tuple[float, float, float]:
    """Photos' nearness to the base's pictures, theirs to one another, the gap in standard deviations."""
    rows = judge.embed(own)
    among = (base.cosines(rows, rows).sum(1) - 1) / (len(rows) - 1)
    near = base.cosines(judge.embed(photos), rows).mean()
    return float(near), float(among.mean()), float((among.mean() - near) / max(among.std(ddof=1), 1e-3))
