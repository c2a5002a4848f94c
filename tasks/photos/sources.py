"""Where photos come from: a folder, a zip, or files. Each gives names, and bytes to be read later."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasks.photos import archive, names
from tasks.photos.decode import Unreadable
from tasks.shared.errors import UserError

MOST_FILES = 10_000  # in one source; a folder of photos of one subject is far smaller
SETTINGS = (".yaml", ".yml")  # a subject.yaml or consent record that came with the photos


@dataclass(frozen=True)
class Entry:
    """One file of a source."""

    name: str  # relative to the source, as its owner wrote it: to be sorted by and shown, never a path
    read: Callable[[], bytes]  # raises Unreadable


@contextmanager
def opened(paths: Sequence[Path], max_file_bytes: int, max_total_bytes: int) -> Iterator[list[Entry]]:
    """All files of the sources, hidden ones and settings left out, as people count; archives stay open meanwhile.

    Raises:
        UserError: a source is missing, may not be read, is a damaged archive, or holds too many files.
    """
    with ExitStack() as stack:
        entries: list[Entry] = []
        for path in paths:
            try:
                if path.is_dir():
                    entries += _folder(path, max_file_bytes)
                elif archive.is_archive(path):
                    inside = stack.enter_context(archive.opened(path, max_file_bytes, max_total_bytes))
                    entries += [Entry(name, read) for name, read in inside]
                else:
                    entries.append(_file(path, path.name, max_file_bytes))
            except FileNotFoundError as error:
                raise UserError(f"{path}: no such file or folder") from error
            except OSError as error:
                raise UserError(
                    f"{error.filename or path}: cannot be read ({error.strerror or error})"
                ) from error
            if len(entries) > MOST_FILES:
                raise UserError(
                    f"{path}: more than {MOST_FILES:,} files; give the folder of one subject's photos"
                )
        photos = [entry for entry in entries if not entry.name.lower().endswith(SETTINGS)]
        yield sorted(photos, key=lambda entry: names.natural(entry.name))


def _folder(folder: Path, max_file_bytes: int) -> list[Entry]:
    """Files at any depth. Links to files are followed, links to folders are not: they may lead in circles."""
    entries: list[Entry] = []
    for place, below, files in os.walk(folder, onerror=_refuse):
        below[:] = [name for name in below if not names.is_hidden(name)]
        for name in files:
            if not names.is_hidden(name):
                path = Path(place, name)
                entries.append(_file(path, path.relative_to(folder).as_posix(), max_file_bytes))
        if len(entries) > MOST_FILES:
            break
    return entries


def _refuse(error: OSError) -> None:
    raise error


def _file(path: Path, name: str, max_file_bytes: int) -> Entry:
    os.lstat(path)  # a missing source is the caller's mistake, not a photo's

    def read() -> bytes:
        try:
            about = path.stat()
            if not stat.S_ISREG(about.st_mode):  # opening a pipe would wait for ever
                raise Unreadable("not a file")
            if about.st_size > max_file_bytes:
                raise Unreadable(archive.too_many_bytes(about.st_size, max_file_bytes))
            with open(path, "rb") as file:
                return file.read(max_file_bytes)
        except OSError as error:
            raise Unreadable(f"cannot be read ({error.strerror or error})") from error

    return Entry(name, read)
