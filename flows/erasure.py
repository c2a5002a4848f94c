"""Remove a subject everywhere: its folder, and every object of all its versions that nobody else uses.

In the cache and at the remote an object is shared by content, so what another subject or a class prior refers to stays.
What was removed is written to an audit log as digests: enough to prove it, too little to bring anything back. Git keeps
what was committed to it (texts and digests, no picture); `git filter-repo` is for those who must erase these too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from flows import history
from flows.lock import held
from flows.store import remote, repository
from flows.workspace import SubjectFolder, delete
from tasks.shared import params
from tasks.shared.errors import UserError
from tasks.shared.folders import append_line

LOG = "data/removed.jsonl"
PATIENCE_S = 30.0  # with a remote that does not answer


@dataclass(frozen=True)
class Record:
    """One line of the audit log."""

    when: str
    subject: str
    versions: int
    objects: int  # removed from the cache, the remote, or both
    kept: int  # left, because others use them
    remote: str | None  # its name; None: there is none
    digest: str  # SHA-256 of the removed objects' names, sorted, one a line


def everywhere(subject: SubjectFolder) -> Record:
    """Remove the subject, its objects, and say what was removed.

    The objects go first and the folder last: after an interruption the same command goes on.

    Raises:
        UserError: a run is going on, or the remote cannot be reached; the folder is still there then.
    """
    workspace = subject.workspace
    with held(subject.lock_file, busy=f"{subject.name}: a run of this subject is going on"):
        own, others = _of_subject(subject), _of_others(subject)
        with repository.calls(workspace) as repo:
            asked = repo.config["core"].get("remote")
        if asked:
            remote.probe(workspace, PATIENCE_S)  # DVC itself would wait for minutes
        with repository.calls(workspace) as repo:
            stores = [repo.cache.local, *([repo.cloud.get_remote_odb()] if asked else [])]
            mine, theirs = _expanded(stores, own), _expanded(stores, others)
            doomed, removed = sorted(mine - theirs), 0
            for oid in doomed:
                found = [store for store in stores if store.exists(oid)]
                for store in found:
                    store.delete(oid)
                removed += bool(found)
            left = [oid for oid in doomed for store in stores if store.exists(oid)]
        if left:
            raise UserError(f"{subject.name}: {len(left)} objects are still there; run the command again")
        record = Record(
            datetime.now(UTC).isoformat(timespec="seconds"),
            subject.name,
            len(history.read(subject)),
            removed,
            len(mine & theirs),
            asked,
            hashlib.sha256("\n".join(doomed).encode()).hexdigest(),
        )
        append_line(workspace.root / LOG, asdict(record))
        delete(subject.folder)
        return record


def _of_subject(subject: SubjectFolder) -> set[str]:
    """Names of the objects that any version of a subject refers to, folders not expanded."""
    texts = [
        path.read_text(encoding="utf-8")
        for path in (subject.folder / "dvc.lock", subject.photos_file)
        if path.exists()
    ]
    for version in history.read(subject):
        texts += [version.files[name] for name in ("dvc.lock", "photos.dvc") if name in version.files]
    return {
        oid
        for text in texts
        for oid in _outputs(params.parse_yaml(text, f"{subject.name}: a recorded version"))
    }


def _of_others(subject: SubjectFolder) -> set[str]:
    workspace = subject.workspace
    others = [workspace.subject(name) for name in workspace.subjects() if name != subject.name]
    found = {oid for other in others for oid in _of_subject(other)}
    for lock in [*workspace.root.glob("data/class_prior/*/dvc.lock"), workspace.root / "dvc.lock"]:
        if lock.exists():
            found.update(_outputs(params.read_yaml(lock)))
    return found


def _outputs(content: dict[str, Any]) -> Iterable[str]:
    """Object names of all outs of a dvc.lock or .dvc file."""
    stages = content.get("stages")
    for entry in stages.values() if isinstance(stages, dict) else [content]:
        for out in entry.get("outs") or []:
            if out.get("md5"):
                yield str(out["md5"])


def _expanded(stores: list[Any], names: Iterable[str]) -> set[str]:
    """The objects themselves and, for a folder, its files, as the first store that holds the folder lists them."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    found = set()
    for name in names:
        found.add(name)
        holder = next((store for store in stores if store.exists(name)), None)
        if name.endswith(".dir") and holder is not None:
            tree = Tree.load(holder, HashInfo("md5", name))
            found.update(info.value for _, _, info in tree if info.value)
    return found
