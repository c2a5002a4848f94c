"""Stage 4: the subject in new scenes, beside what the base draws for the same prompts and seeds.

The method is what the fine-tuning's manifest says; there is no option that could contradict it. Every batch
has the same size, the last one filled up, so that a picture's bytes depend on its own prompt and seed and not
on its neighbours (arithmetic may differ in the last bit between batch sizes). Pictures of the bare class, by
both models, show what the tuning did to the rest of the class.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import AfterValidator, Field

from tasks.backbones import _warm as warm
from tasks.backbones.base import Backbone, SampleOptions
from tasks.guards import consent, output
from tasks.guards.base import Context, Picture
from tasks.methods.base import from_manifest
from tasks.shared import cli, images, manifest, progress, prompts
from tasks.shared.errors import UserError
from tasks.shared.folders import staged
from tasks.shared.settings import Settings
from tasks.shared.subject import Subject

log = logging.getLogger(__name__)

SEED_OFFSET = 1_000_000
"""Added to every seed: noise that training drew from must not flatter the samples."""

PROMPTS = (
    "a {subject} on the beach",
    "a {subject} in the snow",
    "a {subject} in the forest",
    "a {subject} in the desert",
    "a {subject} in the city at night",
    "a {subject} in the kitchen",
    "a {subject} on the red carpet",
    "a {subject} on the moon",
    "a {subject} on a meadow seen from the side",
    "a cartoon drawing of a {subject}",
)

Item = TypeVar("Item")


def _distinct(items: tuple[Item, ...]) -> tuple[Item, ...]:
    twice = [item for item in items if items.count(item) > 1]
    if twice:
        raise ValueError(f"{twice[0]!r} stands there twice; each must differ")
    return items


class Params(SampleOptions):
    """What is drawn of the subject."""

    prompts: Annotated[tuple[str, ...], AfterValidator(_distinct)] = Field(
        default=PROMPTS,
        min_length=1,
        max_length=200,
        description="templates; {subject}: identifier and class word, {class}: class word",
    )
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=SEED_OFFSET)], ...], AfterValidator(_distinct)] = (
        Field(
            default=(1, 2),
            min_length=1,
            max_length=100,
            description="one picture a prompt and seed; 1,000,000 is added: training drew from no such seed",
        )
    )
    class_prompt: str = Field(default="a {class}", description="what shows the class without the subject")
    num_class_images: int = Field(
        default=16, ge=0, le=1000, description="pictures of the bare class, by each model"
    )
    batch_size: int = Field(
        default=12,
        ge=1,
        le=256,
        description="pictures drawn at once, less where memory ends; another size may change their last bit",
    )


@dataclass(frozen=True)
class Shot:
    """A picture to draw, once by the base and once by the tuned model."""

    name: str  # file name in the folder of its kind
    of_class: bool  # shows the bare class, not the subject
    prompt: str
    scene: str  # the prompt as somebody reads it who does not know the subject
    seed: int

    def kind(self, tuned: bool) -> str:
        """Folder of the file, and `kind` in samples.json."""
        if self.of_class:
            return "class_tuned" if tuned else "class_base"
        return "subject" if tuned else "base"


def run(fine_tune: Path, out: Path, settings: Settings) -> None:
    """Draw every prompt with every seed, by the tuned model and by the base."""
    options, recipe = settings.section(Params, "sample"), settings.recipe("sample")
    subject, base = settings.subject, settings.base
    shots = plan(options, subject)
    consent.require(subject, out.parent, "sample")
    tuning = manifest.verify(fine_tune, "fine_tune")
    method = from_manifest(tuning)
    backbone = warm.take(base)
    _check(tuning, subject, backbone, fine_tune)
    warnings = [
        text for prompt in dict.fromkeys(shot.prompt for shot in shots) for text in cut(prompt, backbone)
    ]
    for text in warnings:
        log.warning("sample: %s", text)
    facts = {
        "stage": "sample",
        "base": backbone.identity,
        "method": None,
        "adapter": None,
        "sampler": {
            **options.model_dump(mode="json", include=set(SampleOptions.model_fields)),
            "size_px": options.size_px or backbone.size_px,
            "batch_size": options.batch_size,
        },
    }
    adapter = {name: digest for name, digest in tuning["files"].items() if name.endswith(".safetensors")}
    with staged(out) as folder:
        entries = draw(
            backbone, shots, options, Context(subject, out.parent, facts=facts), folder, tuned=False
        )
        facts = {**facts, "method": tuning["method"], "adapter": adapter}
        with method.installed(backbone, fine_tune):
            entries += draw(
                backbone, shots, options, Context(subject, out.parent, facts=facts), folder, tuned=True
            )
        warm.give_back(base, backbone)
        entries.sort(key=lambda entry: (KINDS.index(entry["kind"]), entry["file"]))
        _release_grid(folder, entries, len(options.seeds), Context(subject, out.parent, facts=facts))
        (folder / "samples.json").write_text(
            json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        manifest.write(
            folder,
            "sample",
            recipe,
            params=options.model_dump(mode="json"),
            inputs={"fine_tune": tuning["files"]},
            base=backbone.identity,
            method=tuning["method"],
            warnings=warnings,
            verdicts={word: sum(entry["verdict"] == word for entry in entries) for word in WORDS},
        )


KINDS = ("subject", "base", "class_tuned", "class_base")
WORDS = ("released", "flagged", "refused")


def plan(options: Params, subject: Subject) -> list[Shot]:
    """Class pictures first, then prompt after prompt with all seeds.

    Raises:
        UserError: a prompt has an unknown placeholder, or two become the same words.
    """
    words = {"subject": subject.phrase, "class": subject.class_word}
    plain = {"subject": subject.class_word, "class": subject.class_word}
    class_prompt = prompts.filled(options.class_prompt, {"class": subject.class_word}, "sample.class_prompt")
    shots = [
        Shot(f"s{index:02d}.png", True, class_prompt, class_prompt, SEED_OFFSET + index)
        for index in range(options.num_class_images)
    ]
    seen: dict[str, str] = {}
    for place, template in enumerate(options.prompts):
        prompt = prompts.filled(template, words, "sample.prompts")
        if prompt in seen:
            raise UserError(
                f"sample.prompts: {template!r} and {seen[prompt]!r} become the same: {prompt!r}; drop one"
            )
        seen[prompt] = template
        scene = prompts.filled(template, plain, "sample.prompts")
        shots += [
            Shot(f"p{place:02d}_s{index:02d}.png", False, prompt, scene, SEED_OFFSET + seed)
            for index, seed in enumerate(options.seeds)
        ]
    return shots


def draw(
    backbone: Backbone, shots: Sequence[Shot], options: Params, context: Context, folder: Path, tuned: bool
) -> list[dict[str, Any]]:
    """Draw all shots in batches of one size and hand them to the output gate.

    Returns:
        The entries of samples.json: file (missing if refused), kind, prompt, scene, seed, verdict, reasons.
    """
    size = options.batch_size
    padded = [*shots, *[shots[-1]] * (-len(shots) % size)]
    batches = backbone.sample_batches(
        [shot.prompt for shot in padded], [shot.seed for shot in padded], options, size
    )
    who = "tuned model" if tuned else "base"
    entries = []
    for number, pixels in enumerate(progress.each(batches, f"drawing with the {who}", len(padded) // size)):
        batch = shots[number * size : (number + 1) * size]
        files = [f"{shot.kind(tuned)}/{shot.name}" for shot in batch]
        verdicts = output.release(
            [
                Picture(pixels[place], shot.prompt, shot.seed, folder / file)
                for place, (shot, file) in enumerate(zip(batch, files, strict=True))
            ],
            context,
        )
        for shot, file, verdict in zip(batch, files, verdicts, strict=True):
            if verdict.reasons:
                log.warning(
                    "sample: %s (%r) is %s: %s", file, shot.prompt, verdict.word, "; ".join(verdict.reasons)
                )
            entries.append(
                {
                    "file": file,
                    "kind": shot.kind(tuned),
                    "prompt": shot.prompt,
                    "scene": shot.scene,
                    "seed": shot.seed,
                    "verdict": verdict.word,
                    "reasons": verdict.reasons,
                }
            )
    return entries


def _check(tuning: Mapping[str, Any], subject: Subject, backbone: Backbone, fine_tune: Path) -> None:
    """Was this subject tuned on this base?

    Raises:
        UserError: the tuning is another one's.
    """
    if tuning["phrase"] != subject.phrase:
        raise UserError(
            f"{fine_tune}: tuned as {tuning['phrase']!r}, but subject.yaml says {subject.phrase!r}; "
            "run the stage 'fine_tune' again"
        )
    trained_on = {key: tuning["base"].get(key) for key in backbone.identity}
    if trained_on != backbone.identity:
        raise UserError(
            f"{fine_tune}: tuned on {_short(trained_on)}, but base.model is {_short(backbone.identity)}; "
            "run the stage 'fine_tune' again"
        )


def cut(prompt: str, backbone: Backbone) -> list[str]:
    """A warning if the text encoder cannot read the whole prompt, naming the words it does not see."""
    tokenizer = min(backbone.tokenizers, key=lambda tokenizer: tokenizer.model_max_length)
    room = tokenizer.model_max_length - 1  # the last place is for the end of the text
    pieces = tokenizer(prompt, verbose=False).input_ids
    if len(pieces) <= room + 1:
        return []
    unseen = tokenizer.decode(pieces[room:-1]).strip()
    return [f"the text encoder reads {room - 1} tokens; it does not see {unseen!r} at the end of {prompt!r}"]


def _release_grid(folder: Path, entries: Sequence[Mapping[str, Any]], columns: int, context: Context) -> None:
    """grid.png: a row for each prompt, the tuned model's pictures, then the base's; grey where one was refused."""
    sides = [[entry for entry in entries if entry["kind"] == kind] for kind in ("subject", "base")]
    written = {
        entry["file"]: images.read(folder / entry["file"])
        for entries in sides
        for entry in entries
        if entry["verdict"] != "refused"
    }
    if not written:
        reasons = "; ".join(sides[0][0]["reasons"])
        raise UserError(f"sample.prompts: the gate refused every picture of the subject ({reasons})")
    grey = np.full_like(next(iter(written.values())), 127)
    rows = [
        [written.get(entry["file"], grey) for entries in sides for entry in entries[start : start + columns]]
        for start in range(0, len(sides[0]), columns)
    ]
    shown = dict.fromkeys(entry["prompt"] for entry in sides[0] if entry["file"] in written)
    output.release([Picture(images.grid(rows), " | ".join(shown), None, folder / "grid.png")], context)


def _short(identity: Mapping[str, str]) -> str:
    return f"{identity['model']} {identity['revision'][:12]}"


if __name__ == "__main__":
    cli.main(run)
