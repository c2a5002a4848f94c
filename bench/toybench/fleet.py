"""The bench's subjects as a fleet of the project's own: each (row, subject) is a subject folder, run as any night runs them.

So what is finished is not run again, an interrupted row goes on, class priors are shared, and a changed param reruns what it
touches.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from bench.toybench.prompts import asked_of
from bench.toybench.settings import IDENTIFIER, Setting
from bench.toybench.toys import toy
from flows import adding, nightly, personalize, prefect_api
from flows.lock import held
from flows.workspace import SubjectFolder, Workspace, write_if_changed, write_subject
from tasks.reporting.fleet import FleetRow
from tasks.shared import folders, images, params, progress
from tasks.shared.subject import read as read_subject
from tasks.toyworld.render import render

PHOTO_PX = 512  # side of a subject's photos
MODELS = ("miniature", "judges", "segmenters")
DRAWN = {"sample": {"num_inference_steps": 15}}
"""How rows are drawn that do not say otherwise, whatever params.yaml ships, so that those of different days compare."""
ROW_PARAMS = ("segment", "class_prior", "fine_tune", "methods", "sample")
"""Sections that a row was made under; what scores it is in its harness."""


def home_of(project: Path, root: Path, changes: dict[str, Any], setting: Setting) -> Workspace:
    """The fleet of a row: the one at `root`, or, where subjects share their steps, one that no other row's outputs reach."""
    if setting.at_once > 1:
        root = root.with_name(f"{root.name}-{setting.at_once}-at-once")
    return workspace(project, root, changes, setting.at_once)


def workspace(project: Path, root: Path, changes: dict[str, Any], at_once: int = 1) -> Workspace:
    """A project at `root` with the params of `project` and `changes` over them; models are linked, not copied.

    Several processes may ask for it at once, as when rows run side by side.

    Args:
        at_once: subjects that share the steps of their fine-tunings.
    """
    with held(root / ".dreamline" / "made.lock"):
        for name in (".dvc/config", ".dvcignore", ".gitignore"):
            write_if_changed(root / name, (project / name).read_text(encoding="utf-8"))
        for template in (project / "flows" / "templates").glob("*.yaml"):
            copied = root / "flows" / "templates" / template.name
            write_if_changed(copied, template.read_text(encoding="utf-8"))
        (root / "data" / "subjects").mkdir(parents=True, exist_ok=True)
        for name in MODELS:
            link = root / "data" / name
            if not link.is_symlink():
                link.symlink_to(project / "data" / name)
        text = StringIO()
        told = params.merged(params.merged(params.read_yaml(project / "params.yaml"), DRAWN), changes)
        told["machine"]["subjects_at_once"] = at_once
        YAML().dump(told, text)
        write_if_changed(root / "params.yaml", text.getvalue())
        if not (root / ".git").exists():
            subprocess.run(["git", "init", "-q", str(root)], check=True)
    return Workspace(root)


def folder_name(setting: Setting, subject: str) -> str:
    """Name of the subject folder of a row."""
    return f"{setting.name}-{subject}"


@dataclass(frozen=True)
class Entry:
    """A subject as a row sees it."""

    name: str
    cls: str  # its class word
    photos: Path
    prompts: tuple[str, ...]  # templates with {subject}
    kind: str | None = None  # as subject.yaml has it; None: its default
    overrides: dict[str, Any] = field(
        default_factory=dict
    )  # blocks of the subject's own, under those of the row


def toys(fleet: Workspace, names: Sequence[str]) -> list[Entry]:
    """ToyBench subjects, their photos rendered where they are not there yet."""
    entries = []
    for name in progress.each(names, "rendering photos of subjects", len(names)):
        photos = fleet.root / "photos" / name
        with held(fleet.state / "photos.lock"):  # rows side by side need the same ones
            if not photos.is_dir():
                with folders.staged(photos) as fresh:
                    for number, scene in enumerate(toy(name).scenes):
                        images.save(fresh / f"photo_{number + 1}.png", render(scene, PHOTO_PX).rgb)
        prompts = tuple(asked.text for asked in asked_of(name))
        entries.append(Entry(name, toy(name).identity.cls, photos, prompts))
    return entries


def enter(fleet: Workspace, setting: Setting, entry: Entry, seeds: Sequence[int]) -> SubjectFolder:
    """Make the subject of a row, or bring the params of an existing one up to date."""
    name, called = folder_name(setting, entry.name), setting.calls(entry.cls)
    if name not in fleet.subjects():
        told: dict[str, Any] = {"class": entry.cls, "identifier": IDENTIFIER, "kind": entry.kind}
        adding.add(fleet, [entry.photos], name, **told)
    prompts = [text.replace("{subject}", called) for text in entry.prompts]
    blocks: dict[str, Any] = {
        "fine_tune": {},  # an override that left settings.yaml leaves the subject too
        "methods": {"dreambooth": {"instance_prompt": f"a {called}"}},
        "sample": {"prompts": prompts, "seeds": list(seeds)},
    }
    entered = fleet.subject(name)
    blocks = params.merged(blocks, entry.overrides)
    write_subject(entered.subject_file, params.merged(blocks, setting.overrides))
    return entered


def run(
    fleet: Workspace, setting: Setting, entries: Sequence[Entry], seeds: Sequence[int]
) -> Sequence[FleetRow]:
    """Bring a row's subjects up to date; a failed one has its reason in its row."""
    names = [enter(fleet, setting, entry, seeds).name for entry in entries]
    with prefect_api.connection(fleet) as wait, personalize.settings(wait()):
        return nightly.run(fleet, names, tell).rows


def used(home: Workspace, folder: SubjectFolder | None = None) -> dict[str, Any]:
    """ROW_PARAMS as a row's subject has them, without the prompts, which are each subject's own; None: of an untrained row."""
    told = params.read_yaml(home.params_file)
    if folder:
        _, overrides = read_subject(folder.subject_file)
        overrides["sample"].pop("prompts", None)
        told = params.merged(told, overrides)
    return {key: told[key] for key in ROW_PARAMS}


def failures(outcome: Sequence[FleetRow]) -> dict[str, str]:
    """Why subject folders failed, by name."""
    return {row.subject: row.reason for row in outcome if row.state == "failed"}


def tell(name: str, event: Any) -> None:
    """A line for every stage that ran."""
    if getattr(event, "action", "") == "ran":
        print(f"{name}: {event.stage}, {event.seconds:.0f} s", flush=True)
