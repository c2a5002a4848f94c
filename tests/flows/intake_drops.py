"""What the tests of the intake share: photos, drops, and the API's promise in a dictionary."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows import posting
from flows.intake import drops
from flows.intake.options import Params
from flows.workspace import Workspace

NOW = Params(settle_s=0)


class Runs:
    """A stand-in of the API's promise: one run per key."""

    def __init__(self) -> None:
        self.by_key: dict[str, str] = {}
        self.posts: list[str] = []
        self.away = False
        self.file: Path | None = None  # notes the keys, for what a process that was killed had posted

    def post(self, workspace: Workspace, name: str, attempt: int = 0, under: str | None = None) -> str:
        if self.away:
            raise ConnectionError("refused")
        key = under or posting.key(workspace.subject(name), attempt)
        self.posts.append(name)
        if self.file:
            with open(self.file, "a") as file:
                file.write(f"{key}\n")
        return self.by_key.setdefault(key, f"run-{len(self.by_key)}-{name}")

    @property
    def names(self) -> list[str]:
        return sorted(run.split("-", 2)[2] for run in self.by_key.values())


def photos(folder: Path, seed: int = 0, count: int = 2) -> Path:
    """A folder of small photos that the gate lets pass."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.random.default_rng([seed, number]).integers(0, 256, (96, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def drop(box: Path, name: str, order: str | None = "class: dog\n", seed: int = 0, count: int = 2) -> Path:
    """A folder in the inbox, as a user copies it there."""
    folder = photos(box / name, seed, count)
    if order is not None:
        (folder / "subject.yaml").write_text(order)
    return folder


def zipped(folder: Path, path: Path, inside: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as package:
        for file in sorted(folder.iterdir()):
            package.write(file, inside + file.name)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def reasons(box: Path) -> dict[str, str]:
    return {place.name: (place / "reason.txt").read_text() for place in (box / "rejected").glob("*")}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    made = Runs()
    monkeypatch.setattr(posting, "post", made.post)
    return made


@pytest.fixture
def box(workspace: Workspace) -> Path:
    folder = drops.inbox(workspace)
    folder.mkdir()
    return folder
