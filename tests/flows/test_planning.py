"""What `dreamline plan` foresees is what DVC says once the change is made."""

from collections.abc import Iterator

import pytest

from flows import execution, planning
from flows.store import staleness
from flows.workspace import Workspace
from tasks.shared import params

from .conftest import Command, new_subject, new_workspace


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Three finished subjects, two of one class."""
    workspace = new_workspace(tmp_path_factory.mktemp("planning") / "project")
    for name, word in (("rex", "dog"), ("ace", "dog"), ("tom", "cat")):
        execution.bring_up_to_date(new_subject(workspace, name, word))
    return workspace


@pytest.fixture
def fleet(finished: Workspace) -> Iterator[Workspace]:
    """They again, with the params as they were: a plan runs nothing."""
    before = finished.params_file.read_text()
    yield finished
    finished.params_file.write_text(before)
    assert all(forecast.fresh for forecast in staleness.forecasts(finished, finished.subjects()))


def stale(workspace: Workspace) -> dict[str, list[str]]:
    return {
        forecast.name: [verdict.stage.name for verdict in forecast.to_run]
        for forecast in staleness.forecasts(workspace, workspace.subjects())
    }


@pytest.mark.parametrize(
    "text",
    [
        "sample.seed=50",
        "class_prior.strength=9",
        "base.revision=r2",
        "recipe.evaluate=2",
        "methods.dreambooth.seed=7",
        "methods.other.seed=7",
        "fine_tune={seed: 30, strength: 3.5}",
        "report.seed=7",
    ],
)
def test_the_plan_of_a_change_is_what_dvc_says_after_it(fleet: Workspace, text: str):
    before = fleet.params_file.read_text()
    wanted = planning.changes(fleet, [text])
    forecasts = planning.with_changes(staleness.forecasts(fleet, fleet.subjects()), fleet.params_file, wanted)
    foreseen = {one.name: [verdict.stage.name for verdict in one.to_run] for one in forecasts}
    assert fleet.params_file.read_text() == before
    planning.apply(fleet, wanted)
    assert foreseen == stale(fleet)


def test_a_shared_stage_is_counted_once_and_equal_work_together(fleet: Workspace):
    forecasts = planning.with_changes(
        staleness.forecasts(fleet, fleet.subjects()),
        fleet.params_file,
        planning.changes(fleet, ["class_prior.seed=3"]),
    )
    jobs = {job.stage: job for job in planning.jobs(fleet, forecasts)}
    assert sorted(jobs["class_prior"].subjects) == ["ace", "tom"]  # one of the two dogs
    assert sorted(jobs["fine_tune"].subjects) == ["ace", "rex", "tom"]
    assert jobs["fine_tune"].why == "after class_prior"
    assert all(job.seconds is not None and job.seconds > 0 for job in jobs.values())
    assert all(job.bytes for job in jobs.values())


def test_the_command_asks_and_changes_only_what_was_said(fleet: Workspace, dreamline: Command):
    nothing = dreamline(fleet.root, "plan")
    assert "nothing to run" in nothing.out
    done = dreamline(fleet.root, "plan", "--param", "sample.seed=50", "--yes")
    assert done.code == 0, done.err
    assert "sample.seed 5 -> 50" in done.out
    assert "9 stages to run" in done.out
    tree = params.read_yaml(fleet.params_file)
    assert tree["sample"] == {"seed": 50, "strength": 5.5}
    assert "3 subjects" not in done.out and "ace, rex, tom" in done.out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sample.sede=5", "did you mean 'sample.seed'"),
        ("sample.seed", "expected key=value"),
        ("sample.seed=many", "sample"),
        ("sample.seed=[", "not valid YAML"),
    ],
)
def test_a_wrong_change_is_refused_and_nothing_is_written(
    fleet: Workspace, dreamline: Command, text: str, words: str
):
    before = fleet.params_file.read_bytes()
    said = dreamline(fleet.root, "plan", "--param", text, "--yes")
    assert said.code == 2
    assert words in said.err
    assert fleet.params_file.read_bytes() == before
