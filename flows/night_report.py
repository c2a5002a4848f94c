"""What a night did: a row per subject, what it cost, and the pages of the last nights in .dreamline/fleet/."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows import history
from flows.priors import Priors
from flows.store.staleness import Forecast
from flows.workspace import SubjectFolder, Workspace
from tasks.reporting import fleet, paired
from tasks.reporting.fleet import FleetRow
from tasks.shared import params
from tasks.shared.errors import UserError
from tasks.shared.folders import read_mapping

log = logging.getLogger(__name__)

LATEST = "latest"
SUMMARY = "night.json"
MAX_SHOWN = 200  # rows of the table in Prefect's page
_CLASS = re.compile(r"^class: *['\"]?(.+?)['\"]? *$", re.MULTILINE)


@dataclass(frozen=True)
class Snapshot:
    """A subject before the night."""

    metrics: dict[str, float]
    scores: dict[str, Any]  # scores.json: every picture's own
    versions: int


@dataclass(frozen=True)
class Night:
    """A night that is over."""

    began: datetime
    seconds: float
    rows: tuple[FleetRow, ...]
    bytes: int  # written by stages that ran, as dvc.lock has them
    priors: Priors

    def of(self, state: str) -> list[FleetRow]:
        """Rows in one state."""
        return [row for row in self.rows if row.state == state]

    @property
    def worse(self) -> list[FleetRow]:
        """Whose scores fell by more than chance explains."""
        return [row for row in self.rows if fleet.lost(row)]

    @property
    def headline(self) -> str:
        """ "2 failed, 1 stopped, 3 new, 5 changed, 989 unchanged; worse: rex"."""
        states = ("failed", "stopped", "new", "changed", "unchanged")
        told = (
            ", ".join(f"{count} {state}" for state in states if (count := len(self.of(state))))
            or "no subjects"
        )
        return told + (f"; worse: {', '.join(row.subject for row in self.worse[:5])}" if self.worse else "")

    def facts(self) -> dict[str, str]:
        """Figures of the night in words."""
        found = {
            "began": self.began.strftime("%Y-%m-%d %H:%M UTC"),
            "took": f"{self.seconds / 60:.1f} min",
            "written": f"{self.bytes / 1e6:.1f} MB",
        }
        if self.priors.made:
            found["class pictures made"] = ", ".join(self.priors.made)
        if self.priors.reused:
            found["class pictures reused"] = ", ".join(self.priors.reused)
        return found


def snapshots(workspace: Workspace, stale: Iterable[Forecast]) -> dict[str, Snapshot]:
    """What the subjects that will run are before they do."""
    found = {}
    for forecast in stale:
        subject = workspace.subject(forecast.name)
        evaluated = subject.folder / "evaluate"
        found[forecast.name] = Snapshot(
            _metrics(subject), read_mapping(evaluated / "scores.json"), len(history.read(subject))
        )
    return found


def drawn_up(
    workspace: Workspace,
    began: datetime,
    forecasts: Sequence[Forecast],
    before: Mapping[str, Snapshot],
    failed: Mapping[str, str],
    priors: Priors,
) -> Night:
    """The night as it turned out.

    Args:
        failed: reasons of what did not work, by subject.
    """
    rows, written = [], 0
    for name in priors.made:
        written += _recorded_bytes(workspace.prior(name) / "dvc.lock")
    for forecast in forecasts:
        row, size = _row(workspace, forecast, before.get(forecast.name), failed.get(forecast.name))
        rows.append(row)
        written += size
    return Night(began, (datetime.now(UTC) - began).total_seconds(), tuple(rows), written, priors)


def write(workspace: Workspace, night: Night, keep: int) -> Path:
    """Write the night's folder, point `latest` at it and forget the oldest; returns the page."""
    folder = pages(workspace) / night.began.strftime("%Y-%m-%d_%H%M%S")
    page = fleet.write_fleet_report(night.rows, folder, "The night", night.facts())
    (folder / SUMMARY).write_text(json.dumps(summary(night), indent=1) + "\n", encoding="utf-8")
    link = pages(workspace) / LATEST
    fresh = link.with_name(f".{LATEST}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(folder.name)
    fresh.replace(link)
    nights = sorted(path for path in pages(workspace).glob("[0-9]*-*_*") if path.is_dir())
    for old in nights[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return page


def pages(workspace: Workspace) -> Path:
    """Where the reports of the nights lie, a folder each."""
    return workspace.state / "fleet"


def summary(night: Night) -> dict[str, Any]:
    """The night for programs: counts, who failed and why, whose scores fell, what it cost."""
    return {
        "began": night.began.isoformat(timespec="seconds"),
        "minutes": round(night.seconds / 60, 2),
        "bytes": night.bytes,
        "subjects": len(night.rows),
        "unchanged": len(night.of("unchanged")),
        "failed": {row.subject: row.reason for row in night.of("failed")},
        "stopped": {row.subject: row.reason for row in night.of("stopped")},
        "new": [row.subject for row in night.of("new")],
        "changed": [row.subject for row in night.of("changed")],
        "worse": [row.subject for row in night.worse],
        "priors_made": list(night.priors.made),
        "priors_reused": list(night.priors.reused),
    }


def publish(night: Night, page: Path) -> None:
    """Leave the night in Prefect's page: words and a table. A server that does not take them fails no night."""
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    facts = "\n".join(f"- {key}: {value}" for key, value in night.facts().items())
    told = [row for row in night.rows if row.state != "unchanged"]
    order = ("failed", "stopped", "changed", "new")
    told.sort(key=lambda row: (order.index(row.state), row.subject))
    table = [
        {
            "subject": row.subject,
            "state": row.state,
            "worse": "worse" if fleet.lost(row) else "",
            "why": row.reason,
            "seconds": None if row.seconds is None else round(row.seconds, 1),
        }
        for row in told[:MAX_SHOWN]
    ]
    text = f"# The night\n\n{night.headline}\n\n{facts}\n\nThe report, on the machine that ran it: {page.as_uri()}\n"
    try:
        create_markdown_artifact(text, key="night")
        if table:
            create_table_artifact(table, key="night-subjects")
    except Exception as error:
        log.warning("Prefect did not take the night's report: %s", error)


def _row(
    workspace: Workspace, forecast: Forecast, before: Snapshot | None, failure: str | None
) -> tuple[FleetRow, int]:
    """The row, and how many bytes the stages that ran have written."""
    folder, error = workspace.subjects_folder / forecast.name, failure or forecast.error
    now, then = _metrics(SubjectFolder(workspace, folder)), before.metrics if before else {}
    state: fleet.State = "unchanged"
    seconds, size, paired_changes = None, 0, dict[str, paired.Change]()
    if error:
        state = "stopped" if forecast.stopped else "failed"
    if before:
        versions = history.read(SubjectFolder(workspace, folder))[before.versions :]
        ran = {stage for version in versions for stage in version.ran}
        if ran:
            seconds = sum(version.seconds for version in versions) or None
            size = _recorded_bytes(folder / "dvc.lock", ran)
            paired_changes = paired.changes(
                before.scores, read_mapping(folder / "evaluate" / "scores.json"), tuple(fleet.COLUMNS)
            )
            if not error:
                state = "changed" if before.versions else "new"

    def link(path: Path) -> str | None:
        return os.path.relpath(path, pages(workspace) / "night") if path.exists() else None

    row = FleetRow(
        subject=forecast.name,
        class_word=_class_word(folder),
        state=state,
        reason=error or "; ".join(f"{v.stage.name}: {v.why}" for v in forecast.to_run if not v.after),
        scores=now,
        before=then,
        report=link(folder / "report" / "index.html"),
        picture=link(folder / "sample" / "grid.png"),
        seconds=seconds,
        paired=paired_changes,
    )
    return row, size


def _recorded_bytes(lock: Path, stages: Iterable[str] | None = None) -> int:
    """Size of the outputs of some stages (default: all), as DVC recorded them."""
    try:
        recorded = params.read_yaml(lock).get("stages") or {}
    except UserError:
        return 0
    wanted = set(recorded) if stages is None else set(stages) & set(recorded)
    return sum(int(out.get("size", 0)) for stage in wanted for out in recorded[stage].get("outs") or [])


def _class_word(folder: Path) -> str:
    """Read without a YAML parser: a thousand of these are on one page."""
    with suppress(OSError, UnicodeDecodeError):
        if found := _CLASS.search((folder / "subject.yaml").read_text(encoding="utf-8")):
            return found[1]
    return "?"


def _metrics(subject: SubjectFolder) -> dict[str, float]:
    content = read_mapping(subject.folder / "evaluate" / "metrics.json")
    return {key: value for key, value in content.items() if isinstance(value, int | float)}
