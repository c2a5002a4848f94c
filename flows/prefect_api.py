"""Which Prefect API a command talks to: the user's, a running `dreamline ui`, or this command's own."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from flows.workspace import Workspace
from tasks.shared.errors import UserError

STARTED_WITHIN_S = 240
STOPPED_WITHIN_S = 20
QUIET = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the command line has its own words
    "PREFECT_LOGGING_EXTRA_LOGGERS": "tasks,flows",  # what stages say is seen in the UI
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}
PRIVATE = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}


def set_environment(workspace: Workspace, quiet: bool = True) -> None:
    """Prefect reads its settings at import, so this comes first; what the user has set stays."""
    home = {} if os.environ.get("PREFECT_API_URL") else {"PREFECT_HOME": str(workspace.state / "prefect")}
    for key, value in (home | PRIVATE | (QUIET if quiet else {})).items():
        os.environ.setdefault(key, value)


@contextmanager
def connection(workspace: Workspace) -> Iterator[Callable[[], str]]:
    """Begin to connect, and yield a function that waits until the API answers and returns its URL.

    The wait is short when the caller first imports and loads what it needs anyway: a server of our own starts
    in a process of its own meanwhile.

    Raises:
        UserError: the API does not answer.
    """
    set_environment(workspace)
    url = os.environ.get("PREFECT_API_URL") or running(workspace)
    if url:
        yield partial(_answering, url)
    else:
        with _own_server(workspace) as wait:
            yield wait


def running(workspace: Workspace) -> str | None:
    """URL of the API of a `dreamline ui` or `serve` of this project, if one answers."""
    try:
        url = json.loads(announcement(workspace).read_text())["api"]
    except (OSError, ValueError, KeyError):
        return None
    return url if healthy(url) else None


def announcement(workspace: Workspace) -> Path:
    """Where `ui` and `serve` write their URL."""
    return workspace.state / "prefect" / "running.json"


def healthy(url: str) -> bool:
    """Whether a Prefect API answers at `url`."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError, ValueError):
        return False


def wait_until_healthy(url: str, alive: Callable[[], bool], within_s: float) -> bool:
    """Poll until the API answers, its process dies or time is up."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and alive():
        if healthy(url):
            return True
        time.sleep(0.1)
    return False


@contextmanager
def _own_server(workspace: Workspace) -> Iterator[Callable[[], str]]:
    log_file = workspace.state / "prefect" / "server.log"
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        log = open(log_file, "wb")  # noqa: SIM115
    except OSError as error:
        raise UserError(
            f"{log_file}: cannot be written ({error.strerror}); make the folder writable"
        ) from error
    with log:
        server = subprocess.Popen(
            [sys.executable, "-m", "flows.prefect_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us; the server follows when its input closes
        )

    def wait() -> str:
        assert server.stdout is not None
        port = server.stdout.readline().decode().strip()
        url = f"http://127.0.0.1:{port}/api"
        if not port or not wait_until_healthy(url, lambda: server.poll() is None, STARTED_WITHIN_S):
            raise UserError(f"Prefect's server did not start; {log_file} says why")
        return url

    try:
        yield wait
    finally:
        assert server.stdin is not None
        if server.poll() is None:
            _drain()
        server.stdin.close()
        try:
            server.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _drain() -> None:
    """Send what Prefect's client still holds back while the server is there to take it."""
    if "prefect" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (EventsWorker, APILogWorker):
        worker.drain_all(timeout=15)


def _answering(url: str) -> str:
    if not healthy(url):
        raise UserError(f"PREFECT_API_URL={url}: does not answer; start that server, or unset it")
    return url
