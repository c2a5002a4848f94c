"""From drawn pictures of a ToyBench subject to its numbers, whoever drew them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from bench import spread
from bench.attribute_judge import AttributeJudge
from bench.toybench import scores, truth
from bench.toybench.prompts import Asked, asked_of
from bench.toybench.scores import Drawn, Reference
from bench.toybench.settings import Setting
from bench.toybench.toys import toy
from flows.workspace import SubjectFolder
from tasks.backbones.base import Backbone
from tasks.metrics._judges import Judges
from tasks.metrics.base import isolated
from tasks.segmenters.base import Segmenter
from tasks.shared import images, samples

Row = dict[str, Any]

FROM_EVALUATE = ("pres", "drift", "div", "class_div", "memorisation", "dino_subject", "clip_i")
"""Scores of a subject that its own stage `evaluate` has already given."""


class Bench:
    """The judges that every row shares."""

    def __init__(self, judges: Judges, eye: AttributeJudge, segmenter: Segmenter, backbone: Backbone):
        self.judges, self.eye, self.segmenter, self.backbone = judges, eye, segmenter, backbone
        self.size_px = backbone.size_px
        self._references: dict[str, Reference] = {}

    def reference(self, name: str) -> Reference:
        """What the pictures of a ToyBench subject are held against; the same for every row."""
        if name not in self._references:
            one = toy(name)
            photos = [truth.shown(scene, self.size_px).subject for scene in one.scenes]
            self._references[name] = Reference(
                one.identity,
                one.twin,
                self.judges.dino.embed(photos),
                frozenset(scene.setting for scene in one.scenes),
                truth.gallery_of(self.judges.dino, one.identity, self.size_px),
                self.size_px,
            )
        return self._references[name]

    def rows(self, name: str, pictures: Sequence[Drawn]) -> list[Row]:
        """The scores of some pictures of a subject, one row each."""
        found = scores.measure(pictures, self.reference(name), self.judges, self.eye)
        about = {"subject": name, "difficulty": toy(name).difficulty}
        return [
            {**about, "kind": picture.asked.kind, "seed": picture.seed, **row}
            for picture, row in zip(pictures, found, strict=True)
        ]

    def one(self, asked: Asked, seed: int, pixels: np.ndarray) -> Drawn:
        """A drawn picture with its subject cut out by the segmenter, as in `evaluate`."""
        return Drawn(asked, seed, pixels, isolated(pixels, self.segmenter.segment(pixels).pixels))

    def sampled(self, name: str, setting: Setting, folder: SubjectFolder) -> list[Drawn]:
        """The subject's pictures that the stage sample wrote."""
        cls, sample = toy(name).identity.cls, folder.folder / "sample"
        asked = {one.text.replace("{subject}", setting.calls(cls)): one for one in asked_of(name)}
        return [
            self.one(asked[entry["prompt"]], int(entry["seed"]), images.read(sample / entry["file"]))
            for entry in samples.read(sample)
            if entry["kind"] == "subject" and (sample / entry["file"]).is_file()
        ]

    def ceiling(self, name: str) -> list[Drawn]:
        """A true picture of each prompt, through the autoencoder and back."""
        asked, identity = asked_of(name), toy(name).identity
        made = [truth.truth(identity, one, truth.UPPER, self.size_px).pixels for one in asked]
        back = spread.rebuilt(self.backbone, np.stack(made))
        return [self.one(one, 0, picture) for one, picture in zip(asked, back, strict=True)]


def of_subject(folder: SubjectFolder) -> dict[str, float]:
    """What the stage `evaluate` found, and the size of what was trained."""
    found = json.loads((folder.folder / "evaluate" / "metrics.json").read_text())
    trained = folder.folder / "fine_tune"
    weights = [path for path in trained.rglob("*.safetensors") if path.name != "kohya.safetensors"]
    return {name: found[name] for name in FROM_EVALUATE if name in found} | {
        "bytes": sum(path.stat().st_size for path in weights),
        "parameters": sum(map(_numbers_in, weights)),
    }


def _numbers_in(path: Path) -> int:
    with safe_open(path, "np") as file:
        return sum(int(np.prod(file.get_slice(name).get_shape())) for name in file.keys())  # noqa: SIM118
