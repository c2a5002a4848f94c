"""Folders that are finished or absent: write beside, flush, rename."""

import errno
import glob
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.shared.errors import UserError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_RIGHT = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    """Turn what the disk refuses into a UserError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise UserError(
                f"{out}: could not be written ({error.strerror}): free some disk space and run again"
            ) from error
        if error.errno in _NO_RIGHT:
            place = error.filename or out
            raise UserError(
                f"{place}: {error.strerror}; give yourself the right to read and write there"
            ) from error
        raise


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Yield an empty folder beside `out`; on success it takes the place of `out`, on an error it is removed.

    A reader never sees half of it: the old folder is moved aside and the new one renamed in. What a killed
    process left behind is removed by the next call.

    Raises:
        UserError: the disk is full, or the folder may not be written.
    """
    with _explained(out):
        yield from _staged(out)


def _staged(out: Path) -> Iterator[Path]:
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = out.with_name(f".{out.name}.new"), out.with_name(f".{out.name}.old")
    if old.exists() and not out.exists():
        old.rename(out)  # killed between the two renames of `swap`
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh.mkdir()
    try:
        yield fresh
        _flush(fresh)
        if out.exists():
            out.rename(old)
        fresh.rename(out)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        if old.exists() and not out.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Like `staged`, for a single file; several writers may be at it, the last one to finish wins.

    Each writes under a name of its own; what a killed one left behind is removed by the next.
    """
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.[0-9]*-[0-9]*.new"):
            if not _runs(int(leftover.name.split(".")[-2].split("-")[0])):
                leftover.unlink(missing_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.new")
        try:
            yield fresh
            with open(fresh, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, so it runs
    return True


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())


def read_mapping(path: Path) -> dict[str, Any]:
    """Content of a JSON file of ours; empty if it is missing, damaged or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def append_line(path: Path, content: dict[str, Any]) -> None:
    """Add a line of JSON that is on the disk afterwards; one that a crash cut short before stays a line of its own."""
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab+") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            if file.read(1) not in (b"", b"\n"):
                file.write(b"\n")
            file.write(json.dumps(content).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
