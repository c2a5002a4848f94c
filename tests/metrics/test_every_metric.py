"""What every metric owes: scores for ordinary evidence, a refusal for too little, equal numbers each time."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasks.metrics._judges import ImageJudge, Judges, TextJudge
from tasks.metrics.base import Evidence, Picture, Score, isolated
from tasks.shared import plugins
from tasks.shared.errors import UserError

NAMES = plugins.names("metrics")
PROMPTS, SEEDS = ("a dog on the beach", "a red dog", "a dog in a vase"), (0, 1)


@pytest.fixture(scope="module")
def judges(tiny_judges: Path) -> Judges:
    return Judges(ImageJudge("identity", project=tiny_judges), TextJudge("clip", project=tiny_judges))


@pytest.fixture
def evidence(judges: Judges) -> Evidence:
    random = np.random.default_rng(2)

    def picture(file: str, prompt: str = "", seed: int = 0) -> Picture:
        pixels = random.integers(0, 256, size=(32, 32, 3), dtype=np.uint8)
        mask = np.zeros((32, 32), bool)
        mask[8:24, 4:20] = True
        return Picture(file, pixels, prompt, seed, isolated(pixels, mask))

    def drawn() -> list[Picture]:
        return [
            picture(f"{p}_{s}", prompt, seed)
            for p, prompt in enumerate(PROMPTS)
            for s, seed in enumerate(SEEDS)
        ]

    def of_class() -> list[Picture]:
        return [picture(f"s{seed}", "a photo of a dog", seed) for seed in range(4)]

    return Evidence([picture(f"{i}") for i in range(4)], drawn(), drawn(), of_class(), of_class(), judges)


def test_the_sweep_sees_every_metric():
    assert {"dino", "clip_i", "clip_t", "diversity", "drift", "memorisation", "familiarity"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_finite_sourced_and_repeatable(name: str, evidence: Evidence):
    metric = plugins.load("metrics", name)
    scores = metric.measure(evidence)
    assert scores
    assert all(isinstance(score, Score) for score in scores.values())
    flat = {
        key: value for score_name, score in scores.items() for key, value in score.flat(score_name).items()
    }
    assert all(math.isfinite(value) for value in flat.values())
    assert all(score.per_picture == () or len(score.per_picture) == 6 for score in scores.values())
    np.random.seed(1)  # noqa: NPY002
    assert {k: v for n, s in metric.measure(evidence).items() for k, v in s.flat(n).items()} == flat
    assert "Source" in metric.__doc__ or "Differs" in metric.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_too_few_pictures_are_refused_with_the_fix(name: str, evidence: Evidence):
    poor = replace(evidence, samples=evidence.samples[:1], base=[], class_tuned=[], class_base=[])
    with pytest.raises(UserError, match=r"needs at least .* there are \d; (raise|give|see)"):
        plugins.load("metrics", name).measure(poor)


@pytest.mark.parametrize("name", ["dino", "clip_i", "drift", "memorisation", "familiarity"])
def test_without_photos_there_is_nothing_to_say(name: str, evidence: Evidence):
    with pytest.raises(UserError, match="at least 1 photos"):
        plugins.load("metrics", name).measure(replace(evidence, photos=[]))


@pytest.mark.parametrize("name", ["dino", "clip_i", "clip_t", "memorisation"])
def test_one_photo_and_no_base_leave_out_what_they_cannot_say(name: str, evidence: Evidence):
    scores = plugins.load("metrics", name).measure(replace(evidence, photos=evidence.photos[:1], base=[]))
    score = scores[next(iter(scores))]
    assert math.isfinite(score.value)
    assert score.normalised is None
    assert score.gain is None
