"""Runs whose process has died: nobody tells Prefect, so they would be "Running" for ever. They are posted again."""

import logging
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelled, Crashed

from flows.serving import headway

log = logging.getLogger(__name__)

ATTEMPT = "attempt:"
"""Tag of a run that was posted again; the first has none."""
_MARK = "mark:"
"""Tag of such a run: how far the work had come when its process died."""
_BEGUN = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


def sweep(
    client: SyncPrefectClient,
    deployments: Iterable[UUID],
    max_attempts: int,
    owner: str | None = None,
    died: bool = True,
) -> int:
    """Post again whatever was begun and is not done. For the one who alone executes these, before it begins.

    Each is posted first and called crashed afterwards: a sweep that is killed itself finds the rest next time, and
    the key keeps it from posting twice.

    Args:
        owner: only what this runner has claimed; None: all, on a server that no other machine uses.
        died: their process died, which counts as an attempt; False: only the server was away.
    Returns:
        How many were found.
    """
    begun = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=list(deployments)),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_BEGUN)),
        )
    )
    mine = [flow_run for flow_run in begun if owner is None or flow_run.infrastructure_pid == owner]
    for flow_run in mine:
        if flow_run.state and flow_run.state.is_cancelling():
            state: State[Any] = Cancelled(message="cancelled by its user")
        else:
            state = Crashed(message=_again(client, flow_run, max_attempts, died))
        log.warning("%s: %s", flow_run.name, state.message)
        close(client, flow_run, state)
    return len(mine)


def post_again(
    client: SyncPrefectClient, flow_run: FlowRun, attempt: int, mark: str | None = None
) -> FlowRun:
    """The same run a second time, or the one that was posted for this purpose before.

    Args:
        mark: how far it has come, `headway.mark`; None: as it was when this one was posted.
    """
    mark = mark or _tagged(flow_run, _MARK)
    kept = [tag for tag in flow_run.tags if not tag.startswith((ATTEMPT, _MARK))]
    origin, _, number = (flow_run.idempotency_key or str(flow_run.id)).partition("#")
    assert flow_run.deployment_id is not None
    return client.create_flow_run_from_deployment(
        flow_run.deployment_id,
        parameters=flow_run.parameters,
        name=flow_run.name,
        tags=[*kept, f"{ATTEMPT}{attempt}", *([f"{_MARK}{mark}"] if mark else [])],
        idempotency_key=f"{origin}#{int(number or 0) + 1}",
    )


def attempt_of(flow_run: FlowRun) -> int:
    """Which attempt this is, from 1, of those in a row that did not get on."""
    return int(_tagged(flow_run, ATTEMPT) or 1)


def _tagged(flow_run: FlowRun, kind: str) -> str | None:
    return next((tag.removeprefix(kind) for tag in flow_run.tags if tag.startswith(kind)), None)


def _again(client: SyncPrefectClient, flow_run: FlowRun, max_attempts: int, died: bool) -> str:
    attempt = attempt_of(flow_run)
    if not died:
        post_again(client, flow_run, attempt)
        return "the server was away; begun again"
    before, now = _tagged(flow_run, _MARK), headway.mark(flow_run.parameters)
    if before is not None and before != now:
        post_again(client, flow_run, 1, now)
        return "its process died, but had got on since the last; begun again"
    if attempt >= max_attempts:
        return (
            f"its process died {attempt} times and got no further, so it is left (params.yaml: serve.max_attempts); "
            "memory may be short: `dreamline run` it by hand and see"
        )
    post_again(client, flow_run, attempt + 1, now)
    return f"its process died; begun again, attempt {attempt + 1} of {max_attempts}"


def close(client: SyncPrefectClient, flow_run: FlowRun, state: State) -> None:
    """Give a run that was left its last state, after all below it: subjects of a night, and tasks."""
    begun = FlowRunFilterState(type=FlowRunFilterStateType(any_=_BEGUN))
    below = FlowRunFilterParentFlowRunId(any_=[flow_run.id])
    for part in client.read_flow_runs(flow_run_filter=FlowRunFilter(parent_flow_run_id=below, state=begun)):
        close(client, part, state)
    tasks = client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id])),
        task_run_filter=TaskRunFilter(
            state=TaskRunFilterState(type=TaskRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING]))
        ),
    )
    for task_run in tasks:
        client.set_task_run_state(task_run.id, _copy(state), force=True)
    client.set_flow_run_state(flow_run.id, _copy(state), force=True)


def _copy(state: State) -> State:
    """Equal, with an id of its own."""
    return State(type=state.type, name=state.name, message=state.message)
