"""ui and serve: the two commands that stay, and end at Ctrl-C."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from flows import prefect_api
from flows import workspace as workspaces
from flows.workspace import Workspace
from tasks.shared.errors import UserError

notes = Console(stderr=True, highlight=False)


def ui(port: int) -> None:
    """Show all runs of this project until Ctrl-C."""
    workspace = workspaces.find()
    if url := os.environ.get("PREFECT_API_URL"):
        raise UserError(
            f"PREFECT_API_URL={url}: your runs are shown there; unset it to see those kept in this project"
        )
    with _server(workspace, port) as server:
        server.wait()


def serve(port: int) -> None:
    """Offer the deployments until Ctrl-C."""
    workspace = workspaces.find()
    prefect_api.set_environment(workspace, quiet=False)
    if os.environ.get("PREFECT_API_URL"):
        _deploy(workspace)
        return
    with _server(workspace, port):
        os.environ["PREFECT_API_URL"] = _api(port)
        _deploy(workspace)


def _deploy(workspace: Workspace) -> None:
    os.chdir(workspace.root)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from flows import deployments

    deployments.run(workspace)


def _api(port: int) -> str:
    return f"http://127.0.0.1:{port}/api"


@contextmanager
def _server(workspace: Workspace, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Prefect's server with its page and its schedules, on this machine only."""
    if running := prefect_api.running(workspace):
        raise UserError(
            f"{running.removesuffix('/api')} shows this project already; open it, or end that command first"
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserError(f"--port {port}: in use by another program; give another one") from error
    prefect_api.set_environment(workspace, quiet=False)
    notes.print("starting Prefect's server ...")
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PREFECT_API_URL": _api(port)},
        start_new_session=True,
    )
    announcement = prefect_api.announcement(workspace)
    try:
        if not prefect_api.wait_until_healthy(_api(port), lambda: server.poll() is None, 120):
            raise UserError(f"Prefect's server did not start on port {port}; its words are above")
        announcement.parent.mkdir(parents=True, exist_ok=True)
        announcement.write_text(json.dumps({"api": _api(port)}))
        print(f"http://127.0.0.1:{port}", flush=True)
        notes.print("Ctrl-C ends it")
        yield server
    except KeyboardInterrupt:
        notes.print("ended")
    finally:
        announcement.unlink(missing_ok=True)
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
