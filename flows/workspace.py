"""Where things are in a project, and the files that make a folder a subject or a class prior."""

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tasks.shared import params, settings, subject
from tasks.shared.errors import UserError
from tasks.shared.folders import staged_file


@dataclass(frozen=True)
class Workspace:
    """A checkout of the project, or a copy with the same folders."""

    root: Path

    @property
    def params_file(self) -> Path:
        return self.root / "params.yaml"

    @property
    def subjects_folder(self) -> Path:
        return self.root / "data" / "subjects"

    @property
    def state(self) -> Path:
        """What belongs to this checkout alone: the Prefect home, timings, locks. Git ignores it."""
        return self.root / ".dreamline"

    def subjects(self) -> list[str]:
        """Names of all subjects, read from the folder."""
        return sorted(path.parent.name for path in self.subjects_folder.glob("[a-z0-9]*/subject.yaml"))

    def subject(self, name: str) -> "SubjectFolder":
        """The folder of an existing subject.

        Raises:
            UserError: there is no such subject.
        """
        folder = SubjectFolder(self, self.subjects_folder / name)
        if not subject.is_slug(name) or not folder.subject_file.is_file():
            known = ", ".join(self.subjects()) or "none yet"
            raise UserError(
                f"data/subjects/{name}: no such subject (there are: {known}); make it with `dreamline add`"
            )
        return folder

    def prior(self, class_folder: str) -> Path:
        return self.root / "data" / "class_prior" / class_folder

    def template(self, name: str) -> str:
        return (self.root / "flows" / "templates" / name).read_text(encoding="utf-8")

    def section(self, name: str) -> dict[str, Any]:
        """A section of params.yaml that flows alone read, such as `nightly`; {} when it is missing."""
        return params.read_yaml(self.params_file).get(name) or {}


@dataclass(frozen=True)
class SubjectFolder:
    """One subject: everything that is its own lies in `folder`."""

    workspace: Workspace
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def subject_file(self) -> Path:
        return self.folder / "subject.yaml"

    @property
    def dvc_file(self) -> Path:
        return self.folder / "dvc.yaml"

    @property
    def photos_file(self) -> Path:
        return self.folder / "photos.dvc"

    @property
    def lock_file(self) -> Path:
        return self.folder / ".work" / "lock"

    @property
    def report(self) -> Path:
        return self.folder / "report" / "index.html"

    @property
    def prior(self) -> Path:
        return self.workspace.prior(self.identity.class_folder)

    @cached_property
    def identity(self) -> subject.Subject:
        """Who this is.

        Raises:
            UserError: subject.yaml is wrong, or contradicts its folder or itself.
        """
        identity, _ = subject.read(self.subject_file)
        if identity.name != self.name:
            raise UserError(
                f"{self.subject_file}: name: expected {self.name!r} as the folder, got {identity.name!r}"
            )
        expected = subject.slug_of(identity.class_word)
        if identity.class_folder != expected:
            raise UserError(
                f"{self.subject_file}: class_folder: expected {expected!r} for the class "
                f"{identity.class_word!r}, got {identity.class_folder!r}; change both"
            )
        return identity

    def settings(self) -> settings.Settings:
        return settings.load(self.workspace.params_file, self.subject_file)

    def prepare(self) -> None:
        """Write what the tool itself keeps: both dvc.yaml, class.yaml, and missing keys of subject.yaml."""
        write_subject(self.subject_file, {})
        write_if_changed(self.dvc_file, self.workspace.template("subject.dvc.yaml"))
        prepare_prior(self.workspace, self.identity.class_word)


def prepare_prior(workspace: Workspace, class_word: str) -> Path:
    """Make the folder of a class prior, or leave it as it is; returns the folder.

    Raises:
        UserError: the folder belongs to another class with the same slug.
    """
    folder = workspace.prior(subject.slug_of(class_word))
    class_file = folder / "class.yaml"
    if class_file.exists():
        found = params.read_yaml(class_file).get("class")
        if found != class_word:
            raise UserError(
                f"{class_file}: class is {found!r}, the subject's is {class_word!r}; write them alike"
            )
    else:
        write_if_changed(class_file, f"class: {class_word}\n")
    write_if_changed(folder / "dvc.yaml", workspace.template("class_prior.dvc.yaml"))
    return folder


def write_subject(path: Path, changes: dict[str, Any]) -> None:
    """Create or change a subject.yaml; comments stay, and every key that dvc.yaml names is there afterwards.

    A key that DVC tracks and cannot find costs the old output before the error shows: no key may be missing.
    """
    known = params.read_yaml(path) if path.exists() else {}
    kept = ("identifier", "method", "kind", "consent")
    complete = all(key in known for key in kept) and all(
        known.get(block) is not None for block in subject.OVERRIDES
    )
    if complete and not changes:
        return  # reading it with its comments takes many times as long
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 4096
    content = (yaml.load(path.read_text(encoding="utf-8")) if known else None) or {}
    before = dict(content)
    content.update(changes)
    defaults = subject.Subject.model_fields
    for key in kept:
        content.setdefault(key, defaults[key].default)
    for block in subject.OVERRIDES:
        if content.get(block) is None:
            content[block] = {}
    if dict(content) == before:
        return
    with staged_file(path) as fresh, open(fresh, "w", encoding="utf-8") as file:
        yaml.dump(content, file)


def write_if_changed(path: Path, text: str) -> None:
    """Write a small file atomically, and only when its content differs."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    with staged_file(path) as fresh:
        fresh.write_text(text, encoding="utf-8")


def delete(folder: Path) -> None:
    """Remove a folder so that a crash never leaves half of it under its name."""
    doomed = folder.with_name(f".{folder.name}.removed")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)


def find(start: Path | None = None) -> Workspace:
    """The project at or above `start` (default: the working folder)."""
    return Workspace(settings.find_project(start or Path.cwd()))
