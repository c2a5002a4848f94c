"""Objects of the cache and the remote: which a subject's versions name, who else needs them, and their removal.

An object is shared by content, so what another subject, a class prior or a version that stays refers to is left alone.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows import history
from flows.history import Version
from flows.store import recorded, remote, repository
from flows.workspace import SubjectFolder, Workspace
from tasks.shared import params
from tasks.shared.errors import UserError

PATIENCE_S = 60.0  # with a remote that does not answer
_LISTS = ("photos.dvc", "dvc.lock")


@dataclass(frozen=True)
class Removed:
    """What was taken out of the stores."""

    names: tuple[str, ...]  # of all that had to go, sorted
    found: int  # of these were in the cache, at the remote, or both
    bytes: int
    kept: int  # left, because others need them
    remote: str | None  # its name; None: there is none


@dataclass(frozen=True)
class Stores:
    """The cache first, then the default remote if there is one."""

    all: tuple[Any, ...]
    remote: str | None


@contextmanager
def opened(workspace: Workspace) -> Iterator[Stores]:
    """The stores, the remote known to answer; DVC itself would wait for a dead one for minutes.

    Raises:
        UserError: the remote does not answer.
    """
    with repository.calls(workspace) as repo:
        name = repo.config["core"].get("remote")
    if name:
        remote.probe(workspace, PATIENCE_S)
    with repository.calls(workspace) as repo:
        yield Stores((repo.cache.local, *([repo.cloud.get_remote_odb()] if name else [])), name)


@contextmanager
def cache(workspace: Workspace) -> Iterator[Stores]:
    """The cache of this machine alone."""
    with repository.calls(workspace) as repo:
        yield Stores((repo.cache.local,), None)


def remove(stores: Stores, names: Iterable[str], needed: Iterable[str], dry: bool = False) -> Removed:
    """Remove objects that nobody needs, with the files of folders, in batches; earlier versions in a bucket as well.

    Args:
        names, needed: as recorded; folders are expanded here.
        dry: only say what would go.
    Raises:
        UserError: something is still there; the same call goes on.
    """
    mine, theirs = _expanded(stores, names), _expanded(stores, needed)
    doomed, found, size = sorted(mine - theirs), set[str](), 0
    for store in stores.all:
        there = sorted(store.oids_exist(doomed)) if doomed else []
        size += sum(store.fs.size(store.oid_to_path(oid)) or 0 for oid in there if oid not in found)
        found.update(there)
        if there and not dry:
            _delete(store, there)
    if not dry and (
        left := [oid for store in stores.all for oid in (store.oids_exist(doomed) if doomed else [])]
    ):
        raise UserError(f"{len(left)} objects are still there; run the command again")
    return Removed(tuple(doomed), len(found), size, len(mine & theirs), stores.remote)


def of_versions(subject: SubjectFolder, versions: Iterable[Version]) -> set[str]:
    """Names of the outputs of some versions, folders not expanded."""
    return {
        oid
        for text in _texts(versions)
        for oid in recorded.outputs(params.parse_yaml(text, f"{subject.name}: a recorded version"))
    }


def of_all(subject: SubjectFolder) -> set[str]:
    """Names of the outputs that it has now, and of those of all its versions."""
    here = {
        oid
        for path in _lists(subject)
        for oid in recorded.outputs(params.parse_yaml(path.read_text(encoding="utf-8"), str(path)))
    }
    return here | of_versions(subject, history.read(subject))


def needed(workspace: Workspace, without: Mapping[str, Container[int] | None]) -> set[str]:
    """Names that anything refers to, as an output or as an input: what must not be removed.

    Args:
        without: subjects that do not count, or (not None) whose versions with these numbers do not.
    """
    texts = [
        path.read_text(encoding="utf-8")
        for path in [*workspace.root.glob("data/class_prior/*/dvc.lock"), workspace.root / "dvc.lock"]
        if path.exists()
    ]
    for subject in map(workspace.subject, workspace.subjects()):
        leaving = without.get(subject.name, ())
        if leaving is None:
            continue
        texts += [path.read_text(encoding="utf-8") for path in _lists(subject)]
        kept = [one for one in history.read(subject) if not one.gone and one.number not in leaving]
        texts += _texts(kept)
    return {oid for text in texts for oid in recorded.mentioned(text)}


def _lists(subject: SubjectFolder) -> list[Path]:
    return [path for name in _LISTS if (path := subject.folder / name).exists()]


def _texts(versions: Iterable[Version]) -> list[str]:
    return list(
        dict.fromkeys(version.files[name] for version in versions for name in _LISTS if name in version.files)
    )


def _expanded(stores: Stores, names: Iterable[str]) -> set[str]:
    """The objects themselves and, for a folder, its files, as the first store that holds the folder lists them."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    found = set()
    for name in names:
        found.add(name)
        holder = (
            next((store for store in stores.all if store.exists(name)), None)
            if name.endswith(".dir")
            else None
        )
        if holder is not None:
            tree = Tree.load(holder, HashInfo("md5", name))
            found.update(info.value for _, _, info in tree if info.value)
    return found


def _delete(store: Any, oids: Sequence[str]) -> None:
    from dvc_data.hashfile.db import get_index

    paths = [store.oid_to_path(oid) for oid in oids]
    if store.fs.protocol == "local":
        for path in paths:
            store.fs.remove(path)
    else:
        store.fs.rm(paths)  # by the thousand, where the storage can
        _delete_versions(store, paths)  # afterwards, since a removal leaves a marker of its own
    get_index(store).clear()  # DVC remembers what a remote holds, and would not push it again


def _delete_versions(store: Any, paths: Sequence[str]) -> None:
    """A bucket with versioning answers a removal with a marker and keeps the bytes: remove every version by its id."""
    bucket_fs = store.fs.fs
    if not hasattr(bucket_fs, "call_s3"):
        return
    bucket = paths[0].partition("/")[0]
    try:
        status = bucket_fs.call_s3("get_bucket_versioning", Bucket=bucket).get("Status")
    except Exception:  # a server that does not know the call keeps no versions
        return
    if not status:
        return
    for path in paths:
        key = path.partition("/")[2]
        listed = bucket_fs.call_s3("list_object_versions", Bucket=bucket, Prefix=key)
        entries = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
        doomed = [{"Key": key, "VersionId": one["VersionId"]} for one in entries if one["Key"] == key]
        if doomed:
            answer = bucket_fs.call_s3(
                "delete_objects", Bucket=bucket, Delete={"Objects": doomed, "Quiet": True}
            )
            if answer.get("Errors"):
                raise UserError(
                    f"{bucket}: a version of {key} cannot be removed: {answer['Errors'][0].get('Message')}"
                )
    bucket_fs.invalidate_cache()
