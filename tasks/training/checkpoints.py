"""Checkpoints that are whole or are not used: one file each, its name carries the digest of its bytes."""

import hashlib
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tasks.shared import folders

log = logging.getLogger(__name__)

KEPT = 2  # the newest is enough unless it is damaged
_NAME = re.compile(r"step_(\d{7})-([0-9a-f]{16})\.pt")


class Checkpoints:
    """Those of one run. Runs with other params, pictures or weights have another `key` and never meet."""

    def __init__(self, work: Path, key: str, every: int = 0):
        """Look into a folder of checkpoints.

        Args:
            every: steps between two; 0: none are written.
        """
        self.root, self.folder, self.every = work, work / key[:32], every
        others = [path for path in work.glob("*") if path.is_dir() and path != self.folder]
        if others:
            log.info("checkpoints of a run with other params or pictures are left unused")

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write the state of a run whose first `step` steps are done; older checkpoints than the last two go."""
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / ".fresh.pt"
        torch.save({"step": step, **state}, fresh)
        with folders.staged_file(self.folder / f"step_{step:07d}-{_digest(fresh)}.pt") as path:
            fresh.rename(path)
        for old in self._files()[KEPT:]:
            old.unlink()

    def steps(self) -> list[int]:
        """Steps of which there is a whole checkpoint, the newest first. A damaged one is removed with a warning."""
        return [int(_NAME.fullmatch(path.name)[1]) for path in self._whole()]  # type: ignore[index]

    def load(self, device: torch.device, step: int | None = None) -> dict[str, Any] | None:
        """The checkpoint of a step, by default the newest whole one, or None."""
        for path in self._whole():
            if step is None or path.name.startswith(f"step_{step:07d}-"):
                return torch.load(path, map_location=device, weights_only=True)
        return None

    def remove(self) -> None:
        """The run is finished: forget all that was kept for going on."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _whole(self) -> Iterator[Path]:
        for path in self._files():
            if _NAME.fullmatch(path.name)[2] == _digest(path):  # type: ignore[index]
                yield path
                continue
            log.warning("checkpoint %s is damaged and is not used", path.name)
            path.unlink()

    def _files(self) -> list[Path]:
        return sorted((p for p in self.folder.glob("*.pt") if _NAME.fullmatch(p.name)), reverse=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
