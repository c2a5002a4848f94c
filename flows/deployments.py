"""What `dreamline serve` offers: a subject on request, and everybody at night."""

from pathlib import Path
from typing import Any, cast

from prefect import Flow, flow
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron

from flows import nightly as every_night
from flows import personalize, pool
from flows.workspace import Workspace, find
from tasks.shared import params


@flow(name="nightly", persist_result=False, validate_parameters=False)
def nightly(project: str | None = None) -> str:
    """Bring everybody up to date and write the fleet's report."""
    workspace = Workspace(Path(project)) if project else find()
    return str(every_night.finish(workspace, every_night.run(workspace, workspace.subjects())))


def offered(workspace: Workspace) -> list[tuple[Flow[..., Any], RunnerDeployment]]:
    """Every flow that this machine executes, with its deployment; the more urgent come first.

    None where a pool of workers does it: `prefect deploy` made the deployments then, under the same names.
    """
    if pool.options(workspace).pool is not None:
        return []
    options = params.validate(every_night.Params, workspace.section("nightly"), "params.yaml: nightly")
    project = {"project": str(workspace.root)}
    at_night = Cron(options.cron, timezone=options.timezone)
    return [
        (personalize.personalize, _deployment(personalize.personalize, "personalize", project)),
        (nightly, _deployment(nightly, "nightly", project, schedule=at_night)),
    ]


def _deployment(offer: Flow[..., Any], name: str, project: dict[str, Any], **when: Any) -> RunnerDeployment:
    return cast(RunnerDeployment, offer.to_deployment(name, parameters=project, paused=False, **when))
