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
        from rich.console import Console
        from rich.progress import track

        yield from track(items, what, total=total, console=Console(stderr=True), transient=True)
        return
    due = time.monotonic() + QUIET_S
    for done, item in enumerate(items):
        if time.monotonic() >= due:
            log.info("%s: %d of %d", what, done, total)
            due = time.monotonic() + EVERY_S
        yield item
