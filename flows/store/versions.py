"""Every version of every output: into the cache and back."""

import logging
from collections.abc import Sequence
from pathlib import Path

from flows.store import recording, remote, repository
from flows.store.pipeline import Stage
from flows.workspace import SubjectFolder, Workspace, write_if_changed
from tasks.shared import manifest
from tasks.shared.errors import UserError

log = logging.getLogger(__name__)


def commit(workspace: Workspace, stage: Stage) -> None:
    """Record what a stage has just made as the result of its present inputs.

    DVC records whatever lies there; only a manifest says that it is finished. What is done is what `dvc commit --force`
    does with the stage, less its reading of the files that the plan has read: a third of its time.

    Raises:
        UserError: an output has no manifest of this stage.
    """
    from dvc.repo import lock_repo

    for path in stage.makes:
        manifest.read(path, stage.name)
    loaded = stage.loaded
    with repository.calls(workspace), lock_repo(loaded.repo):
        loaded.save()
        loaded.commit()
        loaded.dvcfile.dump_stages([loaded], update_pipeline=False)
    recording.end(stage)


def recall(workspace: Workspace, stage: Stage) -> bool:
    """Bring back what the stage once made of just its present inputs, as after params went back; `dvc repro` does the same.

    False if DVC's run cache knows nothing, or the cache has lost it, or if that would overwrite what is nowhere else.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import lock_repo
    from dvc.stage.cache import RunCacheNotFoundError

    loaded = stage.loaded
    with repository.calls(workspace), lock_repo(loaded.repo):
        try:
            loaded.repo.stage_cache.restore(loaded)
        except RunCacheNotFoundError:
            return False
        except DvcException as error:
            log.info("%s: was made before, but cannot be brought back: %s", stage.name, error)
            return False
    commit(workspace, stage)
    return True


def complete(workspace: Workspace, stages: Sequence[Stage]) -> None:
    """Record what a process had finished and was killed before, or while, it recorded it."""
    stage = recording.pending(stages)
    if stage:
        commit(workspace, stage)


def record_again(workspace: Workspace, target: str) -> bool:
    """Fill the cache from outputs that lie there as recorded; False if they do not.

    DVC says "not in cache" before it looks at the workspace, so that is looked at here.
    """
    with repository.calls(workspace) as repo:
        for stage, _ in repo.stage.collect_granular(target):
            if any(not out.exists or out.changed_checksum() for out in stage.outs):
                return False
        repo.commit(target, force=True)
    return True


def add_photos(subject: SubjectFolder) -> None:
    """Make what lies in photos/ the accepted version.

    As `dvc add`, which reads every dvc.yaml of the project first: slower with every subject, and one damaged
    dvc.lock anywhere stops it.
    """
    manifest.read(subject.folder / "photos", "ingest")
    if not subject.photos_file.exists():
        write_if_changed(subject.photos_file, "outs:\n- hash: md5\n  path: photos\n")
    with repository.calls(subject.workspace) as repo:
        repo.commit(str(subject.photos_file), force=True)


def restore(workspace: Workspace, target: str | Path) -> bool:
    """Bring outputs back as they were recorded; False if the cache does not hold them."""
    from dvc.exceptions import CheckoutError

    with repository.calls(workspace) as repo:
        try:
            repo.checkout(targets=[str(target)], force=True)
        except CheckoutError:
            return False
    return True


def bring_back(workspace: Workspace, target: str | Path) -> bool:
    """Bring recorded outputs back from the cache, else from the remote; fill a cache that has lost them.

    False if nobody holds them.
    """
    if record_again(workspace, str(target)) or restore(workspace, target):
        return True
    try:
        remote.transfer(workspace, "pull", [str(target)], deadline_s=60, force=True)
    except UserError:
        return False
    return True
