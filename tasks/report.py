"""Stage 7: everything about one subject on one page that opens from disk, pictures first."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from tasks.reporting import charts, page, pictures, words
from tasks.shared import cli, images, manifest, params, samples
from tasks.shared.errors import UserError
from tasks.shared.folders import staged
from tasks.shared.settings import Settings
from tasks.shared.subject import Subject

STAGES = ("ingest", "segment", "class_prior", "fine_tune", "sample", "evaluate")


class Params(params.Params):
    """How much the page shows."""

    picture_px: int = Field(
        default=768, ge=64, le=4096, description="longest side of a picture on the page, px"
    )
    max_prompts: int = Field(
        default=40, ge=1, le=1000, description="prompts that are shown; scores count all"
    )
    max_class_images: int = Field(default=16, ge=0, le=1000, description="class images that are shown")
    max_validation: int = Field(
        default=12, ge=0, le=1000, description="validation pictures shown, evenly spaced"
    )


def run(
    photos: Path,
    segment: Path,
    prior: Path,
    fine_tune: Path,
    sample: Path,
    evaluate: Path,
    out: Path,
    settings: Settings,
) -> None:
    """Write index.html and its pictures; relative links only, so that the folder can be moved or sent."""
    options = settings.section(Params, "report")
    subject, recipe, base = settings.subject, settings.recipe("report"), settings.base
    inputs = (photos, segment, prior, fine_tune, sample, evaluate)
    manifests = {stage: manifest.read(path, stage) for stage, path in zip(STAGES, inputs, strict=True)}
    scores = _json(evaluate / "scores.json", {})
    curve = _json(fine_tune / "curve.json", [], optional=True)
    with staged(out) as folder:
        show = _Shown(folder, options, subject)
        identity = manifests["fine_tune"].get("base") or {"model": base.model, "revision": base.revision}
        quality = _json(Path(base.model) / "quality.json", {}, optional=True)
        measured = scores.get("scores", {})
        html = page.render(
            "report.html.j2",
            subject=subject,
            verdict=words.verdict(subject.name, measured, scores.get("confidence", 0.95)),
            world=words.world(
                measured.get("familiarity"), _name(identity), subject.class_word, quality.get("world")
            ),
            photos=show.photos(photos),
            photo_notes=_photo_notes(photos, segment),
            scenes=show.scenes(sample),
            scales=_scales(measured),
            notes=words.notes(measured, subject.class_word),
            counts={
                key: scores.get(key) for key in ("photos", "samples", "confidence", "samples_without_mask")
            },
            masks=show.masks(segment),
            class_images=show.class_images(prior),
            class_moved=show.class_moved(sample),
            curve=charts.loss_curve(curve),
            validation=show.validation(fine_tune, curve),
            gate=_gate(samples.read(sample)),
            warnings=[str(text) for stage in STAGES for text in manifests[stage].get("warnings", [])],
            quality=words.quality(quality),
            base_name=_name(identity),
            facts=_facts(subject, identity, manifests, fine_tune),
            method_params=_rows(manifests["fine_tune"].get("method_params") or {}),
            stage_params={stage: _rows(manifests[stage].get("params") or {}) for stage in STAGES},
        )
        page.write(folder / "index.html", html)
        manifest.write(
            folder,
            "report",
            recipe,
            params=options.model_dump(mode="json"),
            inputs={stage: content.get("files", {}) for stage, content in manifests.items()},
        )


class _Shown:
    """Brings pictures into the report's folder, with a text for each that stands in for the picture."""

    def __init__(self, folder: Path, options: Params, subject: Subject):
        self.folder, self.options, self.subject = folder, options, subject

    def _picture(self, source: Path, name: str, alt: str, **more: Any) -> dict[str, Any]:
        return {
            "file": pictures.copied(source, self.folder, name, self.options.picture_px),
            "alt": alt,
            **more,
        }

    def photos(self, folder: Path) -> list[dict[str, Any]]:
        return [
            self._picture(path, f"photos/{index:02d}", f"Photo {index + 1} of {self.subject.name}")
            for index, path in enumerate(sorted(folder.glob("*.png")))
        ]

    def masks(self, segment: Path) -> list[dict[str, Any]]:
        found = []
        for index, path in enumerate(sorted((segment / "images").glob("*.png"))):
            mask = segment / "masks" / path.name
            laid_over = self.folder / "pictures" / "masks" / f"{index:02d}.png"
            images.save(laid_over, pictures.outlined(images.read(path), images.read_mask(mask)))
            name = laid_over.relative_to(self.folder).as_posix()
            found.append(
                {"file": name, "alt": f"Crop {index + 1}, the subject outlined, everything else faded"}
            )
        return found

    def class_images(self, prior: Path) -> list[dict[str, Any]]:
        chosen = sorted(prior.glob("*.png"))[: self.options.max_class_images]
        return [
            self._picture(
                path, f"class/{index:04d}", f"{self.subject.class_word}, as the base model draws it"
            )
            for index, path in enumerate(chosen)
        ]

    def scenes(self, sample: Path) -> list[dict[str, Any]]:
        """One entry a prompt: for each seed the tuned picture and the base's, or why there is none."""
        by_prompt: dict[str, dict[int, dict[str, Any]]] = {}
        for entry in samples.read(sample):
            if entry["kind"] in ("subject", "base"):
                seeds = by_prompt.setdefault(str(entry["prompt"]), {})
                seeds.setdefault(int(entry["seed"]), {})[entry["kind"]] = entry
        scenes = []
        for place, (prompt, seeds) in enumerate(list(by_prompt.items())[: self.options.max_prompts]):
            pairs = []
            for seed, kinds in sorted(seeds.items()):
                tuned, untuned = (
                    self._drawn(sample, kinds.get(kind), f"{kind}/p{place:02d}_s{seed:02d}", whose)
                    for kind, whose in (("subject", "tuned model"), ("base", "untuned model"))
                )
                pairs.append({"seed": seed, "tuned": tuned, "untuned": untuned})
            scenes.append({"prompt": prompt, "pairs": pairs})
        return scenes

    def class_moved(self, sample: Path) -> list[dict[str, Any]]:
        """Pictures of the class alone, before and after, by seed."""
        by_seed: dict[int, dict[str, Any]] = {}
        for entry in samples.read(sample):
            if entry["kind"] in ("class_tuned", "class_base"):
                by_seed.setdefault(int(entry["seed"]), {})[entry["kind"]] = entry
        return [
            {
                "seed": seed,
                "tuned": self._drawn(
                    sample, kinds.get("class_tuned"), f"class_tuned/s{seed:02d}", "tuned model"
                ),
                "untuned": self._drawn(
                    sample, kinds.get("class_base"), f"class_base/s{seed:02d}", "untuned model"
                ),
            }
            for seed, kinds in sorted(by_seed.items())
        ]

    def validation(self, fine_tune: Path, curve: list[dict[str, float]]) -> list[dict[str, Any]]:
        likeness = {row["step"]: row["dino"] for row in curve if "dino" in row}
        paths = sorted((fine_tune / "validation").glob("*.png"))
        most = self.options.max_validation
        if len(paths) > most:  # first and last always
            paths = [paths[round(i * (len(paths) - 1) / max(most - 1, 1))] for i in range(most)]
        found = []
        for path in paths:
            digits = "".join(letter for letter in path.stem if letter.isdigit())
            step = int(digits) if digits else 0
            alt = f"What the model draws after {step} training steps"
            found.append(
                self._picture(path, f"validation/{path.stem}", alt, step=step, likeness=likeness.get(step))
            )
        return found

    def _drawn(
        self, sample: Path, entry: Mapping[str, Any] | None, name: str, whose: str
    ) -> dict[str, Any] | None:
        if entry is None:
            return None
        source = sample / str(entry["file"])
        if source.is_file() and source.resolve().is_relative_to(sample.resolve()):
            alt = f"“{entry['prompt']}”, seed {entry['seed']}, drawn by the {whose}"
            return self._picture(source, name, alt)
        word, reasons = _verdict(entry)
        return {"file": None, "alt": "; ".join(reasons) or word or "missing"}


def _scales(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The scores that have a floor and a ceiling, each with its bar."""
    shown = []
    for name, meaning in words.MEANINGS.items():
        score = scores.get(name)
        if not score:
            continue
        bar = None
        if score["floor"] is not None and score["ceiling"] is not None:
            interval = tuple(score["interval"]) if score["interval"] else None
            bar = charts.scale_bar(
                score["value"], interval, score["floor"], score["ceiling"], meaning.floor, meaning.ceiling
            )
        shown.append({"name": name, "meaning": meaning, "score": score, "bar": bar, "percent": words.percent})
    return shown


def _gate(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many pictures the gate released, flagged and refused, and how often for which reason."""
    counts: dict[str, int] = {}
    reasons: dict[str, int] = {}
    for entry in entries:
        word, why = _verdict(entry)
        if word:
            counts[word] = counts.get(word, 0) + 1
        for reason in why:
            reasons[reason] = reasons.get(reason, 0) + 1
    return {"counts": counts, "reasons": reasons, "total": len(entries)}


def _verdict(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Word and reasons of a gate's verdict, which may stand as one word or as a mapping."""
    verdict = entry.get("verdict") or ""
    if isinstance(verdict, Mapping):
        return str(verdict.get("word", "")), [str(reason) for reason in verdict.get("reasons", [])]
    return str(verdict), [str(reason) for reason in entry.get("reasons", [])]


def _photo_notes(photos: Path, segment: Path) -> list[str]:
    """What ingest and segment had to say: of the set, of photos left out, of doubtful ones."""
    said: list[str] = []
    for path, name in ((photos / "ingest.json", "source"), (segment / "segment.json", "photo")):
        content = _json(path, {}, optional=True)
        said += [content["summary"]] if content.get("summary") else []
        said += content.get("warnings", [])
        for photo in content.get("photos", []):
            remarks = [*photo.get("reasons", []), *photo.get("warnings", [])]
            if remarks:
                said.append(f"{photo.get(name, '?')}: {'; '.join(remarks)}")
    return [str(sentence) for sentence in said]


def _facts(
    subject: Subject, base: Mapping[str, Any], manifests: Mapping[str, Any], fine_tune: Path
) -> list[tuple[str, str]]:
    """Where the result comes from, as pairs for a table."""
    tuned, judged = manifests["fine_tune"], manifests["evaluate"].get("judges", {})
    facts = [
        ("Subject", f"{subject.name}, called “{subject.phrase}” in prompts ({subject.kind})"),
        ("Base model", _name(base)),
        ("Base revision", str(base.get("revision", "unknown"))),
        ("Method", str(tuned.get("method", subject.method))),
    ]
    facts += [
        (f"Judge {name}", f"{who.get('model')} @ {who.get('revision')}") for name, who in judged.items()
    ]
    facts += [
        (f"Weights {path.name}", f"SHA-256 {tuned.get('files', {}).get(path.name, 'unknown')}")
        for path in sorted(fine_tune.glob("*.safetensors"))
    ]
    facts.append(("Recipes", ", ".join(f"{stage} {manifests[stage].get('recipe')}" for stage in STAGES)))
    return facts


def _rows(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested params as dotted key and value."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += _rows(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", json.dumps(value, ensure_ascii=False)))
    return rows


def _name(base: Mapping[str, Any]) -> str:
    """The base's name without any folder of this machine."""
    name = str(base.get("model", "unknown"))
    return Path(name).name if Path(name).is_absolute() else name


def _json(path: Path, otherwise: Any, optional: bool = False) -> Any:
    """Read a JSON file of the kind of `otherwise`.

    Raises:
        UserError: it is damaged, or missing though not optional.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if optional:
            return otherwise
        raise UserError(f"{path}: missing; run the stage that makes it again") from error
    except (OSError, ValueError) as error:
        if optional and isinstance(error, NotADirectoryError):
            return otherwise
        raise UserError(f"{path}: damaged ({error}); run the stage that makes it again") from error
    if not isinstance(content, type(otherwise)):
        raise UserError(f"{path}: expected a {type(otherwise).__name__}; run the stage that makes it again")
    return content


if __name__ == "__main__":
    cli.main(run)
