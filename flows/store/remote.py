"""Push and pull by explicit targets, with a deadline: against a dead remote DVC retries for many minutes."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from flows.workspace import Workspace
from tasks.shared import params
from tasks.shared.errors import UserError


def targets(workspace: Workspace, names: Iterable[str]) -> list[str]:
    """Everything that has been recorded of some subjects and of their class priors."""
    found: list[str] = []
    for name in names:
        subject = workspace.subject(name)
        if subject.photos_file.exists():
            found.append(str(subject.photos_file))
        for file in (subject.dvc_file, subject.prior / "dvc.yaml"):
            found += [f"{file}:{stage}" for stage in recorded(file)]
    return list(dict.fromkeys(found))


def recorded(dvc_file: Path) -> list[str]:
    """Names of the stages that a dvc.lock holds.

    Raises:
        UserError: dvc.lock is damaged.
    """
    lock = dvc_file.with_suffix(".lock")
    try:
        content = params.read_yaml(lock) if lock.exists() else {}
    except UserError as error:
        raise UserError(f"{lock}: damaged; restore it with `git checkout -- {lock}`, or delete it") from error
    return list(content.get("stages") or {})


def transfer(
    workspace: Workspace,
    verb: str,
    wanted: list[str],
    deadline_s: float,
    remote: str | None = None,
    force: bool = False,
) -> str:
    """`dvc push` or `dvc pull` of explicit targets in a process of its own, ended at the deadline.

    What is pulled is hashed, and refused where it is not what was asked for.

    Args:
        verb: "push" or "pull".
        remote: name of a DVC remote; None takes the default one.
        force: overwrite changed files in the workspace.
    Returns:
        DVC's own summary, such as "12 files pushed".
    Raises:
        UserError: the deadline passed, or what DVC complains about.
    """
    if not wanted:
        return "nothing recorded yet"
    module = "flows.store.pulling" if verb == "pull" else "flows.store.pushing"
    options = [*(["--force"] if force else []), *(["--remote", remote] if remote else [])]
    try:
        done = _process(workspace, [module, *options, *wanted], deadline_s)
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"{verb}: the remote did not finish within {deadline_s:g} s; nothing is lost, run it again, "
            "give more time with --deadline, or look at the remote in .dvc/config"
        ) from error
    if done.returncode:
        raise UserError(f"{verb}: {_complaint(done.stderr or done.stdout)}")
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing to do"


def _complaint(text: str) -> str:
    """The sentence in DVC's output that says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    said = (errors or lines or ["DVC failed without a word"])[-1]
    return said if len(errors) < 2 else f"{said} ({errors[0][:300]})"  # what the first file met says why


def probe(workspace: Workspace, deadline_s: float) -> str:
    """Whether the default remote answers; returns its address.

    Raises:
        UserError: there is none, or it does not answer within the deadline.
    """
    try:
        done = _process(workspace, ["flows.store.probe"], deadline_s)
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"remote: no answer within {deadline_s:g} s; look at .dvc/config and the network"
        ) from error
    if done.returncode:
        raise UserError(f"remote: {_complaint(done.stderr)}; look at .dvc/config and your AWS profile")
    return done.stdout.strip()


def _process(workspace: Workspace, module: list[str], deadline_s: float) -> subprocess.CompletedProcess[str]:
    """`python -m` a module of ours in the project; killed at the deadline.

    Raises:
        subprocess.TimeoutExpired: it was.
    """
    return subprocess.run(
        [sys.executable, "-m", *module],
        cwd=workspace.root,
        env=os.environ | {"DVC_NO_ANALYTICS": "1", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=deadline_s,
    )
