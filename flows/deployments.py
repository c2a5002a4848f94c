"""What `dreamline serve` offers: a subject on request, everybody at night, and whoever comes by the inbox."""

import threading
from pathlib import Path
from typing import Any

from prefect import flow, serve
from prefect.schedules import Cron

from flows import intake, personalize
from flows import nightly as every_night
from flows.intake import webhook
from flows.workspace import Workspace, find
from tasks.shared import params


@flow(name="nightly", persist_result=False, validate_parameters=False)
def nightly(project: str | None = None) -> str:
    """Bring everybody up to date and write the fleet's report."""
    workspace = Workspace(Path(project)) if project else find()
    return str(every_night.finish(workspace, every_night.run(workspace, workspace.subjects())))


def run(workspace: Workspace) -> None:
    """Serve until interrupted; needs an API with scheduling services."""
    options = params.validate(every_night.Params, workspace.section("nightly"), "params.yaml: nightly")
    stop = threading.Event()
    for work in (intake.watch, webhook.run):
        threading.Thread(target=work, args=(workspace, stop), daemon=True).start()
    project = {"project": str(workspace.root)}
    at_night = Cron(options.cron, timezone=options.timezone)
    offered: list[Any] = [
        personalize.personalize.to_deployment("personalize", parameters=project),
        nightly.to_deployment("nightly", parameters=project, schedule=at_night),
    ]
    try:
        serve(*offered, limit=1)  # one machine, one set of models
    finally:
        stop.set()
