"""Whether a run got on before its process died: what lies there finished, as a digest that beginning again does not change."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.workspace import Workspace


def mark(parameters: dict[str, Any]) -> str:
    """Digest of what a run would not do again: recorded stages, and what unfinished ones keep to go on from.

    Args:
        parameters: of the run: `project`, and `name` where it is about one subject; else it is about all of them.
    """
    workspace = Workspace(Path(parameters["project"]))
    name = parameters.get("name")
    subjects = [workspace.subject(one) for one in ([name] if name else workspace.subjects())]
    folders = {folder for subject in subjects for folder in (subject.folder, subject.prior)}
    total = hashlib.sha256()
    for folder in sorted(folders):
        total.update(f"{folder}\n".encode())
        lock = folder / "dvc.lock"
        total.update(lock.read_bytes() if lock.exists() else b"")
        for path in sorted(_kept(folder)):
            total.update(f"{path}\n".encode())
    return total.hexdigest()[:16]


def _kept(folder: Path) -> Iterator[Path]:
    """Checkpoints and pictures of stages at work; their names tell how far these have come."""
    return (path for path in folder.glob(".work/*/**/*") if not path.name.startswith("."))
