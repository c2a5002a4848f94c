"""How far a mean could be off: bootstrap over the prompts and the seeds, not over the pictures.

Pictures of one prompt resemble one another, and so do pictures of one seed, so drawing single pictures
would promise too much.
Source: Owen 2007, "The pigeonhole bootstrap", arXiv:0712.1111: rows and columns of a crossed table are
drawn independently, a cell counts as often as its row times its column. Conservative: it never understates
the variance of a crossed design in the limit; with two to four levels on an axis it is rough, as every
bootstrap is.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

Interval = tuple[float, float]


@dataclass(frozen=True)
class Bootstrap:
    """Settings of the resampling; equal settings and data give equal intervals."""

    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0

    def mean(self, values: np.ndarray, *clusters: Sequence[Hashable]) -> Interval | None:
        """Percentile interval of the mean.

        Args:
            values: [n]
            clusters: for each axis (such as prompt, seed) n labels; an axis with a single label is held
                fixed.
        Returns:
            None when no axis has two labels: one cluster says nothing about the next.
        Raises:
            ValueError: labels and values differ in number (a defect in the caller).
        """
        values = np.asarray(values, np.float64)
        if any(len(labels) != len(values) for labels in clusters):
            raise ValueError(f"{len(values)} values, labels of {[len(labels) for labels in clusters]}")
        weights = np.ones((self.resamples, len(values)))
        random = np.random.default_rng(self.seed)
        varied = False
        for labels in clusters:
            order = {label: index for index, label in enumerate(dict.fromkeys(labels))}
            if len(order) < 2:
                continue
            varied = True
            drawn = random.multinomial(len(order), np.full(len(order), 1 / len(order)), size=self.resamples)
            weights *= drawn[:, [order[label] for label in labels]]
        if not varied:
            return None
        totals = weights.sum(1)
        kept = totals > 0  # a table with holes can be drawn empty
        means = weights[kept] @ values / totals[kept]
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(means, [tail, 1 - tail])
        return float(low), float(high)
