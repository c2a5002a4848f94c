"""Photos from anywhere -> `photos/`: decoded safely, upright, sRGB, no metadata, judged with reasons."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from pydantic import Field

from tasks.guards import consent
from tasks.photos import decode, gate, names, sources
from tasks.shared import cli, images, manifest, params, progress
from tasks.shared.errors import UserError
from tasks.shared.folders import staged
from tasks.shared.settings import Settings


class Params(params.Params):
    """Limits of decoding, and the photo gate."""

    max_side_px: int = Field(
        default=2048, ge=64, le=8192, description="longer side of a kept photo; larger is scaled, px"
    )
    max_photos: int = Field(
        default=100, ge=1, le=1000, description="photos kept at most; the rest is left out"
    )
    max_file_mb: float = Field(default=100, gt=0, le=2000, description="largest file that is read, MB")
    max_archive_mb: float = Field(
        default=1000, gt=0, le=20000, description="what a zip may unpack to in all, MB"
    )
    max_megapixels: float = Field(
        default=80, gt=0, le=178, description="largest photo that is decoded, million px"
    )
    max_aspect: float = Field(
        default=5, ge=1, description="longer / shorter side beyond which a photo is left out"
    )
    min_side_px: int = Field(
        default=64, ge=16, description="shorter side below which a photo is left out, px"
    )
    small_side_px: int = Field(
        default=128, ge=1, description="shorter side below which to warn, px; the base's native size"
    )
    blur_sharpness: float = Field(
        default=60,
        ge=0,
        description="sharpness below which to warn: variance of the Laplacian at 256 px; 0 = never",
    )
    duplicate_bits: int = Field(
        default=8, ge=0, le=32, description="bits of 64 in which near-duplicates differ at most"
    )
    few_photos: int = Field(default=3, ge=1, description="number of kept photos below which to warn")


@dataclass
class Verdict:
    """What became of one file; written to ingest.json as it is."""

    source: str
    file: str | None = None
    accepted: bool = False
    size_px: tuple[int, int] | None = None  # width, height of the original
    sharpness: float | None = None
    reasons: list[str] = field(default_factory=list)  # why it was left out
    warnings: list[str] = field(default_factory=list)  # what may make it less useful


@dataclass(frozen=True)
class Candidate:
    """A photo that is good enough by itself."""

    verdict: Verdict
    path: Path  # where its pixels lie, under a provisional name
    fingerprint: gate.Fingerprint
    pixels: int  # of the original
    sharpness: float


def run(source: Path | Sequence[Path], out: Path, settings: Settings) -> None:
    """Read photos from a folder, a zip or files; keep what can be used and say what was wrong with the rest.

    Raises:
        UserError: no photo can be used, or the subject is a person without a valid consent record.
    """
    options, recipe = settings.section(Params, "ingest"), settings.recipe("ingest")
    consent.require(settings.subject, out.parent, "ingest")
    paths = [source] if isinstance(source, Path) else list(source)
    limits = int(options.max_file_mb * 1e6), int(options.max_archive_mb * 1e6)
    with sources.opened(paths, *limits) as entries, staged(out) as folder:
        verdicts, candidates = _decoded(entries, folder, options)
        kept = _without_duplicates(candidates, options.duplicate_bits)
        if not kept:
            raise UserError(_nothing_usable(verdicts, paths, options))
        for number, photo in enumerate(kept):
            photo.verdict.accepted, photo.verdict.file = True, f"{number:02d}.png"
            photo.path.rename(folder / photo.verdict.file)
        _write(folder, verdicts, _about_the_set(kept, options))
        counts = {"files": len(verdicts), "accepted": len(kept)}
        manifest.write(folder, "ingest", recipe, params=options.model_dump(), inputs=counts)


def _decoded(
    entries: list[sources.Entry], folder: Path, options: Params
) -> tuple[list[Verdict], list[Candidate]]:
    """Judge each file by itself; the pixels of those that pass lie in `folder`."""
    limits = decode.Limits(
        options.max_megapixels, options.max_side_px, options.min_side_px, options.max_aspect
    )
    verdicts: list[Verdict] = []
    candidates: list[Candidate] = []
    for number, entry in enumerate(progress.each(entries, "reading photos", len(entries))):
        verdict = Verdict(names.shown(entry.name))
        verdicts.append(verdict)
        if len(candidates) >= options.max_photos:
            verdict.reasons.append(f"one more than the {options.max_photos} that ingest.max_photos allows")
            continue
        try:
            picture = decode.decode(entry.read(), limits)
        except decode.Unreadable as reason:
            verdict.reasons.append(str(reason))
            continue
        sharpness = _judge(verdict, picture, options)
        if verdict.reasons:
            continue
        path = folder / f"{number}.provisional"
        images.save(path, np.asarray(picture.image))
        width, height = picture.size_px
        candidates.append(
            Candidate(verdict, path, gate.fingerprint(picture.image), width * height, sharpness)
        )
    return verdicts, candidates


def _judge(verdict: Verdict, picture: decode.Picture, options: Params) -> float:
    """Fill in what can be said of a photo by itself; returns its sharpness."""
    width, height = verdict.size_px = picture.size_px
    sharpness = verdict.sharpness = round(gate.sharpness(picture.image), 1)
    verdict.warnings += picture.warnings
    if gate.is_blank(picture.image):
        verdict.reasons.append("blank: one colour and nothing on it")
    if min(width, height) < options.small_side_px:
        verdict.warnings.append(
            f"small: {width} x {height} px, the base draws {options.small_side_px} px; details will be soft"
        )
    if sharpness < options.blur_sharpness:
        verdict.warnings.append(
            f"blurred: sharpness {sharpness:g}, sharp photos have {options.blur_sharpness:g} or more; "
            "the subject may come out soft"
        )
    if gate.is_grey(picture.image):
        verdict.warnings.append("grey: it does not show the subject's colours")
    return sharpness


def _without_duplicates(candidates: list[Candidate], bits: int) -> list[Candidate]:
    """Of photos that look the same keep the one with most pixels, of equals the first; delete the rest."""
    kept: list[Candidate] = []
    for photo in sorted(candidates, key=lambda each: -each.pixels):
        twin = next((other for other in kept if gate.alike(photo.fingerprint, other.fingerprint, bits)), None)
        if twin is None:
            kept.append(photo)
            continue
        photo.verdict.reasons.append(f"nearly the same picture as {twin.verdict.source}; a copy adds nothing")
        photo.path.unlink()
    chosen = {id(photo) for photo in kept}
    return [photo for photo in candidates if id(photo) in chosen]


def _nothing_usable(verdicts: list[Verdict], paths: list[Path], options: Params) -> str:
    """The one line for a source without a usable photo; names the first reasons."""
    where = ", ".join(str(path) for path in paths)
    if not verdicts:
        return f"{where}: no photos in it; put {options.few_photos} to 10 JPEG or PNG photos there"
    first = "; ".join(f"{verdict.source}: {verdict.reasons[0]}" for verdict in verdicts[:3])
    more = f"; and {len(verdicts) - 3} more" if len(verdicts) > 3 else ""
    return f"{where}: none of its {len(verdicts)} files can be used: {first}{more}"


def _about_the_set(kept: list[Candidate], options: Params) -> list[str]:
    """Warnings about all photos together."""
    warnings = []
    if len(kept) < options.few_photos:
        have = "only one photo" if len(kept) == 1 else f"only {len(kept)} photos"
        advice = f"{options.few_photos} to 10 from different sides and places keep the subject better"
        warnings.append(f"{have}: {advice}")
    if len(kept) > 1 and all(photo.sharpness < options.blur_sharpness for photo in kept):
        warnings.append("every photo is blurred: take new ones in better light")
    return warnings


def _write(folder: Path, verdicts: list[Verdict], warnings: list[str]) -> None:
    accepted = sum(verdict.accepted for verdict in verdicts)
    content = {
        "summary": f"{accepted} of {len(verdicts)} files kept as photos",
        "warnings": warnings,
        "photos": [asdict(verdict) for verdict in verdicts],
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    (folder / "ingest.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    cli.main(run)
