"""The stages of a dvc.yaml as calls: dvc.yaml is the only place that says how stages are wired."""

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.store import repository
from flows.workspace import Workspace
from tasks.shared.errors import UserError


@dataclass(frozen=True)
class Stage:
    """One stage, resolved: what DVC runs as a command and flows call in-process.

    Attributes:
        file: its dvc.yaml.
        module: what `python -m` runs, such as "tasks.sample".
        paths: arguments of the module's `run`, absolute.
        subject_file: value of --subject, if any.
        needs: absolute paths of its inputs.
        makes: absolute paths of its outputs.
        keys: per settings file the dotted keys that DVC tracks for it.
        loaded: DVC's own object of it, which reading the file again would make once more.
    """

    name: str
    file: Path
    module: str
    paths: dict[str, Path]
    subject_file: Path | None
    needs: tuple[Path, ...]
    makes: tuple[Path, ...]
    keys: dict[Path, tuple[str, ...]]
    loaded: Any = field(default=None, compare=False, repr=False)

    @property
    def target(self) -> str:
        """How DVC calls it."""
        return f"{self.file}:{self.name}"


def read(workspace: Workspace, file: Path) -> list[Stage]:
    """All stages of a dvc.yaml in file order, which is the order in which they run.

    Raises:
        UserError: the file or what it refers to is wrong.
    """
    with repository.calls(workspace) as repo:
        return [resolved(file, loaded) for loaded in repo.stage.load_all(str(file))]


def resolved(file: Path, loaded: Any) -> Stage:
    """A stage as DVC has loaded it from `file`.

    Raises:
        UserError: its command is none of ours.
    """
    folder, name, command = file.parent, loaded.name, loaded.cmd
    words = shlex.split(command)
    if words[:2] != ["python", "-m"] or len(words) < 3 or len(words) % 2 == 0:
        raise UserError(
            f"{file}: {name}: cmd must read `python -m <module> --<input> <path> ...`, got {command!r}"
        )
    flags = dict(zip(words[3::2], words[4::2]))
    if bad := [flag for flag in flags if not flag.startswith("--")]:
        raise UserError(f"{file}: {name}: cmd: expected a --flag, got {bad[0]!r}")
    paths = {flag.removeprefix("--"): (folder / value).resolve() for flag, value in flags.items()}
    subject_file = paths.pop("subject", None)
    told, needed = ([dep for dep in loaded.deps if hasattr(dep, "params") is has] for has in (True, False))
    return Stage(
        name=name,
        file=file,
        module=words[2],
        paths=paths,
        subject_file=subject_file,
        needs=tuple(Path(dep.fs_path) for dep in needed),
        makes=tuple(Path(out.fs_path) for out in loaded.outs if not (out.is_metric or out.is_plot)),
        keys={Path(os.path.normpath(dep.fs_path)): tuple(dep.params) for dep in told},
        loaded=loaded,
    )
