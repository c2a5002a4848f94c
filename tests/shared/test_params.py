"""Settings: unknown keys are refused with the nearest known one, hostile YAML is refused, overrides merge."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from tasks.shared import params, settings, subject
from tasks.shared.errors import UserError


class Inner(params.Params):
    rank: int = Field(default=4, ge=1)


class Outer(params.Params):
    learning_rate: float = Field(default=1e-3, gt=0)
    tuner: Inner = Inner()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"learning_rat": 1}, "unknown key 'learning_rat', did you mean 'learning_rate'?"),
        ({"tuner": {"ranks": 1}}, "unknown key 'tuner.ranks', did you mean 'rank'?"),
        ({"learning_rate": "fast"}, "learning_rate: input should be a valid number"),
        ({"learning_rate": float("nan")}, "learning_rate: input should be a finite number"),
        ({"tuner": {"rank": 0}}, "tuner.rank: input should be greater than or equal to 1"),
    ],
)
def test_a_wrong_key_is_named_in_one_line(values, expected):
    with pytest.raises(UserError) as error:
        params.validate(Outer, values, "params.yaml: fine_tune")
    assert str(error.value).startswith("params.yaml: fine_tune: ")
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_all_wrong_keys_are_named_at_once():
    with pytest.raises(UserError) as error:
        params.validate(Outer, {"learning_rat": 1, "tuner": {"rank": -1}}, "x")
    assert "'learning_rat'" in str(error.value)
    assert "tuner.rank" in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &a [1]\nb: *a\n", "anchors and aliases"),
        ("a: [1\n", "not valid YAML"),
        ("a: 1\na: 2\n", "not valid YAML"),
        ("- 1\n", "expected `key: value` lines"),
        ("a: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
        ("a: " + "[" * 3000, "brackets within brackets"),  # cost the parser minutes
        ("a: " + "{b: " * 3000, "brackets within brackets"),
        ("- " * 3000, "not valid YAML"),
        ("a: " + "9" * 5000, "not valid YAML"),
        ("a: 2026-99-99\n", "not valid YAML"),
        ("a: !!int x\n", "not valid YAML"),
    ],
)
def test_hostile_or_broken_yaml_is_refused(text, expected):
    with pytest.raises(UserError, match=expected):
        params.parse_yaml(text, "subject.yaml")


def test_a_value_is_shown_shortened():
    """Python writes out no number of more than 4300 digits, and nobody reads one."""
    for value in (-params.parse_yaml("a: 0x" + "f" * 5000, "x")["a"], "x" * 5000):
        with pytest.raises(UserError) as error:
            params.validate(Outer, {"tuner": {"rank": value}}, "x")
        assert len(str(error.value)) < 500


def test_a_missing_and_a_huge_file_are_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"nothing\.yaml: no such file"):
        params.read_yaml(tmp_path / "nothing.yaml")
    (tmp_path / "big.yaml").write_text("a: " + "x" * 1_000_001)
    with pytest.raises(UserError, match="larger than 1 MB"):
        params.read_yaml(tmp_path / "big.yaml")


leaves = st.integers(0, 3)
mappings = st.dictionaries(
    st.sampled_from("ab"), leaves | st.dictionaries(st.sampled_from("ab"), leaves, max_size=2), max_size=2
)


@given(mappings, mappings)
def test_merging_keeps_what_is_above_and_loses_nothing_below(below, above):
    result = params.merged(below, above)
    assert set(result) == set(below) | set(above)
    assert params.merged(result, above) == result
    assert params.merged(below, {}) == below


def write_project(root: Path) -> Path:
    (root / "data").mkdir()
    (root / "params.yaml").write_text("outer: {learning_rate: 0.5, tuner: {rank: 2}}\nrecipe: {sample: 3}\n")
    return root / "params.yaml"


def test_a_subjects_block_overrides_its_section_and_reads_are_logged(tmp_path: Path):
    params_file, subject_file = write_project(tmp_path), tmp_path / "subject.yaml"
    subject_file.write_text(
        "name: rex\nclass: stuffed animal\nclass_folder: stuffed_animal\nsample: {a: 1}\nfine_tune: {}\n"
    )
    loaded = settings.load(params_file, subject_file)
    assert loaded.subject.phrase == "sks stuffed animal"
    assert loaded.section(Outer, "outer").tuner.rank == 2
    assert loaded.recipe("sample") == 3
    assert loaded.read == {"outer", "recipe.sample"}
    with pytest.raises(UserError, match="unknown key 'a'"):
        loaded.section(Outer, "sample")


@pytest.mark.parametrize(
    "name", ["../rex", "-rex", "Rex", "re x", "", "r" * 64, "réx", "a/b", ".rex", "rex\n"]
)
def test_names_that_could_leave_the_folder_are_refused(tmp_path: Path, name: str):
    (tmp_path / "subject.yaml").write_text(
        f"name: {name!r}\nclass: dog\nclass_folder: dog\n".replace("\\n", "\n")
    )
    with pytest.raises(UserError, match=r"subject\.yaml"):
        subject.read(tmp_path / "subject.yaml")


@given(st.text(max_size=80))
def test_a_slug_made_from_any_text_is_a_slug(text: str):
    try:
        slug = subject.slug_of(text)
    except UserError:
        return
    assert subject.checked_slug(slug) == slug


def test_outside_a_project_the_error_says_what_is_missing(tmp_path: Path):
    with pytest.raises(UserError, match=r"no params\.yaml"):
        settings.find_project(tmp_path)
    write_project(tmp_path)
    assert settings.find_project(tmp_path / "data") == tmp_path
