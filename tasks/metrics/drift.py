"""What tuning did to the class: PRES (has "a dog" become this dog?) and drift (has "a dog" changed at all?).

PRES: mean DINO cosine between the tuned model's class pictures and the photos, lower is better. Source:
Ruiz et al. 2023, arXiv:2208.12242, 4.3. The base's figure beside it is what innocent class pictures score.
drift: 1 - DINO cosine between tuned and base picture of the same prompt and seed, 0 = untouched; as in
PEFT's image-gen comparison. `drift_other_seed` is how far two of the base's own class pictures lie apart:
at that value the tuned model draws pictures unrelated to the base's.
"""

import numpy as np

from tasks.metrics import base


def measure(evidence: base.Evidence) -> dict[str, base.Score]:
    """`pres` and `drift`."""
    fix = "raise sample.num_class_images"
    base.need(len(evidence.photos), 1, "pres", "photos", "see segment/segment.json for why none was left")
    base.need(len(evidence.class_tuned), 2, "pres", "class pictures of the tuned model", fix)
    base.need(len(evidence.class_base), 2, "drift", "class pictures of the base", fix)
    dino = evidence.judges.dino
    photos, tuned, untouched = (
        dino.embed([picture.pixels for picture in group])
        for group in (evidence.photos, evidence.class_tuned, evidence.class_base)
    )
    values = base.cosines(tuned, photos).mean(1)
    scores = {
        "pres": base.Score(
            float(values.mean()),
            evidence.bootstrap.mean(values, *base.clusters(evidence.class_tuned)),
            marks={"base": float(base.cosines(untouched, photos).mean())},
        )
    }
    matched = base.pairs(evidence.class_tuned, evidence.class_base)
    if matched:
        moved = np.array(
            [1 - float(tuned[ours].astype(np.float64) @ untouched[theirs]) for ours, theirs in matched]
        )
        scores["drift"] = base.Score(
            float(moved.mean()),
            evidence.bootstrap.mean(
                moved, *base.clusters([evidence.class_tuned[ours] for ours, _ in matched])
            ),
            marks={"other_seed": 1 - float(base.among(untouched) or 0)},
        )
    return scores
