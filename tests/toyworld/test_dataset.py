"""Frozen splits, ToyBench subjects and the data set writer."""

import json

import numpy as np
import pytest

from tasks.shared.errors import UserError
from tasks.toyworld.dataset import write_dataset
from tasks.toyworld.identity import CLASSES, SPLITS_FILE, split_identities
from tasks.toyworld.splits import make_splits
from tasks.toyworld.subjects import subject_identity, subject_photos, subject_scenes, subjects


def test_the_frozen_file_is_what_the_script_makes():
    assert json.loads(SPLITS_FILE.read_text()) == make_splits()


def test_no_individual_is_in_two_splits():
    names = ("train", "judge", "second", "heldout", "toybench")
    splits = {name: [who.seed for who in split_identities(name)] for name in names}
    assert [len(s) for s in splits.values()] == [4000, 2000, 2000, 1000, 30]
    every = [seed for seeds in splits.values() for seed in seeds]
    assert len(every) == len(set(every))


def test_toybench_has_three_individuals_of_each_class_and_all_difficulties():
    rows = list(subjects().values())
    assert sorted(row["class"] for row in rows) == sorted(CLASSES * 3)
    assert {row["difficulty"] for row in rows} == {"plain", "two_tone", "patterned", "decal", "fine"}
    assert all(subject_identity(row["name"]).difficulty == row["difficulty"] for row in rows)


def test_photos_of_a_subject_are_repeatable_and_show_two_to_five_settings():
    name = next(iter(subjects()))
    first, again = subject_photos(name, 2, 32), subject_photos(name, 2, 32)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    for name in list(subjects())[::5]:
        taken = subject_scenes(name)
        assert len(taken) == 5
        assert 2 <= len({scene.setting for scene in taken}) <= 5
        assert {scene.objects[0].identity for scene in taken} == {subject_identity(name)}


def test_the_data_set_does_not_depend_on_processes(tmp_path):
    write_dataset(tmp_path / "one", count=5, seed=3, split="judge", size_px=32, processes=1)
    write_dataset(tmp_path / "two", count=5, seed=3, split="judge", size_px=32, processes=2)
    assert not list(tmp_path.glob("*.part"))
    for name, shape in {"images": (5, 32, 32, 3), "masks": (5, 32, 32), "parts": (5, 32, 32)}.items():
        one, two = (np.load(tmp_path / folder / f"{name}.npy") for folder in ("one", "two"))
        assert one.shape == shape
        assert one.dtype == np.uint8
        assert (one == two).all()
    lines = [json.loads(line) for line in (tmp_path / "one" / "scenes.jsonl").read_text().splitlines()]
    assert len(lines) == 5
    assert {"caption", "caption_de", "setting", "view", "style", "objects"} == set(lines[0])
    masks = np.load(tmp_path / "one" / "masks.npy")
    assert [mask.max() for mask in masks] == [len(line["objects"]) for line in lines]
    assert json.loads((tmp_path / "one" / "manifest.json").read_text())["count"] == 5
    write_dataset(tmp_path / "one", count=5, seed=3, split="judge", size_px=32)  # is there
    with pytest.raises(UserError, match="other renders"):
        write_dataset(tmp_path / "one", count=5, seed=4, split="judge", size_px=32)
