"""The stage evaluate: from folders of pictures to metrics.json, the same bytes each time."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tasks import evaluate
from tasks.shared import images, manifest, params, settings
from tasks.shared.errors import UserError
from tasks.shared.subject import Subject

PROMPTS = ("a photo of sks dog on the beach", "a red sks dog")


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Path, Path]:
    """Finished folders `segment` and `sample`, with one picture that the gate refused."""
    random = np.random.default_rng(0)
    segment, sample = tmp_path / "segment", tmp_path / "sample"

    def save(path: Path) -> None:
        images.save(path, random.integers(0, 256, size=(32, 32, 3), dtype=np.uint8))

    for index in range(3):
        save(segment / "images" / f"{index:02d}.png")
        mask = np.zeros((32, 32), bool)
        mask[6:26, 8:24] = True
        images.save(segment / "masks" / f"{index:02d}.png", mask)
    entries = []
    for seed in (0, 1):
        for place, prompt in enumerate(PROMPTS):
            for kind in ("subject", "base"):
                entries.append(
                    {"file": f"{kind}/p{place:02d}_s{seed:02d}.png", "kind": kind, "prompt": prompt}
                )
                entries[-1] |= {"scene": prompt, "seed": seed, "verdict": "released"}
        for kind in ("class_tuned", "class_base"):
            entries.append(
                {"file": f"{kind}/s{seed:02d}.png", "kind": kind, "prompt": "a photo of a dog", "seed": seed}
            )
    for entry in entries:
        save(sample / entry["file"])
    (sample / entries[0]["file"]).unlink()
    entries[0]["verdict"] = "refused"
    (sample / "samples.json").write_text(json.dumps(entries))
    manifest.write(segment, "segment", 1)
    manifest.write(sample, "sample", 1)
    return segment, sample


@pytest.fixture
def told(tmp_path: Path, tiny_judges: Path):
    """Settings of a project whose judges are the tiny ones; takes overrides of the section evaluate."""
    project = tmp_path / "project"
    shutil.copytree(tiny_judges, project / "data" / "judges")
    identity = Subject(**{"name": "rex", "class": "dog", "class_folder": "dog"})

    def make(**values) -> settings.Settings:
        return settings.Settings({"evaluate": values, "recipe": {"evaluate": 1}}, project, identity)

    return make


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_writes_flat_finite_metrics_tables_and_a_manifest(inputs, told, tmp_path):
    out, settings_ = tmp_path / "evaluate", told(segmenter={"name": "whole_frame"})
    evaluate.run(*inputs, out, settings_)
    metrics = json.loads((out / "metrics.json").read_text())
    expected = {
        "dino",
        "dino_low",
        "dino_high",
        "dino_floor",
        "dino_ceiling",
        "clip_i",
        "clip_t",
        "clip_t_floor",
    }
    expected |= {
        "dino_subject",
        "div",
        "div_base",
        "class_div",
        "pres",
        "pres_base",
        "drift",
        "familiarity_gap",
    }
    assert expected | {"memorisation_max", "memorisation_copies"} <= set(metrics)
    assert all(isinstance(value, float) and value == round(value, 4) for value in metrics.values())
    detail = json.loads((out / "scores.json").read_text())
    assert detail["samples"] == 3  # the refused one is not there
    assert detail["scores"]["dino"]["gain_interval"][0] <= detail["scores"]["dino"]["gain"]
    assert set(detail["pictures"][0]) >= {"file", "prompt", "seed", "dino", "clip_t", "memorisation"}
    rows = table(out / "plots" / "per_prompt.csv")
    assert [row["prompt"] for row in rows] == ["a red dog", "a photo of dog on the beach"]
    assert {row["score"] for row in table(out / "plots" / "scores.csv")} == set(detail["scores"])
    facts = manifest.verify(out, "evaluate")
    assert facts["judges"]["dino"]["model"] == "data/judges/identity"
    assert str(tmp_path) not in (out / "manifest.json").read_text()
    assert settings_.read == {"evaluate", "recipe.evaluate"}


def test_equal_inputs_give_equal_bytes_and_the_batch_size_moves_no_score(inputs, told, tmp_path):
    evaluate.run(*inputs, tmp_path / "a", told())
    np.random.seed(3)  # noqa: NPY002
    evaluate.run(*inputs, tmp_path / "b", told())
    evaluate.run(*inputs, tmp_path / "c", told(batch_size=1))
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(names) == 5
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    scores = [json.loads((tmp_path / run / "scores.json").read_text())["scores"]["dino"] for run in "ac"]
    assert scores[1]["value"] == pytest.approx(scores[0]["value"], abs=2e-4)


def test_without_a_segmenter_there_are_no_subject_scores_and_metrics_can_be_chosen(inputs, told, tmp_path):
    evaluate.run(*inputs, tmp_path / "out", told(metrics=["dino", "clip_t"]))
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())["scores"]
    assert set(scores) == {"dino", "clip_t"}


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"metrics": ["dinoo"]}, "'dinoo' is no metric"),
        ({"resample": 5}, "did you mean 'resamples'"),
        ({"confidence": float("nan")}, "confidence"),
        ({"segmenter": {"name": "sum"}}, "did you mean 'sam'"),
        ({"dino": "data/judges/nothing"}, "cannot be opened"),
    ],
)
def test_wrong_params_are_one_line_and_leave_nothing(inputs, told, tmp_path, values, complaint, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=complaint) as caught:
        evaluate.run(*inputs, tmp_path / "out", told(**values))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_damaged_and_empty_samples_are_clear(inputs, told, tmp_path):
    segment, sample = inputs
    for content, complaint in (
        ("[{", "damaged"),
        ('[{"file": "x"}]', "lack kind, prompt, seed"),
        ("[]", "released"),
    ):
        (sample / "samples.json").write_text(content)
        with pytest.raises(UserError, match=complaint):
            evaluate.run(segment, sample, tmp_path / "out", told())


@pytest.mark.parametrize(
    ("prompt", "plain"),
    [
        ("a sks dog on the beach", "a dog on the beach"),
        ("a painting of a sks dog, in the style of sks", "a painting of a dog, in the style of"),
        ("a dog with sksy hair", "a dog with sksy hair"),
    ],
)
def test_judges_never_see_the_identifier(prompt, plain):
    subject = Subject(**{"name": "rex", "class": "dog", "class_folder": "dog"})
    assert evaluate.without_identifier(prompt, subject) == plain


def test_defaults_name_every_metric():
    assert params.validate(evaluate.Params, {}, "test").metrics
