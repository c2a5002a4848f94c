"""The bench's measures of variety, against their formulas."""

import numpy as np
import pytest

from bench import attribute_judge, miniature, spread


def test_kid_is_the_unbiased_mmd_of_the_formula():
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(5, 3)), rng.normal(size=(4, 3)) + 1

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return (float(x @ y) / 3 + 1) ** 3

    within = [
        np.mean([k(group[i], group[j]) for i in range(len(group)) for j in range(len(group)) if i != j])
        for group in (left, right)
    ]
    across = np.mean([k(x, y) for x in left for y in right])
    assert spread.kid(left, right) == pytest.approx(sum(within) - 2 * across)


def test_kid_is_about_zero_for_one_source_and_grows_with_distance():
    rng = np.random.default_rng(1)
    one, two = rng.normal(size=(2, 400, 8))
    assert abs(spread.kid(one, two)) < 0.05
    assert spread.kid(one, two + 0.5) < spread.kid(one, two + 1.0)


def test_vendi_counts_what_is_different():
    assert spread.vendi(np.eye(6)) == pytest.approx(6, abs=1e-6)
    assert spread.vendi(np.ones((6, 3))) == pytest.approx(1, abs=1e-6)
    assert spread.vendi(np.repeat(np.eye(3), 4, 0)) == pytest.approx(3, abs=1e-6)


def test_copies_are_found_and_fresh_pictures_are_not_called_copies():
    rng = np.random.default_rng(2)
    trained, fresh, drawn = (rng.integers(0, 256, (n, 32, 32, 3), np.uint8) for n in (60, 100, 40))
    assert spread.copies(drawn, fresh, trained) < 0.15
    assert spread.copies(trained[:40], fresh, trained) == 1.0
    nearly = np.clip(trained[:40].astype(int) + 3, 0, 255).astype(np.uint8)
    assert spread.copies(nearly, fresh, trained) == 1.0


def test_prompts_ask_for_two_different_classes_evenly():
    prompts, scenes = miniature.pairs_asked_for(200)
    assert len(set(prompts)) > 150  # of 900
    for prompt, scene in zip(prompts, scenes, strict=True):
        first, second = (one["class"] for one in scene["objects"])
        assert first != second
        assert f"{first} next to a {second}" in prompt
    counts = [sum(cls in prompt for prompt in prompts) for cls in attribute_judge.ANSWERS["class"]]
    assert min(counts) > 20
