"""A row of ToyBench from photos to numbers, by the project's own fleet, on a tiny random base."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.attribute_judge import AttributeJudge
from bench.toybench import fleet, photos, results, scoreboard, settings
from bench.toybench.measure import Bench, of_subject
from bench.toybench.settings import Setting
from tasks.backbones.base import open_base
from tasks.class_prior import Params as ClassPriorParams
from tasks.metrics._judges import ImageJudge, Judges, TextJudge
from tasks.sample import Params as SampleParams
from tasks.segmenters import whole_frame
from tasks.shared.errors import UserError
from tasks.shared.settings import find_project, load

NAME = "dog_blue_yellow_plain"
SETTING = Setting("tiny", "two steps", overrides={"fine_tune": {"max_train_steps": 2, "learning_rate": 0.01}})
SMALL = {
    "segment": {"segmenter": {"name": "whole_frame"}, "size_px": 32},
    "class_prior": {"num_class_images": 2, "num_inference_steps": 2, "batch_size": 2, "judge": None},
    "fine_tune": {"train_batch_size": 2, "validation_steps": 0},
    "sample": {"num_inference_steps": 2, "num_class_images": 2},
    "evaluate": {"resamples": 100, "segmenter": None, "dino_revision": "main", "clip_revision": "main"},
}


@pytest.fixture(scope="module")
def row(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Callable[[str], Path], tiny_judges: Path, api: str
) -> tuple[list, dict[str, float], Bench]:
    root = tmp_path_factory.mktemp("toybench")
    changes = {
        **SMALL,
        "base": {"model": str(tiny_base("sd15")), "revision": "unpinned"},
        "evaluate": {
            **SMALL["evaluate"],
            "dino": str(tiny_judges / "identity"),
            "clip": str(tiny_judges / "clip"),
        },
    }
    home = fleet.workspace(find_project(results.HERE), root, changes)
    first = fleet.run(home, SETTING, fleet.toys(home, [NAME]), [1, 2])
    again = fleet.run(home, SETTING, fleet.toys(home, [NAME]), [1, 2])
    assert [done.state for done in first] == ["new"]
    assert [done.state for done in again] == ["unchanged"]
    told = load(home.params_file)
    judges = Judges(
        ImageJudge("identity", project=tiny_judges),
        TextJudge("clip", project=tiny_judges),
    )
    bench = Bench(
        judges, AttributeJudge().eval(), whole_frame.Segmenter(whole_frame.Params()), open_base(told.base)
    )
    folder = home.subject(fleet.folder_name(SETTING, NAME))
    rows = bench.rows(NAME, bench.sampled(NAME, SETTING, folder)) + bench.rows(NAME, bench.ceiling(NAME))
    return rows, of_subject(folder), bench


def test_rows_whose_subjects_share_their_steps_have_a_fleet_of_their_own(tmp_path: Path):
    project, root = find_project(results.HERE), tmp_path / "toybench"
    alone = fleet.home_of(project, root, SMALL, SETTING)
    together = fleet.home_of(project, root, SMALL, settings.read("eight_at_once"))
    assert alone.root == root != together.root
    assert [load(home.params_file).machine.subjects_at_once for home in (alone, together)] == [1, 8]
    for home in (alone, together):
        assert load(home.params_file).section(ClassPriorParams, "class_prior").num_class_images == 2


def test_rows_are_drawn_alike_whatever_params_yaml_ships(tmp_path: Path):
    home = fleet.workspace(find_project(results.HERE), tmp_path / "toybench", {})
    assert load(home.params_file).section(SampleParams, "sample").num_inference_steps == 15
    assert settings.read("sampler_8").overrides["sample"] == {"num_inference_steps": 8}


def test_every_prompt_is_drawn_and_judged(row):
    rows, about, _ = row
    drawn = [one for one in rows if one["seed"]]
    assert len(drawn) == 50
    assert len(rows) == 75
    for one in rows:
        assert ("view_right" in one) == (one["kind"] == "view")
        assert ("map" in one) == (one["kind"] != "property")
        assert ("class_right" in one) == (one["kind"] != "second")
        assert -1 <= one["sim_gt"] <= 1
    assert about["parameters"] > 0
    assert about["bytes"] > 4 * about["parameters"] * 0.9
    assert {"pres", "drift", "div"} <= about.keys()


def test_a_row_becomes_a_result_and_a_page(row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows, about, _ = row
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    content = {
        "name": "tiny",
        "says": "two steps",
        "harness": "h",
        "when": "2026-01-01",
        "params": {"segment": {"segmenter": {"name": "sam"}}},
        "dirty": True,
        "peak_memory_mb": 1,
        **results.summary([one for one in rows if one["seed"]], {NAME: about}),
    }
    results.write("small", "tiny", content, broken=False)
    results.write("small", "wrong", content, broken=True)
    assert set(results.read("small")) == {"tiny"}
    scoreboard.write(tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "`tiny` two steps (dirty tree)" in page
    assert "not measured" in page


TOLD = """Classes

subject_name,class
backpack,backpack
rex,dog
gone,cat

prompt_list = [
'a {0} {1} on a mirror'.format(unique_token, class_token),
'a red {0} {1}'.format(unique_token, class_token)
]

prompt_list = [
'a {0} {1} in a santa hat'.format(unique_token, class_token)
]
"""


def test_photographs_are_entered_with_the_prompts_of_their_kind(tmp_path: Path):
    for name in ("rex", "backpack"):
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="missing"):
        photos.entries(tmp_path)
    (tmp_path / photos.TOLD).write_text(TOLD)
    assert [(one.name, one.cls, one.prompts) for one in photos.entries(tmp_path)] == [
        ("backpack", "backpack", ("a {subject} on a mirror", "a red {subject}")),
        ("rex", "dog", ("a {subject} in a santa hat",)),
    ]
    (tmp_path / photos.TOLD).write_text("nothing")
    with pytest.raises(UserError, match="two lists"):
        photos.entries(tmp_path)


def test_scores_of_photographs_are_means_over_subjects():
    found = photos.summary({"a": {"dino": 0.2, "clip_t": 0.1}, "b": {"dino": 0.4}})
    assert found["scores"]["dino"] == {"value": 0.3, "low": 0.2, "high": 0.4}
    assert found["scores"]["clip_t"] == {"value": 0.1}
