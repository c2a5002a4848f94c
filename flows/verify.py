"""From a picture back to the photos: is every file what its stage wrote, and every stage made of what lies before it?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.workspace import SubjectFolder
from tasks.shared import images, manifest
from tasks.shared.errors import UserError


@dataclass(frozen=True)
class Link:
    """One stage's folder, checked."""

    stage: str
    folder: Path
    files: int
    faults: tuple[str, ...]


def chain(subject: SubjectFolder) -> list[Link]:
    """Check every finished stage of a subject, its class pictures included; [] of faults means the chain holds.

    Raises:
        UserError: the subject has no photos.
    """
    folders = {"ingest": subject.folder / "photos", "class_prior": subject.prior / "images"} | {
        stage: subject.folder / stage for stage in ("segment", "fine_tune", "sample", "evaluate", "report")
    }
    told = {stage: _read(folder, stage) for stage, folder in folders.items() if folder.is_dir()}
    if "ingest" not in told:
        raise UserError(f"{folders['ingest']}: no photos; add them with `dreamline add`")
    return [
        Link(
            stage,
            folders[stage],
            len(content.get("files", {})) if content else 0,
            (
                *_own(folders[stage], content),
                *_before(stage, told),
                *_pictures(stage, folders[stage], told),
            ),
        )
        for stage, content in told.items()
    ]


def _read(folder: Path, stage: str) -> dict[str, Any] | None:
    try:
        return manifest.read(folder, stage)
    except UserError:
        return None


def _own(folder: Path, content: dict[str, Any] | None) -> Iterator[str]:
    """Files that are not what the manifest says."""
    if content is None:
        yield "no manifest: the stage did not finish, or the file is damaged"
        return
    lying = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {manifest.NAME}
    yield from (f"{name}: {what}" for name, what in manifest.faults(folder, content))
    yield from (f"{name}: nobody wrote it" for name in sorted(lying - set(content["files"])))


def _before(stage: str, told: dict[str, dict[str, Any] | None]) -> Iterator[str]:
    """Inputs that are not those that the stage read."""
    inputs = (told[stage] or {}).get("inputs", {})
    if stage == "segment":
        photos = {n: d for n, d in ((told["ingest"] or {}).get("files", {})).items() if n.endswith(".png")}
        if inputs.get("photos") != photos:
            yield "made of other photos"
    elif stage == "fine_tune":
        for before, name in (("segment", "segment"), ("class_prior", "prior")):
            content = told.get(before)
            if inputs.get(name) and (content is None or inputs[name] != manifest.content_digest(content)):
                yield f"made of another {before}"
    elif stage in ("sample", "evaluate", "report"):
        for before, files in inputs.items():
            content = told.get(before)
            if content is None or content["files"] != files:
                yield f"made of another {before}"


def _pictures(stage: str, folder: Path, told: dict[str, dict[str, Any] | None]) -> Iterator[str]:
    """Samples whose own provenance names other weights than those that lie there."""
    tuned = told.get("fine_tune")
    if stage != "sample" or not tuned:
        return
    weights = {name: digest for name, digest in tuned["files"].items() if name.endswith(".safetensors")}
    for path in sorted((folder / "subject").glob("*.png")):
        if (images.provenance(path) or {}).get("adapter") != weights:
            yield f"subject/{path.name}: says that it was drawn by other weights"
