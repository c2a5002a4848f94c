"""Stage 7: everything about one subject on one page that opens from disk, pictures first."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.reporting import charts, page, words
from tasks.reporting.shown import Params, Shown, verdict_of
from tasks.shared import cli, manifest, samples
from tasks.shared.errors import UserError
from tasks.shared.folders import staged
from tasks.shared.settings import Settings
from tasks.shared.subject import Subject

STAGES = ("ingest", "segment", "class_prior", "fine_tune", "sample", "evaluate")


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
        show = Shown(folder, options, subject)
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
        word, why = verdict_of(entry)
        if word:
            counts[word] = counts.get(word, 0) + 1
        for reason in why:
            reasons[reason] = reasons.get(reason, 0) + 1
    return {"counts": counts, "reasons": reasons, "total": len(entries)}


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
