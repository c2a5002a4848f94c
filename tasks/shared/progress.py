"""How far a loop has come: a bar on a terminal, elsewhere a log line now and then."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
log = logging.getLogger(__name__)

QUIET_S, EVERY_S = 2.0, 15.0


def each(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """Pass `items` on and report on stderr.

    Args:
        what: what is being done, such as "reading photos".
        total: how many items there are.
    """
    if sys.stderr.isatty():
        from rich import progress
        from rich.console import Console

        shown = (
            *(progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn()),
            *(progress.TextColumn("{task.speed:.1f}/s"), progress.TimeRemainingColumn()),
        )
        with progress.Progress(*shown, console=Console(stderr=True), transient=True) as bar:
            yield from bar.track(items, description=what, total=total)
        return
    began = time.monotonic()
    due = began + QUIET_S
    for done, item in enumerate(items):
        if done and time.monotonic() >= due:
            rate = done / (time.monotonic() - began)
            log.info("%s: %d of %d, %.1f/s, %.0f s left", what, done, total, rate, (total - done) / rate)
            due = time.monotonic() + EVERY_S
        yield item
