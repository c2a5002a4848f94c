"""Processes that are kept running: one that ends is started again, and none outlives the supervisor."""

import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

log = logging.getLogger(__name__)

FIRST_DELAY_S, LONGEST_DELAY_S = 0.2, 30.0
HEALTHY_AFTER_S = 10.0
"""A child that lived this long is started again without a long wait."""
ENDS_WITHIN_S = 15.0
ASKED_EVERY_S = 10.0
"""Between two questions whether a child still answers."""
SILENT_S = 240.0
"""Without an answer for so long, it hangs. The first start of a server on a slow disk takes minutes as well."""


@dataclass
class Child:
    """One process: how it is started, and what became of it.

    Attributes:
        command: argument vector; reads its standard input and ends when that closes (`lifeline.hold`).
        advise: asked after a child that ended soon; what a person can do about it, if anything.
        answers: whether it still does its work, for one that can be asked; it returns soon.
        silent_s: a child that has not answered for so long is killed and started again.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    advise: Callable[[], str | None] = lambda: None
    answers: Callable[[], bool] | None = None
    silent_s: float = SILENT_S
    process: subprocess.Popen[bytes] | None = None
    descriptor: int = -1  # of the process; readable once it has ended
    started: float = 0.0  # time.monotonic()
    due: float = 0.0  # when it is to be started, as time.monotonic()
    short_lives: int = 0  # in a row
    asked: float = 0.0  # when it was asked, and when it has answered last, as time.monotonic()
    heard: float = 0.0

    def start(self) -> None:
        """Start it in a session of its own: Ctrl-C is for the supervisor alone."""
        self.process = subprocess.Popen(
            list(self.command),
            stdin=subprocess.PIPE,
            env=os.environ | self.environment,
            start_new_session=True,
        )
        self.descriptor = os.pidfd_open(self.process.pid)
        self.started = self.asked = self.heard = time.monotonic()

    @property
    def ask_in_s(self) -> float | None:
        """Seconds until it is to be asked; None: never."""
        if self.answers is None or self.process is None:
            return None
        return max(0.0, self.asked + min(ASKED_EVERY_S, self.silent_s / 2) - time.monotonic())

    def hangs(self) -> bool:
        """Ask it, if that is due; whether it has been silent for too long."""
        if self.ask_in_s != 0.0:
            return False
        assert self.answers is not None
        if self.answers():
            self.heard = time.monotonic()
        self.asked = time.monotonic()
        return self.asked - self.heard > self.silent_s

    def bury(self) -> None:
        """Note that it ended, end what it left behind, and plan its next start."""
        assert self.process is not None
        how = self._kill_group()
        lived = time.monotonic() - self.started
        self.short_lives = 0 if lived >= HEALTHY_AFTER_S else self.short_lives + 1
        delay = min(FIRST_DELAY_S * 2 ** max(0, self.short_lives - 1), LONGEST_DELAY_S)
        self.due = time.monotonic() + delay
        words = f"was ended by signal {-how}" if how < 0 else f"ended with code {how}"
        log.warning("%s %s; starting it again in %.1f s", self.name, words, delay)
        if self.short_lives and (advice := self.advise()):
            log.error("%s: %s", self.name, advice)

    def end(self, within_s: float = ENDS_WITHIN_S) -> None:
        """Ask it to end, then make it."""
        if self.process is None:
            return
        os.kill(self.process.pid, signal.SIGTERM)
        if not _readable([self.descriptor], within_s):
            log.warning("%s did not end within %g s; killed", self.name, within_s)
        self._kill_group()

    def _kill_group(self) -> int:
        """Kill what is left of it; returns how the process itself ended. Its number is ours until `wait`."""
        assert self.process is not None and self.process.stdin is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        how = self.process.wait()
        self.process.stdin.close()
        os.close(self.descriptor)
        self.process = None
        return how


def keep_running(children: Sequence[Child], begun: Callable[[], None] = lambda: None) -> None:
    """Start the children in order and start again whichever ends, until SIGTERM or Ctrl-C; then end them backwards.

    Args:
        begun: called once, when all have been started; may raise to give up.
    """
    ending, wake = os.pipe()
    os.set_blocking(wake, False)
    before = {
        number: signal.signal(number, lambda *_: os.write(wake, b"x"))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        for child in children:
            child.start()
        begun()
        while True:
            now = time.monotonic()
            for child in children:
                if child.process is None and child.due <= now:
                    child.start()
            waits = [max(0.0, child.due - time.monotonic()) for child in children if child.process is None]
            waits += [child.ask_in_s for child in children if child.ask_in_s is not None]
            patience = min(waits, default=None)
            ready = _readable([ending, *(child.descriptor for child in children if child.process)], patience)
            if ending in ready:
                return
            for child in children:
                if child.process and child.descriptor in ready:
                    child.bury()
                elif child.hangs():
                    log.error("%s has not answered for %g s: killed", child.name, child.silent_s)
                    child.bury()
    finally:
        for child in reversed(children):
            child.end()
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(ending)
        os.close(wake)


def _readable(descriptors: Sequence[int], patience_s: float | None) -> list[int]:
    return select.select(descriptors, [], [], patience_s)[0]
