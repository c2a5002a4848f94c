"""A result: one committed JSON for a row and split, and what follows from two of them.

Intervals are pigeonhole bootstraps over subjects and seeds; a difference is taken within (subject, seed) first.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.toybench.scores import PER_PICTURE
from tasks.metrics._intervals import Bootstrap, Interval
from tasks.shared import folders
from tasks.toyworld.identity import SPLITS_FILE

HERE = Path(__file__).parent
FOLDER = HERE / "results"
BOOTSTRAP = Bootstrap(resamples=2000, confidence=0.95, seed=0)
Row = dict[str, Any]


def harness(judges: Sequence[str]) -> str:
    """Digest of everything that turns pictures into numbers: rows compare only under the same one.

    Args:
        judges: digests of the judges' weights.
    """
    told = hashlib.sha256("".join(judges).encode())
    measuring = ("lookalikes", "measure", "prompts", "scores", "toys", "truth")
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
    """Write a row's JSON; one with a failed subject goes to `broken/`, where no page reads it."""
    path = FOLDER / ("broken" if broken else split) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with folders.staged_file(path) as fresh:
        fresh.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return path


def read(split: str) -> dict[str, dict[str, Any]]:
    """All rows of a split by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((FOLDER / split).glob("*.json"))}


def provenance(project: Path) -> dict[str, Any]:
    """Commit, whether the tree had changes, and the machine."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True)
        return done.stdout.strip()

    return {
        "commit": git("rev-parse", "HEAD"),
        "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        "machine": {"cpu": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
    }


def difference(left: dict[str, Any], right: dict[str, Any], score: str) -> tuple[float, Interval | None]:
    """Mean of left - right over the (subject, seed) pairs that both have, and its interval.

    Raises:
        ValueError: the rows were measured by different harnesses, or share no pair.
    """
    if left["harness"] != right["harness"]:
        raise ValueError(f"{left['name']} and {right['name']} were measured by different harnesses")
    pairs = [
        (subject, seed, row[score] - right["table"][subject][seed][score])
        for subject, seeds in left["table"].items()
        for seed, row in seeds.items()
        if score in row and score in right["table"].get(subject, {}).get(seed, {})
    ]
    if not pairs:
        raise ValueError(f"{left['name']} and {right['name']} share no measured {score}")
    names, seeds, values = zip(*pairs, strict=True)
    return float(np.mean(values)), BOOTSTRAP.mean(np.array(values), names, seeds)


def subject_difference(
    left: dict[str, Any], right: dict[str, Any], score: str
) -> tuple[float, Interval | None]:
    """As `difference`, for what is measured once a subject."""
    pairs = [
        (name, values[score] - right["per_subject"][name][score])
        for name, values in left["per_subject"].items()
        if score in values and score in right["per_subject"].get(name, {})
    ]
    if not pairs:
        raise ValueError(f"{left['name']} and {right['name']} share no measured {score}")
    names, values = zip(*pairs, strict=True)
    return float(np.mean(values)), BOOTSTRAP.mean(np.array(values), names)


def _mean(rows: Sequence[Row], name: str) -> dict[str, float] | None:
    chosen = [row for row in rows if name in row]
    if not chosen:
        return None
    values = np.array([row[name] for row in chosen])
    interval = BOOTSTRAP.mean(values, [row["subject"] for row in chosen], [row["seed"] for row in chosen])
    found = {"value": float(values.mean())}
    if interval:
        found |= {"low": interval[0], "high": interval[1]}
    return {key: round(value, 4) for key, value in found.items()}


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
