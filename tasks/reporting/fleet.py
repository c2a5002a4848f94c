"""One page for many subjects: what is new, what changed for better or worse, what failed and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tasks.reporting import page
from tasks.reporting.paired import Change
from tasks.shared.folders import staged

State = Literal["new", "changed", "unchanged", "failed", "stopped"]

COLUMNS = {
    "dino_subject": ("Likeness", 1),
    "dino": ("Likeness, whole picture", 1),
    "clip_t": ("True to prompt", 1),
    "pres": ("Leak into class", -1),
    "memorisation_copies": ("Copies", -1),
}
"""Scores on the page: heading, and 1 where more is better, -1 where less is."""


@dataclass(frozen=True)
class FleetRow:
    """What a night did to one subject."""

    subject: str
    class_word: str
    state: State
    reason: str = ""  # why it ran, or why it failed; any text
    scores: Mapping[str, float] = field(default_factory=dict)  # its metrics.json
    before: Mapping[str, float] = field(
        default_factory=dict
    )  # that of its last version; empty: there is none
    report: str | None = None  # link to its report, relative to the page
    picture: str | None = None  # link to one of its pictures, relative to the page
    seconds: float | None = None  # how long it ran
    paired: Mapping[str, Change] = field(
        default_factory=dict
    )  # change of scores over the same prompts and seeds; empty: there are none in both versions


def write_fleet_report(
    rows: Sequence[FleetRow], out: Path, title: str = "The fleet", facts: Mapping[str, str] | None = None
) -> Path:
    """Write `out/index.html`; failed subjects first, then those that were stopped, then the greatest losses.

    Args:
        rows: one a subject; links in them are meant from `out`.
        facts: further figures of the night for the head of the page, such as minutes spent.
    Returns:
        The page.
    """
    ordered = sorted(rows, key=lambda row: (_rank(row), row.subject))
    shown = [
        {"row": row, "cells": [_cell(row, name, sign) for name, (_, sign) in COLUMNS.items()]}
        for row in ordered
    ]
    counts = {
        state: count
        for state in ("failed", "stopped", "new", "changed", "unchanged")
        if (count := sum(row.state == state for row in rows)) or state != "stopped"
    }
    html = page.render(
        "fleet.html.j2",
        title=title,
        rows=shown,
        headings=[heading for heading, _ in COLUMNS.values()],
        counts=counts,
        worse=[row.subject for row in ordered if lost(row)],
        facts=list((facts or {}).items()),
    )
    with staged(out) as folder:
        page.write(folder / "index.html", html)
    return out / "index.html"


def lost(row: FleetRow) -> bool:
    """Whether a score got worse beyond chance: over the same prompts and seeds, else because the intervals do not meet."""
    return any(_verdict(row, name, sign) == "worse" for name, (_, sign) in COLUMNS.items())


def _rank(row: FleetRow) -> tuple[int, float]:
    changes = [
        sign * change
        for name, (_, sign) in COLUMNS.items()
        if (change := _change(row, name)) is not None and name != "memorisation_copies"
    ]
    if row.state in ("failed", "stopped"):
        kind = 0 if row.state == "failed" else 1
    else:
        kind = 2 if lost(row) else {"changed": 3, "new": 4, "unchanged": 5}[row.state]
    return kind, min(changes, default=0.0)


def _change(row: FleetRow, name: str) -> float | None:
    if name in row.paired:
        return row.paired[name].mean
    now, then = row.scores.get(name), row.before.get(name)
    return None if now is None or then is None else now - then


def _verdict(row: FleetRow, name: str, sign: int) -> str:
    if name in row.paired:
        return {1: "better", -1: "worse", 0: "same"}[sign * row.paired[name].sure]
    now, then = row.scores.get(name), row.before.get(name)
    if now is None or then is None:
        return ""
    ends = [
        values.get(f"{name}_{end}", values[name])
        for values in (row.scores, row.before)
        for end in ("low", "high")
    ]
    if ends[0] > ends[3]:
        return "better" if sign > 0 else "worse"
    if ends[1] < ends[2]:
        return "worse" if sign > 0 else "better"
    return "same"


def _cell(row: FleetRow, name: str, sign: int) -> dict[str, Any]:
    now, change = row.scores.get(name), _change(row, name)
    whole = name == "memorisation_copies"

    def written(value: float, form: str = "") -> str:
        return f"{value:{form}.0f}" if whole else f"{value:{form}.2f}"

    low, high = row.scores.get(f"{name}_low"), row.scores.get(f"{name}_high")
    return {
        "value": "" if now is None else written(now),
        "interval": "" if low is None or high is None else f"{written(low)}–{written(high)}",
        "change": "" if change is None else written(change, "+").replace("-", "−"),
        "pairs": row.paired[name].pairs if name in row.paired else None,
        "verdict": _verdict(row, name, sign),
    }
