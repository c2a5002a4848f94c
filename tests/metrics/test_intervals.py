"""Bootstrap intervals: against scipy, against a closed form, and whether they cover what they promise."""

import numpy as np
import pytest
from scipy import stats

from tasks.metrics._intervals import Bootstrap

RANDOM = np.random.default_rng(1)


def test_one_axis_is_scipys_percentile_bootstrap():
    values = RANDOM.gamma(2, size=40)
    ours = Bootstrap(resamples=20_000, confidence=0.9, seed=3).mean(values, range(40))
    theirs = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=20_000,
        confidence_level=0.9,
        method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval
    assert ours == pytest.approx(tuple(theirs), abs=0.01 * values.mean())


def test_equal_clusters_are_scipys_bootstrap_of_the_cluster_means():
    table = RANDOM.normal(size=(30, 4)) + RANDOM.normal(size=(30, 1))
    labels = np.repeat(np.arange(30), 4)
    ours = Bootstrap(resamples=20_000).mean(table.ravel(), labels)
    theirs = stats.bootstrap(
        (table.mean(1),), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    assert ours == pytest.approx(tuple(theirs), abs=0.02)


def test_ignoring_the_prompts_would_promise_too_much():
    prompts = np.repeat(np.arange(12), 4)
    values = RANDOM.normal(size=12)[prompts] + 0.1 * RANDOM.normal(size=48)
    clustered = np.ptp(Bootstrap().mean(values, prompts))
    assert clustered > 1.6 * np.ptp(Bootstrap().mean(values, range(48)))


def test_covers_the_truth_in_a_crossed_design():
    prompts, seeds = (axis.ravel() for axis in np.meshgrid(np.arange(12), np.arange(4), indexing="ij"))
    hits = 0
    for trial in range(200):
        random = np.random.default_rng(trial)
        values = random.normal(size=12)[prompts] + random.normal(size=4)[seeds] * 0.5 + random.normal(size=48)
        low, high = Bootstrap(resamples=400, seed=trial).mean(values, prompts, seeds)
        hits += low <= 0 <= high
    assert 0.90 <= hits / 200 <= 1.0


def test_equal_seeds_give_equal_intervals_whatever_the_global_generator_did():
    values, prompts = RANDOM.normal(size=40), np.repeat(np.arange(20), 2)
    first = Bootstrap(seed=4).mean(values, prompts)
    np.random.seed(0)  # noqa: NPY002
    assert Bootstrap(seed=4).mean(values, prompts) == first
    assert Bootstrap(seed=5).mean(values, prompts) != first


def test_one_cluster_gives_no_interval_and_holes_do_no_harm():
    assert Bootstrap().mean(np.arange(3.0), ["a"] * 3) is None
    low, high = Bootstrap().mean(np.arange(3.0), ["a", "a", "b"], [0, 1, 2])  # a table with three holes
    assert 0 <= low < high <= 2


def test_labels_that_do_not_fit_are_a_defect():
    with pytest.raises(ValueError, match="3 values"):
        Bootstrap().mean(np.arange(3.0), ["a", "b"])
