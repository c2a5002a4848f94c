"""File locks that the kernel frees when their holder dies, kill -9 included."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.shared.errors import UserError


class Busy(UserError):
    """Another process holds the lock: right now, not for ever."""


@contextmanager
def held(path: Path, busy: str | None = None) -> Iterator[None]:
    """Hold the lock at `path`.

    Args:
        busy: what to tell the user when another process holds it; None waits for it instead.
    Raises:
        Busy: another process holds the lock; the message has its process id.
        UserError: the folder is not writable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - an error inside the block is not this one
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); make the folder writable") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError as error:
            file.seek(0)
            raise Busy(
                f"{busy} (process {file.read().strip() or 'unknown'}); wait for it or end it"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
