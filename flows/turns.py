"""Long work lets short work pass: a night's run asks between two subjects whether somebody is waiting."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_waiting: list[Callable[[], None]] = []


def give_way() -> None:
    """Let more urgent work be done now, here; nothing happens outside of `dreamline serve`."""
    for work in _waiting:
        work()


@contextmanager
def offered(work: Callable[[], None]) -> Iterator[None]:
    """Have `work` done whenever the block gives way."""
    _waiting.append(work)
    try:
        yield
    finally:
        _waiting.remove(work)
