"""Stale subjects that fit together are trained in one step, recorded, and finished by their own runs."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from skimage import data

from flows import adding, execution, history, timings, together
from flows.lock import held
from flows.store import staleness
from flows.workspace import Workspace, write_subject
from tasks.shared import manifest
from tests.flows.test_real_stages import small_workspace

NAMES = ["rex", "tom", "zoe"]


@pytest.fixture(scope="module")
def fleet(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Callable[[str], Path], tiny_judges: Path
) -> Workspace:
    """Three dogs with the real stages on a tiny base; nothing has run yet."""
    folder = tmp_path_factory.mktemp("together")
    workspace = small_workspace(folder / "project", tiny_base("sd15"), tiny_judges)
    for name, picture in zip(NAMES, (data.chelsea(), data.coffee(), data.astronaut()), strict=True):
        for number in range(2):
            Image.fromarray(picture[number * 40 :][:200, :200]).save(folder / f"{name}{number}.jpg")
        adding.add(workspace, sorted(folder.glob(f"{name}*.jpg")), name=name, **{"class": "dog"})
    return workspace


def stages_to_run(workspace: Workspace, name: str) -> list[str]:
    return [verdict.stage.name for verdict in staleness.forecasts(workspace, [name])[0].to_run]


def test_groups_are_of_those_that_fit_and_no_larger_than_asked(fleet: Workspace):
    forecasts = staleness.forecasts(fleet, NAMES)
    assert together.groups(fleet, forecasts, 8) == [NAMES]
    assert together.groups(fleet, forecasts, 2) == [["rex", "tom"]], "one that is left over runs by itself"
    assert together.groups(fleet, forecasts, 1) == []
    write_subject(fleet.subject("tom").subject_file, {"fine_tune": {"max_train_steps": 3}})
    assert together.groups(fleet, staleness.forecasts(fleet, NAMES), 8) == [["rex", "zoe"]]
    write_subject(fleet.subject("tom").subject_file, {"fine_tune": {"seed": 3}})


def test_a_subject_that_another_run_is_at_is_left_alone(fleet: Workspace, caplog: pytest.LogCaptureFixture):
    with held(fleet.subject("tom").lock_file):
        assert together.train(fleet, staleness.forecasts(fleet, ["rex", "tom"])) == []
    assert (
        "tom: not trained together, but by itself later: tom: a run of this subject is going on"
        in caplog.text
    )
    assert "fine_tune" in stages_to_run(fleet, "rex") and "segment" in stages_to_run(fleet, "tom")


def test_a_group_that_memory_cannot_hold_is_halved(fleet: Workspace, monkeypatch: pytest.MonkeyPatch):
    asked: list[list[str]] = []

    def full(workspace: Workspace, names: list[str], tell: together.Tell) -> list[str]:
        asked.append(list(names))
        if len(names) > 2:
            raise torch.OutOfMemoryError
        return names

    monkeypatch.setattr(together, "_train", full)
    monkeypatch.setattr(together, "_prepared", lambda workspace, names, tell: list(names))
    monkeypatch.setattr(together, "groups", lambda *_: [["a", "b", "c", "d", "e"]])
    assert together.train(fleet, []) == ["a", "b", "d", "e"], "c runs by itself"
    assert asked == [["a", "b", "c", "d", "e"], ["a", "b"], ["c", "d", "e"], ["d", "e"]]


def test_trained_together_recorded_and_finished_by_their_own_runs(
    fleet: Workspace, caplog: pytest.LogCaptureFixture
):
    write_subject(fleet.subject("zoe").subject_file, {"fine_tune": {"validation_prompts": ["a {sbject}"]}})
    heard: list[tuple[str, str]] = []

    def tell(name: str, event: object) -> None:
        if isinstance(event, execution.Outcome) and event.action == "ran":
            heard.append((name, event.stage))

    assert together.train(fleet, staleness.forecasts(fleet, NAMES), tell) == ["rex", "tom"]
    assert [name for name, stage in heard if stage == "fine_tune"] == ["rex", "tom"]
    assert "zoe: not trained together, but by itself later" in caplog.text and "sbject" in caplog.text
    assert stages_to_run(fleet, "rex") == stages_to_run(fleet, "tom") == ["sample", "evaluate", "report"]
    assert "fine_tune" in stages_to_run(fleet, "zoe")
    digests = {
        manifest.read(fleet.subject(name).folder / "fine_tune", "fine_tune")["params_digest"]
        for name in ("rex", "tom")
    }
    assert len(digests) == 2
    outcomes = execution.bring_up_to_date(fleet.subject("rex"), before="evaluate")
    assert [(o.stage, o.action) for o in outcomes][-2:] == [("fine_tune", "fresh"), ("sample", "ran")]
    assert together.train(fleet, staleness.forecasts(fleet, ["rex", "tom"])) == [], "nothing is trained twice"
    execution.bring_up_to_date(fleet.subject("rex"))
    (version,) = history.read(fleet.subject("rex"))
    assert {*version.ran} >= {"segment", "fine_tune", "sample", "evaluate", "report"}
    spent = timings.Timings(fleet).about_s("rex", ["segment", "fine_tune", "sample"])
    assert spent and version.seconds >= spent - 0.1
