"""ToyBench: what is asked, what is true, and that its numbers punish what they should."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from bench.toybench import lookalikes, results, scoreboard, scores, settings, truth
from bench.toybench.prompts import KINDS, asked_of, true_scene
from bench.toybench.scores import Drawn, Reference
from bench.toybench.toys import TWIN, toy
from tasks.metrics._judges import ImageJudge
from tasks.shared.params import read_yaml
from tasks.shared.settings import find_project
from tasks.toyworld.captions import full_vocabulary
from tasks.toyworld.identity import Identity
from tasks.toyworld.subjects import subject_identity, subject_scenes, subjects

SIZE = 64


@pytest.mark.parametrize("name", subjects())
def test_a_subject_is_asked_25_different_things_in_settings_its_photos_lack(name: str):
    asked = asked_of(name)
    assert asked == asked_of(name)
    assert {kind: sum(one.kind == kind for one in asked) for kind in KINDS} == KINDS
    assert sum(KINDS.values()) == len({one.text for one in asked}) == 25
    assert not {one.setting for one in asked} & {scene.setting for scene in subject_scenes(name)}
    words = {word for one in asked for word in one.text.replace("{subject}", "").split()}
    assert words <= set(full_vocabulary())


def test_a_twin_is_its_original_but_for_the_decal():
    for name in settings.SMALL:
        one, other = toy(name), toy(name + TWIN)
        assert (one.identity, one.twin) == (other.twin, other.identity)
        changed = {
            f.name
            for f in fields(Identity)
            if getattr(one.identity, f.name) != getattr(other.identity, f.name)
        }
        assert "decal" in changed <= {"decal", "decal_colour"}
        assert asked_of(name) == asked_of(name + TWIN)
    for name in settings.SMALL[:2]:  # a rendering takes a second
        one, other = toy(name), toy(name + TWIN)
        pictures = [truth.shown(kept.scenes[0], 64).pixels for kept in (one, other)]
        assert [kept.scenes[0].camera for kept in (one, other)] == [one.scenes[0].camera] * 2
        assert pictures[0].shape == pictures[1].shape


def test_the_true_scene_shows_what_is_asked_and_the_subject_first():
    name = settings.SMALL[4]
    identity = subject_identity(name)
    for asked in asked_of(name):
        scene, other = true_scene(identity, asked, 0), true_scene(identity, asked, 1)
        assert scene == true_scene(identity, asked, 0) != other
        who = scene.objects[0].identity
        assert (who.seed, who.cls) == (identity.seed, identity.cls)
        assert who.primary == (asked.colour or identity.primary)
        assert scene.setting == asked.setting
        assert scene.style == asked.style
        assert asked.view in (None, scene.view)
        assert [one.identity.cls for one in scene.objects[1:]] == ([asked.second] if asked.second else [])


@pytest.mark.parametrize("name", settings.SMALL)
def test_a_twin_differs_in_one_thing_only(name: str):
    identity = subject_identity(name)
    allowed = {
        "decal": {"decal", "decal_colour"},
        "limbs": {"limb_tone"},
        "head": {"head_tone"},
        "shape": {"shape"},
        "pattern": {"pattern"},
        "swapped colours": {"primary", "secondary"},
        "second colour": {"secondary"},
    }
    for what, twin in lookalikes.twins(identity).items():
        changed = {f.name for f in fields(Identity) if getattr(twin, f.name) != getattr(identity, f.name)}
        assert changed
        assert changed <= allowed[what], what


def test_rank_and_average_precision_are_those_of_the_definition():
    gallery = truth.Gallery(np.eye(4)[[0, 1, 0, 2]], np.array([0, 1, 0, 2]))
    assert gallery.rank(np.array([1.0, 0.5, 0.2, 0.0])) == (1.0, 1.0)
    # order 1, 0, 0, 2: the subject's pictures on places 2 and 3
    assert gallery.rank(np.array([0.5, 1.0, 0.2, 0.0])) == (0.0, pytest.approx((1 / 2 + 2 / 3) / 2))


def test_a_change_that_a_class_does_not_show_makes_no_look_alike(judge: ImageJudge):
    car = subject_identity("car_white_green_plain_star")
    assert len(set(lookalikes.twins(car))) >= 6
    shown = truth.gallery_of(judge, car, SIZE).owners.max()
    assert shown < len(lookalikes.gallery(car)) - 1  # a car has no limbs


@pytest.fixture(scope="module")
def judge() -> ImageJudge:
    return ImageJudge("data/judges/identity", project=find_project(results.HERE))


def test_the_gallery_finds_the_subject_in_a_true_picture_and_not_its_twin(judge: ImageJudge):
    found, wrong = [], []
    for name in settings.SMALL[:4]:
        identity = subject_identity(name)
        gallery = truth.gallery_of(judge, identity, SIZE)
        assert 5 <= gallery.owners.max() <= 10
        other = lookalikes.twins(identity)["swapped colours"]
        for asked in asked_of(name)[:5]:
            for one, ranks in ((identity, found), (other, wrong)):
                ranks.append(gallery.rank(judge.embed([truth.truth(one, asked, 7, SIZE).subject])[0])[1])
    assert np.mean(found) > 2 * np.mean(wrong)  # twins are meant to be hard


def test_pasting_a_photo_is_called_a_copy_and_a_true_picture_is_not(judge: ImageJudge):
    """The reference, pasted: as like the photos as can be, less like the truth than the truth is."""
    name = settings.SMALL[2]
    identity, scenes = subject_identity(name), subject_scenes(name)
    photos = [truth.shown(scene, SIZE).subject for scene in scenes]
    embedded = judge.embed(photos)
    copies, truths = [], []
    for number, asked in enumerate(one for one in asked_of(name) if one.kind in ("property", "style")):
        true = truth.truths(judge, identity, asked, SIZE)
        near = float((true @ embedded.T).mean())
        for picture, kept in (
            (embedded[number % len(photos)], copies),
            (judge.embed([truth.truth(identity, asked, truth.UPPER, SIZE).subject])[0], truths),
        ):
            sim_gt, sim_ref = float((true @ picture).mean()), float((embedded @ picture).mean())
            kept.append((sim_gt, (sim_ref - sim_gt) / (1 - near)))
    pasted, right = np.mean(copies, 0), np.mean(truths, 0)
    assert right[0] > pasted[0] + 0.1
    assert pasted[1] > 0.3 > 0 > right[1]


def row(name: str, shift: float, harness: str = "h", segmenter: str = "sam") -> dict:
    """A result of eight subjects and two seeds; `shift` is added to every sim_gt."""
    rng = np.random.default_rng(3)
    table = {
        f"s{n}": {str(seed): {"sim_gt": float(rng.normal()) + shift} for seed in (1, 2)} for n in range(8)
    }
    params = {"segment": {"segmenter": {"name": segmenter}}}
    return {"name": name, "harness": harness, "params": params, "table": table, "per_subject": {}}


CLAIM = {"says": "", "source": "", "score": "sim_gt", "left": "a", "right": "b"}


@pytest.mark.parametrize(("shift", "word"), [(0.1, "holds"), (-0.1, "reversed")])
def test_a_claim_is_judged_by_the_paired_difference(shift: float, word: str):
    rows = {"a": row("a", shift), "b": row("b", 0.0)}
    assert scoreboard.verdict(CLAIM, rows) == (word, f"{shift:+.3f} [{shift:+.3f}, {shift:+.3f}]")


def test_a_claim_is_not_seen_in_noise_and_not_measured_across_harnesses():
    rng, noisy = np.random.default_rng(5), row("a", 0.0)
    for seeds in noisy["table"].values():
        for cell in seeds.values():
            cell["sim_gt"] += float(rng.normal())
    assert scoreboard.verdict(CLAIM, {"a": noisy, "b": row("b", 0.0)})[0] == "not seen"
    assert scoreboard.verdict(CLAIM, {"a": row("a", 1.0), "b": row("b", 0.0, "other")})[0] == "not measured"
    assert scoreboard.verdict(CLAIM, {"b": row("b", 0.0)})[0] == "not measured"
    with pytest.raises(ValueError, match="different harnesses"):
        results.difference(row("a", 1.0), row("b", 0.0, "other"), "sim_gt")


def test_rows_that_different_eyes_have_seen_are_not_compared():
    one, other, early = row("a", 1.0) | {"eye": "1"}, row("b", 0.0) | {"eye": "2"}, row("b", 0.0)
    assert scoreboard.verdict(CLAIM, {"a": one, "b": other}) == (
        "not measured",
        "seen by different eyes of the bench",
    )
    assert scoreboard.verdict(CLAIM, {"a": one, "b": early})[0] == "holds"


def test_rows_whose_photos_were_cut_by_different_segmenters_are_not_compared():
    rows = {"a": row("a", 1.0), "b": row("b", 0.0, segmenter="whole_frame")}
    assert scoreboard.verdict(CLAIM, rows) == ("not measured", "photos cut by different segmenters")
    untrained = row("base", 0.0, segmenter="whole_frame")  # had no photos
    assert results.difference(rows["a"], untrained, "sim_gt")[0] == pytest.approx(1.0)


def test_rows_of_an_earlier_harness_are_kept_and_stand_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    for name, harness, when in [
        ("base", "old", "2026-01-01"),
        ("ceiling", "old", "2026-01-02"),
        ("base", "new", "2026-02-01"),
        ("base", "new", "2026-02-02"),  # measured again: nothing earlier is left of the same harness
    ]:
        results.write("small", name, row(name, 0.0, harness) | {"when": when}, broken=False)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json")) == [
        "small/base.json",
        "small/ceiling.json",
        "small/old/base.json",
    ]
    groups = results.by_harness("small")
    assert list(groups) == ["new", "old"]
    assert {harness: set(rows) for harness, rows in groups.items()} == {
        "new": {"base"},
        "old": {"base", "ceiling"},
    }
    assert groups["new"]["base"]["when"] == "2026-02-02"


def test_a_summary_has_means_intervals_groups_and_the_table_of_pairs():
    rows = [
        {"subject": s, "difficulty": d, "kind": kind, "seed": seed, "sim_gt": value}
        for s, d, kind, seed, value in [
            ("x", "plain", "view", 1, 0.2),
            ("x", "plain", "style", 1, 0.4),
            ("x", "plain", "view", 2, 0.6),
            ("y", "fine", "view", 1, 0.8),
        ]
    ]
    found = results.summary(rows, {"x": {"pres": 0.5}, "y": {"pres": 0.7}})
    assert found["scores"]["sim_gt"]["value"] == 0.5
    assert found["scores"]["sim_gt"]["low"] < 0.5 < found["scores"]["sim_gt"]["high"]
    assert found["scores"]["map"] is None
    assert found["by_kind"] == {"style": {"sim_gt": 0.4}, "view": {"sim_gt": pytest.approx(0.5333, abs=1e-4)}}
    assert found["by_difficulty"]["fine"] == {"sim_gt": 0.8}
    assert found["table"] == {
        "x": {"1": {"sim_gt": pytest.approx(0.3)}, "2": {"sim_gt": 0.6}},
        "y": {"1": {"sim_gt": 0.8}},
    }
    assert found["subjects"] == {"pres": 0.6}


def test_every_claim_and_row_is_well_formed():
    names = {*settings.names(), *settings.UNTRAINED}
    for claim in read_yaml(scoreboard.CLAIMS)["claims"]:
        assert claim.keys() == CLAIM.keys()
        assert {claim["left"], claim["right"]} <= names
    for name in settings.names():
        setting = settings.read(name)
        assert len(f"{name}-{max(subjects(), key=len)}{TWIN}") <= 63
        assert set(setting.overrides) <= {"fine_tune", "methods", "sample"}
        assert "{" not in setting.calls("dog")
    assert settings.read("wrong_class_word").calls("dog") == "sks car"
    assert settings.read("no_class_word").calls("dog") == "sks"


def test_a_prompt_is_read_without_the_identifier():
    asked = asked_of(settings.SMALL[0])[0]
    assert scores.said(asked, subject_identity(settings.SMALL[0])) == asked.text.replace("{subject}", "dog")
    assert {f.name for f in fields(Drawn)} == {"asked", "seed", "pixels", "subject"}
    assert {f.name for f in fields(Reference)} >= {"photos", "photo_settings", "gallery"}
