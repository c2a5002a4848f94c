"""What the night asks of Prefect's API about its batches: post, look, bury."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType, WorkerStatus
from prefect.deployments import run_deployment
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed

from flows.pool import Seen
from tasks.shared.errors import UserError

DEPLOYMENT = "batch/batch"
BEAT = "prefect.flow-run.heartbeat"
UNFINISHED = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED]


class Board:
    """The deployment `batch/batch` of one pool."""

    def __init__(self, pool: str, queue: str):
        self.pool, self.queue = pool, queue

    def require(self) -> None:
        """Raises UserError: the deployment is not there, or in another pool."""
        with get_client(sync_client=True) as client:
            self._deployment(client)

    def post(self, names: list[str], title: str, key: str) -> UUID:
        """Ask for one run; the same key again gives the same run."""
        run: Any = run_deployment(
            DEPLOYMENT,
            parameters={"names": names},
            flow_run_name=title,
            idempotency_key=key,
            work_queue_name=self.queue,
            tags=["nightly"],
            timeout=0,
            as_subflow=False,
        )
        return run.id

    def unfinished(self) -> list[Seen]:
        """All batches that have no end yet, whoever posted them."""
        states = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNFINISHED)))
        with get_client(sync_client=True) as client:
            here = DeploymentFilter(id=DeploymentFilterId(any_=[self._deployment(client)]))
            runs = client.read_flow_runs(flow_run_filter=states, deployment_filter=here)
            return [_seen(client, run) for run in runs]

    def look(self, ids: Iterable[UUID]) -> list[Seen]:
        """The state and the newest heartbeat of some runs."""
        wanted = list(ids)
        with get_client(sync_client=True) as client:
            found: list[Seen] = []
            for at in range(0, len(wanted), 100):  # a page of the API holds 200
                these = FlowRunFilter(id=FlowRunFilterId(any_=wanted[at : at + 100]))
                found += [_seen(client, run) for run in client.read_flow_runs(flow_run_filter=these)]
            return found

    def results(self, run: UUID, key: str) -> dict[str, dict[str, Any]]:
        """What a batch said of each subject; {} where it died before."""
        mine = ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[run]), key=ArtifactFilterKey(any_=[key])
        )
        with get_client(sync_client=True) as client:
            found = client.read_artifacts(artifact_filter=mine)
        rows = [row for artifact in found for row in json.loads(str(artifact.data))]
        return {row["name"]: row for row in rows}

    def bury(self, run: UUID, why: str, cancelled: bool = False) -> None:
        """Give a run its end; a process that lives all the same sees it before its next subject."""
        state: Any = Cancelled(message=why) if cancelled else Crashed(message=why)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run, state, force=True)

    def workers_live(self) -> bool:
        """Whether any worker of the pool has been heard of lately."""
        with get_client(sync_client=True) as client:
            workers = client.read_workers_for_work_pool(self.pool)
        return any(worker.status is WorkerStatus.ONLINE for worker in workers)

    def _deployment(self, client: SyncPrefectClient) -> UUID:
        try:
            found = client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound as error:
            raise UserError(
                f"Prefect knows no deployment {DEPLOYMENT}; run `prefect deploy --all`"
            ) from error
        if found.work_pool_name != self.pool:
            raise UserError(
                f"params.yaml: workers.pool: {self.pool!r}, but {DEPLOYMENT} is in {found.work_pool_name!r}; "
                "make prefect.yaml and params.yaml agree and run `prefect deploy --all`"
            )
        return found.id


def _seen(client: SyncPrefectClient, run: FlowRun) -> Seen:
    kind = run.state_type
    sign: tuple[Any, ...] = (run.state_id,)
    if kind is StateType.RUNNING:
        beats = EventFilter(
            event=EventNameFilter(name=[BEAT]),
            resource=EventResourceFilter(id=[f"prefect.flow-run.{run.id}"]),
        )
        sign += tuple(str(event.id) for event in client.read_events(beats, limit=1).events[:1])
    return Seen(
        run.id,
        tuple(run.parameters.get("names", ())),
        f"{run.state_name}: {run.state.message}" if run.state and run.state.message else str(run.state_name),
        kind is StateType.RUNNING,
        kind is StateType.PENDING,
        run.state is not None and run.state.is_final(),
        sign,
    )
