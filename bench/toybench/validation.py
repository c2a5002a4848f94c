"""Do the judges order what is known to be better above what is known to be worse? `python -m bench.toybench.validation`

Before a judge says which method is better, it is shown pairs whose order is beyond doubt: the subject against another of
its class, that against another class, and a picture of the subject into which 5, 20 and 80 % of a stranger are blended.
Writes results/validation.json: the share of right orders, and the mean likeness on every level.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.toybench import results, truth
from bench.toybench.prompts import asked_of, true_scene
from tasks.evaluate import Params as EvaluateParams
from tasks.metrics._judges import ImageJudge
from tasks.metrics.base import cosines, isolated
from tasks.shared import folders, progress
from tasks.shared.settings import find_project, load
from tasks.toyworld.identity import Identity
from tasks.toyworld.subjects import subject_identity, subject_scenes, subjects

BLENDS = (0.05, 0.2, 0.8)
PROMPTS = 5  # of each subject
SIZE = 128


def levels(judge: ImageJudge, name: str, mate: Identity, stranger: Identity) -> Iterator[dict[str, float]]:
    """Likeness to the subject's photos, level by level, for a few prompts.

    Args:
        mate: another individual of the class.
        stranger: one of another class.
    """
    who = subject_identity(name)
    photos = judge.embed([truth.shown(scene, SIZE).subject for scene in subject_scenes(name)])
    for asked in asked_of(name)[:PROMPTS]:
        scene = true_scene(who, asked, truth.UPPER)
        own = truth.shown(scene, SIZE)
        other = truth.shown(replace(scene, objects=(replace(scene.objects[0], identity=mate),)), SIZE)
        pictures = {"subject": own.subject, "other of the class": other.subject}
        for share in BLENDS:
            mixed = np.round((1 - share) * own.pixels + share * other.pixels).astype(np.uint8)
            alone = isolated(mixed, own.mask | other.mask)
            assert alone is not None
            pictures[f"{share:.0%} of another"] = alone
        foreign = replace(asked, second=None)
        pictures["other class"] = truth.truth(stranger, foreign, truth.UPPER, SIZE).subject
        rows = cosines(judge.embed(list(pictures.values())), photos).mean(1)
        yield dict(zip(pictures, map(float, rows), strict=True))


ORDERS = (
    ("subject", "other of the class"),
    ("other of the class", "other class"),
    ("subject", "5% of another"),
    ("5% of another", "20% of another"),
    ("20% of another", "80% of another"),
)


def main() -> None:
    """Measure and write."""
    project = find_project(Path.cwd())
    options = load(project / "params.yaml").section(EvaluateParams, "evaluate")
    judge = ImageJudge(options.dino, options.dino_revision, project, options.batch_size)
    names = list(subjects())
    found: list[dict[str, float]] = []
    for number, name in enumerate(
        progress.each(names, "showing the judge what is known, subjects", len(names))
    ):
        others = [subject_identity(n) for n in names if n != name]
        mates = [one for one in others if one.cls == subject_identity(name).cls]
        strangers = [one for one in others if one.cls != subject_identity(name).cls]
        found += levels(judge, name, mates[number % len(mates)], strangers[number % len(strangers)])
    content = {
        "judge": judge.identity,
        "pictures": len(found),
        "orders": {
            f"{better} > {worse}": round(float(np.mean([row[better] > row[worse] for row in found])), 4)
            for better, worse in ORDERS
        },
        "likeness": {level: round(float(np.mean([row[level] for row in found])), 4) for level in found[0]},
    }
    with folders.staged_file(results.FOLDER / "validation.json") as path:
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
