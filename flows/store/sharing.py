"""How several machines work at one fleet: subjects' folders travel through git, bytes through the DVC remote.

A machine takes what others have done (`take`, `bring`), works, and hands its own on (`give`). What it hands on is a
commit with the files of its subjects alone, made on the newest commit that the others see: the history stays a line,
and a race is decided by making the commit again. The checkout is not touched by it, so a run in it sees no change;
a push that failed leaves the files as they are, and the next `give` hands them on.

Bytes go first and the commit last: what git names can be had.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from functools import partial
from pathlib import Path

from pydantic import Field

from flows import transient
from flows.lock import held
from flows.store import checkout, departed, git, remote, staleness
from flows.store.staleness import Forecast
from flows.workspace import Workspace
from tasks.shared import params
from tasks.shared.errors import Transient, UserError

log = logging.getLogger(__name__)

CODE = ("flows/", "tasks/")

_cared_for: ContextVar[bool] = ContextVar("cared_for", default=False)


class Params(params.Params):
    """Whether and how this checkout shares its subjects with other machines."""

    git_remote: str | None = Field(
        default=None,
        description="git remote through which subjects travel, such as origin; null: one machine",
    )
    branch: str = Field(default="main", description="its branch that all machines work at")
    deadline_s: float = Field(
        default=600, ge=1, description="seconds after which one transfer of bytes or of git is given up"
    )
    attempts: int = Field(
        default=10, ge=1, le=100, description="pushes tried when others push at the same time"
    )


def options(workspace: Workspace) -> Params:
    """The section `sharing` of params.yaml."""
    return params.validate(Params, workspace.section("sharing"), "params.yaml: sharing")


def on(workspace: Workspace) -> bool:
    """Whether this checkout shares at all."""
    return options(workspace).git_remote is not None


def take(workspace: Workspace) -> list[str]:
    """Bring the checkout to what the others see; returns the files that changed.

    Results that were not handed on stay, unless others have handed on the same subject's.

    Raises:
        UserError: this checkout has commits, or changes by hand, that the others' contradict.
        Transient: the remote is away.
    """
    root, told = workspace.root, options(workspace)
    with _alone(workspace):
        tip = _fetch(workspace, told)
        if tip == git.call(root, "rev-parse", "--verify", "HEAD"):
            return []
        if not git.succeeds(root, "merge-base", "--is-ancestor", "HEAD", tip):
            raise UserError(
                f"{root}: has commits that {told.git_remote}/{told.branch} lacks; "
                f"`git pull --rebase {told.git_remote} {told.branch} && git push` brings both together"
            )
        theirs, audit = checkout.changed(root, "HEAD", tip), departed.removed(root)
        clash = sorted(theirs & checkout.changed_here(root))
        for path in clash:
            if (
                Path(path).name not in checkout.MADE
                and path != departed.LOG
                and not checkout.same(root, path, tip)
            ):
                raise UserError(
                    f"{root / path}: changed here and by others; commit and push it, or undo with "
                    f"`git checkout -- {path}`"
                )
        lying = (
            set(git.lines(root, "ls-tree", "-r", "-z", "--name-only", tip, "--", *clash)) if clash else set()
        )
        if lying:
            git.call(root, "checkout", "-q", tip, "--", *sorted(lying))
        if gone := [path for path in clash if path not in lying]:
            git.call(root, "checkout", "-q", "HEAD", "--", *gone)
        with departed.cleared(workspace, checkout.removed(workspace, theirs, tip)):
            git.call(root, "merge", "-q", "--ff-only", tip)
        departed.note(root, audit)
        return sorted(theirs)


def new_code(changed: Iterable[str]) -> bool:
    """Whether a process that runs must end to see what `take` brought."""
    return any(path.startswith(CODE) and not path.endswith(".md") for path in changed)


def bring(workspace: Workspace, forecasts: Iterable[Forecast]) -> None:
    """Fetch in one go the bytes that the runs of some subjects need and this machine lacks.

    What a stage is about to make anew is not fetched. What cannot be had is left to the subject's own run, which
    says so.
    """
    wanted: list[str] = []
    for forecast in forecasts:
        if not forecast.to_run:
            continue
        if forecast.photos:
            wanted.append(str(workspace.subject(forecast.name).photos_file))
        wanted += [verdict.stage.target for verdict in forecast.verdicts if verdict.restorable]
    try:
        remote.transfer(
            workspace, "pull", list(dict.fromkeys(wanted)), options(workspace).deadline_s, force=True
        )
    except UserError as error:
        log.warning("%s; asking again, subject by subject", error)


def give(workspace: Workspace, names: Sequence[str], message: str) -> str | None:
    """Hand some subjects on: bytes to the DVC remote, then one commit with their files.

    Returns:
        The commit; None if the others have it all, or have finished the same subjects meanwhile.
    Raises:
        UserError, Transient: it could not be handed on; nothing is lost, the next call does it.
    """
    root, told = workspace.root, options(workspace)
    subjects = [workspace.subject(name) for name in names]
    try:
        remote.transfer(workspace, "push", remote.targets(workspace, names), told.deadline_s)
    except UserError as error:
        raise Transient(str(error)) from error  # the next attempt, here or elsewhere, may find it back

    def commit(tip: str) -> str | None:
        mine = checkout.own(root, subjects, tip)
        return checkout.commit(root, tip, mine, message) if mine else None

    return _push(workspace, told, commit)


def withdraw(workspace: Workspace, names: Sequence[str], message: str) -> str | None:
    """Hand on that subjects were removed: one commit without their folders, with the audit log of all machines.

    Other machines clear their caches of them when they take it.

    Returns:
        The commit; None if the others do not know the subjects.
    Raises:
        UserError, Transient: it could not be handed on; the same call does it later.
    """
    root = workspace.root
    folders = [(workspace.subjects_folder / name).relative_to(root).as_posix() for name in names]

    def commit(tip: str) -> str | None:
        if not git.lines(root, "ls-tree", "-r", "-z", "--name-only", tip, "--", *folders):
            return None
        if git.lines(root, "ls-tree", "-z", "--name-only", tip, "--", departed.LOG):
            departed.note(root, git.call(root, "show", f"{tip}:./{departed.LOG}").splitlines())
        return checkout.commit(root, tip, [departed.LOG], message, without=folders)

    return _push(workspace, options(workspace), commit)


def news(workspace: Workspace, name: str) -> bool:
    """Whether a subject here differs from what this checkout has taken: it ran, or could not be handed on before."""
    subject, root = workspace.subject(name), workspace.root
    files = [path for path in (*checkout.of_subject(subject), *checkout.of_prior(subject)) if path.is_file()]
    return not all(checkout.same(root, path.relative_to(root).as_posix(), "HEAD") for path in files)


def require_same_settings(workspace: Workspace) -> None:
    """Refuse to let others work for this machine with other settings or code than it has.

    Raises:
        UserError: names the file.
    """
    root, told = workspace.root, options(workspace)
    with _alone(workspace):
        tip = _fetch(workspace, told)
    changed = git.lines(root, "diff", "-z", "--name-only", "--relative", tip, "--", "params.yaml", *CODE)
    if changed:
        raise UserError(
            f"{root / changed[0]}: not what the workers have; commit and push it to {told.git_remote}/{told.branch}, "
            "or take theirs with `git pull`"
        )


@contextlib.contextmanager
def round_trip(workspace: Workspace, name: str, again_after_s: Sequence[float] = ()) -> Iterator[None]:
    """Take before and give after one subject's run, finished or not; nothing where sharing is off.

    Args:
        again_after_s: waits before further attempts at either, while git or the DVC remote is away.
    Raises:
        UserError, Transient: as `take` and `give`; an error of the run itself comes first.
    """
    if _cared_for.get() or not on(workspace):
        yield
        return
    if new_code(transient.waited_for(again_after_s, partial(take, workspace))):
        raise Transient("new code came by git: run again")  # a new process sees it
    bring(workspace, staleness.forecasts(workspace, [name]))
    try:
        yield
    except Exception as failure:
        with contextlib.suppress(UserError, Transient):
            give(workspace, [name], f"{name}: as far as it came")
        raise failure
    transient.waited_for(again_after_s, partial(give, workspace, [name], f"{name}: up to date"))
    with contextlib.suppress(UserError, Transient):
        take(workspace)


@contextlib.contextmanager
def cared_for() -> Iterator[None]:
    """Within it `round_trip` does nothing: the caller takes and gives for many subjects."""
    token = _cared_for.set(True)
    try:
        yield
    finally:
        _cared_for.reset(token)


@contextlib.contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    """One of our processes at a time at this checkout's git."""
    with held(workspace.state / "git.lock"):
        yield


def _fetch(workspace: Workspace, told: Params) -> str:
    """The newest commit that all see."""
    if told.git_remote is None:
        raise UserError("params.yaml: sharing.git_remote: null; name the git remote that the machines share")
    place = f"refs/remotes/{told.git_remote}/{told.branch}"
    git.call(
        workspace.root,
        "fetch",
        "-q",
        told.git_remote,
        f"+refs/heads/{told.branch}:{place}",
        deadline_s=told.deadline_s,
    )
    return git.call(workspace.root, "rev-parse", "--verify", place)


def _push(workspace: Workspace, told: Params, make: Callable[[str], str | None]) -> str | None:
    """Push what `make` commits upon the newest commit, again upon a newer one when others came first."""
    for attempt in range(told.attempts):
        with _alone(workspace):
            commit = make(_fetch(workspace, told))
            if commit is None:
                return None
            place = f"{commit}:refs/heads/{told.branch}"
            try:
                git.call(
                    workspace.root, "push", "-q", str(told.git_remote), place, deadline_s=told.deadline_s
                )
            except git.Rejected as error:
                log.info("git push came second (%s); again", error)
            else:
                return commit
        time.sleep(random.uniform(0.0, 0.2 * 2 ** min(attempt, 5)))
    raise Transient(f"git push: others came first {told.attempts} times; run again")
