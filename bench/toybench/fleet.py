"""The bench's subjects as a fleet of the project's own: each (row, subject) is a subject folder, run as any night runs them.

So what is finished is not run again, an interrupted row goes on, class priors are shared, and a changed param reruns what it
touches.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from bench.toybench.prompts import asked_of
from bench.toybench.settings import IDENTIFIER, Setting
from flows import adding, nightly, personalize, prefect_api
from flows.workspace import SubjectFolder, Workspace, write_subject
from tasks.reporting.fleet import FleetRow
from tasks.shared import images, params, progress
from tasks.toyworld.subjects import subject_photos, subjects

MODELS = ("miniature", "judges", "segmenters")


def workspace(project: Path, root: Path, changes: dict[str, Any]) -> Workspace:
    """A project at `root` with the params of `project` and `changes` over them; models are linked, not copied."""
    for name in (".dvc/config", ".dvcignore", ".gitignore"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project / name, root / name)
    shutil.copytree(project / "flows" / "templates", root / "flows" / "templates", dirs_exist_ok=True)
    (root / "data" / "subjects").mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        link = root / "data" / name
        if not link.is_symlink():
            link.symlink_to(project / "data" / name)
    tree = params.merged(params.read_yaml(project / "params.yaml"), changes)
    with open(root / "params.yaml", "w", encoding="utf-8") as file:
        YAML().dump(tree, file)
    if not (root / ".git").exists():
        subprocess.run(["git", "init", "-q", str(root)], check=True)
    return Workspace(root)


def folder_name(setting: Setting, subject: str) -> str:
    """Name of the subject folder of a row."""
    return f"{setting.name}-{subject}"


def enter(fleet: Workspace, setting: Setting, subject: str, seeds: Sequence[int]) -> SubjectFolder:
    """Make the subject of a row, or bring the params of an existing one up to date."""
    name, cls = folder_name(setting, subject), subjects()[subject]["class"]
    if name not in fleet.subjects():
        photos = fleet.root / "photos" / subject
        if not photos.is_dir():
            for number, photo in enumerate(subject_photos(subject)):
                images.save(photos / f"photo_{number + 1}.png", photo)
        adding.add(fleet, [photos], name, **{"class": cls, "identifier": IDENTIFIER})
    prompts = [asked.text.replace("{subject}", setting.calls(cls)) for asked in asked_of(subject)]
    blocks: dict[str, Any] = {"sample": {"prompts": prompts, "seeds": list(seeds)}}
    instance = {"methods": {"dreambooth": {"instance_prompt": f"a {setting.calls(cls)}"}}}
    changes = params.merged(params.merged(blocks, instance), setting.overrides)
    entered = fleet.subject(name)
    write_subject(entered.subject_file, changes)
    return entered


def run(fleet: Workspace, setting: Setting, names: Sequence[str], seeds: Sequence[int]) -> list[FleetRow]:
    """Bring a row's subjects up to date; a failed one has its reason in its row."""
    for name in progress.each(names, f"{setting.name}: photos of subjects", len(names)):
        enter(fleet, setting, name, seeds)
    with prefect_api.connection(fleet) as wait, personalize.settings(wait()):
        return nightly.run(fleet, [folder_name(setting, name) for name in names], tell)


def tell(name: str, event: Any) -> None:
    """A line for every stage that ran."""
    if getattr(event, "action", "") == "ran":
        print(f"{name}: {event.stage}, {event.seconds:.0f} s", flush=True)
