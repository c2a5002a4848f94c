"""The work of every stand-in: a digest of all that the stage was given."""

import hashlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from pydantic import Field

from tasks.shared import manifest, params
from tasks.shared.errors import Transient, UserError
from tasks.shared.folders import staged
from tasks.shared.settings import Settings


class Params(params.Params):
    """Two parameters, as a stage's section."""

    seed: int = Field(default=0, ge=0, description="seed")
    strength: float = Field(default=1.0, description="any number")


def digest(paths: dict[str, Path]) -> str:
    """Digest of the contents of some folders or files."""
    found = hashlib.sha256()
    for name, path in sorted(paths.items()):
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                found.update(f"{name}:{file.name}:".encode() + file.read_bytes())
    return found.hexdigest()


def make(stage: str, out: Path, settings: Settings, told: dict[str, Any], **inputs: Path) -> None:
    """Write the stage's output; misbehaves when the environment says so, for tests of faults."""
    options, recipe = settings.section(Params, stage), settings.recipe(stage)
    _log(out, stage)
    time.sleep(float(os.environ.get("STANDIN_SECONDS", "0")))
    with staged(out) as folder:
        content = {"options": options.model_dump(), "recipe": recipe, "told": told, "inputs": digest(inputs)}
        (folder / "result.json").write_text(json.dumps(content, sort_keys=True))
        time.sleep(float(os.environ.get("STANDIN_SECONDS", "0")))  # half written for so long
        if os.environ.get("STANDIN_KILL") == stage:
            os.kill(os.getpid(), signal.SIGKILL)
        if os.environ.get("STANDIN_FULL") == stage:
            with open("/dev/full", "w") as full:
                full.write("x" * 100_000)
        _stumble(out, stage)
        if _poisoned(out, stage):
            return
        extra(stage, folder)
        manifest.write(folder, stage, recipe)


def extra(stage: str, folder: Path) -> None:
    """What DVC and the report read of the real stages."""
    if stage == "fine_tune":
        (folder / "curve.json").write_text('[{"step": 1, "loss": 0.5}]')
    if stage == "evaluate":
        (folder / "metrics.json").write_text('{"dino": 0.5}')
    if stage == "report":
        (folder / "index.html").write_text("<html></html>")


def _log(out: Path, stage: str) -> None:
    """Count calls, outside every output."""
    log = out.parent / ".work" / "calls.log"
    log.parent.mkdir(exist_ok=True)
    with open(log, "a") as file:
        file.write(stage + "\n")


def _stumble(out: Path, stage: str) -> None:
    """Fail transiently while the file `.work/stumble_<stage>` holds a number above 0."""
    path = out.parent / ".work" / f"stumble_{stage}"
    if path.exists() and (left := int(path.read_text())) > 0:
        path.write_text(str(left - 1))
        raise Transient("the network is away for a moment")


def _poisoned(out: Path, stage: str) -> bool:
    """Fail for good, this subject alone, as the file `.work/poison_<stage>` says; True: leave out the manifest."""
    path = out.parent / ".work" / f"poison_{stage}"
    poison = path.read_text() if path.exists() else ""
    if poison == "mistake":
        raise UserError(f"{stage}: the third photo shows nobody; replace it")
    if poison == "defect":
        raise ZeroDivisionError("division by zero")
    return poison == "half"
