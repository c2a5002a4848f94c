"""Runs whose process was killed: nobody told Prefect, so they would be "Running" for ever."""

import os
from datetime import datetime

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed


def bury(subject_tag: str, began: datetime) -> None:
    """Call crashed what still runs under this tag and began earlier.

    For a run that has had the subject's lock: whoever began before it and is not done has died, since the kernel frees
    a lock only with its process. Only in the project's own Prefect home; a server that the user names may know runs of
    other machines.
    """
    if os.environ.get("PREFECT_API_URL"):
        return
    earlier = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[subject_tag]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])),
        start_time=FlowRunFilterStartTime(before_=began),
    )
    with get_client(sync_client=True) as client:
        for flow_run in client.read_flow_runs(flow_run_filter=earlier):
            client.set_flow_run_state(flow_run.id, Crashed(message="its process was killed"), force=True)
