"""Git as a command: arguments as a list, a deadline, no question asked, errors in one line."""

import logging
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from tasks.shared.errors import Transient, UserError

log = logging.getLogger(__name__)

LEFT_BEHIND_S = 60.0
"""A lock file of git that is older belongs to a process that was killed."""

_LOCKED = re.compile(r"Unable to create '(?P<path>[^']+\.lock)': File exists")
_AWAY = re.compile(
    r"could not resolve host|unable to access|unable to connect|connection (refused|reset|timed out|closed)|no route to host"
    r"|network is unreachable|operation timed out|early eof|hung up unexpectedly|could not read from remote",
    re.IGNORECASE,
)
_LOST_RACE = re.compile(
    r"\[(remote )?rejected\]|non-fast-forward|fetch first|cannot lock ref|failed to update ref"
)


class Rejected(Exception):
    """A push came second: somebody else's arrived first."""


def call(
    root: Path, *arguments: str, deadline_s: float = 60.0, environment: Mapping[str, str] | None = None
) -> str:
    """Run git in a checkout; returns what it printed, without the last newline.

    Args:
        environment: variables beside those of this process, such as GIT_INDEX_FILE.
    Raises:
        Rejected: a push came second.
        Transient: the remote is away, or did not answer within the deadline.
        UserError: anything else that git complains about.
    """
    for attempt in (1, 2):
        code, out, err = _run(root, arguments, deadline_s, environment or {})
        if code == 0:
            return out.rstrip("\n")
        if attempt == 1 and (locked := _LOCKED.search(err)) and _left_behind(Path(locked["path"])):
            continue
        break
    said = " ".join((err or out).split())
    if arguments[0] == "push" and _LOST_RACE.search(err):
        raise Rejected(said)
    if _AWAY.search(err):
        raise Transient(f"git {arguments[0]}: the remote is away: {said}")
    raise UserError(f"git {arguments[0]} in {root}: {said or f'failed with {code}'}")


def succeeds(root: Path, *arguments: str) -> bool:
    """Whether git answers yes, for questions such as `merge-base --is-ancestor`."""
    return _run(root, arguments, 60.0, {})[0] == 0


def lines(root: Path, *arguments: str) -> list[str]:
    """Like `call` for a command with `-z`: its parts."""
    return [part for part in call(root, *arguments).split("\0") if part]


def _run(
    root: Path, arguments: tuple[str, ...], deadline_s: float, environment: Mapping[str, str]
) -> tuple[int, str, str]:
    host = socket.gethostname()
    told = {
        "GIT_AUTHOR_NAME": f"dreamline on {host}",
        "GIT_AUTHOR_EMAIL": f"dreamline@{host}",
        "GIT_COMMITTER_NAME": f"dreamline on {host}",
        "GIT_COMMITTER_EMAIL": f"dreamline@{host}",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=10",
    }
    fixed = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        process = subprocess.Popen(
            ["git", "-c", "core.quotePath=false", *arguments],
            cwd=root,
            env={**told, **os.environ, **fixed, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # ssh and the like end with it
        )
    except FileNotFoundError as error:
        raise UserError("git: not installed; workers share their results by it") from error
    try:
        out, err = process.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise Transient(f"git {arguments[0]}: no answer within {deadline_s:g} s") from error
    return process.returncode, out, err


def _left_behind(lock: Path) -> bool:
    """Remove a lock whose git was killed; False if it may be at work."""
    try:
        if time.time() - lock.stat().st_mtime < LEFT_BEHIND_S:
            return False
        lock.unlink()
    except FileNotFoundError:
        return True
    log.warning("%s: left behind by a git that was killed; removed", lock)
    return True
