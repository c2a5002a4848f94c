"""Subjects that another machine has removed: their bytes leave this machine as well, and the audit log comes together."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flows import timings
from flows.lock import held
from flows.store import objects
from flows.workspace import SubjectFolder, Workspace, delete
from tasks.shared.errors import UserError
from tasks.shared.folders import staged_file

log = logging.getLogger(__name__)

LOG = "data/removed.jsonl"
"""The audit log: a line for each subject that was removed everywhere."""


@contextmanager
def cleared(workspace: Workspace, names: Iterable[str]) -> Iterator[None]:
    """Within it git takes away the texts of some subjects; afterwards their objects and folders are gone from here.

    What they were made of is read before, while the texts that say so are there. A subject that is in use here is left,
    with a word about it: nothing is taken from under a run.
    """
    leaving: dict[str, tuple[SubjectFolder, set[str]]] = {}
    for name in names:
        folder = workspace.subjects_folder / name
        if folder.exists():
            subject = SubjectFolder(workspace, folder)
            leaving[name] = subject, objects.of_all(subject)
    yield
    for name, (subject, doomed) in leaving.items():
        try:
            with held(subject.lock_file, busy=f"{name}: a run of this subject is going on"):
                with objects.cache(workspace) as stores:
                    gone = objects.remove(stores, doomed, objects.needed(workspace, without={}))
                timings.forget(workspace, name)
                delete(subject.folder)
        except UserError as error:
            log.warning(
                "%s: removed by another machine, but not here: %s; delete %s", name, error, subject.folder
            )
        else:
            log.info("%s: removed by another machine; %d objects left this one's cache", name, gone.found)


def removed(folder: Path) -> list[str]:
    """Lines of the audit log in a checkout."""
    path = folder / LOG
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def note(folder: Path, lines: Iterable[str]) -> None:
    """Add the lines that the audit log lacks."""
    known = removed(folder)
    new = [line for line in lines if line not in set(known)]
    if new:
        with staged_file(folder / LOG) as fresh:
            fresh.write_text("".join(f"{line}\n" for line in [*known, *new]), encoding="utf-8")
