"""Run a row on the ten style sets: `python -m bench.toybench.style_bench ROW... [--sets poster neon]`.

Rows are those of settings.yaml, and `base` (untuned, "a picture of a dog ...") and `ceiling` (true pictures through the
autoencoder). A picture is in its style if, of the ten styles' true pictures, that style's are nearest in what the bench's eye
sees at a glance: means and spreads of its first two stages, whitened within styles (a linear discriminant). Source of the idea,
with other features: Gatys et al. 2016, "Image style transfer using convolutional neural networks", section 2.2; with means and
spreads alone: Huang and Belongie 2017, arXiv:1703.06868.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import provenance, spread
from bench.attribute_judge import AttributeJudge
from bench.eye import digest, open_eye
from bench.toybench import fleet, results, scoreboard, settings, styles
from bench.toybench.scores import names as names_seen
from bench.toybench.styles import STYLES, Wanted
from flows.lock import held
from flows.workspace import Workspace
from tasks.backbones._warm import take
from tasks.backbones.base import Backbone
from tasks.pretrain.renders import to_pixels
from tasks.sample import SEED_OFFSET
from tasks.sample import Params as SampleParams
from tasks.shared import folders, images, progress, samples
from tasks.shared.settings import Settings, find_project, load

CLASS_WORD, SEEDS = "picture", (1, 2)
WHOLE = {"segment": {"segmenter": {"name": "whole_frame"}}}  # a style is all of a picture
SCORES = ("style_right", "style_sim", "class_right", "setting_right")
SHRINKAGE = 0.2  # of the correlations within a style towards none: 200 pictures, 192 statistics
GLANCE = 6  # modules of the eye's trunk that make its first stage; two stages are looked at


@dataclass(frozen=True)
class Drawn:
    """A picture, what it should show, and the seed it came from."""

    wanted: Wanted
    seed: int
    pixels: np.ndarray  # [s s 3] uint8


class Critic:
    """Knows the ten styles from true pictures of every prompt."""

    def __init__(self, eye: AttributeJudge, size_px: int):
        self.eye = eye
        known = []
        for style in progress.each(STYLES, "rendering styles", len(STYLES)):
            wanted = [Wanted(one.cls, one.setting, draw) for one in styles.asked(style) for draw in (1, 2)]
            known.append(self._glance([styles.painted(style, one, size_px) for one in wanted]))
        self.centre = np.mean([rows.mean(0) for rows in known], axis=0)
        within = np.mean([np.cov(rows.T) for rows in known], axis=0)
        self.spread = np.sqrt(np.diag(within)) + 1e-6
        shared = (1 - SHRINKAGE) * within / np.outer(self.spread, self.spread) + SHRINKAGE * np.eye(
            len(within)
        )
        self.whitening = np.linalg.cholesky(np.linalg.inv(shared))
        self.centroids = np.stack([self._unit(rows).mean(0) for rows in known])

    def scores(self, style: str, pictures: Sequence[Drawn]) -> list[dict[str, Any]]:
        """A row for each picture: is it this style, this class, this setting?"""
        pixels = [picture.pixels for picture in pictures]
        seen = names_seen(self.eye, pixels)
        features = self._unit(self._glance(pixels))
        near = -np.linalg.norm(features[:, None] - self.centroids[None], axis=2)  # [n styles]
        own = list(STYLES).index(style)
        length = np.linalg.norm(features, axis=1) * np.linalg.norm(self.centroids[own])
        likeness = features @ self.centroids[own] / length
        return [
            {
                "subject": style,
                "seed": picture.seed,
                "style_right": float(near[number].argmax() == own),
                "style_sim": float(likeness[number]),
                "class_right": float(seen["class"][number] == picture.wanted.cls),
                "setting_right": float(seen["setting"][number] == picture.wanted.setting),
            }
            for number, picture in enumerate(pictures)
        ]

    def _unit(self, rows: np.ndarray) -> np.ndarray:
        """Statistics in which what content does to a style is equal noise in every direction."""
        return ((rows - self.centre) / self.spread) @ self.whitening

    @torch.inference_mode()
    def _glance(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Mean and spread of each channel of the first two stages. [n 192]"""
        found, hidden = [], to_pixels(np.stack(pictures)).contiguous(memory_format=torch.channels_last)
        for stage in (self.eye.trunk[:GLANCE], self.eye.trunk[GLANCE : 2 * GLANCE]):
            hidden = stage(hidden)
            found += [hidden.mean((2, 3)), hidden.std((2, 3))]
        return torch.cat(found, 1).numpy()


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="+", choices=["base", "ceiling", *settings.names()])
    parser.add_argument("--sets", nargs="+", choices=list(STYLES), default=list(STYLES))
    given, project = parser.parse_args(), find_project(Path.cwd())
    work = project / ".work" / "toybench"
    plain = fleet.workspace(project, work, {})
    told = load(plain.params_file)
    backbone = take(told.base)
    critic, failed = Critic(open_eye(), backbone.size_px), 0
    for name in given.rows:
        if name in settings.UNTRAINED:
            says = settings.UNTRAINED[name]
            broken: dict[str, str] = {}
            pictures = {style: untrained(name, style, backbone, told) for style in given.sets}
            used = fleet.used(plain)
        else:
            setting = settings.read(name)
            says = setting.says
            home = fleet.home_of(project, work, {}, setting)
            pictures, broken = trained(setting, given.sets, home)
            used = fleet.used(home, home.subject(fleet.folder_name(setting, given.sets[0])))
        rows = [row for style, drawn in pictures.items() for row in critic.scores(style, drawn)]
        content = {
            "name": name,
            "says": says,
            "split": "styles",
            "harness": results.harness([digest()], results.OF_STYLES),
            "base": backbone.identity,
            "params": used,
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "failed": broken,
            **provenance.of_tree(project),
            "scores": {score: _mean(rows, score) for score in SCORES},
            "per_style": {
                style: {
                    score: _mean([r for r in rows if r["subject"] == style], score)["value"]
                    for score in SCORES
                }
                for style in pictures
            },
        }
        print(results.write("styles", name, content, bool(broken)), flush=True)
        failed += len(broken)
    scoreboard.write(project / "docs" / "scoreboard.md")
    return 1 if failed else 0


def untrained(name: str, style: str, backbone: Backbone, told: Settings) -> list[Drawn]:
    """What the untuned base draws for a set's prompts, or true pictures through the autoencoder."""
    asked = styles.asked(style)
    if name == "ceiling":
        true = np.stack([styles.painted(style, one, backbone.size_px) for one in asked])
        back = spread.rebuilt(backbone, true)
        return [Drawn(one, 0, picture) for one, picture in zip(asked, back, strict=True)]
    sampler = told.section(SampleParams, "sample")
    plan = [(one, SEED_OFFSET + seed) for one in asked for seed in SEEDS]
    texts = [one.text.replace("{subject}", CLASS_WORD) for one, _ in plan]
    pictures = backbone.sample(texts, [seed for _, seed in plan], sampler, sampler.batch_size)
    return [Drawn(one, seed, picture) for (one, seed), picture in zip(plan, pictures, strict=True)]


def trained(
    setting: settings.Setting, sets: Sequence[str], home: Workspace
) -> tuple[dict[str, list[Drawn]], dict[str, str]]:
    """Run a row's fleet and read what it drew; a failed set is named with its reason."""
    entries = [_entry(home, style) for style in sets]
    broken = fleet.failures(fleet.run(home, setting, entries, SEEDS))
    called, found = setting.calls(CLASS_WORD), {}
    for style in sets:
        sample = home.subject(fleet.folder_name(setting, style)).folder / "sample"
        if sample.parent.name in broken:
            continue
        asked = {one.text.replace("{subject}", called): one for one in styles.asked(style)}
        found[style] = [
            Drawn(asked[entry["prompt"]], int(entry["seed"]), images.read(sample / entry["file"]))
            for entry in samples.read(sample)
            if entry["kind"] == "subject" and (sample / entry["file"]).is_file()
        ]
    return found, broken


def _entry(home: Workspace, style: str) -> fleet.Entry:
    """A style set as a subject, its five pictures painted where they are not there yet."""
    photos = home.root / "photos" / f"style-{style}"
    with held(home.state / "photos.lock"):  # rows side by side need the same ones
        if not photos.is_dir():
            with folders.staged(photos) as fresh:
                for number, wanted in enumerate(styles.shown(style)):
                    picture = styles.painted(style, wanted, fleet.PHOTO_PX)
                    images.save(fresh / f"picture_{number + 1}.png", picture)
    prompts = tuple(one.text for one in styles.asked(style))
    return fleet.Entry(style, CLASS_WORD, photos, prompts, "style", WHOLE)


def _mean(rows: Sequence[dict[str, Any]], score: str) -> dict[str, float]:
    values, sets, seeds = zip(*((row[score], row["subject"], row["seed"]) for row in rows), strict=True)
    return results.mean(values, sets, seeds)


if __name__ == "__main__":
    sys.exit(main())
