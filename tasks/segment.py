"""`photos/` -> `segment/`: square crops around the subject, its masks, a contact sheet, doubts in words."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from tasks.photos import contact_sheet
from tasks.photos.crop import Box, cut, cut_mask, resized, square
from tasks.segmenters import base
from tasks.shared import cli, images, manifest, params, plugins, progress
from tasks.shared.errors import UserError
from tasks.shared.folders import staged
from tasks.shared.settings import Settings

CELL_PX = 192  # of the contact sheet
ENLARGED = 1.5  # times beyond which an enlarged crop is worth a warning


class Params(params.Params):
    """Which segmenter, and how crops are cut."""

    segmenter: dict[str, Any] = Field(
        default={"name": "sam"}, description="`name` of a file in tasks/segmenters/, and its own options"
    )
    size_px: int = Field(
        default=128, ge=16, le=4096, description="side of the crops, px; the base's native size"
    )
    crop_margin: float = Field(
        default=0.15, ge=0, le=2, description="room around the subject on each side, share of its longer side"
    )
    padding: Literal["reflect", "edge"] = Field(
        default="reflect",
        description="what fills a crop that is larger than its photo: the photo mirrored, or its edge",
    )
    without_subject: Literal["whole_frame", "skip"] = Field(
        default="whole_frame",
        description="what to do with a photo whose mask cannot be trusted: use all of it, or leave it out",
    )


@dataclass
class Crop:
    """What became of one photo; written to segment.json as it is. Boxes: XYXY px, far corner exclusive."""

    photo: str
    file: str | None = None  # of the crop in images/ and of the mask in masks/; None: left out
    whole_frame: bool = False  # the mask is the whole photo because no subject was made out
    subject_box_px: Box | None = None
    crop_box_px: Box | None = None  # beyond the photo it is filled up
    score: float = 0.0  # the segmenter's own, 0 to 1
    share: float = 0.0  # of the photo's area, 0 to 1
    reasons: list[str] = field(default_factory=list)  # why the mask was not trusted
    warnings: list[str] = field(default_factory=list)


def run(photos: Path, out: Path, settings: Settings) -> None:
    """Cut every photo to a square around its subject and save the subject's mask.

    Raises:
        UserError: a param or the segmenter's weights are wrong, there are no photos, or `skip` left none.
    """
    options, recipe = settings.section(Params, "segment"), settings.recipe("segment")
    module, choice = plugins.configure("segmenters", options.segmenter, "params.yaml: segment.segmenter")
    made = manifest.read(photos, "ingest")
    paths = sorted(photos.glob("*.png"))
    if not paths:
        raise UserError(f"{photos}: no photos in it; run ingest again with a folder of photos")
    segmenter: base.Segmenter = module.Segmenter(choice, settings.project)
    crops, rows = [], []
    with staged(out) as folder:
        for path in progress.each(paths, "finding the subject", len(paths)):
            photo = images.read(path)
            crop, mask = _found(path.name, photo, segmenter.segment(photo), options.without_subject)
            crops.append(crop)
            rows.append(_cut(crop, photo, mask, options, folder))
        used = sum(crop.file is not None for crop in crops)
        if not used:
            raise UserError(f"{photos}: {_nothing_left(crops)}; set segment.without_subject to whole_frame")
        images.save(folder / "contact_sheet.png", contact_sheet.sheet(rows))
        _write(folder, crops)
        facts: dict[str, Any] = {"params": options.model_dump()}
        facts["segmenter"] = {"name": options.segmenter["name"]} | segmenter.identity
        facts["inputs"] = {
            "photos": {path.name: manifest.digest(path) for path in paths},
            "ingest": made["recipe"],
        }
        manifest.write(folder, "segment", recipe, **facts)


def _found(name: str, photo: np.ndarray, found: base.Mask, otherwise: str) -> tuple[Crop, np.ndarray]:
    """Take the segmenter's mask if there is nothing to complain about, else the whole photo or nothing."""
    crop = Crop(
        name, name, score=round(found.score, 3), share=round(found.share, 4), reasons=list(found.reasons)
    )
    mask, box = found.pixels, found.box
    if not found.reasons and box is not None:
        crop.subject_box_px = box
        if not mask.all() and _touches_frame(mask):
            crop.warnings.append("the subject reaches the edge of the photo: part of it may be missing")
        return crop, mask
    if otherwise == "skip":
        crop.file = None
        return crop, mask
    height, width = photo.shape[:2]
    crop.whole_frame, crop.subject_box_px = True, (0, 0, width, height)
    return crop, np.ones((height, width), bool)


def _touches_frame(mask: np.ndarray) -> bool:
    """More than a few stray pixels lie on the photo's edge."""
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return bool(edge.mean() > 0.02)


def _cut(crop: Crop, photo: np.ndarray, mask: np.ndarray, options: Params, folder: Path) -> list[np.ndarray]:
    """Save crop and mask; returns the photo's row of the contact sheet."""
    if crop.file is None or crop.subject_box_px is None:
        return contact_sheet.row(photo, mask, (0, 0, 0, 0), np.full_like(photo, 255), CELL_PX)
    place = square(crop.subject_box_px, (photo.shape[1], photo.shape[0]), options.crop_margin)
    crop.crop_box_px = place.box
    if options.size_px > ENLARGED * place.side:
        crop.warnings.append(
            f"the subject is small in the photo: its crop has {place.side} px, enlarged to {options.size_px}"
        )
    pixels, small = resized(cut(photo, place, options.padding), cut_mask(mask, place), options.size_px)
    images.save(folder / "images" / crop.file, pixels)
    images.save(folder / "masks" / crop.file, small)
    return contact_sheet.row(photo, mask, place.box, pixels, CELL_PX)


def _nothing_left(crops: list[Crop]) -> str:
    reasons = sorted({reason for crop in crops for reason in crop.reasons})
    return f"no subject made out in any of {len(crops)} photos ({'; '.join(reasons)})"


def _write(folder: Path, crops: list[Crop]) -> None:
    """segment.json, with a summary and warnings in words."""
    doubtful = [crop for crop in crops if crop.reasons]
    warnings = []
    if len(doubtful) == len(crops):
        warnings.append(f"{_nothing_left(crops)}; the photos are used whole, background included")
    elif doubtful:
        fate = "left out" if doubtful[0].file is None else "used whole"
        warnings.append(f"no subject made out in {len(doubtful)} of {len(crops)} photos, which are {fate}")
    seen = len(crops) - len(doubtful)
    content = {
        "summary": f"subject found in {seen} of {len(crops)} photos",
        "warnings": warnings,
        "photos": [asdict(crop) for crop in crops],
    }
    (folder / "segment.json").write_text(
        json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    cli.main(run)
