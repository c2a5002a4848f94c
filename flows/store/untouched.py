"""Which subjects nothing has touched since DVC last called them up to date.

DVC's word costs a tenth of a second a subject, most of it reading YAML. Its word about files stays true as long as no
file that it looked at has another size, time or inode: that is how DVC itself knows a file again. So the digest of all
these is kept beside the word, and a night in which nothing happened asks about nobody. Only "up to date" is remembered,
never "stale", and what runs is decided by DVC alone. Deleting the file costs one slow status, nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from flows.store import recorded
from flows.workspace import SubjectFolder, Workspace
from tasks.shared.folders import read_mapping, staged_file

FILE = "fresh.json"
_MEMBER = re.compile(r'"md5": "([0-9a-f]{32})"')
_CLASS = re.compile(r"^class_folder: *(\S+) *$", re.MULTILINE)


class Untouched:
    """The memory of one look at the fleet; `keep` writes it."""

    def __init__(self, workspace: Workspace):
        self.workspace, self._path = workspace, workspace.state / FILE
        self._known: dict[str, str] = read_mapping(self._path)
        self._seen: dict[str, str] = {}
        self._shared: dict[str, str] = {}  # by class: what all its subjects depend on

    def fresh(self, subject: SubjectFolder) -> bool:
        """Whether DVC called it up to date and nothing has changed since. To be asked before DVC is."""
        self._seen[subject.name] = digest = self._digest(subject)
        return self._known.get(subject.name) == digest

    def note(self, name: str, fresh: bool) -> None:
        """Remember DVC's word, with what the files were before it was asked: a change meanwhile shows next time."""
        if fresh and name in self._seen:
            self._known[name] = self._seen[name]
        else:
            self._known.pop(name, None)

    def keep(self) -> None:
        """Write the memory; of several writers the last one's stays, which costs the others a status."""
        known = {
            name: digest
            for name, digest in self._known.items()
            if (self.workspace.subjects_folder / name).exists()
        }
        if known == read_mapping(self._path):
            return
        with staged_file(self._path) as fresh:
            fresh.write_text(json.dumps(known, indent=0), encoding="utf-8")

    def _digest(self, subject: SubjectFolder) -> str:
        total = hashlib.sha256()
        try:
            text = subject.subject_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return ""
        found = _CLASS.search(text)
        class_folder = found[1] if found else ""
        if class_folder not in self._shared:
            self._shared[class_folder] = self._of_class(class_folder)
        total.update(self._shared[class_folder].encode())
        for line in _stats(subject.folder, self.workspace):
            total.update(line.encode())
        return total.hexdigest()

    def _of_class(self, class_folder: str) -> str:
        root, total = self.workspace.root, hashlib.sha256()
        templates = root / "flows" / "templates"
        told = [self.workspace.params_file, *sorted(templates.glob("*.yaml"))]
        configs = [root / ".dvc" / name for name in ("config", "config.local")] + [root / ".dvcignore"]
        for path in [*told, *configs]:
            total.update(_stat(path).encode())
        for line in _stats(self.workspace.prior(class_folder), self.workspace):
            total.update(line.encode())
        return total.hexdigest()


def _stats(folder: Path, workspace: Workspace) -> Iterator[str]:
    """Size, time and inode of every file of a folder, and of the cached objects that its lock files name."""
    yield from _walk(str(folder))
    cache = workspace.root / ".dvc" / "cache" / "files" / "md5"
    for name in ("photos.dvc", "dvc.lock"):
        try:
            text = (folder / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        for oid in recorded.mentioned(text):
            listing = cache / oid[:2] / oid[2:]
            yield _stat(listing)
            if oid.endswith(".dir") and listing.exists():
                for member in _MEMBER.findall(listing.read_text(encoding="utf-8")):
                    yield _stat(cache / member[:2] / member[2:])


def _walk(folder: str) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if entry.name != ".work":
                yield from _walk(entry.path)
        else:
            yield _line(entry.path, entry.stat(follow_symlinks=False))


def _stat(path: Path) -> str:
    try:
        return _line(str(path), path.stat())
    except OSError:
        return f"{path}:none\n"


def _line(path: str, found: os.stat_result) -> str:
    return f"{path}:{found.st_size}:{found.st_mtime_ns}:{found.st_ino}\n"
