"""The child's side of the supervisor: end when it ends, however that happened."""

import os
import signal
import sys
import threading
from collections.abc import Callable


def hold(end: Callable[[], None] | None = None) -> None:
    """Watch standard input, which the supervisor keeps open; when it closes, call `end` (default: end at once).

    The kernel closes it with its last holder, so also after a kill -9 of the supervisor. Nobody writes to it.
    """

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        (end or end_at_once)()

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def end_at_once() -> None:
    """End this process and what it has started, such as a transfer by DVC.

    Nothing is tidied up: whatever runs here may be killed with -9 at any moment, and is made for that.
    """
    if os.getpgrp() == os.getpid():  # as the supervisor starts its children
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)
