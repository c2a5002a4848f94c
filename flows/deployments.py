"""What `dreamline serve` offers: a subject on request, everybody at night, and whoever comes by the inbox."""

import logging
import threading
from pathlib import Path
from typing import Any, cast

from prefect import Flow, flow
from prefect.deployments import run_deployment
from prefect.deployments.runner import RunnerDeployment
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
    return str(every_night.write_report(workspace, every_night.run(workspace, workspace.subjects())))


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


def offered(workspace: Workspace) -> list[tuple[Flow[..., Any], RunnerDeployment]]:
    """Every flow that can be asked for, with its deployment; the more urgent come first."""
    options = params.validate(every_night.Params, workspace.section("nightly"), "params.yaml: nightly")
    project = {"project": str(workspace.root)}
    at_night = Cron(options.cron, timezone=options.timezone)
    return [
        (personalize.personalize, _deployment(personalize.personalize, "personalize", project)),
        (accept, _deployment(accept, "inbox", project)),
        (nightly, _deployment(nightly, "nightly", project, schedule=at_night)),
    ]


def _deployment(offer: Flow[..., Any], name: str, project: dict[str, Any], **when: Any) -> RunnerDeployment:
    return cast(RunnerDeployment, offer.to_deployment(name, parameters=project, paused=False, **when))
