"""One fleet in a bare repository, and clones of it: two machines on one disk."""

import subprocess
from pathlib import Path

from flows.store import remote, repository, staleness
from flows.workspace import Workspace

from .conftest import PARAMS, new_subject, new_workspace

SHARED = "sharing: {git_remote: origin}\n"


def run_git(root: Path, *arguments: str) -> str:
    person = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", *person, *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def transfer(
    workspace: Workspace, verb: str, wanted: list[str], deadline_s: float, force: bool = False
) -> str:
    """For `remote.transfer`: DVC without the two seconds of a process of its own; test_remote has that."""
    with repository.calls(workspace) as repo:
        if wanted and verb == "push":
            repo.push(targets=wanted)
        elif wanted:
            repo.pull(targets=wanted, force=force)
    return "done"


def new_hub(folder: Path) -> Path:
    """A bare repository whose main holds rex, not yet run; bytes go to a folder beside it."""
    first = new_workspace(folder / "first")
    first.params_file.write_text(PARAMS + SHARED)
    config = first.root / ".dvc" / "config"
    config.write_text(config.read_text().replace("../.dreamline/remote", str(folder / "bytes")))
    make(first, "rex")
    transfer(first, "push", remote.targets(first, ["rex"]), 60)
    run_git(first.root, "add", "-A")
    run_git(first.root, "commit", "-qm", "project")
    run_git(folder, "clone", "-q", "--bare", str(first.root), "hub.git")
    return folder / "hub.git"


def clone(hub: Path, name: str) -> Workspace:
    run_git(hub.parent, "clone", "-q", str(hub), name)
    return Workspace(hub.parent / name)


def make(workspace: Workspace, name: str) -> None:
    """A subject as `dreamline add` leaves it."""
    new_subject(workspace, name)
    staleness.forecasts(workspace, [name])  # records the photos
