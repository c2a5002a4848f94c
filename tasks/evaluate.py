"""Stage 6: how like the subject, how true to the prompt, at what cost to the class, and how sure is that?"""

import csv
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field

from tasks.metrics._intervals import Bootstrap
from tasks.metrics._judges import ImageJudge, Judges, TextJudge
from tasks.metrics.base import DIGITS, Evidence, Picture, Score, clusters, isolated
from tasks.shared import cli, images, manifest, params, plugins, progress, samples
from tasks.shared.errors import UserError
from tasks.shared.folders import staged
from tasks.shared.settings import Settings
from tasks.shared.subject import Subject

log = logging.getLogger(__name__)


def _known(name: str) -> str:
    if name not in plugins.names("metrics"):
        raise ValueError(f"{name!r} is no metric; there are: {', '.join(plugins.names('metrics'))}")
    return name


class Params(params.Params):
    """What is measured, and by which judges."""

    metrics: tuple[Annotated[str, AfterValidator(_known)], ...] = Field(
        default=("dino", "clip_i", "clip_t", "diversity", "drift", "memorisation", "familiarity"),
        min_length=1,
        description="file names in tasks/metrics/",
    )
    dino: str = Field(
        default="data/judges/identity",
        description="judge of the subject: folder or Hub id of a ViT, such as facebook/dino-vits16",
    )
    dino_revision: str = Field(
        default="main",
        description="Hub revision; for a folder `main` or its model.safetensors' SHA-256",
    )
    clip: str = Field(
        default="data/judges/clip",
        description="judge of picture and prompt: transformers folder or Hub id of a CLIPModel",
    )
    clip_revision: str = Field(default="main", description="as dino_revision")
    segmenter: dict[str, Any] | None = Field(
        default=None,
        description="cuts the subject out of samples for `dino_subject`: {name: sam, ...}; null: nobody",
    )
    resamples: int = Field(default=2000, ge=100, le=100_000, description="bootstrap resamples of an interval")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="probability that an interval promises")
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="seed of the resampling")
    batch_size: int = Field(default=32, ge=1, le=1024, description="pictures a judge sees at once; for speed")


def run(segment: Path, sample: Path, out: Path, settings: Settings) -> None:
    """Judge the samples against the training crops; write metrics.json, scores.json, tables for plots."""
    options = settings.section(Params, "evaluate")
    subject, recipe = settings.subject, settings.recipe("evaluate")
    isolate = _isolator(options, settings)
    inputs = {"segment": manifest.read(segment, "segment"), "sample": manifest.read(sample, "sample")}
    judges = Judges(
        ImageJudge(options.dino, options.dino_revision, settings.project, options.batch_size),
        TextJudge(options.clip, options.clip_revision, settings.project, options.batch_size),
    )
    evidence = gather(
        segment, sample, subject, judges, Bootstrap(options.resamples, options.confidence, options.seed)
    )
    if isolate:
        evidence = _with_subjects(evidence, isolate)
    scores: dict[str, Score] = {}
    for name in options.metrics:
        log.info("evaluate: %s", name)
        scores |= plugins.load("metrics", name).measure(evidence)
    with staged(out) as folder:
        _write_json(
            folder / "metrics.json",
            {k: v for name, score in scores.items() for k, v in score.flat(name).items()},
        )
        _write_json(folder / "scores.json", _detail(evidence, scores, options))
        _write_tables(folder / "plots", evidence, scores)
        manifest.write(
            folder,
            "evaluate",
            recipe,
            params=options.model_dump(mode="json"),
            inputs={stage: content["files"] for stage, content in inputs.items()},
            judges={"dino": judges.dino.identity, "clip": judges.clip.identity},
        )


def gather(segment: Path, sample: Path, subject: Subject, judges: Judges, bootstrap: Bootstrap) -> Evidence:
    """Read the crops with their masks, and the samples that the gate released, by kind.

    Raises:
        UserError: samples.json is damaged, or no photo or sample is left to judge.
    """
    photos = []
    for path in sorted((segment / "images").glob("*.png")):
        mask_file, pixels = segment / "masks" / path.name, images.read(path)
        alone = isolated(pixels, images.read_mask(mask_file)) if mask_file.is_file() else None
        photos.append(Picture(path.name, pixels, subject=alone))
    groups: dict[str, list[Picture]] = {"subject": [], "base": [], "class_tuned": [], "class_base": []}
    for entry in samples.read(sample):
        if (sample / entry["file"]).is_file():  # a refused picture has no file
            prompt = without_identifier(entry["prompt"], subject)
            picture = Picture(entry["file"], images.read(sample / entry["file"]), prompt, int(entry["seed"]))
            groups.setdefault(entry["kind"], []).append(picture)
    if not photos:
        raise UserError(f"{segment}: no crop to compare with; see its segment.json for the reasons")
    if not groups["subject"]:
        raise UserError(
            f"{sample}: no picture of the subject was released; see the verdicts in its samples.json"
        )
    return Evidence(
        photos,
        groups["subject"],
        groups["base"],
        groups["class_tuned"],
        groups["class_base"],
        judges,
        bootstrap,
    )


def without_identifier(prompt: str, subject: Subject) -> str:
    """The prompt as a judge can read it, which never saw the rare token: "a sks dog" -> "a dog"."""
    plain = prompt.replace(subject.phrase, subject.class_word)
    return " ".join(word for word in plain.split() if word.strip(",.;:!?") != subject.identifier)


def _isolator(options: Params, settings: Settings) -> Callable[[np.ndarray], np.ndarray | None] | None:
    """Cuts the subject out of a picture (None: not found); None where no segmenter is configured."""
    if options.segmenter is None:
        return None
    module, chosen = plugins.configure("segmenters", options.segmenter, "evaluate.segmenter")
    segmenter = module.Segmenter(chosen, settings.project)
    return lambda pixels: isolated(pixels, segmenter.segment(pixels).pixels)


def _with_subjects(evidence: Evidence, isolate: Callable[[np.ndarray], np.ndarray | None]) -> Evidence:
    def cut(pictures: Sequence[Picture], what: str) -> list[Picture]:
        steps = progress.each(pictures, f"masks of {what}", len(pictures))
        return [replace(picture, subject=isolate(picture.pixels)) for picture in steps]

    return replace(
        evidence, samples=cut(evidence.samples, "samples"), base=cut(evidence.base, "base pictures")
    )


def _detail(evidence: Evidence, scores: dict[str, Score], options: Params) -> dict[str, Any]:
    """What the report needs beyond metrics.json: gains with intervals, and every picture's own numbers."""
    judged = {name: score for name, score in scores.items() if score.per_picture}
    return {
        "confidence": options.confidence,
        "photos": len(evidence.photos),
        "samples": len(evidence.samples),
        "samples_without_mask": sum(picture.subject is None for picture in evidence.samples),
        "scores": {name: _plain(score) for name, score in scores.items()},
        "pictures": [
            {"file": picture.file, "prompt": picture.prompt, "seed": picture.seed}
            | {name: round(score.per_picture[index], DIGITS) for name, score in judged.items()}
            for index, picture in enumerate(evidence.samples)
        ],
    }


def _plain(score: Score) -> dict[str, Any]:
    def rounded(value: Any) -> Any:
        if isinstance(value, tuple):
            return [round(float(part), DIGITS) for part in value]
        return None if value is None else round(float(value), DIGITS)

    names = ("value", "interval", "floor", "ceiling", "normalised", "gain", "gain_interval")
    return {name: rounded(getattr(score, name)) for name in names} | {
        "marks": {key: rounded(value) for key, value in score.marks.items()}
    }


def _write_tables(folder: Path, evidence: Evidence, scores: dict[str, Score]) -> None:
    """CSV for `dvc plots`: one row a prompt with intervals over its seeds, and one row a score."""
    judged = {name: np.array(score.per_picture) for name, score in scores.items() if score.per_picture}
    prompts, seeds = clusters(evidence.samples)
    rows: list[dict[str, Any]] = []
    for prompt in dict.fromkeys(prompts):
        chosen = [index for index, other in enumerate(prompts) if other == prompt]
        row: dict[str, Any] = {"prompt": prompt}
        for name, values in judged.items():
            row[name] = round(float(values[chosen].mean()), DIGITS)
            interval = evidence.bootstrap.mean(values[chosen], [seeds[index] for index in chosen]) or ("", "")
            row[f"{name}_low"], row[f"{name}_high"] = (
                round(end, DIGITS) if isinstance(end, float) else end for end in interval
            )
        rows.append(row)
    _write_csv(folder / "per_prompt.csv", rows)
    keys = ("", "low", "high", "floor", "ceiling", "normalised")
    _write_csv(
        folder / "scores.csv",
        [
            {"score": name}
            | {key or "value": score.flat("x").get(f"x_{key}".rstrip("_"), "") for key in keys}
            for name, score in scores.items()
        ],
    )


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    cli.main(run)
