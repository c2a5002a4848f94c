"""Stage 3: teach the base one subject, by the method that subject.yaml names.

Reads the crops of `segment` and, if the method wants it, the class prior. Writes the method's files, the curve, pictures on the
way, a model card and the manifest, from which the later stages learn what was trained.
"""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tasks.backbones import _warm as warm
from tasks.backbones.base import Backbone, SampleOptions
from tasks.guards import consent, output
from tasks.guards.base import Context, Picture
from tasks.methods.base import Material, Pictures
from tasks.metrics._judges import ImageJudge
from tasks.metrics.base import cosines
from tasks.shared import cli, images, plugins, prompts
from tasks.shared import manifest as manifests
from tasks.shared.folders import staged
from tasks.shared.settings import Settings
from tasks.training import card, pictures
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import Run, Watch
from tasks.training.options import Params

log = logging.getLogger(__name__)

SAMPLE_SEED_OFFSET = 1_000_000  # pictures on the way never start from noise that training saw


def run(segment: Path, prior: Path, out: Path, settings: Settings) -> None:
    """Train, then write the artifact, its curve, pictures on the way and, last, its manifest."""
    subject, options, recipe = (
        settings.subject,
        settings.section(Params, "fine_tune"),
        settings.recipe("fine_tune"),
    )
    module = plugins.load("methods", subject.method)
    method_params = settings.section(module.Params, f"methods.{subject.method}")
    method = module.Method(method_params)
    words = {"subject": subject.phrase, "class": subject.class_word}
    looks = [
        prompts.filled(text, words, "fine_tune.validation_prompts") for text in options.validation_prompts
    ]
    consent.require(subject, out.parent, "train")
    base = settings.base
    backbone = warm.take(base)
    photos, segment_facts = pictures.instance(segment, backbone.size_px, options.masked_loss)
    class_pictures: Pictures | None = None
    prior_facts: dict[str, Any] = {}
    if method.uses_prior:
        class_pictures, prior_facts = pictures.prior(prior, backbone.size_px, subject.class_word)
    facts = {
        "method": subject.method,
        "method_params": method_params.model_dump(mode="json"),
        "params": options.model_dump(mode="json"),
        "base": {**backbone.identity, "dtype": base.dtype},
        "phrase": subject.phrase,
        "class": subject.class_word,
        "kind": subject.kind,
        "inputs": {
            "segment": manifests.content_digest(segment_facts),
            "prior": manifests.content_digest(prior_facts) if prior_facts else None,
        },
        "photos": len(photos.pixels),
        "class_pictures": 0 if class_pictures is None else len(class_pictures.pixels),
    }
    facts["params_digest"] = manifests.content_digest({**facts, "recipe": recipe})
    _warn(backbone, subject.phrase, prior_facts)

    checkpoints = Checkpoints(
        out.parent / ".work" / "fine_tune", facts["params_digest"], settings.machine.checkpoint_steps
    )
    material = Material(
        photos, words, class_pictures, options.train_batch_size, options.random_flip, options.seed
    )
    method.observe(backbone, material)
    training = Run(method, backbone, options, checkpoints)
    on_the_way = checkpoints.folder / "validation"
    context = Context(
        subject, out.parent, "train", {"stage": "fine_tune", "method": subject.method, "base": facts["base"]}
    )
    judged = _likeness(options, settings.project, list(photos.pixels))
    curve = training.train(_painter(backbone, looks, options, judged, on_the_way, context))
    with staged(out) as folder:
        provenance = {key: facts[key] for key in ("method", "base", "phrase", "class", "params_digest")}
        method.save(backbone, folder, provenance)
        (folder / "curve.json").write_text(json.dumps(curve, indent=0) + "\n", encoding="utf-8")
        if on_the_way.is_dir():
            shutil.copytree(on_the_way, folder / "validation")
        card.write(folder, facts)
        manifests.write(folder, "fine_tune", recipe, **facts)
    checkpoints.remove()


def _likeness(
    options: Params, project: Path, photos: list[np.ndarray]
) -> Callable[[np.ndarray], float] | None:
    """Mean cosine of a picture with the photos under the validation judge, as the metric `dino` has it; None without one."""
    if options.validation_judge is None or not (options.validation_steps and options.validation_prompts):
        return None
    judge = ImageJudge(options.validation_judge, options.validation_judge_revision, project)
    known = judge.embed(photos)
    return lambda picture: float(cosines(judge.embed([picture]), known).mean())


def _painter(
    backbone: Backbone,
    looks: list[str],
    options: Params,
    likeness: Callable[[np.ndarray], float] | None,
    folder: Path,
    context: Context,
) -> Watch | None:
    """Draws the validation prompts side by side, always from the same noise, and hands the sheet to the gate.

    The first picture's likeness to the photos joins the curve as `dino`.
    """
    if not looks:
        return None
    sampling = SampleOptions(num_inference_steps=options.validation_inference_steps)
    seeds = [options.seed + SAMPLE_SEED_OFFSET] * len(looks)

    def paint(step: int) -> dict[str, float]:
        drawn = backbone.sample(looks, seeds, sampling)
        sheet = images.grid([list(drawn)])
        output.release(
            [Picture(sheet, " | ".join(looks), seeds[0], folder / f"step_{step:04d}.png")], context
        )
        if likeness is None:
            return {}
        found = round(likeness(drawn[0]), 4)
        log.info("step %d: likeness to the photos %.2f", step, found)
        return {"dino": found}

    return paint


def _warn(backbone: Backbone, phrase: str, prior_facts: dict[str, Any]) -> None:
    for word in backbone.spelled_out(phrase):
        log.warning("the base spells %r out letter by letter: it hardly knows the word; try another", word)
    made_by = prior_facts.get("base", backbone.identity)
    if made_by.get("revision") != backbone.identity["revision"]:
        log.warning(
            "the class pictures were drawn by another base (%s); run class_prior again", made_by.get("model")
        )


if __name__ == "__main__":
    cli.main(run)
