"""What runs under `dreamline serve`."""

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from flows import prefect_api
from flows.serving.supervisor import Child
from flows.workspace import Workspace

DATABASE = "PREFECT_API_DATABASE_CONNECTION_URL"


def server(workspace: Workspace, port: int) -> Child:
    """Prefect's server with its page and its schedules, on this machine only."""
    command = [sys.executable, "-m", "flows.prefect_server", str(port)]
    url = api(port)
    told = {"PREFECT_API_URL": url}
    return Child("server", command, told, lambda: damaged(workspace), lambda: prefect_api.healthy(url))


def runner(workspace: Workspace, url: str, alone: bool) -> Child:
    """Executes runs. `alone`: no other machine uses this server."""
    command = [sys.executable, "-m", "flows.serving.runner", str(workspace.root)]
    return Child("runner", [*command, *(["alone"] if alone else [])], {"PREFECT_API_URL": url})


def watcher(workspace: Workspace, url: str) -> Child:
    """Makes subjects of what comes in, and asks for their runs."""
    command = [sys.executable, "-m", "flows.serving.watcher", str(workspace.root)]
    return Child("watcher", command, {"PREFECT_API_URL": url})


def api(port: int) -> str:
    """Address of a server of our own."""
    return f"http://127.0.0.1:{port}/api"


def damaged(workspace: Workspace) -> str | None:
    """What to do about a database of Prefect's server that SQLite cannot read; None if it can."""
    path = Path(os.environ.get("PREFECT_HOME", workspace.state / "prefect")) / "prefect.db"
    if os.environ.get(DATABASE) or not path.exists():
        return None
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
            sound = database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
    except sqlite3.OperationalError:
        return None  # locked, or not readable for us: the server's own words say more
    except sqlite3.DatabaseError:
        sound = False
    if sound:
        return None
    return (
        f"{path}: damaged; end this, move it away with its -wal and -shm, and start again: only the list of "
        "past runs is lost, subjects and versions lie in data/ and in DVC"
    )
