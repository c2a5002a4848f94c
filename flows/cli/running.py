"""run and nightly: say what happens, in words, as it happens."""

import logging
import os
import time
import warnings

from rich.console import Console

from flows import prefect_api, stages, timings
from flows import workspace as workspaces
from flows.execution import Outcome
from flows.store import recalls, staleness
from flows.store.staleness import Forecast, Verdict
from flows.store.untouched import Untouched
from flows.workspace import Workspace
from tasks.shared.errors import UserError

notes = Console(stderr=True, highlight=False, soft_wrap=True)


def run(names: list[str], stale: bool) -> int:
    """Bring subjects up to date, one after another; the failure of one does not stop the next.

    Raises:
        UserError: what failed, after the others have had their turn.
    """
    workspace = workspaces.find()
    if not names and not stale:
        raise UserError("which subject? give names, or --stale for all that are not up to date")
    for name in names:
        workspace.subject(name)
    memory = Untouched(workspace) if stale else None
    asked = list(dict.fromkeys(names)) or workspace.subjects()
    forecasts = staleness.forecasts(workspace, asked, memory, recalls.foresee)
    _raise_errors(
        [(forecast.name, forecast.error) for forecast in forecasts if forecast.error], len(forecasts)
    )
    failed = _bring_up_to_date(workspace, [forecast for forecast in forecasts if not forecast.fresh])
    for forecast in forecasts:
        if forecast.fresh:
            notes.print(f"{forecast.name}: up to date, nothing to run")
    for forecast in forecasts:
        if forecast.name not in dict(failed):
            print(workspace.subject(forecast.name).report)
    _raise_errors(failed, len(forecasts))
    return 0


def nightly() -> int:
    """All subjects and the fleet's report.

    Raises:
        UserError: names the subjects that failed; the report is written all the same.
    """
    workspace = workspaces.find()
    _log_to_stderr()
    with prefect_api.connection(workspace) as wait:
        from flows import nightly as flow
        from flows import personalize

        with personalize.settings(wait()):
            night = flow.run(workspace, workspace.subjects(), _tell)
            page = flow.finish(workspace, night)
    print(page)
    notes.print(night.headline)
    broken = night.of("failed") + night.of("stopped")
    _raise_errors([(row.subject, row.reason) for row in broken], len(night.rows))
    return 0


def _bring_up_to_date(workspace: Workspace, forecasts: list[Forecast]) -> list[tuple[str, str]]:
    """Run the flow for each; returns name and error of what failed."""
    if not forecasts:
        return []
    _log_to_stderr()
    known = timings.Timings(workspace)
    for forecast in forecasts:
        notes.print(f"{forecast.name}: {_what_will_be_done(forecast, known)}")
    failed: list[tuple[str, str]] = []
    with prefect_api.connection(workspace) as wait:
        from flows import personalize

        for forecast in forecasts:  # loads what the stages import while the server starts
            stages.check(
                workspace, [verdict.stage for verdict in forecast.verdicts] if forecast.to_run else []
            )
        url = wait()
        with personalize.settings(url):
            for forecast in forecasts:
                try:
                    personalize.run(workspace, forecast.name, _tell)
                except Exception as error:
                    if len(forecasts) == 1:
                        raise
                    failed.append((forecast.name, str(error) or type(error).__name__))
    return failed


def _what_will_be_done(forecast: Forecast, known: timings.Timings) -> str:
    computed = [verdict.stage.name for verdict in forecast.to_compute]
    if not computed:
        return "restore from the cache"
    behind = len(forecast.to_run) - len(computed)
    returning = f", {behind} come{'s' if behind == 1 else ''} back from the cache" if behind else ""
    return f"{', '.join(computed)} ({timings.words(known.about_s(forecast.name, computed))}){returning}"


def _tell(name: str, event: Outcome | Verdict) -> None:
    if isinstance(event, Verdict):
        notes.print(f"{name}  {event.stage.name:<12}{time.strftime('%H:%M:%S')}  {event.why}")
    elif event.action == "ran":
        notes.print(f"{name}  {event.stage:<12}done in {event.seconds:.1f} s")
    elif event.action == "restored":
        notes.print(f"{name}  {event.stage:<12}restored, nothing computed")


def _raise_errors(failed: list[tuple[str, str]], of: int) -> None:
    if failed:
        details = "; ".join(f"{name}: {error}" if of > 1 else error for name, error in failed)
        raise UserError(f"{len(failed)} of {of} subjects failed: {details}" if of > 1 else details)


def _log_to_stderr() -> None:
    """What the stages say, as plain lines, without the hints that libraries give to programmers."""
    warnings.simplefilter("ignore")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logger = logging.getLogger("tasks")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("    %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
