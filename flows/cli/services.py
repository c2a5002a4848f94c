"""ui and serve: the two commands that stay, and end at Ctrl-C."""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Sequence

from rich.console import Console

from flows import prefect_api
from flows import workspace as workspaces
from flows.lock import held
from flows.serving import children, supervisor
from flows.serving.params import options
from flows.workspace import Workspace
from tasks.shared.errors import UserError

notes = Console(stderr=True, highlight=False)
LET_GO_WITHIN_S = 8.0
"""The server of a killed `serve` ends by itself, but not in no time."""


def ui(port: int) -> None:
    """Show all runs of this project until Ctrl-C."""
    workspace = workspaces.find()
    if url := os.environ.get("PREFECT_API_URL"):
        raise UserError(
            f"PREFECT_API_URL={url}: your runs are shown there; unset it to see those kept in this project"
        )
    _refuse(workspace, port)
    _keep_running(workspace, port, [])


def serve(port: int) -> None:
    """Start the server, the runner and the watcher, and keep them running until Ctrl-C."""
    workspace = workspaces.find()
    options(workspace)  # wrong ones are refused before anything starts
    given = os.environ.get("PREFECT_API_URL")
    url = given or children.api(port)
    with held(workspace.state / "serve.lock", busy="this project is served already"):
        if not given:
            _refuse(workspace, port)
        work = [children.runner(workspace, url, alone=not given), children.watcher(workspace, url)]
        _keep_running(workspace, None if given else port, work)


def _keep_running(workspace: Workspace, port: int | None, others: Sequence[supervisor.Child]) -> None:
    """Run a server of our own, unless there is no port for one, and what works with it."""
    prefect_api.set_environment(workspace, quiet=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    notes.print("starting ...")
    if port is None:
        supervisor.keep_running(others)
    else:
        threading.Thread(target=_announce, args=(workspace, port), daemon=True).start()
        try:
            supervisor.keep_running([children.server(workspace, port), *others])
        finally:
            prefect_api.announcement(workspace).unlink(missing_ok=True)
    notes.print("ended")


def _announce(workspace: Workspace, port: int) -> None:
    """Tell the user and other commands of this project about our server, once it answers."""
    path, url = prefect_api.announcement(workspace), children.api(port)
    if prefect_api.wait_until_healthy(url, lambda: True, prefect_api.STARTED_WITHIN_S):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"api": url}))
        print(url.removesuffix("/api"), flush=True)
        notes.print("Ctrl-C ends it")


def _refuse(workspace: Workspace, port: int) -> None:
    """Stop here if this project has a server, or something else has the port.

    Raises:
        UserError: says which.
    """
    if running := prefect_api.running(workspace):
        raise UserError(
            f"{running.removesuffix('/api')} shows this project already; open it, or end that command first"
        )
    deadline = time.monotonic() + LET_GO_WITHIN_S
    while (error := _taken(port)) and time.monotonic() < deadline:
        time.sleep(0.2)
    if error:
        raise UserError(f"--port {port}: in use by another program; give another one") from error


def _taken(port: int) -> OSError | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error
    return None
