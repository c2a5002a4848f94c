"""params.yaml, the code's Params and the configuration page say the same."""

from pathlib import Path

import pytest

from docs import configuration
from tasks.backbones.base import digest_of
from tasks.segmenters import sam
from tasks.shared import manifest, params, settings

PROJECT = Path(__file__).resolve().parent.parent
SECTIONS = dict(configuration.sections())


def written(dotted: str) -> dict:
    values = params.read_yaml(PROJECT / "params.yaml")
    for part in dotted.split("."):
        values = values[part]
    return values


@pytest.mark.parametrize("dotted", SECTIONS)
def test_params_yaml_lists_every_key_of_the_section_and_no_other(dotted: str):
    model = SECTIONS[dotted]
    assert set(written(dotted)) == {field.alias or name for name, field in model.model_fields.items()}
    settings.load(PROJECT / "params.yaml").section(model, dotted)


@pytest.mark.parametrize("dotted", SECTIONS)
def test_every_key_says_what_it_means(dotted: str):
    assert [name for name, field in SECTIONS[dotted].model_fields.items() if not field.description] == []


def test_params_yaml_has_no_section_that_nothing_reads():
    top = {dotted.split(".")[0] for dotted in SECTIONS} | {"recipe"}
    assert set(params.read_yaml(PROJECT / "params.yaml")) == top
    assert set(written("recipe")) == set(configuration.STAGES)


def test_the_configuration_page_is_up_to_date():
    assert configuration.PAGE.read_text(encoding="utf-8") == configuration.page(), "run `make docs`"


def test_the_shipped_base_is_the_one_params_yaml_names():
    base = settings.load(PROJECT / "params.yaml").base
    assert base.revision == digest_of(Path(base.model))


@pytest.mark.parametrize(
    ("dotted", "model", "revision"),
    [
        ("class_prior", "judge", "judge_revision"),
        ("fine_tune", "validation_judge", "validation_judge_revision"),
        ("evaluate", "dino", "dino_revision"),
        ("evaluate", "clip", "clip_revision"),
        ("segment.segmenter", "checkpoint", "revision"),
        ("evaluate.segmenter", "checkpoint", "revision"),
    ],
)
def test_whatever_judges_or_segments_is_pinned_so_that_other_weights_make_results_stale(
    dotted: str, model: str, revision: str
):
    values = sam.Params().model_dump() | written(dotted)
    assert values[revision] == manifest.digest(PROJECT / values[model] / "model.safetensors")


def test_dvc_finds_the_shipped_models_as_they_were_recorded():
    """After new weights: `dvc commit -f dvc.yaml`."""
    from dvc.repo import Repo

    with Repo(str(PROJECT)) as repo:
        assert repo.status(targets=["dvc.yaml"]) == {}
