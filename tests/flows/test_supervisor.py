"""Processes that are kept running: killed, hanging, short-lived, and what they have started."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.serving.supervisor import Child, keep_running

PATIENCE_S = 120.0
CHILD = "import sys; from flows.serving import lifeline; lifeline.hold(); import time; time.sleep(600)"


def wait_for(what: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """Poll until it is true."""
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def running(process: int) -> bool:
    """Whether a process is there and no zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[tuple[subprocess.Popen, Callable[[str], int]]]:
    """A supervisor of two children, and a function that tells a child's process number."""
    told = tmp_path / "told"
    told.mkdir()
    script = f"""
import logging, sys
from flows.serving.supervisor import Child, keep_running
logging.basicConfig(level=logging.INFO)
say = "import os, pathlib; pathlib.Path('{told}', NAME).write_text(str(os.getpid())); "
keep_running([Child(n, [sys.executable, "-c", say.replace("NAME", repr(n)) + {CHILD!r}]) for n in ("one", "two")])
"""
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)

    def number(name: str) -> int:
        wait_for(lambda: (told / name).exists() and (told / name).read_text())
        return int((told / name).read_text())

    try:
        yield process, number
    finally:
        process.kill()
        process.wait()


def test_a_killed_child_is_started_again_and_the_others_are_left_alone(supervisor):
    process, number = supervisor
    one, two = number("one"), number("two")
    os.kill(one, signal.SIGKILL)
    wait_for(lambda: number("one") != one)
    assert running(number("one")) and running(two) and number("two") == two
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert not running(number("one")) and not running(two)
    assert b"one was ended by signal 9" in process.stderr.read()


def test_nothing_survives_a_killed_supervisor(supervisor):
    process, number = supervisor
    one, two = number("one"), number("two")
    process.kill()
    wait_for(lambda: not running(one) and not running(two))


def test_what_a_killed_child_has_started_ends_with_it(tmp_path: Path):
    script = f"""
import pathlib, subprocess, time
pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(subprocess.Popen(["sleep", "600"]).pid))
time.sleep(600)
"""
    child = Child("child", [sys.executable, "-c", script])
    child.start()
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    grandchild = int((tmp_path / "pid").read_text())
    os.kill(child.process.pid, signal.SIGKILL)
    child.bury()
    wait_for(lambda: not running(grandchild))
    assert child.due > time.monotonic()


def test_a_child_that_never_lives_long_is_started_ever_more_rarely(caplog):
    child = Child("child", [sys.executable, "-c", "raise SystemExit(3)"], advise=lambda: "read the manual")
    delays = []
    for _ in range(3):
        child.start()
        select.select([child.descriptor], [], [])
        child.bury()
        delays.append(child.due - time.monotonic())
    assert delays[0] < delays[1] < delays[2]
    assert "child: read the manual" in caplog.text


def test_a_child_that_hangs_is_killed_and_started_again(tmp_path: Path, caplog):
    told = tmp_path / "told"
    script = f"import os; file = open({str(told)!r}, 'a'); file.write(f'{{os.getpid()}}\\n'); file.close(); {CHILD}"
    numbers: list[str] = []

    def answers() -> bool:
        numbers[:] = told.read_text().split() if told.exists() else []
        if len(numbers) > 1:
            os.kill(os.getpid(), signal.SIGTERM)  # enough is seen
        return len(numbers) > 1

    keep_running([Child("server", [sys.executable, "-c", script], answers=answers, silent_s=1.0)])
    assert len(numbers) == 2 and not running(int(numbers[0]))
    assert "server has not answered for 1 s: killed" in caplog.text
