"""A checkout's files of subjects: how they differ from a commit, and commits of them alone, beside the checkout's index."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from flows.store import git
from flows.workspace import SubjectFolder, Workspace
from tasks.shared.errors import UserError

log = logging.getLogger(__name__)

MADE = frozenset({"dvc.lock", "dvc.yaml", "history.jsonl", ".gitignore"})
"""Files that the tool writes: when two machines changed one, the version that others see already stays."""

TOLD = ("subject.yaml", "photos.dvc")
"""Files that say what a person wants; two versions of one are for a person to decide."""

PRIOR = ("class.yaml", "dvc.yaml", "dvc.lock", ".gitignore")


def removed(workspace: Workspace, theirs: Iterable[str], tip: str) -> list[str]:
    """Subjects that are in this checkout's HEAD and no more in `tip`."""
    home = workspace.subjects_folder.relative_to(workspace.root)
    told = [path for path in theirs if Path(path).name == TOLD[0] and Path(path).parent.parent == home]
    left = git.lines(workspace.root, "ls-tree", "-z", "--name-only", tip, "--", *told) if told else []
    return [Path(path).parent.name for path in told if path not in left]


def changed(root: Path, before: str, after: str) -> set[str]:
    """Files in which two commits differ."""
    return set(git.lines(root, "diff", "-z", "--name-only", "--no-renames", "--relative", before, after))


def changed_here(root: Path) -> set[str]:
    """Files of the checkout that are not as in HEAD, those that git does not know included."""
    known = git.lines(root, "diff", "-z", "--name-only", "--no-renames", "--relative", "HEAD")
    return {*known, *git.lines(root, "ls-files", "-z", "--others", "--exclude-standard")}


def same(root: Path, path: str, tip: str) -> bool:
    """Whether a file lies here as it is in a commit, or is in neither."""
    known = git.lines(root, "ls-tree", "-z", "--object-only", tip, "--", path)
    if not (root / path).is_file():
        return not known
    return known == [git.call(root, "hash-object", "--", path)]


def own(root: Path, subjects: Iterable[SubjectFolder], tip: str) -> list[str]:
    """Files to hand on: those of the subjects that differ from `tip`, without what others have finished.

    Raises:
        UserError: a person changed the same file elsewhere.
    """
    theirs, mine = changed(root, "HEAD", tip), list[str]()
    for subject in subjects:
        for files in (of_subject(subject), of_prior(subject)):
            paths = [path.relative_to(root).as_posix() for path in files if path.is_file()]
            new = [path for path in paths if not (same(root, path, tip) or same(root, path, "HEAD"))]
            clash = [path for path in new if path in theirs]
            if by_hand := [path for path in clash if Path(path).name not in MADE]:
                raise UserError(f"{root / by_hand[0]}: changed here and by others; settle it with `git pull`")
            if clash:
                log.info("%s: others have handed it on already; theirs stays", subject.name)
            else:
                mine += new
    return list(dict.fromkeys(mine))


def of_subject(subject: SubjectFolder) -> list[Path]:
    """Its files that travel through git."""
    consent = [subject.identity.consent] if subject.identity.consent else []
    return [subject.folder / name for name in (*TOLD, *consent, *sorted(MADE))]


def of_prior(subject: SubjectFolder) -> list[Path]:
    """Those of the class prior that it uses."""
    return [subject.prior / name for name in PRIOR]


def commit(root: Path, parent: str, paths: Sequence[str], message: str, without: Sequence[str] = ()) -> str:
    """A commit of some files of the checkout upon `parent`, some folders left out, beside the checkout's own index."""
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git.call(root, "read-tree", parent, environment=index)
        if without:
            git.call(
                root, "rm", "-r", "-q", "--cached", "--ignore-unmatch", "--", *without, environment=index
            )
        git.call(root, "add", "-f", "--", *paths, environment=index)
        tree = git.call(root, "write-tree", environment=index)
    return git.call(root, "commit-tree", tree, "-p", parent, "-m", message)
