"""Whether a run got on before its process died: what lies there finished, as a digest that beginning again does not change."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.workspace import Workspace, find
from tasks.shared.errors import UserError


def mark(parameters: dict[str, Any]) -> str:
    """Digest of what a run would not do again: recorded stages, and what unfinished ones keep to go on from.

    Args:
        parameters: of the run: `project`, and `name` where it is about one subject; else it is about all of them.
    """
    project, name = parameters.get("project"), parameters.get("name")
    workspace = Workspace(Path(project)) if project else find()
    names = [name] if name else workspace.subjects()
    total = hashlib.sha256()
    for folder in sorted({folder for one in names for folder in _folders(workspace, one)}):
        total.update(f"{folder}\n".encode())
        with contextlib.suppress(FileNotFoundError):
            total.update((folder / "dvc.lock").read_bytes())
        for path in sorted(_kept(folder)):
            total.update(f"{path}\n".encode())
    return total.hexdigest()[:16]


def _folders(workspace: Workspace, name: str) -> Iterator[Path]:
    with contextlib.suppress(UserError):  # its own run says what is wrong with it
        subject = workspace.subject(name)
        yield subject.folder
        yield subject.prior


def _kept(folder: Path) -> Iterator[Path]:
    """Checkpoints and pictures of stages at work; their names tell how far these have come."""
    return (path for path in folder.glob(".work/*/**/*") if not path.name.startswith("."))
