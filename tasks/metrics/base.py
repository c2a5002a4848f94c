"""What every metric is shown and what it owes: `measure(evidence) -> {name: Score}`.

A score never stands alone: beside it are an interval, a floor (what the untuned base reaches) and a ceiling
(what real photos reach), because the bare number depends on the judge and says nothing by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tasks.metrics._intervals import Bootstrap, Interval
from tasks.metrics._judges import Judges
from tasks.shared.errors import UserError

DIGITS = 4  # decimals that are kept: float noise of another thread count or batch hardly reaches them


@dataclass(frozen=True)
class Picture:
    """One judged picture. `file` is its name in the stage's folder, for the reader of the scores."""

    file: str
    pixels: np.ndarray  # [h w 3] uint8 sRGB
    prompt: str = ""  # the sentence it was drawn for, identifier taken out
    seed: int = 0
    subject: np.ndarray | None = None  # [h w 3] uint8: `isolated` subject; None: no mask at hand


@dataclass(frozen=True)
class Evidence:
    """Everything a metric may look at."""

    photos: Sequence[Picture]  # the training crops
    samples: Sequence[Picture]  # the subject in new scenes, by the tuned model
    base: Sequence[Picture]  # same prompts and seeds by the untuned base
    class_tuned: Sequence[Picture]  # "a <class>", by the tuned model
    class_base: Sequence[Picture]  # same seeds, by the base
    judges: Judges
    bootstrap: Bootstrap = field(default_factory=Bootstrap)


@dataclass(frozen=True)
class Score:
    """A mean over pictures with what is needed to read it."""

    value: float
    interval: Interval | None = None  # None: too few clusters to say
    floor: float | None = None  # what the score would be without the subject having been learned
    ceiling: float | None = None  # what real photos (for text: the untuned base) reach
    gain: float | None = None  # mean difference to the base's picture of the same prompt and seed
    gain_interval: Interval | None = None
    marks: Mapping[str, float] = field(default_factory=dict)  # further figures, by suffix
    per_picture: Sequence[
        float
    ] = ()  # in the order of `Evidence.samples`; empty where the score is none of theirs

    @property
    def normalised(self) -> float | None:
        """Place between floor (0) and ceiling (1); None where the two do not lie apart in this order."""
        if self.floor is None or self.ceiling is None or self.ceiling - self.floor < 1e-3:
            return None
        return (self.value - self.floor) / (self.ceiling - self.floor)

    def flat(self, name: str) -> dict[str, float]:
        """Rounded numbers under flat keys, for metrics.json: `dino`, `dino_low`, `dino_floor`, ..."""
        low, high = self.interval or (None, None)
        values = {
            "": self.value,
            "low": low,
            "high": high,
            "floor": self.floor,
            "ceiling": self.ceiling,
            "normalised": self.normalised,
            **self.marks,
        }
        return {
            f"{name}_{suffix}".rstrip("_"): round(float(value), DIGITS)
            for suffix, value in values.items()
            if value is not None
        }


def need(count: int, least: int, metric: str, what: str, fix: str) -> None:
    """Refuse to give a number that means nothing.

    Raises:
        UserError: fewer than `least`.
    """
    if count < least:
        raise UserError(f"evaluate: {metric} needs at least {least} {what}, there are {count}; {fix}")


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Cosine of every row with every row. [a d], [b d] unit rows -> [a b] float64"""
    return left.astype(np.float64) @ right.astype(np.float64).T


def among(rows: np.ndarray) -> float | None:
    """Mean cosine of each row with the others, itself left out; None for fewer than two rows."""
    count = len(rows)
    return float((cosines(rows, rows).sum() - count) / (count * (count - 1))) if count > 1 else None


def pairs(samples: Sequence[Picture], base: Sequence[Picture]) -> list[tuple[int, int]]:
    """Indices of pictures that share prompt and seed; a picture that the gate kept back has no partner."""
    place = {(picture.prompt, picture.seed): index for index, picture in enumerate(base)}
    return [
        (index, place[picture.prompt, picture.seed])
        for index, picture in enumerate(samples)
        if (picture.prompt, picture.seed) in place
    ]


def against_base(
    evidence: Evidence,
    values: np.ndarray,
    base_values: np.ndarray,
    floor: float | None,
    ceiling: float | None,
) -> Score:
    """Mean of per-picture values, and of their difference to the base's picture of the same prompt and seed.

    Args:
        values, base_values: one number a picture of `evidence.samples` and `evidence.base`.
    """
    interval = evidence.bootstrap.mean(values, *clusters(evidence.samples))
    gain = gain_interval = None
    matched = pairs(evidence.samples, evidence.base)
    if matched:
        differences = np.array([values[ours] - base_values[theirs] for ours, theirs in matched])
        gain = float(differences.mean())
        gain_interval = evidence.bootstrap.mean(
            differences, *clusters([evidence.samples[i] for i, _ in matched])
        )
    return Score(
        float(values.mean()), interval, floor, ceiling, gain, gain_interval, per_picture=values.tolist()
    )


def clusters(pictures: Sequence[Picture]) -> tuple[list[str], list[int]]:
    """What pictures have in common: their prompts and their seeds."""
    return [picture.prompt for picture in pictures], [picture.seed for picture in pictures]


def isolated(pixels: np.ndarray, mask: np.ndarray, margin: float = 0.1) -> np.ndarray | None:
    """The subject alone: a square around the mask, everything else mid-grey; None for an empty mask.

    Makes photo and sample alike in size of subject and background, so that the judge sees the subject only.

    Args:
        pixels: [h w 3] uint8
        mask: [h w] bool, True = subject
        margin: free border, share of the subject's longer side
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side = int(np.ceil(max(bottom - top, right - left) * (1 + 2 * margin)))
    canvas = np.full((side, side, 3), 127, np.uint8)
    y, x = (side - (bottom - top)) // 2, (side - (right - left)) // 2
    window = canvas[y : y + bottom - top, x : x + right - left]
    inside = mask[top:bottom, left:right]
    window[inside] = pixels[top:bottom, left:right][inside]
    return canvas
