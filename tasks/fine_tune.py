"""Stage 3: teach the base one subject, by the method that subject.yaml names.

Reads the crops of `segment` and, if the method wants it, the class prior. Writes the method's files, the curve, pictures on the
way, a model card and the manifest, from which the later stages learn what was trained. Several subjects that are to be trained
alike may share every step.
"""

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.backbones import _warm as warm
from tasks.backbones.base import Backbone, SampleOptions
from tasks.guards import consent, output
from tasks.guards.base import Context, Picture
from tasks.methods.base import Material, Method, Pictures
from tasks.metrics._judges import ImageJudge
from tasks.metrics.base import cosines
from tasks.shared import cli, images, plugins, prompts
from tasks.shared import manifest as manifests
from tasks.shared.errors import UserError
from tasks.shared.folders import staged
from tasks.shared.settings import Settings
from tasks.training import card, pictures
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import Training
from tasks.training.member import Member, Watch
from tasks.training.options import Params

__all__ = ["Job", "Params", "group_key", "run", "run_together"]
log = logging.getLogger(__name__)

SAMPLE_SEED_OFFSET = 1_000_000  # pictures on the way never start from noise that training saw


@dataclass(frozen=True)
class Job:
    """Arguments of `run` for one of several subjects."""

    segment: Path
    prior: Path
    out: Path
    settings: Settings


def run(segment: Path, prior: Path, out: Path, settings: Settings) -> None:
    """Train, then write the artifact, its curve, pictures on the way and, last, its manifest."""
    for failure in run_together([Job(segment, prior, out, settings)]).values():
        raise failure


def run_together(jobs: Sequence[Job]) -> dict[int, Exception]:
    """What `run` does for each job, several subjects trained in one step of one base.

    Files, facts and digests of params are those of `run`. So is what is learnt: on a CPU with one or two threads to the last bit
    (bench/fleet/stacked.py); else up to rounding, which Adam makes grow. Either goes on from the other's checkpoints.

    Returns:
        By a job's number why it was not finished; the others are not touched by that.
    Raises:
        UserError: the jobs do not fit together (see `group_key`), or all fail for one reason, such as the base.
    """
    failures: dict[int, Exception] = {}
    works: dict[int, _Work] = {}
    for number, job in enumerate(jobs):
        with _own(failures, number):
            works[number] = _Work(job)
    keys = {_key(work.settings, work.method, work.options) for work in works.values()}
    if len(works) > 1 and (len(keys) > 1 or None in keys):
        raise UserError("fine_tune: subjects of one step need the same base, method, tuner and options")
    if not works:
        return failures
    backbone = warm.take(next(iter(works.values())).settings.base)
    judges: dict[tuple[str, str], ImageJudge] = {}
    for number, work in list(works.items()):
        with _own(failures, number):
            work.observe(backbone, judges)
        if number in failures:
            del works[number]
    if not works:
        return failures
    training = Training(
        [work.member for work in works.values()], backbone, next(iter(works.values())).options
    )
    training.train_all()
    for place, (number, work) in enumerate(works.items()):
        if work.member.failure:
            failures[number] = work.member.failure
            continue
        with _own(failures, number):
            training.show(place)
            work.write(backbone)
    return failures


def group_key(settings: Settings) -> str | None:
    """Subjects with equal keys can be trained in one step; None: this one is trained alone.

    Photos, words, prompts and seed are each subject's own.

    Raises:
        UserError: a section is wrong.
    """
    options = settings.section(Params, "fine_tune")
    return _key(settings, _method(settings), options)


def _key(settings: Settings, method: Method, options: Params) -> str | None:
    common = method.common()
    if common is None or options.optimizer != "adamw":  # others look at more than one number at a time
        return None
    shared = options.model_dump(mode="json", exclude={"seed", "validation_prompts"})
    key = {"base": settings.base.model_dump(), "method": settings.subject.method, "options": shared}
    return json.dumps(key | {"common": common}, sort_keys=True)


def _method(settings: Settings) -> Method:
    name = settings.subject.method
    module = plugins.load("methods", name)
    return module.Method(settings.section(module.Params, f"methods.{name}"))


@contextmanager
def _own(failures: dict[int, Exception], number: int) -> Iterator[None]:
    """What goes wrong inside is this job's own."""
    try:
        yield
    except Exception as failure:
        failures[number] = failure


class _Work:
    """One subject on its way through the stage."""

    def __init__(self, job: Job):
        """Read what is asked; nothing is opened yet."""
        self.job, self.settings = job, job.settings
        self.subject = job.settings.subject
        self.options = job.settings.section(Params, "fine_tune")
        self.recipe = job.settings.recipe("fine_tune")
        self.method = _method(job.settings)
        self.words = {"subject": self.subject.phrase, "class": self.subject.class_word}
        self.looks = [
            prompts.filled(text, self.words, "fine_tune.validation_prompts")
            for text in self.options.validation_prompts
        ]
        consent.require(self.subject, job.out.parent, "train")

    def observe(self, backbone: Backbone, judges: dict[tuple[str, str], ImageJudge]) -> None:
        """Read the pictures, and let the method see them on the frozen base.

        Args:
            judges: those that are open, by model and revision.
        """
        job, options, subject = self.job, self.options, self.subject
        photos, segment_facts = pictures.instance(job.segment, backbone.size_px, options.masked_loss)
        class_pictures: Pictures | None = None
        prior_facts: dict[str, Any] = {}
        if self.method.uses_prior:
            class_pictures, prior_facts = pictures.prior(job.prior, backbone.size_px, subject.class_word)
        self.facts: dict[str, Any] = {
            "method": subject.method,
            "method_params": self.method.params.model_dump(mode="json"),
            "params": options.model_dump(mode="json"),
            "base": {**backbone.identity, "dtype": self.settings.base.dtype},
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
        self.facts["params_digest"] = manifests.content_digest({**self.facts, "recipe": self.recipe})
        _warn(backbone, subject.phrase, prior_facts)
        self.checkpoints = Checkpoints(
            job.out.parent / ".work" / "fine_tune",
            self.facts["params_digest"],
            self.settings.machine.checkpoint_steps,
        )
        size, flip = options.train_batch_size, options.random_flip
        self.method.observe(backbone, Material(photos, self.words, class_pictures, size, flip, options.seed))
        self.on_the_way = self.checkpoints.folder / "validation"
        told = {"stage": "fine_tune", "method": subject.method, "base": self.facts["base"]}
        context = Context(subject, job.out.parent, "train", told)
        judged = _likeness(options, self.settings.project, list(photos.pixels), judges)
        watch = _painter(backbone, self.looks, options, judged, self.on_the_way, context)
        self.member = Member(self.method, options.seed, self.checkpoints, watch)

    def write(self, backbone: Backbone) -> None:
        """Write what was learnt, now that the base shows it."""
        with staged(self.job.out) as folder:
            provenance = {
                key: self.facts[key] for key in ("method", "base", "phrase", "class", "params_digest")
            }
            self.method.save(backbone, folder, provenance)
            curve = json.dumps(self.member.curve, indent=0) + "\n"
            (folder / "curve.json").write_text(curve, encoding="utf-8")
            if self.on_the_way.is_dir():
                shutil.copytree(self.on_the_way, folder / "validation")
            card.write(folder, self.facts)
            manifests.write(folder, "fine_tune", self.recipe, **self.facts)
        self.checkpoints.remove()


def _likeness(
    options: Params,
    project: Path,
    photos: list[np.ndarray],
    judges: dict[tuple[str, str], ImageJudge],
) -> Callable[[np.ndarray], float] | None:
    """Mean cosine of a picture with the photos under the validation judge, as the metric `dino` has it; None without one."""
    if options.validation_judge is None or not (options.validation_steps and options.validation_prompts):
        return None
    key = options.validation_judge, options.validation_judge_revision
    if key not in judges:
        judges[key] = ImageJudge(*key, project)
    judge = judges[key]
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
    for word in prompts.spelled_out(backbone.tokenizers[0], phrase):
        log.warning("the base spells %r out letter by letter: it hardly knows the word; try another", word)
    made_by = prior_facts.get("base", backbone.identity)
    if made_by.get("revision") != backbone.identity["revision"]:
        log.warning(
            "the class pictures were drawn by another base (%s); run class_prior again", made_by.get("model")
        )


if __name__ == "__main__":
    cli.main(run)
