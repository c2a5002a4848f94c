"""Two clones of one fleet: what one hands on the other has, races are settled, and what failed is handed on later."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows import execution, transient
from flows.store import checkout, git, remote, sharing, staleness
from flows.workspace import Workspace
from tasks.shared.errors import Transient, UserError
from tests.flows.clones import clone, make, run_git

from .conftest import new_subject

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def one(hub: Path) -> Workspace:
    return clone(hub, "one")


@pytest.fixture
def two(hub: Path) -> Workspace:
    return clone(hub, "two")


def linear(hub: Path) -> bool:
    run_git(hub, "fsck", "--strict")
    return run_git(hub, "log", "--merges", "--oneline", "main") == ""


def clean(workspace: Workspace) -> bool:
    return run_git(workspace.root, "status", "--short") == ""


def ran(outcomes: list[execution.Outcome]) -> list[str]:
    return [outcome.stage for outcome in outcomes if outcome.action == "ran"]


def test_another_clone_runs_a_subject_and_the_first_has_it(one: Workspace, two: Workspace, hub: Path):
    rex = two.subject("rex")
    assert not (rex.folder / "photos").exists()
    with sharing.round_trip(two, "rex"):
        assert len(ran(execution.bring_up_to_date(rex))) == 6
    assert clean(two)
    sharing.take(one)
    assert clean(one)
    (forecast,) = staleness.forecasts(one, ["rex"])
    assert not forecast.to_run
    sharing.bring(one, [forecast])
    assert "ran" not in {outcome.action for outcome in execution.bring_up_to_date(one.subject("rex"))}
    result = Path("report") / "result.json"
    assert (one.subject("rex").folder / result).read_bytes() == (rex.folder / result).read_bytes()
    assert linear(hub)


def test_only_the_subjects_own_files_are_handed_on(one: Workspace, two: Workspace, hub: Path):
    (two.root / "notes.txt").write_text("mine")
    (two.subject("rex").folder / "notes.txt").write_text("mine")
    with sharing.round_trip(two, "rex"):
        execution.bring_up_to_date(two.subject("rex"))
    changed = run_git(hub, "diff", "--name-only", "main~1", "main").splitlines()
    assert {Path(path).name for path in changed} <= {"dvc.lock", "history.jsonl", ".gitignore"}
    assert (two.root / "notes.txt").exists()


def test_what_is_needed_comes_in_one_transfer_and_nothing_more(
    one: Workspace, two: Workspace, monkeypatch: pytest.MonkeyPatch
):
    rex = two.subject("rex")
    with sharing.round_trip(two, "rex"):
        execution.bring_up_to_date(rex)
    sharing.take(one)
    text = one.params_file.read_text()
    one.params_file.write_text(text.replace("seed: 6", "seed: 66"))
    asked = []
    monkeypatch.setattr(remote, "transfer", lambda *a, **k: asked.append(sorted(a[2])) or "")
    sharing.bring(one, staleness.forecasts(one, ["rex"]))
    folder = one.subject("rex").folder
    stages = [f"{folder}/dvc.yaml:{stage}" for stage in ("segment", "fine_tune", "sample")]
    others = [f"{folder}/photos.dvc", f"{one.prior('dog')}/dvc.yaml:class_prior"]
    assert asked == [sorted([*stages, *others])], "evaluate and report are made anew"


def test_a_race_is_decided_by_committing_again(
    one: Workspace, two: Workspace, hub: Path, monkeypatch: pytest.MonkeyPatch
):
    make(two, "bob")
    assert sharing.give(two, ["bob"], "bob: new")
    for workspace in (one, two):
        sharing.take(workspace)
    assert clean(one) and clean(two)
    for workspace, name in ((one, "rex"), (two, "bob")):
        execution.bring_up_to_date(workspace.subject(name))
    real, others = checkout.commit, iter([one])

    def late(root: Path, *arguments: object) -> str:
        commit = real(root, *arguments)
        for other in others:  # comes between our fetch and our push
            assert sharing.give(other, ["rex"], "rex: up to date")
        return commit

    monkeypatch.setattr(checkout, "commit", late)
    assert sharing.give(two, ["bob"], "bob: up to date")
    said = run_git(hub, "log", "--format=%s", "main").splitlines()
    assert said[:2] == ["bob: up to date", "rex: up to date"]
    assert linear(hub)
    for workspace in (one, two):
        sharing.take(workspace)
        assert not any(forecast.to_run for forecast in staleness.forecasts(workspace, ["bob", "rex"]))
        assert clean(workspace)


def test_the_same_subject_finished_twice_stays_as_the_first_handed_it_on(
    one: Workspace, two: Workspace, hub: Path
):
    for workspace in (one, two):
        execution.bring_up_to_date(workspace.subject("rex"))
    first = sharing.give(one, ["rex"], "rex: up to date")
    assert first
    assert sharing.give(two, ["rex"], "rex: up to date") is None
    assert run_git(hub, "rev-parse", "main") == first
    sharing.take(two)
    assert clean(two)
    assert staleness.forecasts(two, ["rex"])[0].fresh, "equal inputs gave equal bytes"


def test_a_push_that_failed_is_made_up_for(one: Workspace, two: Workspace, hub: Path):
    rex = two.subject("rex")
    away = hub.with_name("away.git")
    with pytest.raises(Transient, match="git fetch: the remote is away"), sharing.round_trip(two, "rex"):
        execution.bring_up_to_date(rex)
        hub.rename(away)
    away.rename(hub)
    with sharing.round_trip(two, "rex"):
        assert ran(execution.bring_up_to_date(rex)) == []
    sharing.take(one)
    assert not staleness.forecasts(one, ["rex"])[0].to_run
    assert linear(hub)


def test_a_remote_that_comes_back_soon_is_waited_for(
    two: Workspace, hub: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    away, waited = hub.with_name("away.git"), list[float]()

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            away.rename(hub)

    monkeypatch.setattr(transient, "time", SimpleNamespace(sleep=wait))
    with sharing.round_trip(two, "rex", again_after_s=(5, 30, 120)):
        hub.rename(away)
    assert waited == [5, 30]
    assert "the remote is away" in caplog.text


def test_bytes_that_cannot_be_stored_are_not_promised(one: Workspace, two: Workspace, hub: Path):
    rex, store = two.subject("rex"), hub.with_name("bytes")
    before = run_git(hub, "rev-parse", "main")
    with sharing.cared_for():
        sharing.bring(two, staleness.forecasts(two, ["rex"]))
        execution.bring_up_to_date(rex)
    shutil.rmtree(store)
    store.write_text("no folder")
    with pytest.raises(Transient):
        sharing.give(two, ["rex"], "rex: up to date")
    assert run_git(hub, "rev-parse", "main") == before
    store.unlink()
    assert sharing.give(two, ["rex"], "rex: up to date")


def test_a_failed_run_hands_on_how_far_it_came(
    one: Workspace, two: Workspace, monkeypatch: pytest.MonkeyPatch
):
    rex = two.subject("rex")
    monkeypatch.setenv("STANDIN_FULL", "sample")
    with pytest.raises(UserError, match="No space left"), sharing.round_trip(two, "rex"):
        execution.bring_up_to_date(rex)
    monkeypatch.delenv("STANDIN_FULL")
    with sharing.round_trip(one, "rex"):
        assert ran(execution.bring_up_to_date(one.subject("rex"))) == ["sample", "evaluate", "report"]


def test_what_a_person_changed_on_both_sides_is_a_persons_to_settle(one: Workspace, two: Workspace):
    for workspace, prompt in ((one, "left"), (two, "right")):
        path = workspace.subject("rex").subject_file
        path.write_text(path.read_text().replace("identifier: sks", f"identifier: {prompt}"))
    assert sharing.give(one, ["rex"], "rex: another identifier")
    with pytest.raises(UserError, match=r"subject\.yaml: changed here and by others"):
        sharing.take(two)
    with pytest.raises(UserError, match=r"subject\.yaml: changed here and by others"):
        sharing.give(two, ["rex"], "rex")
    assert "right" in two.subject("rex").subject_file.read_text()


def test_commits_that_only_this_clone_has_are_named(one: Workspace, two: Workspace):
    run_git(two.root, "commit", "-q", "--allow-empty", "-m", "mine")
    with pytest.raises(UserError, match="git pull --rebase origin main"):
        sharing.take(two)


def test_other_settings_than_the_workers_have_are_refused(one: Workspace):
    sharing.require_same_settings(one)
    one.params_file.write_text(one.params_file.read_text().replace("seed: 5", "seed: 55"))
    with pytest.raises(UserError, match=r"params\.yaml: not what the workers have"):
        sharing.require_same_settings(one)


def test_a_lock_of_a_killed_git_is_removed_a_young_one_respected(
    one: Workspace, two: Workspace, monkeypatch: pytest.MonkeyPatch
):
    with sharing.round_trip(two, "rex"):
        execution.bring_up_to_date(two.subject("rex"))
    lock = one.root / ".git" / "index.lock"
    lock.touch()
    with pytest.raises(UserError, match=r"index\.lock"):
        sharing.take(one)
    monkeypatch.setattr(git, "LEFT_BEHIND_S", -1.0)
    assert sharing.take(one)
    assert not lock.exists()


def test_off_by_default(workspace: Workspace):
    new_subject(workspace, "rex")
    assert not sharing.on(workspace)
    with sharing.round_trip(workspace, "rex"):
        pass
    with pytest.raises(UserError, match=r"sharing\.git_remote"):
        sharing.take(workspace)


def test_code_that_came_is_told_from_results():
    assert sharing.new_code(["flows/batches.py"])
    assert not sharing.new_code(["data/subjects/rex/dvc.lock", "flows/README.md", "params.yaml"])
