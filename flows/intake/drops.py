"""Where a drop is on its way: every step is one rename within data/inbox/, so it is never in two places or in none."""

import os
import secrets
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flows.workspace import Workspace
from tasks.shared.folders import staged_file

REASON = "reason.txt"
RESERVED = ("done", "rejected", REASON)
_TRIES = ".tries"


@dataclass(frozen=True)
class Taken:
    """A complete drop in a folder of its own, which moves as a whole."""

    folder: Path

    @property
    def drop(self) -> Path:
        """The folder or zip that somebody dropped."""
        return next(path for path in self.folder.iterdir() if _is_drop(path))

    @property
    def tries(self) -> int:
        """How often its acceptance has begun and not come to an end: a drop may kill its process."""
        try:
            return (self.folder / _TRIES).stat().st_size
        except FileNotFoundError:
            return 0

    def begin(self) -> None:
        """Count a try, on the disk before anything is opened."""
        with open(self.folder / _TRIES, "ab") as file:
            file.write(b"|")

    def not_its_fault(self) -> None:
        """Forget the tries."""
        (self.folder / _TRIES).unlink(missing_ok=True)


def inbox(workspace: Workspace) -> Path:
    """The folder that people drop into."""
    return workspace.root / "data" / "inbox"


def new_folder(workspace: Workspace, area: str) -> Path:
    """An empty folder in a hidden area of the inbox; names sort by arrival.

    Args:
        area: "taken" for what is complete, "staging" for what is still being written.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    folder = inbox(workspace) / f".{area}" / f"{stamp}-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    return folder


def take(workspace: Workspace, drop: Path) -> Taken:
    """Take a complete drop out of reach of whoever wrote it, with its marker if it has one."""
    taken = Taken(new_folder(workspace, "taken"))
    drop.rename(taken.folder / drop.name)
    marker = marker_of(drop)
    if os.path.lexists(marker):
        marker.rename(taken.folder / f".{marker.name}")
    return taken


def give_back(workspace: Workspace, taken: Taken) -> None:
    """Undo `take`, where nothing new lies at the drop's place."""
    place = inbox(workspace) / taken.drop.name
    if not place.exists():
        taken.drop.rename(place)
        shutil.rmtree(taken.folder)


def hand_over(workspace: Workspace, staged: Path) -> Taken:
    """A folder of `staging` that is complete, such as a download: it goes on as if it had been dropped and settled."""
    place = inbox(workspace) / ".taken" / staged.name
    place.parent.mkdir(parents=True, exist_ok=True)
    staged.rename(place)
    return Taken(place)


def all_taken(workspace: Workspace) -> list[Taken]:
    """What is on its way, in order of arrival; those that were begun often and never ended come last."""
    found = []
    for folder in sorted((inbox(workspace) / ".taken").glob("[0-9]*")):
        if any(_is_drop(path) for path in folder.iterdir()):
            found.append(Taken(folder))
        else:
            shutil.rmtree(folder)  # killed before the drop was moved in
    return sorted(found, key=lambda taken: taken.tries > 2)


def finish(workspace: Workspace, taken: Taken, subject: str) -> Path:
    """Keep a drop that has become a version of a subject."""
    taken.not_its_fault()
    place = inbox(workspace) / "done" / subject / taken.folder.name
    place.parent.mkdir(parents=True, exist_ok=True)
    return taken.folder.rename(place)


def reject(workspace: Workspace, folder: Path, name: str, reason: str) -> Path:
    """Move a drop that cannot be used aside, with the reason beside it.

    Args:
        folder: of the drop; empty where there is nothing to keep, such as objects that are not downloaded.
        name: how its owner calls it.
    """
    with staged_file(folder / REASON) as fresh:
        fresh.write_text(reason + "\n", encoding="utf-8", errors="replace")
    (folder / _TRIES).unlink(missing_ok=True)
    rejected = inbox(workspace) / "rejected"
    rejected.mkdir(parents=True, exist_ok=True)
    short = os.fsdecode(os.fsencode(name)[:200])
    number = 1
    while (rejected / f"{short}-{number}").exists():
        number += 1
    return folder.rename(rejected / f"{short}-{number}")


def _is_drop(path: Path) -> bool:
    return not path.name.startswith(".") and path.name != REASON


def marker_of(drop: Path) -> Path:
    """`rex.ready` beside `rex`, `rex.zip.ready` beside `rex.zip`: an empty file that says "complete"."""
    return drop.with_name(f"{drop.name}.ready")


def clear_staging(workspace: Workspace, older_than_s: float) -> None:
    """Remove what downloads and posts that died have left half done: bytes that their owner still has."""
    now = datetime.now(UTC).timestamp()
    for folder in (inbox(workspace) / ".staging").glob("[0-9]*"):
        newest = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
        if now - newest > older_than_s:
            shutil.rmtree(folder, ignore_errors=True)


def forget(workspace: Workspace, subject: str) -> int:
    """Delete the drops that became versions of a subject, when all that was its own must go; returns how many."""
    place = inbox(workspace) / "done" / subject
    count = len(list(place.iterdir())) if place.is_dir() else 0
    if count:
        doomed = place.with_name(f".{subject}.removed")
        place.rename(doomed)
        shutil.rmtree(doomed)
    return count
