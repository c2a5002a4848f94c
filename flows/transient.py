"""What may pass by itself: the network, memory that somebody else had, a worker that was lost. Never a bad photo."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from tasks.shared import memory
from tasks.shared.errors import Transient, UserError

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

_NETWORK = {
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.EPIPE,
    errno.ETIMEDOUT,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENETDOWN,
}
_CLIENTS = {  # what the libraries call it; by name, so that none must be imported to ask
    "TransportError",  # httpx, the Hub's and Prefect's client
    "ServerDisconnectedError",
    "ClientConnectionError",
    "ConnectTimeoutError",
    "EndpointConnectionError",
    "ReadTimeoutError",
    "IncompleteRead",
    "gaierror",
}


def reason(error: BaseException) -> str | None:
    """Why another attempt may do better, in plain words; None where it would not.

    What a user must mend is never tried again, whatever caused it.
    """
    for cause in _causes(error):
        if isinstance(cause, UserError):
            return None
        if isinstance(cause, Transient):
            return str(cause)
        if memory.ended(cause):
            return f"out of memory ({_short(cause)})"
        if _is_network(cause):
            return f"the network: {_short(cause)}"
    return None


def waited_for(again_after_s: Sequence[float], call: Callable[[], Answer]) -> Answer:
    """Call, and again after each of some waits while what goes wrong is Transient; the last attempt's error is raised."""
    for wait_s in again_after_s:
        try:
            return call()
        except Transient as error:
            log.warning("%s; again in %g s", error, wait_s)
            time.sleep(wait_s)
    return call()


def words(error: BaseException) -> str:
    """An error as a person reads it in a report."""
    if isinstance(error, UserError | Transient):
        return str(error)
    return reason(error) or f"{type(error).__name__}: {_short(error)} (a defect; the log has its traceback)"


def _is_network(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError) and error.errno in _NETWORK:
        return True
    return any(kind.__name__ in _CLIENTS for kind in type(error).__mro__)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from on purpose."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__


def _short(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
