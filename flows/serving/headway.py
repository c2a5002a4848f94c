"""Whether a run gets on: what lies there finished, as a digest that beginning again does not change."""

import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from flows import pool
from flows.serving import lifeline
from flows.workspace import Workspace, find
from tasks.shared.errors import UserError

log = logging.getLogger(__name__)

LOOKS = 20  # in the time that work may stand still


def mark(parameters: dict[str, Any]) -> str:
    """Digest of what a run would not do again: recorded stages, and what unfinished ones keep to go on from.

    Args:
        parameters: of the run: `project`, and `name` where it is about one subject; else it is about all of them.
    """
    workspace = _workspace(parameters)
    return mark_of(workspace, [parameters["name"]] if parameters.get("name") else workspace.subjects())


def is_local(parameters: dict[str, Any]) -> bool:
    """Whether a run gets on here; a night with a pool waits for its workers, as long as `workers` says."""
    return bool(parameters.get("name")) or pool.options(_workspace(parameters)).pool is None


def mark_of(workspace: Workspace, names: Iterable[str]) -> str:
    """`mark` of several subjects."""
    total = hashlib.sha256()
    for folder in sorted({folder for one in names for folder in _folders(workspace, one)}):
        total.update(f"{folder}\n".encode())
        with contextlib.suppress(FileNotFoundError):
            total.update((folder / "dvc.lock").read_bytes())
        for path in sorted(_kept(folder)):
            total.update(f"{path}\n".encode())
    return total.hexdigest()[:16]


@contextlib.contextmanager
def required(
    marked: Callable[[], str], within_h: float | None, end: Callable[[], None] = lifeline.end_at_once
) -> Iterator[None]:
    """Call `end` when the work of this block stands still for too long, as behind a device or a disk that hangs.

    Its heartbeats say nothing about that: another thread sends them. A process that was ended is begun again by whoever
    sees that it has died, and given up when that does not help.

    Args:
        marked: how far the work has come.
        within_h: hours without a change of it; None: any number.
    """
    if within_h is None:
        yield
        return
    over, patience_s = threading.Event(), 3600 * within_h

    def watch() -> None:
        seen, since = None, 0.0  # a short run is never looked at: of a large fleet a look takes seconds
        while not over.wait(patience_s / LOOKS):
            now = marked()
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since >= patience_s:
                log.error("nothing has got on for %g h: ended (params.yaml: serve.hung_after_h)", within_h)
                end()
                return

    threading.Thread(target=watch, name="headway", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _workspace(parameters: dict[str, Any]) -> Workspace:
    project = parameters.get("project")
    return Workspace(Path(project)) if project else find()


def _folders(workspace: Workspace, name: str) -> Iterator[Path]:
    with contextlib.suppress(UserError):  # its own run says what is wrong with it
        subject = workspace.subject(name)
        yield subject.folder
        yield subject.prior


def _kept(folder: Path) -> Iterator[Path]:
    """Checkpoints and pictures of stages at work; their names tell how far these have come."""
    # one may be taken away right now: what is seen then differs, and so it should
    with contextlib.suppress(FileNotFoundError):
        yield from (path for path in folder.glob(".work/*/**/*") if not path.name.startswith("."))
