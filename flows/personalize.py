"""One subject through its stages: a Prefect flow around what DVC calls stale."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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
from prefect.context import TagsContext, get_run_context
from prefect.runtime import deployment
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows import dead_runs, execution
from flows.execution import Outcome
from flows.store import sharing
from flows.store.pipeline import Stage
from flows.store.staleness import Verdict
from flows.workspace import SubjectFolder, Workspace, find
from tasks.shared import params
from tasks.shared.errors import Transient

log = logging.getLogger(__name__)

RETRY_DELAYS_S = [5.0, 30.0]
"""Before the second and third attempt at a stage, after a failure that may pass by itself."""

SHARE_AGAIN_AFTER_S = (5.0, 30.0, 120.0)
"""Of a run that was posted, while git or the DVC remote is away."""

SHOWN = ("progress", "report", "stages")
"""What a run leaves in the UI."""
SHOWN_EVERY_S = 2.0
"""Between two updates of the progress shown: stages that take less would wait for the server most of the time."""

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
    posted = deployment.id is not None  # nobody sits before it and could try again
    waits = SHARE_AGAIN_AFTER_S if posted else ()
    with sharing.round_trip(workspace, name, waits), TagsContext(current_tags=set()):
        subject = workspace.subject(name)
        progress = _Progress(subject)
        outcomes = execution.bring_up_to_date(subject, as_task(), progress.tell, wait=posted)
    dead_runs.bury(tag(name), began)
    _show(subject, outcomes)
    return [asdict(outcome) for outcome in outcomes]


def run(workspace: Workspace, name: str, tell: Tell = lambda name, event: None) -> list[dict[str, Any]]:
    """Call the flow here and now; `tell` hears what happens to each stage.

    Raises:
        UserError, Transient: as the stage that failed.
    """
    _listeners.append(tell)
    try:
        with tags(tag(name)):
            return personalize(name, str(workspace.root))
    finally:
        _listeners.remove(tell)


def settings(url: str) -> AbstractContextManager[Any]:
    """Talk to the API at `url`, without heartbeats: they cost a second a flow, and nobody watches them."""
    return temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})


def as_task() -> execution.Perform:
    """Stages as Prefect tasks, tried again where a failure may pass by itself."""

    def perform(stage: Stage, work: Callable[[], None]) -> None:
        # no tags: for each Prefect would ask its server for a slot first, which costs more than DVC does
        once: Any = task(
            name=stage.name,
            task_run_name=stage.name,
            retries=len(RETRY_DELAYS_S),
            retry_delay_seconds=RETRY_DELAYS_S,
            retry_condition_fn=_is_transient,
            cache_policy=NO_CACHE,  # what is stale is DVC's word alone
            persist_result=False,
        )
        once(work)()

    return perform


def _is_transient(task: Any, task_run: Any, state: Any) -> bool:
    return isinstance(state.result(raise_on_failure=False), Transient)


class _Progress:
    """Tells who listens, and shows in the UI which stage is at work: a progress artifact of the run."""

    def __init__(self, subject: SubjectFolder):
        self.subject = subject
        self.artifact: Any = None
        self.shown = -SHOWN_EVERY_S  # time.monotonic()

    def tell(self, event: Outcome | Verdict) -> None:
        for listener in _listeners:
            listener(self.subject.name, event)
        if isinstance(event, Verdict):
            log.info("%s: %s: %s", self.subject.name, event.stage.name, event.why)
            self._show(event.stage.name, event.why)
        elif event.action != "fresh":
            log.info("%s: %s: %s in %.1f s", self.subject.name, event.stage, event.action, event.seconds)

    def _show(self, stage: str, why: str) -> None:
        if time.monotonic() - self.shown < SHOWN_EVERY_S:
            return
        self.shown = time.monotonic()
        files = (self.subject.prior / "dvc.yaml", self.subject.dvc_file)
        names = [name for file in files for name in params.read_yaml(file)["stages"]]
        share, what = 100 * names.index(stage) / len(names), f"{stage} ({why})"
        with _server_may_be_away():
            if self.artifact is None:
                self.artifact = create_progress_artifact(
                    share, key=key(self.subject.name, "progress"), description=what
                )
            else:
                update_progress_artifact(self.artifact, share, description=what)


@contextmanager
def _server_may_be_away() -> Iterator[None]:
    """What is only shown must not cost a run."""
    try:
        yield
    except Exception as error:
        log.warning("not shown in the UI: %s", error)


def _show(subject: SubjectFolder, outcomes: list[Outcome]) -> None:
    """Leave the report's address and a table of the stages in the UI."""
    if all(outcome.action == "fresh" for outcome in outcomes):
        return
    rows = [f"| {o.stage} | {o.action} | {o.why} | {o.seconds:.1f} |" for o in outcomes]
    table = "\n".join(["| stage | | why | seconds |", "|---|---|---|---|", *rows])
    with _server_may_be_away():
        create_link_artifact(
            subject.report.as_uri(),
            link_text=f"report of {subject.name}",
            key=key(subject.name, "report"),
            description=f"data/subjects/{subject.name}/report/index.html, on the machine that ran it",
        )
        create_markdown_artifact(f"# {subject.name}\n\n{table}\n", key=key(subject.name, "stages"))


def tag(subject: str) -> str:
    """What Prefect knows a subject's runs by."""
    return f"subject:{subject}"


def key(subject: str, what: str) -> str:
    """Key of an artifact of a subject; `what` is one of SHOWN."""
    return f"{subject}-{what}".replace("_", "-")
