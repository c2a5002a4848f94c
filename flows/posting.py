"""Ask for a run of a subject: one run per key, however often it is asked for."""

import hashlib
from typing import Any
from uuid import UUID

from prefect.deployments import run_deployment

from flows.intake import receipts
from flows.workspace import SubjectFolder, Workspace

DEPLOYMENT = "personalize/personalize"


def key(subject: SubjectFolder, attempt: int = 0, token: str | None = None) -> str:
    """Key of the run that a subject's present photos and settings ask for.

    What was accepted last counts too: photos that come back after others had been there are a new run.

    Args:
        attempt: from 0; a failed run has spent its key, so another try needs another number.
        token: of the acceptance; default: the one in its receipt.
    """
    if token is None:
        receipt = receipts.read(subject.folder)
        token = receipt.token if receipt else ""
    told = hashlib.sha256(f"{subject.name}\0{token}".encode())
    for path in (subject.photos_file, subject.subject_file):
        told.update(b"\0" + path.read_bytes())
    return f"{subject.name}-{told.hexdigest()[:32]}-{attempt}"


def post(workspace: Workspace, name: str, attempt: int = 0, under: str | None = None) -> UUID:
    """Ask for a run of a subject and return the id of the flow run, without waiting for it.

    The API is asked for the same key by every repetition, so that it makes one run of them.

    Args:
        attempt: see `key`.
        under: the key itself, where it was made and noted before.
    Raises:
        Whatever Prefect's client raises while the API is away; ObjectNotFound while nobody serves the deployment.
    """
    run: Any = run_deployment(
        DEPLOYMENT,
        parameters={"name": name, "project": str(workspace.root)},
        idempotency_key=under or key(workspace.subject(name), attempt),
        flow_run_name=name,
        tags=[f"subject:{name}"],
        timeout=0,
        as_subflow=False,
    )
    return run.id
