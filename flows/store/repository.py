"""One DVC repository per project, opened once; its errors in one line."""

import functools
import logging
import os
import re
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flows.lock import held
from flows.store import params_once
from flows.workspace import Workspace
from tasks.shared.errors import UserError

if TYPE_CHECKING:
    from dvc.repo import Repo


SCHEMA = 2
"""Of dvc.lock, as the pinned DVC writes it."""


@functools.lru_cache(maxsize=8)
def _open(root: Path) -> "Repo":
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(
        logging.CRITICAL
    )  # hints for git users on every call; errors are raised anyway
    _read_locks_fast()
    params_once.install()
    return Repo(str(root), _wait_for_lock=True)


def _read_locks_fast() -> None:
    """Let DVC read a dvc.lock that it is about to change with its fast parser, as it reads it everywhere else.

    The other one keeps comments, of which a dvc.lock has none, and takes a third of a commit's time for it. What is
    written is the same to the byte: test_repository compares it.
    """
    from dvc.utils.serialize import _yaml

    _yaml.parse_yaml_for_update = _yaml.parse_yaml


@contextmanager
def calls(workspace: Workspace) -> Iterator["Repo"]:
    """The repository, for a few short calls.

    Our own processes queue at a kernel lock, without polling: DVC's lock polls every 500 ms, and the finer
    lock that `commit` takes on outputs never waits, so parallel subjects would fail at it. A `dvc` typed by
    hand is waited for.

    Raises:
        UserError: what DVC complains about, in one line.
    """
    from dvc.exceptions import DvcException

    try:
        # parts of DVC take relative paths from the working folder and refuse one outside of the repository
        with held(workspace.state / "store.lock"), chdir(workspace.root):
            try:
                yield _open(workspace.root)
            finally:
                _forget_listings()
    except (DvcException, OSError) as error:
        raise UserError(_one_line(workspace, error)) from error


def _forget_listings() -> None:
    """DVC keeps the listing of every folder that it has hashed in fsspec's memory, and searches them all for each new one."""
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def _later_schema(lock: Path) -> str | None:
    """The schema that a dvc.lock names, where this DVC knows only earlier ones."""
    try:
        found = re.search(r"^schema: ['\"]?(\d+)([.\d]*)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return None
    return f"{found[1]}{found[2]}" if found and int(found[1]) > SCHEMA else None


def _one_line(workspace: Workspace, error: BaseException) -> str:
    from dvc.dvcfile import LOCK_FILE
    from dvc.exceptions import NotDvcRepoError
    from dvc.rwlock import RWLockFileCorruptedError, RWLockFileFormatError
    from dvc.utils.strictyaml import YAMLSyntaxError, YAMLValidationError

    if isinstance(error, NotDvcRepoError):
        return f"{workspace.root}: no DVC project; run `dvc init` in a git checkout of Dreamline"
    if isinstance(error, RWLockFileCorruptedError | RWLockFileFormatError):
        return f"{workspace.root}/.dvc/tmp/rwlock: damaged; delete it while nothing runs"
    if isinstance(error, YAMLSyntaxError | YAMLValidationError):
        path = Path(str(error.path))
        path = path if path.is_absolute() else workspace.root / path
        if (schema := _later_schema(path)) is not None:
            return (
                f"{path}: made by a later version of DVC (schema {schema}); update Dreamline and its packages"
            )
        heal = f"restore it with `git checkout -- {path.relative_to(workspace.root)}`"
        return f"{path}: damaged; {heal}" + (", or delete it to run again" if path.name == LOCK_FILE else "")
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or workspace.root}: {error.strerror}"
    chain: BaseException | None = error
    causes = []
    while chain is not None:
        causes.append(" ".join(str(chain).split()))
        chain = chain.__cause__
    return "dvc: " + ": ".join(dict.fromkeys(cause for cause in causes if cause))
