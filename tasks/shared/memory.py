"""Where memory ends: how it shows, and how the same pictures are made with half of it."""

import gc
import logging
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from tasks.shared.errors import Transient

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Made = TypeVar("Made")

_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")


def ended(error: BaseException) -> bool:
    """Whether this is how a library says that memory has ended: PyTorch on a GPU or CPU, numpy, Python."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _WORDS)


def free() -> None:
    """Give back what nobody refers to."""
    gc.collect()
    if (torch := sys.modules.get("torch")) and torch.cuda.is_available():
        torch.cuda.empty_cache()


def in_halves(work: Callable[[Sequence[Item]], Made], items: Sequence[Item]) -> list[Made]:
    """Do the work on all items at once or, where memory does not reach, on halves of them, and so on.

    For work whose results do not depend on who is beside them in a batch, up to the rounding of floats: the size that
    params name stays what is asked for and recorded, less is taken only where there would be nothing otherwise.

    Returns:
        What was made, part by part in order; a single part where memory reached.
    Raises:
        Transient: a single item is too much; somebody else may have the memory.
    """
    try:
        return [work(items)]
    except Exception as error:
        if not ended(error):
            raise
        if len(items) < 2:
            raise Transient(f"out of memory with a single picture at a time ({_short(error)})") from error
        log.warning("out of memory with %d pictures at once: going on with half of them", len(items))
    free()  # outside of the handler, whose traceback holds what the failed attempt had
    middle = (len(items) + 1) // 2
    return in_halves(work, items[:middle]) + in_halves(work, items[middle:])


def _short(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]
