"""Is an upload complete? When nothing about it has changed for a while, or when its marker says so."""

import errno
import fcntl
import hashlib
import logging
import os
import signal
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from flows.intake import drops
from flows.intake.options import Params

log = logging.getLogger(__name__)

TEMPORARY = (
    *(".part", ".partial", ".filepart", ".crdownload", ".download", ".opdownload", ".upload", ".uploading"),
    *(".tmp", ".temp", ".swp", "~"),
)
"""Endings that browsers, sync programs and editors give a file until it is whole."""
HARMLESS = (".ds_store", ".directory", ".localized", ".nomedia", ".picasa.ini", ".thumbnails", ".gitkeep")
"""Hidden names that lie beside photos for good."""
JUNK = ("thumbs.db", "desktop.ini", "ehthumbs.db")
SETTINGS = ("subject.yaml", "order.yaml")


@dataclass(frozen=True)
class Scan:
    """What can be seen of a drop without opening anything.

    Attributes:
        files: regular files by their path within the drop; a zip is the one file of itself.
        odd: what is neither a folder nor a regular file (links, pipes, devices), or cannot be looked at.
        signature: changes whenever a file is written, added, removed or renamed.
    """

    files: dict[str, os.stat_result]
    odd: dict[str, str]
    signature: str
    newest_s: float

    @property
    def size_bytes(self) -> int:
        return sum(about.st_size for about in self.files.values())


def scan(drop: Path, max_files: int) -> Scan:
    """Look at a drop; stops after `max_files` and one more."""
    about = os.lstat(drop)
    files: dict[str, os.stat_result] = {}
    odd: dict[str, str] = {}
    lines = [f"{stat.S_IFMT(about.st_mode)} {about.st_size} {about.st_mtime_ns}"]
    newest_s = about.st_ctime  # kept out of the signature: taking a drop renames it
    if stat.S_ISREG(about.st_mode):
        files[drop.name] = about
    elif not stat.S_ISDIR(about.st_mode):
        odd[drop.name] = _kind(about)
    else:
        for path, below in _below(drop):
            if isinstance(below, str):
                odd[path] = below
                continue
            newest_s = max(newest_s, below.st_ctime)
            lines.append(f"{path}\0{below.st_size} {below.st_mtime_ns} {below.st_ctime_ns} {below.st_ino}")
            if stat.S_ISREG(below.st_mode):
                files[path] = below
            elif not stat.S_ISDIR(below.st_mode):
                odd[path] = _kind(below)
            if len(files) > max_files:
                break
    digest = hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape"))
    return Scan(files, odd, digest.hexdigest(), newest_s)


def _below(folder: Path) -> Iterable[tuple[str, os.stat_result | str]]:
    """Everything below a folder with what lstat says, or with the words for why it cannot."""
    refused: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=refused.append):
        for name in (*folders, *names):
            path = Path(place, name)
            relative = path.relative_to(folder).as_posix()
            try:
                yield relative, os.lstat(path)
            except FileNotFoundError:
                yield relative, "just gone"
            except OSError as error:
                yield relative, str(error.strerror)
        while refused:
            closed = refused.pop()
            relative = Path(closed.filename).relative_to(folder).as_posix()
            yield relative, f"cannot be opened ({closed.strerror})"


def _kind(about: os.stat_result) -> str:
    return "a link, not a file" if stat.S_ISLNK(about.st_mode) else "a pipe or device, not a file"


@dataclass
class Settling:
    """Remembers from look to look since when each drop is as it is."""

    seen: dict[str, tuple[str, float]] = field(default_factory=dict)  # name -> signature, monotonic seconds
    told: dict[str, str] = field(default_factory=dict)

    def complete(self, inbox: Path, options: Params) -> list[tuple[Path, Scan]]:
        """Drops that are whole, each with what was seen of it."""
        found, present = [], set()
        for drop in sorted(inbox.iterdir()) if inbox.is_dir() else []:
            if drop.name in drops.RESERVED or is_temporary(drop.name) or drop.suffix == ".ready":
                continue
            if drop.name.lower() in (*JUNK, *HARMLESS):
                continue
            present.add(drop.name)
            try:
                seen = scan(drop, options.max_files)
                if self._is_complete(drop, seen, options.settle_s):
                    found.append((drop, seen))
            except FileNotFoundError:  # renamed at this very moment
                self.seen.pop(drop.name, None)
        for name in set(self.seen) - present:
            del self.seen[name]
        return found

    def settled(self, name: str, signature: str, settle_s: float) -> bool:
        """Whether `name` has had this signature for long enough."""
        now = time.monotonic()
        before, since = self.seen.get(name, ("", now))
        if before != signature:
            since = now
        self.seen[name] = (signature, since)
        return now - since >= settle_s

    def _is_complete(self, drop: Path, seen: Scan, settle_s: float) -> bool:
        settled = self.settled(drop.name, seen.signature, settle_s)
        if _is_marked(drop, seen):
            return True
        if not settled or (drop.is_dir() and not photos_in(seen.files) and not seen.odd):
            return False  # a folder that was only just made is not refused: its photos are about to come
        if waiting := _still_coming(drop, seen):
            self._say(drop.name, waiting)
            return False
        return True

    def _say(self, name: str, waiting: str) -> None:
        if self.told.get(name) != waiting:
            log.info(
                "inbox: %s waits: %s seems to be still coming; if not, delete it or make %s.ready",
                *(name, waiting, name),
            )
            self.told[name] = waiting


def is_temporary(name: str) -> bool:
    """Whether a name says that its file is not whole yet, or not meant for us."""
    lower = name.lower()
    if lower in HARMLESS or lower.startswith("._") or not lower.strip("."):
        return False
    return name.startswith(".") or lower.endswith(TEMPORARY)


def photos_in(names: Iterable[str]) -> list[str]:
    """Names of what may be photos: neither hidden, nor settings."""
    return [
        name
        for name in names
        if not any(part.startswith(".") and part.strip(".") for part in name.split("/"))
        and not name.lower().endswith((".yaml", ".yml", *JUNK))
    ]


def _is_marked(drop: Path, seen: Scan) -> bool:
    """A marker that is older than anything in the drop is an earlier upload's."""
    try:
        return os.lstat(drops.marker_of(drop)).st_ctime >= seen.newest_s
    except OSError:  # there is none, or with ".ready" its name would be too long for one
        return False


def _still_coming(drop: Path, seen: Scan) -> str | None:
    """A file that an upload seems to be at, although nothing has changed for a while."""
    for name in seen.files:
        if any(is_temporary(part) for part in name.split("/")):
            return name
        if _open_for_writing(drop / name if drop.is_dir() else drop):
            return name
    return None


def _open_for_writing(path: Path) -> bool:
    """Ask the kernel for a read lease, which it refuses while anybody writes; False where it knows no leases."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)  # ignored by default, unlike SIGIO
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(file)
    return False
