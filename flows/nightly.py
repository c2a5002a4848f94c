"""All subjects with warm models: only what is stale runs, and one failure stops no other."""

import json
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from flows import batches, personalize
from flows.store import staleness
from flows.store.staleness import Forecast
from flows.workspace import Workspace
from tasks.reporting import fleet
from tasks.reporting.fleet import FleetRow
from tasks.shared import params
from tasks.shared.errors import Transient, UserError

log = logging.getLogger(__name__)


class Params(params.Params):
    """When the nightly run starts, and how the inbox is watched."""

    cron: str = Field(default="0 3 * * *", description="minute hour day month weekday of the nightly run")
    timezone: str = Field(default="UTC", description="time zone of `cron`, such as Europe/Berlin")
    inbox_poll_s: float = Field(
        default=10, ge=1, le=3600, description="seconds between two looks into data/inbox/"
    )
    inbox_settle_s: float = Field(
        default=30, ge=0, le=86400, description="seconds for which a new folder must not have changed"
    )


def run(
    workspace: Workspace, names: Iterable[str], tell: personalize.Tell = lambda name, event: None
) -> list[FleetRow]:
    """Bring some subjects up to date; one DVC status for all of them first.

    Returns:
        A row per subject, a failed one with its reason.
    """
    rows = []
    found = staleness.forecasts(workspace, names)
    known = {forecast.name: _scores(workspace, forecast.name) for forecast in found}
    elsewhere = batches.run(workspace, found, tell)  # {} unless a pool of workers is set
    for forecast in found:
        before, error, started = known[forecast.name], forecast.error, time.monotonic()
        if result := elsewhere.get(forecast.name):
            error, started = result.error, started - result.seconds
        elif error is None and not forecast.fresh:
            try:
                personalize.run(workspace, forecast.name, tell)
            except Exception as failure:  # whatever it is, the others must get their turn
                log.warning(
                    "%s: %s", forecast.name, failure, exc_info=not isinstance(failure, UserError | Transient)
                )
                error = str(failure) or type(failure).__name__
        rows.append(_row(workspace, forecast, before, error, time.monotonic() - started))
    return rows


def write_report(workspace: Workspace, rows: list[FleetRow]) -> Path:
    """Write the fleet's report beside the checkout's own state; returns its page."""
    return fleet.write_fleet_report(rows, page_folder(workspace))


def page_folder(workspace: Workspace) -> Path:
    """Where the fleet's report lies."""
    return workspace.state / "fleet"


def _row(
    workspace: Workspace, forecast: Forecast, before: dict[str, float], error: str | None, seconds: float
) -> FleetRow:
    folder, now = workspace.subjects_folder / forecast.name, _scores(workspace, forecast.name)
    ran = forecast.to_run and not error
    state: fleet.State = "failed" if error else "unchanged" if not ran else "changed" if before else "new"
    try:
        class_word = workspace.subject(forecast.name).identity.class_word
    except UserError:
        class_word = "?"

    def link(path: Path) -> str | None:
        return os.path.relpath(path, page_folder(workspace)) if path.exists() else None

    return FleetRow(
        subject=forecast.name,
        class_word=class_word,
        state=state,
        reason=error or "; ".join(f"{v.stage.name}: {v.why}" for v in forecast.to_run if not v.after),
        scores=now,
        before=before,
        report=link(folder / "report" / "index.html"),
        picture=link(folder / "sample" / "grid.png"),
        seconds=seconds if ran else None,
    )


def _scores(workspace: Workspace, name: str) -> dict[str, float]:
    path = workspace.subjects_folder / name / "evaluate" / "metrics.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in content.items() if isinstance(value, int | float)}
