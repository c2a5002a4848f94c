"""Fleets for the benches: projects whose stages do next to nothing, and a thousand subjects without a thousand runs."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.workspace import SubjectFolder, Workspace

REPO = Path(__file__).resolve().parent.parent.parent
STANDINS = REPO / "tests" / "flows"


@contextmanager
def importable() -> Iterator[None]:
    """The stand-in stages of the tests, for this process and those it starts."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(STANDINS), str(REPO)])
    os.environ |= {"DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    sys.path[:0] = [str(STANDINS), str(REPO)]
    try:
        yield
    finally:
        del sys.path[:2]
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def name_of(number: int) -> str:
    """ "s0007"."""
    return f"s{number:04d}"


def clones(workspace: Workspace, first: SubjectFolder, count: int) -> list[str]:
    """Finished subjects as copies of one that has run, name by name what a run of each would have left.

    The photos are the same, so that every output is: the stand-ins' work does not depend on the name. What does, is
    the name in subject.yaml and in the recorded params.
    """
    names = [name_of(number) for number in range(1, count)]
    for name in names:
        folder = workspace.subjects_folder / name
        shutil.copytree(first.folder, folder, ignore=shutil.ignore_patterns(".work"))
        for file in ("subject.yaml", "dvc.lock", "history.jsonl"):
            text = (folder / file).read_text(encoding="utf-8")
            (folder / file).write_text(text.replace(f"name: {first.name}", f"name: {name}"), encoding="utf-8")
    return names
