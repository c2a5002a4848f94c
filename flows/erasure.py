"""Remove a subject everywhere: its folder, and every object of all its versions that nobody else uses.

In the cache and at the remote an object is shared by content, so what another subject or a class prior refers to stays.
What was removed is written to an audit log as digests: enough to prove it, too little to bring anything back. Git keeps
what was committed to it (texts and digests, no picture); `git filter-repo` is for those who must erase these too.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from flows import history, timings
from flows.intake import drops
from flows.lock import held
from flows.store import departed, objects
from flows.workspace import SubjectFolder, delete
from tasks.shared.folders import append_line


@dataclass(frozen=True)
class Record:
    """One line of the audit log."""

    when: str
    subject: str
    versions: int
    objects: int  # removed from the cache, the remote, or both
    kept: int  # left, because others use them
    drops: int  # folders and zips that had made its versions, out of the inbox's done/
    remote: str | None  # its name; None: there is none
    digest: str  # SHA-256 of the removed objects' names, sorted, one a line


def everywhere(subject: SubjectFolder) -> Record:
    """Remove the subject, its objects, its drops and its name in our own records, and say what was removed.

    The objects go first and the folder last: after an interruption the same command goes on.

    Raises:
        UserError: a run is going on, or the remote cannot be reached; the folder is still there then.
    """
    workspace = subject.workspace
    with held(subject.lock_file, busy=f"{subject.name}: a run of this subject is going on"):
        with objects.opened(workspace) as stores:
            others = objects.needed(workspace, without={subject.name: None})
            removed = objects.remove(stores, objects.of_all(subject), others)
        record = Record(
            datetime.now(UTC).isoformat(timespec="seconds"),
            subject.name,
            len(history.read(subject)),
            removed.found,
            removed.kept,
            drops.forget(workspace, subject.name),
            removed.remote,
            hashlib.sha256("\n".join(removed.names).encode()).hexdigest(),
        )
        append_line(workspace.root / departed.LOG, asdict(record))
        timings.forget(workspace, subject.name)
        delete(subject.folder)
        return record
