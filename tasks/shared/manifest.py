"""`manifest.json`: written last into a stage's folder, so its presence means finished."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.shared.errors import UserError

NAME = "manifest.json"


def write(out: Path, stage: str, recipe: int, **facts: Any) -> None:
    """Record what made `out`: stage, recipe version, params and inputs, and a digest of every file.

    Holds no time and no path of the machine: equal inputs must give equal bytes.
    """
    files = {str(path.relative_to(out)): digest(path) for path in sorted(out.rglob("*")) if path.is_file()}
    files.pop(NAME, None)
    content = {"stage": stage, "recipe": recipe, **facts, "files": files}
    (out / NAME).write_text(
        json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def read(folder: Path, stage: str) -> dict[str, Any]:
    """Read the manifest of a finished stage.

    Raises:
        UserError: the folder is not finished, damaged, or of another stage.
    """
    path = folder / NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{folder}: not finished (no {NAME}); run the stage {stage!r} again") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); delete {folder} and run again") from error
    if not isinstance(content, dict) or content.get("stage") != stage:
        raise UserError(f"{path}: made by another stage than {stage!r}; check the path")
    return content


def verify(folder: Path, stage: str) -> dict[str, Any]:
    """Read the manifest and compare every file with its digest.

    Raises:
        UserError: a file is missing or changed since the stage finished.
    """
    content = read(folder, stage)
    for name, _ in faults(folder, content):
        raise UserError(
            f"{folder / name}: missing or damaged; restore it with `dvc checkout` or delete {folder}"
        )
    return content


def faults(folder: Path, content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Files that are not what a manifest says, each with the word for it: "missing" or "changed since"."""
    for name, expected in content["files"].items():
        if not (folder / name).is_file():
            yield name, "missing"
        elif digest(folder / name) != expected:
            yield name, "changed since"


def content_digest(content: dict[str, Any]) -> str:
    """Digest of what a manifest says, 32 hex digits: how a later stage names the one it read."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
