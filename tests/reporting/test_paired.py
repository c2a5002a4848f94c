"""Versions are compared picture by picture: a small change that all pictures share is seen, chance is not."""

import numpy as np

from tasks.reporting.fleet import FleetRow, lost, write_fleet_report
from tasks.reporting.paired import changes


def judged(values: np.ndarray) -> dict:
    """A scores.json of 5 prompts with 2 seeds."""
    pictures = [
        {"file": f"{i}", "prompt": f"prompt {i // 2}", "seed": i % 2, "dino": float(v)}
        for i, v in enumerate(values)
    ]
    return {"confidence": 0.95, "pictures": pictures}


HARD = np.linspace(0.1, 0.9, 10)  # prompts differ much more than versions do


def test_a_loss_that_every_picture_shares_is_sure_although_the_intervals_overlap():
    found = changes(judged(HARD), judged(HARD - 0.03), ("dino", "clip_t"))
    assert list(found) == ["dino"]
    assert found["dino"].sure == -1
    assert round(found["dino"].mean, 6) == -0.03
    assert found["dino"].pairs == 10
    wide = {"dino": 0.5, "dino_low": 0.3, "dino_high": 0.7}
    row = FleetRow("rex", "dog", "changed", scores=wide | {"dino": 0.47}, before=wide, paired=found)
    assert lost(row)
    assert not lost(FleetRow("rex", "dog", "changed", scores=wide | {"dino": 0.47}, before=wide))


def test_chance_is_not_sure():
    noise = np.random.default_rng(0).normal(0, 0.1, 10)
    assert changes(judged(HARD), judged(HARD + noise - noise.mean()), ("dino",))["dino"].sure == 0


def test_other_prompts_and_damaged_files_are_no_pairs():
    other = judged(HARD)
    for picture in other["pictures"]:
        picture["prompt"] += " at night"
    assert changes(judged(HARD), other, ("dino",)) == {}
    assert changes({}, judged(HARD), ("dino",)) == {}


def test_the_page_orders_by_the_paired_loss_and_says_of_how_many_pairs(tmp_path):
    rows = [
        FleetRow(name, "dog", "changed", scores={"dino": 0.5}, before={"dino": 0.5}, paired=found)
        for name, found in (
            ("little", changes(judged(HARD), judged(HARD - 0.01), ("dino",))),
            ("much", changes(judged(HARD), judged(HARD - 0.05), ("dino",))),
            ("gain", changes(judged(HARD), judged(HARD + 0.05), ("dino",))),
        )
    ]
    html = write_fleet_report(rows, tmp_path / "night").read_text(encoding="utf-8")
    assert html.index("much<br>") < html.index("little<br>") < html.index("gain<br>")
    assert "−0.05 worse" in html
    assert "10 pairs" in html
