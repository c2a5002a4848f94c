"""The one way to ask for a run of a subject: posted as often as you like, it is one run per content."""

import hashlib
from typing import Any
from uuid import UUID

from prefect.deployments import run_deployment

from flows.workspace import Workspace

DEPLOYMENT = "personalize/personalize"


def post(workspace: Workspace, name: str, attempt: int = 0) -> UUID:
    """Ask for a run of a subject as it is now; the same content posted again gives the run that there is.

    Args:
        attempt: another number gives another run of the same content.
    Returns:
        Id of the flow run.
    """
    flow_run: Any = run_deployment(
        DEPLOYMENT,
        parameters={"name": name, "project": str(workspace.root)},
        idempotency_key=key(workspace, name, attempt),
        flow_run_name=name,
        tags=[f"subject:{name}"],
        timeout=0,
        as_subflow=False,
    )
    return flow_run.id


def key(workspace: Workspace, name: str, attempt: int = 0) -> str:
    """Name and digest of what was accepted: photos.dvc and subject.yaml."""
    subject = workspace.subject(name)
    content = hashlib.sha256()
    for path in (subject.photos_file, subject.subject_file):
        content.update(hashlib.sha256(path.read_bytes()).digest())
    return f"{name}-{content.hexdigest()[:32]}-{attempt}"
