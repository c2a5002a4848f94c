"""Every version of every output: into the cache and back."""

from pathlib import Path

from flows.store import repository
from flows.store.pipeline import Stage
from flows.workspace import SubjectFolder, Workspace
from tasks.shared import manifest


def commit(workspace: Workspace, stage: Stage) -> None:
    """Record what a stage has just made as the result of its present inputs.

    DVC records whatever lies there; only a manifest says that it is finished.

    Raises:
        UserError: an output has no manifest of this stage.
    """
    for path in stage.makes:
        manifest.read(path, stage.name)
    record(workspace, stage.target)


def record(workspace: Workspace, target: str) -> None:
    """Take what lies in the workspace into cache and lock file."""
    with repository.calls(workspace) as repo:
        repo.commit(target, force=True)


def add_photos(subject: SubjectFolder) -> None:
    """Make what lies in photos/ the accepted version."""
    manifest.read(subject.folder / "photos", "ingest")
    with repository.calls(subject.workspace) as repo:
        repo.add(str(subject.folder / "photos"))


def restore(workspace: Workspace, target: str | Path) -> bool:
    """Bring outputs back as they were recorded; False if the cache does not hold them."""
    from dvc.exceptions import CheckoutError

    with repository.calls(workspace) as repo:
        try:
            repo.checkout(targets=[str(target)], force=True)
        except CheckoutError:
            return False
    return True
