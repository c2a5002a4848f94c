"""Settings of `dreamline serve`."""

from pydantic import Field

from flows.workspace import Workspace
from tasks.shared import params


class Params(params.Params):
    """How runs are taken, and how often one is begun again whose process died."""

    poll_s: float = Field(default=2, gt=0, le=3600, description="seconds between two looks for due runs")
    max_attempts: int = Field(
        default=5,
        ge=1,
        le=100,
        description="times in a row that the process of a run may die without getting on; then it is left",
    )
    hung_after_h: float | None = Field(
        default=24,
        gt=0,
        description="hours without a finished stage, checkpoint or class picture after which a run or a worker's batch "
        "is ended and begun again, as if its process had died; null: never",
    )


def options(workspace: Workspace) -> Params:
    """The section `serve` of params.yaml."""
    return params.validate(Params, workspace.section("serve"), "params.yaml: serve")
