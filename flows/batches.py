"""Several subjects in one process with warm models: what a worker of a pool does, and what the night asks of a pool.

`batch` runs on a worker. Between two subjects it neither loads the base again nor waits for the network: bytes come
for all of them first, and what is finished is handed on while the next one works.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.context import get_run_context
from prefect.runtime import flow_run
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows import personalize, pool, together
from flows.execution import Outcome
from flows.serving import headway
from flows.serving import params as serving
from flows.store import remote, sharing, staleness
from flows.store.staleness import Forecast
from flows.workspace import Workspace, find
from tasks.shared.errors import Transient, UserError

log = logging.getLogger(__name__)

SHOWN = ("evaluate", "report")
"""Outputs that the machine of the night brings home: scores and pages for the report of the fleet."""


@dataclass(frozen=True)
class Result:
    """What became of one subject.

    Attributes:
        state: "done", also where nothing was stale; "failed"; "left" for another batch.
        passing: the failure may pass by itself, so that another try makes sense.
    """

    name: str
    state: Literal["done", "failed", "left"]
    reason: str = ""
    passing: bool = False
    ran: tuple[str, ...] = ()
    seconds: float = 0.0
    host: str = ""

    @property
    def error(self) -> str | None:
        """Why it is not done."""
        return None if self.state == "done" else self.reason


def _title() -> str:
    return pool.title((flow_run.parameters or {}).get("names", []))


@flow(name="batch", flow_run_name=_title, persist_result=False, validate_parameters=False)
def batch(names: list[str], project: str | None = None) -> list[dict[str, Any]]:
    """Bring several subjects up to date in this process; the failure of one stops no other.

    Args:
        names: folders in data/subjects/.
        project: the project's folder; default: at or above the working folder.
    Returns:
        A `Result` per subject, also kept as the run's table artifact.
    """
    workspace = Workspace(Path(project)) if project else find()
    within_h = serving.options(workspace).hung_after_h
    with headway.required(lambda: headway.mark_of(workspace, names), within_h):
        results = _work(workspace, names) if sharing.on(workspace) else _alone(workspace, names)
    results = [replace(result, host=socket.gethostname()) for result in results]
    table = [asdict(result) for result in results]
    create_table_artifact(key=pool.ARTIFACT, table=table, description="what became of each subject")
    return table


def run(
    workspace: Workspace,
    forecasts: Sequence[Forecast],
    tell: personalize.Tell = lambda name, event: None,
) -> dict[str, Result]:
    """Let the workers of the pool bring the stale subjects up to date, and wait for them.

    What this machine knows of them is handed on first, and their results are here afterwards: texts of all stages,
    bytes of scores and reports.

    Args:
        tell: hears of every subject that is done.
    Returns:
        A result per subject without an error of its own; {} where no pool is set.
    Raises:
        UserError: params contradict each other, or this checkout is not what the workers have.
        Transient: the remote or Prefect's API stays away.
    """
    options = pool.options(workspace)
    if options.pool is None:
        return {}
    if not sharing.on(workspace):
        raise UserError(
            "params.yaml: workers.pool is set, but sharing.git_remote is not: workers share by git; name its remote"
        )
    sharing.take(workspace)
    sharing.require_same_settings(workspace)
    names = [forecast.name for forecast in forecasts if forecast.error is None]
    now = staleness.forecasts(workspace, names)
    results = {forecast.name: Result(forecast.name, "done") for forecast in now if not forecast.to_run}
    results |= {
        forecast.name: Result(forecast.name, "failed", forecast.error) for forecast in now if forecast.error
    }
    stale = [forecast for forecast in now if forecast.to_run and not forecast.error]
    refused = _hand_out(workspace, [forecast.name for forecast in stale])
    stale = [forecast for forecast in stale if forecast.name not in refused]

    def finished(name: str, told: dict[str, Any]) -> None:
        results[name] = Result(**{"name": name} | told | {"ran": tuple(told.get("ran", ()))})
        if results[name].state == "done":
            tell(name, Outcome("pool", "ran", results[name].host, results[name].seconds))
        else:
            log.warning("%s: %s", name, results[name].reason)

    pool.look_after(workspace, options, pool.split(workspace, stale, options.batch_size), finished)
    _bring_home(workspace, [name for name, result in results.items() if result.ran])
    return results | refused


def _alone(workspace: Workspace, names: Sequence[str]) -> list[Result]:
    """One machine: nothing to take or to give."""
    forecasts = staleness.forecasts(workspace, names)
    together.train(workspace, forecasts)
    return [_one(workspace, forecast) for forecast in forecasts]


def _work(workspace: Workspace, names: Sequence[str]) -> list[Result]:
    """Take, bring, work, and give in the background."""
    if sharing.new_code(sharing.take(workspace)):
        return [
            Result(name, "left", "new code came by git; a new process runs it", passing=True)
            for name in names
        ]
    forecasts = staleness.forecasts(workspace, names)
    sharing.bring(workspace, forecasts)
    together.train(workspace, forecasts)
    results: list[Result] = []
    with ThreadPoolExecutor(1, "handing-on") as background, sharing.cared_for():
        given: dict[str, Future[str | None]] = {}
        for forecast in forecasts:
            if _taken_away():
                results.append(Result(forecast.name, "left", "this batch was ended meanwhile", passing=True))
                continue
            results.append(_one(workspace, forecast))
            if forecast.error is None and sharing.news(workspace, forecast.name):
                message = f"{forecast.name}: {_words(results[-1])}"
                given[forecast.name] = background.submit(sharing.give, workspace, [forecast.name], message)
        results = [_settled(result, given.get(result.name)) for result in results]
    try:
        sharing.take(workspace)  # the checkout shows as clean again
    except (UserError, Transient) as error:
        log.warning("%s", error)
    return results


def _one(workspace: Workspace, forecast: Forecast) -> Result:
    started = time.monotonic()
    if forecast.error or not forecast.to_run:
        return Result(forecast.name, "failed" if forecast.error else "done", forecast.error or "")
    try:
        # the batch's own heartbeats tell that it lives; those of a subflow cost a second each
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            stages = personalize.run(workspace, forecast.name)
    except Exception as failure:  # whatever it is, the others must get their turn
        expected = isinstance(failure, UserError | Transient)
        log.warning("%s: %s", forecast.name, failure, exc_info=not expected)
        reason = str(failure) or type(failure).__name__
        passing = isinstance(failure, Transient)
        return Result(forecast.name, "failed", reason, passing, seconds=_since(started))
    ran = tuple(stage["stage"] for stage in stages if stage["action"] == "ran")
    return Result(forecast.name, "done", ran=ran, seconds=_since(started))


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)


def _words(result: Result) -> str:
    return ", ".join(result.ran) or ("up to date" if result.state == "done" else "as far as it came")


def _settled(result: Result, given: Future[str | None] | None) -> Result:
    """The result once it is handed on."""
    try:
        if given is not None:
            given.result()
    except Exception as error:
        reason = f"{result.reason}; " if result.reason else ""
        log.warning("%s: not handed on: %s", result.name, error)
        return replace(result, state="failed", reason=f"{reason}not handed on: {error}", passing=True)
    return result


def _taken_away() -> bool:
    """Whether somebody ended this run, such as the night that took this machine for dead."""
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(get_run_context().flow_run.id).state  # type: ignore[union-attr]
    except Exception as error:  # an API that is away for a moment ends no work
        log.warning("Prefect's API does not answer: %s", error)
        return False
    return state is not None and not state.is_running()


def _hand_out(workspace: Workspace, names: list[str]) -> dict[str, Result]:
    """Hand on what this machine knows of the subjects; returns those that cannot be handed on."""
    if not names:
        return {}
    with_others = f"{len(names)} subjects handed out" if len(names) > 1 else f"{names[0]}: handed out"
    try:
        sharing.give(workspace, names, with_others)
    except UserError as error:
        if len(names) == 1:
            return {names[0]: Result(names[0], "failed", str(error))}
        return {key: value for name in names for key, value in _hand_out(workspace, [name]).items()}
    sharing.take(workspace)
    return {}


def _bring_home(workspace: Workspace, names: list[str]) -> None:
    wanted = [
        f"{workspace.subject(name).dvc_file}:{stage}"
        for name in names
        for stage in SHOWN
        if stage in remote.recorded(workspace.subject(name).dvc_file)
    ]
    try:
        remote.transfer(workspace, "pull", wanted, sharing.options(workspace).deadline_s, force=True)
    except UserError as error:
        log.warning("scores and reports: %s", error)
