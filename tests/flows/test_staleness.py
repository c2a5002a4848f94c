"""The table: what changes, which stages run again, and that no other does."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows import execution
from flows.store import staleness, versions
from flows.workspace import SubjectFolder, write_subject
from tasks.shared import manifest, subject

from .conftest import PLAN, STAGES, new_subject, new_workspace, write_photo

Change = Callable[[SubjectFolder], None]


def params(*dotted: str) -> Change:
    """Raise numbers of params.yaml, or append to its words."""

    def change(rex: SubjectFolder) -> None:
        yaml, path = YAML(), rex.workspace.params_file
        tree = yaml.load(path)
        for key in dotted:
            *parents, last = key.split(".")
            section = tree
            for part in parents:
                section = section[part]
            value = section[last]
            section[last] = "bfloat16" if last == "dtype" else value + ("x" if isinstance(value, str) else 1)
        yaml.dump(tree, path)

    return change


def override(block: str, **values: object) -> Change:
    return lambda rex: write_subject(rex.subject_file, {block: values})


def identity(**values: str) -> Change:
    return lambda rex: write_subject(
        rex.subject_file, {key.replace("class_word", "class"): v for key, v in values.items()}
    )


def photo(rex: SubjectFolder) -> None:
    write_photo(rex.folder / "photos" / "00.png", seed=99)
    manifest.write(rex.folder / "photos", "ingest", 1)
    versions.add_photos(rex)


def one_more_photo(rex: SubjectFolder) -> None:
    write_photo(rex.folder / "photos" / "07.png", seed=100)
    manifest.write(rex.folder / "photos", "ingest", 1)
    versions.add_photos(rex)


def comments(rex: SubjectFolder) -> None:
    for path in (rex.workspace.params_file, rex.subject_file, rex.prior / "class.yaml", rex.dvc_file):
        path.write_text("# a remark\n" + path.read_text() + "\n# another\n")


def deleted(*names: str) -> Change:
    def change(rex: SubjectFolder) -> None:
        for name in names:
            shutil.rmtree(rex.prior / "images" if name == "class_prior" else rex.folder / name)

    return change


def spoiled(rex: SubjectFolder) -> None:
    (rex.folder / "sample" / "result.json").write_text("scribbled over")


def other_subject(rex: SubjectFolder) -> None:
    execution.bring_up_to_date(new_subject(rex.workspace, "bob"))


FROM = {stage: STAGES[STAGES.index(stage) :] for stage in STAGES}
TUNED = ["class_prior", *FROM["fine_tune"]]
MADE_BEFORE = "back to the old class"  # nothing is computed, although DVC calls it stale
TABLE: list[tuple[str, Change, list[str]]] = [
    # every param of every stage
    *[
        (f"params {stage}.{key}", params(f"{stage}.{key}"), FROM[stage])
        for stage in STAGES
        for key in ("seed", "strength")
    ],
    *[(f"params class_prior.{key}", params(f"class_prior.{key}"), TUNED) for key in ("seed", "strength")],
    *[
        (f"params the method's {key}", params(f"methods.dreambooth.{key}"), FROM["fine_tune"])
        for key in ("seed", "strength")
    ],
    ("params of another method", params("methods.other.seed"), []),
    # the subject's own overrides, a prompt being one of them
    *[(f"override {stage}", override(stage, strength=0.25), FROM[stage]) for stage in STAGES],
    ("override the method", override("methods", dreambooth={"seed": 50}), FROM["fine_tune"]),
    ("override ingest", override("ingest", anything=1), []),
    # recipe versions
    *[(f"recipe {stage}", params(f"recipe.{stage}"), FROM[stage]) for stage in STAGES],
    ("recipe class_prior", params("recipe.class_prior"), TUNED),
    ("recipe ingest", params("recipe.ingest"), []),
    # the base
    ("base revision", params("base.revision"), TUNED),
    ("base model", params("base.model"), TUNED),
    ("base precision", params("base.dtype"), TUNED),
    # photos and identity
    ("a changed photo", photo, FROM["segment"]),
    ("one more photo", one_more_photo, FROM["segment"]),
    ("another identifier", identity(identifier="xyz"), FROM["fine_tune"]),
    ("a renamed class", identity(class_word="cat", class_folder="cat"), TUNED),
    (MADE_BEFORE, identity(class_word="dog", class_folder="dog"), FROM["fine_tune"]),
    ("another method", identity(method="other"), FROM["fine_tune"]),
    # nothing
    ("nothing", lambda rex: None, []),
    ("comments", comments, []),
    ("another subject of the class", other_subject, []),
    # outputs
    *[(f"deleted {stage}", deleted(stage), []) for stage in PLAN],
    ("all outputs deleted", deleted("photos", *PLAN), []),
    ("an output scribbled over", spoiled, []),
]


@pytest.fixture(scope="module")
def rex(tmp_path_factory: pytest.TempPathFactory) -> SubjectFolder:
    """One subject for the whole table: every row starts from what the row before left up to date."""
    folder = new_subject(new_workspace(tmp_path_factory.mktemp("table") / "project"), "rex")
    assert [
        outcome.stage for outcome in execution.bring_up_to_date(folder) if outcome.action == "ran"
    ] == PLAN
    return folder


@pytest.mark.parametrize(("what", "change", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_exactly_what_depends_on_the_change_runs_again(rex, what, change, expected):
    change(rex)
    rex = rex.workspace.subject("rex")
    foreseen = staleness.forecasts(rex.workspace, ["rex"])[0]
    outcomes = execution.bring_up_to_date(rex)
    action = "restored" if what == MADE_BEFORE else "ran"
    assert [outcome.stage for outcome in outcomes if outcome.action == action] == expected
    assert action == "ran" or "ran" not in {outcome.action for outcome in outcomes}
    assert [
        verdict.stage.name for verdict in foreseen.to_run
    ] == expected  # `status` says beforehand what `run` does
    assert all((rex.folder / stage / "manifest.json").exists() for stage in STAGES)


def test_the_table_covers_every_stage_and_every_override_block():
    names = " ".join(row[0] for row in TABLE)
    for stage in PLAN:
        assert f"params {stage}." in names
        assert f"recipe {stage}" in names
    assert set(subject.OVERRIDES) - {"methods", "ingest"} == set(STAGES)


def test_nothing_is_stale_after_the_whole_table(rex):
    assert staleness.forecasts(rex.workspace, ["rex"])[0].fresh


def test_what_was_restored_is_what_was_made(rex):
    before = {path: path.read_bytes() for path in Path(rex.folder).glob("*/result.json")}
    deleted(*STAGES)(rex)
    actions = {outcome.action for outcome in execution.bring_up_to_date(rex)}
    assert actions == {"fresh", "restored"}
    assert before == {path: path.read_bytes() for path in Path(rex.folder).glob("*/result.json")}
    assert len(before) == len(STAGES)


def test_reasons_name_file_key_and_stage(rex):
    seed = YAML().load(rex.workspace.params_file)["sample"]["seed"]
    params("sample.seed")(rex)
    (rex.folder / "report" / "result.json").unlink()
    forecast = staleness.forecasts(rex.workspace, ["rex"])[0]
    assert {v.stage.name: v.why for v in forecast.to_run} == {
        "sample": f"params.yaml: sample.seed {seed} -> {seed + 1}",
        "evaluate": "after sample",
        "report": "after sample, evaluate",
    }
