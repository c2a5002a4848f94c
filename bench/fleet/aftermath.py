"""What a disturbed fleet looks like afterwards: its runs, its bytes beside an undisturbed one's, what was left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections import Counter
from pathlib import Path
from typing import Any

from flows.workspace import Workspace


def all_runs() -> list[Any]:
    """Every flow run that the server knows."""
    from prefect.client.orchestration import get_client

    found: list[Any] = []
    with get_client(sync_client=True) as client:
        while page := client.read_flow_runs(limit=200, offset=len(found)):
            found += page
    return found


def unfinished(names: list[str]) -> list[str]:
    """Subjects without exactly one finished run, and runs that are still going on."""
    found = [run for run in all_runs() if not run.auto_scheduled]
    finished = Counter(run.name for run in found if run.state.is_completed())
    return [f"{name}: {finished[name]} finished runs" for name in names if finished[name] != 1] + [
        f"{run.name}: {run.state.name}" for run in found if not run.state.is_final()
    ]


def repeats(workspace: Workspace, name: str) -> list[str]:
    """Stages that were begun more than once."""
    log = workspace.subjects_folder / name / ".work" / "calls.log"
    seen = Counter(log.read_text().split() if log.exists() else [])
    return [stage for stage, times in seen.items() for _ in range(times - 1)]


def compare(calm: Workspace, stormy: Workspace) -> list[str]:
    """Files that differ; times are in none but the history."""

    def files(workspace: Workspace) -> dict[str, bytes]:
        folders = [workspace.subjects_folder, workspace.root / "data" / "class_prior"]
        return {
            str(path.relative_to(workspace.root)): path.read_bytes()
            for folder in folders
            for path in folder.rglob("*")
            if path.is_file() and ".work" not in path.parts and path.name != "history.jsonl"
        }

    one, other = files(calm), files(stormy)
    return [
        f"{name}: differs" for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)
    ]


def left_behind(workspace: Workspace) -> list[str]:
    """Half-made files and held locks."""
    half = [
        str(path.relative_to(workspace.root))
        for pattern in (".*.new", ".*.old", ".*.adding")
        for path in (workspace.root / "data").rglob(pattern)
    ]
    for lock in [
        *workspace.root.glob("data/*/*/.work/lock"),
        *(path for path in workspace.state.rglob("*.lock") if path.name not in ("serve.lock", "runner.lock")),
    ]:
        with open(lock, "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                half.append(f"{lock}: held")
    return [f"{what}: left behind" for what in half]


def left_running(workspace: Workspace, port: int) -> list[str]:
    """Processes that outlived `serve`."""
    marks = {str(workspace.root), str(port)}
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = set(entry.read_bytes().decode(errors="replace").split("\0"))
            if marks & words and int(entry.parent.name) != os.getpid():
                found.append(f"{' '.join(sorted(words))[:120]}: outlived serve")
    return found
