"""What `dreamline serve` offers: a subject on request, everybody at night, and whoever comes by the inbox."""

import logging
import threading
from pathlib import Path
from typing import Any

from prefect import flow, serve
from prefect.deployments import run_deployment
from prefect.schedules import Cron

from flows import inbox, personalize
from flows import nightly as every_night
from flows.workspace import Workspace, find
from tasks.shared import params

log = logging.getLogger(__name__)


@flow(name="nightly", persist_result=False, validate_parameters=False)
def nightly(project: str | None = None) -> str:
    """Bring everybody up to date and write the fleet's report."""
    workspace = Workspace(Path(project)) if project else find()
    return str(every_night.finish(workspace, every_night.run(workspace, workspace.subjects())))


@flow(name="inbox", flow_run_name="inbox-{folder}", persist_result=False, validate_parameters=False)
def accept(folder: str, project: str | None = None) -> list[dict[str, Any]]:
    """Make a subject of a folder in data/inbox/ and bring it up to date."""
    workspace = Workspace(Path(project)) if project else find()
    subject = inbox.accept(workspace, folder)
    return personalize.run(workspace, subject.name)


def watch(workspace: Workspace, options: every_night.Params, stop: threading.Event) -> None:
    """Post a run for every settled folder at every look; the key makes it one run per content."""
    while not stop.wait(options.inbox_poll_s):
        try:
            for folder, digest in inbox.settled(workspace, options.inbox_settle_s):
                run_deployment(
                    "inbox/inbox",
                    parameters={"folder": folder, "project": str(workspace.root)},
                    idempotency_key=f"{folder}-{digest}",
                    timeout=0,
                    flow_run_name=f"inbox-{folder}",
                )
        except Exception:
            log.exception("inbox: looking again in %s s", options.inbox_poll_s)


def run(workspace: Workspace) -> None:
    """Serve until interrupted; needs an API with scheduling services."""
    options = params.validate(every_night.Params, workspace.section("nightly"), "params.yaml: nightly")
    stop = threading.Event()
    threading.Thread(target=watch, args=(workspace, options, stop), daemon=True).start()
    project = {"project": str(workspace.root)}
    at_night = Cron(options.cron, timezone=options.timezone)
    offered: list[Any] = [
        personalize.personalize.to_deployment("personalize", parameters=project),
        nightly.to_deployment("nightly", parameters=project, schedule=at_night),
        accept.to_deployment("inbox", parameters=project),
    ]
    try:
        serve(*offered, limit=1)  # one machine, one set of models
    finally:
        stop.set()
