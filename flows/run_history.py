"""A removed subject's name in Prefect's history: its runs and what they left in the UI."""

from __future__ import annotations

import logging
import os

from flows import prefect_api
from flows.workspace import Workspace
from tasks.shared.errors import UserError

log = logging.getLogger(__name__)

PAGE = 200  # what the API gives at once


def forget(workspace: Workspace, subject: str) -> str:
    """Delete the runs of a subject where Prefect answers; returns what was done, or what remains, in words."""
    ours = workspace.state / "prefect" / "prefect.db"
    if not os.environ.get("PREFECT_API_URL") and not prefect_api.running(workspace) and not ours.exists():
        return "Prefect's history never named it"
    try:
        with prefect_api.connection(workspace) as wait:
            return f"{_delete(wait(), subject)} runs deleted from Prefect's history"
    except UserError as error:
        return f"Prefect's history still names it ({error})"
    except (
        Exception
    ) as error:  # the subject is gone by now; a half-deleted history must not look like a failure
        log.warning("Prefect's history of %s", subject, exc_info=True)
        return (
            f"Prefect's history may still name it ({type(error).__name__}); delete its runs in `dreamline ui`"
        )


def _delete(url: str, subject: str) -> int:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        ArtifactFilter,
        ArtifactFilterKey,
        FlowRunFilter,
        FlowRunFilterName,
        FlowRunFilterTags,
    )

    from flows import personalize

    wanted = [
        FlowRunFilter(tags=FlowRunFilterTags(all_=[personalize.tag(subject)])),
        FlowRunFilter(name=FlowRunFilterName(any_=[subject, f"inbox-{subject}"])),
    ]
    keys = [personalize.key(subject, what) for what in personalize.SHOWN]
    gone = 0
    with personalize.settings(url), get_client(sync_client=True) as client:
        for one in wanted:
            while found := client.read_flow_runs(flow_run_filter=one, limit=PAGE):
                for flow_run in found:
                    client.delete_flow_run(flow_run.id)
                gone += len(found)
        chosen = ArtifactFilter(key=ArtifactFilterKey(any_=keys))
        while artifacts := client.read_artifacts(artifact_filter=chosen, limit=PAGE):
            for artifact in artifacts:
                client.delete_artifact(artifact.id)
    return gone
