"""A result: one committed JSON for a row and split, and what follows from two of them.

Intervals are pigeonhole bootstraps over subjects and seeds; a difference is taken within (subject, seed) first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.toybench.scores import PER_PICTURE
from bench.toybench.settings import UNTRAINED
from tasks.metrics._intervals import Bootstrap, Interval
from tasks.shared import folders
from tasks.toyworld.identity import SPLITS_FILE

HERE = Path(__file__).parent
FOLDER = HERE / "results"
BOOTSTRAP = Bootstrap(resamples=2000, confidence=0.95, seed=0)
Row = dict[str, Any]

OF_SUBJECTS = ("lookalikes", "measure", "prompts", "scores", "toys", "truth")
OF_STYLES = ("style_bench", "styles")
OF_PHOTOS = ("photos",)


def harness(judges: Sequence[str], measuring: Sequence[str] = OF_SUBJECTS) -> str:
    """Digest of everything that turns pictures into numbers: rows compare only under the same one.

    Args:
        judges: digests of the judges' weights.
        measuring: files of this folder that do it.
    """
    told = hashlib.sha256("".join(judges).encode())
    for path in [
        *(HERE / f"{name}.py" for name in measuring),
        HERE.parent / "attribute_judge.py",
        SPLITS_FILE,
    ]:
        told.update(path.read_bytes())
    return told.hexdigest()[:16]


def summary(rows: Iterable[Row], subjects: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Means with intervals, by kind of prompt, by difficulty; and the table that paired comparisons need.

    Args:
        rows: one for each picture, as `Bench.rows` gives them.
        subjects: what was measured once a subject.
    """
    rows = list(rows)
    return {
        "scores": {name: _mean(rows, name) for name in PER_PICTURE},
        "by_kind": _grouped(rows, "kind"),
        "by_difficulty": _grouped(rows, "difficulty"),
        "subjects": {
            name: round(float(np.mean([values[name] for values in subjects.values()])), 4)
            for name in next(iter(subjects.values()), {})
        },
        "per_subject": subjects,
        "table": _table(rows),
    }


def write(split: str, name: str, content: dict[str, Any], broken: bool) -> Path:
    """Write a row's JSON; one with a failed subject goes to `broken/`, where no page reads it.

    What the row was under another harness is kept beside it, in a folder of that harness's name.
    """
    path = FOLDER / ("broken" if broken else split) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not broken and path.exists():
        before = json.loads(path.read_text(encoding="utf-8")).get("harness")
        if before and before != content["harness"]:
            (path.parent / before).mkdir(exist_ok=True)
            path.rename(path.parent / before / path.name)
    with folders.staged_file(path) as fresh:
        fresh.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return path


def read(split: str) -> dict[str, dict[str, Any]]:
    """The latest rows of a split by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((FOLDER / split).glob("*.json"))}


def by_harness(split: str) -> dict[str, dict[str, dict[str, Any]]]:
    """All rows of a split: harness -> name -> row; the harness of the row that was measured last comes first."""
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for path in sorted((FOLDER / split).rglob("*.json")):
        row = json.loads(path.read_text(encoding="utf-8"))
        groups.setdefault(row["harness"], {})[row["name"]] = row

    def latest(harness: str) -> str:
        return max(row.get("when", "") for row in groups[harness].values())

    return {harness: groups[harness] for harness in sorted(groups, key=latest, reverse=True)}


def incomparable(left: dict[str, Any], right: dict[str, Any]) -> str | None:
    """Why two rows say nothing about each other; None: they do."""
    if left["harness"] != right["harness"]:
        return "by different harnesses"
    if len({cut_by(row) for row in (left, right)} - {None}) > 1:
        return "photos cut by different segmenters"
    if len({row.get("eye") for row in (left, right)} - {None}) > 1:  # rows of early days do not say
        return "seen by different eyes of the bench"
    return None


def cut_by(row: dict[str, Any]) -> str | None:
    """Which segmenter cut what a row was trained on; None: it was trained on nothing. Rows of early days do not say."""
    if row["name"] in UNTRAINED:
        return None
    return json.dumps(row["params"].get("segment", {}).get("segmenter"), sort_keys=True)


def difference(left: dict[str, Any], right: dict[str, Any], score: str) -> tuple[float, Interval | None]:
    """Mean of left - right over what both have, and its interval.

    Pairs are (subject, seed), or subjects for what is measured once a subject.

    Raises:
        ValueError: the rows are `incomparable`, or share nothing.
    """
    if why := incomparable(left, right):
        raise ValueError(f"{left['name']} and {right['name']}: {why}")
    ours, theirs = _values(left, score), _values(right, score)
    pairs = {key: value - theirs[key] for key, value in ours.items() if key in theirs}
    if not pairs:
        raise ValueError(f"{left['name']} and {right['name']} share no measured {score}")
    values = np.array(list(pairs.values()))
    return float(values.mean()), BOOTSTRAP.mean(values, *zip(*pairs, strict=True))


def _values(row: dict[str, Any], score: str) -> dict[tuple[str, ...], float]:
    if score not in PER_PICTURE:
        return {(name,): values[score] for name, values in row["per_subject"].items() if score in values}
    return {
        (subject, seed): cell[score]
        for subject, seeds in row["table"].items()
        for seed, cell in seeds.items()
        if score in cell
    }


def mean(values: Sequence[float], *clusters: Sequence[Any]) -> dict[str, float]:
    """Mean and, where clusters differ, the ends of its interval, rounded."""
    interval = BOOTSTRAP.mean(np.array(values), *clusters)
    ends = dict(zip(("low", "high"), interval, strict=True)) if interval else {}
    told: dict[str, float] = {"value": float(np.mean(values)), **ends}
    return {key: round(float(value), 4) for key, value in told.items()}


def _mean(rows: Sequence[Row], name: str) -> dict[str, float] | None:
    chosen = [row for row in rows if name in row]
    if not chosen:
        return None
    values, subjects, seeds = zip(*((row[name], row["subject"], row["seed"]) for row in chosen), strict=True)
    return mean(values, subjects, seeds)


def _grouped(rows: Sequence[Row], key: str) -> dict[str, dict[str, float]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return {name: _plain_means(group) for name, group in sorted(groups.items())}


def _table(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, float]]]:
    cells: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        cells.setdefault(row["subject"], {}).setdefault(str(row["seed"]), []).append(row)
    return {
        subject: {seed: _plain_means(group) for seed, group in seeds.items()}
        for subject, seeds in cells.items()
    }


def _plain_means(rows: Sequence[Row]) -> dict[str, float]:
    return {
        name: round(float(np.mean([row[name] for row in rows if name in row])), 4)
        for name in PER_PICTURE
        if any(name in row for row in rows)
    }
