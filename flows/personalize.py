"""One subject through its stages: a Prefect flow around what DVC calls stale."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import flow, tags, task
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.context import get_run_context
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows import dead_runs, execution
from flows.execution import Outcome
from flows.store import sharing, staleness
from flows.store.pipeline import Stage
from flows.store.staleness import Verdict
from flows.workspace import SubjectFolder, Workspace, find
from tasks.shared.errors import Transient

log = logging.getLogger(__name__)

RETRY_DELAYS_S = [5.0, 30.0]
"""Before the second and third attempt at a stage, after a failure that may pass by itself."""

Tell = Callable[[str, Outcome | Verdict], None]
_listeners: list[Tell] = []


@flow(name="personalize", flow_run_name="{name}", persist_result=False, validate_parameters=False)
def personalize(name: str, project: str | None = None) -> list[dict[str, Any]]:
    """Bring a subject up to date; a stage that DVC calls fresh is no task.

    Args:
        name: folder in data/subjects/.
        project: the project's folder; default: at or above the working folder.
    Returns:
        What became of each stage, in order.
    """
    workspace = Workspace(Path(project)) if project else find()
    began = get_run_context().start_time
    with sharing.round_trip(workspace, name):
        subject = workspace.subject(name)
        progress = _Progress(name, len(staleness.plan(subject)))
        outcomes = execution.bring_up_to_date(subject, _as_task(name), progress.tell)
    dead_runs.bury(_tag(name), began)
    _show(subject, outcomes)
    return [asdict(outcome) for outcome in outcomes]


def run(workspace: Workspace, name: str, tell: Tell = lambda name, event: None) -> list[dict[str, Any]]:
    """Call the flow here and now; `tell` hears what happens to each stage.

    Raises:
        UserError, Transient: as the stage that failed.
    """
    _listeners.append(tell)
    try:
        with tags(_tag(name)):
            return personalize(name, str(workspace.root))
    finally:
        _listeners.remove(tell)


def settings(url: str) -> AbstractContextManager[Any]:
    """Talk to the API at `url`, without heartbeats: they cost a second a flow, and nobody watches them."""
    return temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})


def _as_task(subject: str) -> execution.Perform:
    def perform(stage: Stage, work: Callable[[], None]) -> None:
        as_task: Any = task(
            name=stage.name,
            task_run_name=stage.name,
            tags=[stage.name, _tag(subject)],
            retries=len(RETRY_DELAYS_S),
            retry_delay_seconds=RETRY_DELAYS_S,
            retry_condition_fn=_is_transient,
            cache_policy=NO_CACHE,  # what is stale is DVC's word alone
            persist_result=False,
        )
        as_task(work)()

    return perform


def _is_transient(task: Any, task_run: Any, state: Any) -> bool:
    return isinstance(state.result(raise_on_failure=False), Transient)


class _Progress:
    """A progress artifact of the run: the share of the stages that are done."""

    def __init__(self, subject: str, stages: int):
        self.subject, self.stages, self.done = subject, stages, 0
        self.artifact: Any = None

    def tell(self, event: Outcome | Verdict) -> None:
        for listener in _listeners:
            listener(self.subject, event)
        if isinstance(event, Verdict):
            log.info("%s: %s: %s", self.subject, event.stage.name, event.why)
            self._show(f"{event.stage.name} ({event.why})")
        else:
            self.done += 1
            if event.action != "fresh":
                log.info("%s: %s: %s in %.1f s", self.subject, event.stage, event.action, event.seconds)

    def _show(self, what: str) -> None:
        share = 100 * self.done / self.stages
        if self.artifact is None:
            self.artifact = create_progress_artifact(
                share, key=_key(self.subject, "progress"), description=what
            )
        else:
            update_progress_artifact(self.artifact, share, description=what)


def _show(subject: SubjectFolder, outcomes: list[Outcome]) -> None:
    """Leave the report's address and a table of the stages in the UI."""
    if all(outcome.action == "fresh" for outcome in outcomes):
        return
    create_link_artifact(
        subject.report.as_uri(),
        link_text=f"report of {subject.name}",
        key=_key(subject.name, "report"),
        description=f"data/subjects/{subject.name}/report/index.html, on the machine that ran it",
    )
    rows = [f"| {o.stage} | {o.action} | {o.why} | {o.seconds:.1f} |" for o in outcomes]
    table = "\n".join(["| stage | | why | seconds |", "|---|---|---|---|", *rows])
    create_markdown_artifact(f"# {subject.name}\n\n{table}\n", key=_key(subject.name, "stages"))


def _tag(subject: str) -> str:
    return f"subject:{subject}"


def _key(subject: str, what: str) -> str:
    return f"{subject}-{what}".replace("_", "-")
