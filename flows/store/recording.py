"""A stage that is finished gets recorded, although its process may be killed before, or while, it does that.

Between a stage's last rename and the end of DVC's commit lies a moment in which a kill -9 would cost the whole stage, and
DVC rewrites dvc.lock and its table of locks in place, so half of one can be left. Before a stage works, a note says what
it is to be made of; whoever comes next, with the lock of that folder, reads it and completes what is missing.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from flows.lock import held
from flows.store.pipeline import Stage
from flows.workspace import Workspace, write_if_changed
from tasks.shared import manifest, params
from tasks.shared.errors import UserError
from tasks.shared.folders import staged_file


def begin(stage: Stage) -> None:
    """Note what a stage is about to work on, and what lies there now."""
    lock = stage.file.with_suffix(".lock")
    note = {
        "stage": stage.name,
        "inputs": inputs_digest(stage),
        "before": _outputs(stage),
        "lock": lock.read_text(encoding="utf-8") if lock.exists() else None,
    }
    with staged_file(_note(stage.file.parent)) as fresh:
        fresh.write_text(json.dumps(note), encoding="utf-8")


def end(stage: Stage) -> None:
    """Note that it has been recorded."""
    _note(stage.file.parent).unlink(missing_ok=True)


def left(folder: Path) -> bool:
    """Whether a stage of this folder was begun, and is not known to be recorded."""
    return _note(folder).exists()


def heal(folder: Path) -> None:
    """Put dvc.lock back as it was before a stage that was not recorded. For the holder of the folder's lock.

    Half of the new text may read well, so it is not asked whether it does; `pending` finds what was finished.
    """
    note, lock = _read(folder), folder / "dvc.lock"
    if note is None:
        return
    if note["lock"] is None:
        lock.unlink(missing_ok=True)
    else:
        write_if_changed(lock, note["lock"])


def pending(stages: Sequence[Stage]) -> Stage | None:
    """The stage that was finished and not recorded, if its output is that of its present inputs."""
    for stage in stages:
        note = _read(stage.file.parent)
        if note and note["stage"] == stage.name:
            with suppress(UserError, OSError):
                for path in stage.makes:
                    manifest.verify(path, stage.name)
                if note["before"] != _outputs(stage) and note["inputs"] == inputs_digest(stage):
                    return stage
            end(stage)
    return None


def inputs_digest(stage: Stage) -> str:
    """Digest of all that DVC compares: the call, the manifests of its inputs, the values of its keys."""
    values = {str(path): _values(path, keys) for path, keys in stage.keys.items()}
    told: list[Any] = [stage.module, {name: str(path) for name, path in stage.paths.items()}, values]
    found = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode())
    for path in stage.needs:
        file = path / manifest.NAME if path.is_dir() else path
        found.update(file.read_bytes())
    return found.hexdigest()


def heal_table(workspace: Workspace) -> None:
    """Remove DVC's table of locks if a killed process left half of it; nobody of us is in it now."""
    table = workspace.root / ".dvc" / "tmp" / "rwlock"
    with held(workspace.state / "store.lock"):
        try:
            whole = not table.exists() or isinstance(json.loads(table.read_text(encoding="utf-8")), dict)
        except ValueError:
            whole = False
        if not whole:
            table.unlink(missing_ok=True)


def _outputs(stage: Stage) -> list[str | None]:
    """Digests of the manifests of what it makes; None where there is none."""
    files = [path / manifest.NAME for path in stage.makes]
    return [manifest.digest(file) if file.exists() else None for file in files]


def _values(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    tree, found = params.read_yaml(path), dict[str, Any]()
    for key in keys:
        value: Any = tree
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        found[key] = value
    return found


def _note(folder: Path) -> Path:
    return folder / ".work" / "recording.json"


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        return json.loads(_note(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
