"""Two versions of a subject, picture by picture: the same prompt and seed, drawn before and after.

The mean of differences says far more than the difference of means: what is hard about a prompt is the same both times.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.metrics._intervals import Bootstrap


@dataclass(frozen=True)
class Change:
    """How a score of the same pictures has changed."""

    mean: float  # now - before
    low: float | None  # interval of the mean; None: too few prompts and seeds to say
    high: float | None
    pairs: int

    @property
    def sure(self) -> int:
        """1 or -1 where the interval leaves out zero, else 0."""
        if self.low is None or self.high is None:
            return 0
        return (self.low > 0) - (self.high < 0)


def changes(before: Mapping[str, Any], now: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Change]:
    """Compare two scores.json of `evaluate`; {} where no prompt and seed is in both.

    Args:
        names: scores to compare; one that a version has not judged picture by picture is left out.
    """
    old = {(one.get("prompt"), one.get("seed")): one for one in before.get("pictures", [])}
    both = [
        (old[key], one)
        for one in now.get("pictures", [])
        if (key := (one.get("prompt"), one.get("seed"))) in old
    ]
    found: dict[str, Change] = {}
    bootstrap = Bootstrap(confidence=float(now.get("confidence", 0.95)))
    for name in names:
        judged = [
            (then[name], one[name], one["prompt"], one["seed"])
            for then, one in both
            if name in then and name in one
        ]
        if not judged:
            continue
        differences = np.array([value - then for then, value, _, _ in judged])
        prompts, seeds = [prompt for _, _, prompt, _ in judged], [seed for _, _, _, seed in judged]
        low, high = bootstrap.mean(differences, prompts, seeds) or (None, None)
        found[name] = Change(float(differences.mean()), low, high, len(judged))
    return found
