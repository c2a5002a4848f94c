"""The sentences: sure only where the interval is, and the numbers in them are the right ones."""

import pytest

from tasks.metrics import familiarity
from tasks.reporting import words


def likeness(low: float, high: float, **more) -> dict:
    score = {
        "value": 0.6,
        "interval": [0.5, 0.7],
        "floor": 0.4,
        "ceiling": 0.8,
        "normalised": 0.5,
        "marks": {},
    }
    return score | {"gain": (low + high) / 2, "gain_interval": [low, high]} | more


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (likeness(0.12, 0.28), "clearly more like rex than the untuned model’s: 50\u00a0% of the way"),
        (likeness(0.12, 0.28), "(95\u00a0% interval 30 to 70\u00a0%)"),
        (likeness(0.01, 0.05, normalised=0.08), "only a little more like rex"),
        (likeness(-0.02, 0.28), "it may be chance"),
        (likeness(-0.3, -0.1), "less like rex"),
        (likeness(0, 0, gain_interval=None), "too few pictures"),
        (likeness(0, 0, gain=None, gain_interval=None), "without comparison"),
        (likeness(0.1, 0.2, normalised=None), "more like rex than the untuned model’s."),
    ],
)
def test_likeness_is_only_claimed_where_chance_is_excluded(score, said):
    assert said in words.verdict("rex", {"dino": score}, 0.95)


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (likeness(-0.05, 0.05), "no loss in following the prompts can be seen"),
        (likeness(0.01, 0.05), "at least as well as before"),
        (likeness(-0.1, -0.02, normalised=0.8), "almost as well"),
        (likeness(-0.1, -0.02, normalised=0.5), "but they follow the prompts less well"),
        (likeness(-0.1, -0.02, normalised=0.1), "hardly follow the prompts any more"),
    ],
)
def test_prompts(score, said):
    assert said in words.verdict("rex", {"dino": likeness(0.1, 0.2), "clip_t": score}, 0.95)


def test_the_subject_alone_is_asked_first_and_copies_are_named():
    scores = {
        "dino": likeness(-1, 1),
        "dino_subject": likeness(0.1, 0.2),
        "memorisation": {"marks": {"copies": 2.0}},
    }
    said = words.verdict("rex", scores, 0.9)
    assert "clearly more like rex" in said
    assert said.endswith("but 2 of them are copies of a photo.")


def test_foreign_photos_are_called_foreign_by_the_same_rule_as_the_metric():
    assert words.FOREIGN == familiarity.FOREIGN
    foreign, said = words.world({"marks": {"gap": words.FOREIGN + 0.1}}, "small", "dog", "rendered toys")
    assert foreign
    assert "rendered toys" in said
    known, said = words.world({"marks": {"gap": words.FOREIGN - 0.1}}, "small", "dog", None)
    assert not known
    assert words.world(None, "small", "dog", None) is None
    assert "trust your eyes" in words.verdict("rex", {"familiarity": {"marks": {"gap": 99}}}, 0.95)


def test_leak_into_the_class_needs_an_interval_above_the_base():
    pres = {"value": 0.5, "interval": [0.45, 0.55], "marks": {"base": 0.42}}
    assert any("leaked" in note for note in words.notes({"pres": pres}, "dog"))
    assert any("no leak" in note for note in words.notes({"pres": pres | {"interval": [0.4, 0.6]}}, "dog"))


def test_quality_in_words_known_first_and_unknown_under_its_name():
    said = words.quality(
        {"my_own": 0.5, "vae_psnr_db": 28.13, "t2i_class_accuracy": 0.93, "note": "x", "ok": True}
    )
    assert said == [
        ("draws the asked kind of thing", "93\u00a0%"),
        ("the decoder keeps a picture to", "28.1 dB"),
        ("my own", "0.5"),
    ]
