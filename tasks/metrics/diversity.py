"""DIV: do pictures of one prompt differ from one another?

Mean of 1 - DINO cosine over the pairs within a prompt.

Source of the idea: Ruiz et al. 2023, arXiv:2208.12242, 4.3. Differs: they use LPIPS, whose network is no
part of any package we depend on; ours is a distance of content and not of pixels, and its numbers do not
compare with theirs. A model that draws one picture over and over has 0. `class_div` is the same for the
class without the subject: it falls when the subject takes over the class. The base's figure stands beside
each.
"""

from collections.abc import Sequence

import numpy as np

from tasks.metrics import base


def measure(evidence: base.Evidence) -> dict[str, base.Score]:
    """`div` over the samples and, where class pictures exist, `class_div`."""
    per_prompt = spread(evidence, evidence.samples)
    base.need(
        len(per_prompt),
        1,
        "div",
        "prompts with two pictures or more",
        "give sample.seeds at least two entries",
    )
    scores = {"div": _score(evidence, per_prompt, spread(evidence, evidence.base))}
    of_class = spread(evidence, evidence.class_tuned)
    if of_class:
        scores["class_div"] = _score(evidence, of_class, spread(evidence, evidence.class_base))
    return scores


def spread(evidence: base.Evidence, pictures: Sequence[base.Picture]) -> dict[str, float]:
    """Mean distance between the pictures of each prompt that has two or more. In [0, 2]"""
    groups: dict[str, list[np.ndarray]] = {}
    for picture in pictures:
        groups.setdefault(picture.prompt, []).append(picture.pixels)
    likeness = {prompt: base.among(evidence.judges.dino.embed(group)) for prompt, group in groups.items()}
    return {prompt: 1 - value for prompt, value in likeness.items() if value is not None}


def _score(evidence: base.Evidence, ours: dict[str, float], theirs: dict[str, float]) -> base.Score:
    values = np.array(list(ours.values()))
    marks = {"base": float(np.mean(list(theirs.values())))} if theirs else {}
    return base.Score(float(values.mean()), evidence.bootstrap.mean(values, list(ours)), marks=marks)
