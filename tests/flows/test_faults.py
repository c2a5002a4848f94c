"""Killed, full, read-only, damaged: nothing is lost, nothing is half there, the next run heals."""

import json
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from flows import execution
from flows.store import staleness, versions
from flows.workspace import SubjectFolder, Workspace
from tasks.shared.errors import UserError
from tasks.shared.params import read_yaml

from .conftest import PLAN, STAGES, Command, new_subject

RUN = """
import sys
from pathlib import Path
from flows import execution
from flows.workspace import Workspace
execution.bring_up_to_date(Workspace(Path(sys.argv[1])).subject(sys.argv[2]))
"""


def run_in_a_process(subject: SubjectFolder) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN, str(subject.workspace.root), subject.name]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("stage", PLAN)
def test_kill_9_in_a_stage_then_run_again(done: SubjectFolder, monkeypatch, stage: str):
    params = done.workspace.params_file
    new = params.read_text()
    for number in range(1, 8):
        new = new.replace(f"seed: {number},", f"seed: {number}0,")
    params.write_text(new)
    place = done.prior / "images" if stage == "class_prior" else done.folder / stage
    before = (place / "result.json").read_bytes()
    monkeypatch.setenv("STANDIN_KILL", stage)
    assert run_in_a_process(done).returncode == -signal.SIGKILL
    assert (place / "result.json").read_bytes() == before  # the old output is whole
    monkeypatch.delenv("STANDIN_KILL")
    outcomes = execution.bring_up_to_date(done)
    started = PLAN.index(stage)
    assert [outcome.action for outcome in outcomes] == ["fresh"] * started + ["ran"] * (6 - started)
    assert not list(done.folder.glob(".*.new")), "what was left behind is cleaned up"
    assert staleness.forecasts(done.workspace, [done.name])[0].fresh


def test_a_finished_stage_that_was_not_recorded_is_not_taken_for_recorded(done: SubjectFolder):
    (done.folder / "sample" / "result.json").write_text("half of it")
    (done.folder / "sample" / "manifest.json").unlink()
    plan = staleness.look(done)[0]
    with pytest.raises(UserError, match="not finished"):
        versions.commit(done.workspace, next(stage for stage in plan if stage.name == "sample"))
    assert {o.stage: o.action for o in execution.bring_up_to_date(done)}["sample"] == "restored"


def test_a_full_disk_keeps_the_old_output_and_says_so(
    done: SubjectFolder, monkeypatch, dreamline: Command, api: str
):
    done.workspace.params_file.write_text(
        done.workspace.params_file.read_text().replace("seed: 5", "seed: 55")
    )
    before = (done.folder / "sample" / "result.json").read_bytes()
    monkeypatch.setenv("STANDIN_FULL", "sample")
    said = dreamline(done.workspace.root, "run", "rex")
    assert said.code == 2
    assert "No space left on device" in said.err.strip().splitlines()[-1]
    assert (done.folder / "sample" / "result.json").read_bytes() == before
    monkeypatch.delenv("STANDIN_FULL")
    assert dreamline(done.workspace.root, "run", "rex").code == 0


@pytest.mark.parametrize(
    "content", ["stages: [", "", "stages: {sample: 3}", "\x00\x01", "<<<<<<< ours\nstages:"]
)
def test_a_damaged_lock_says_how_to_heal_it(done: SubjectFolder, dreamline: Command, content: str):
    lock = done.folder / "dvc.lock"
    whole = lock.read_text()
    lock.write_text(content)
    said = dreamline(done.workspace.root, "run", "rex")
    if content:  # an empty lock is as good as none: everything is stale
        assert said.code == 2
        assert "git checkout -- data/subjects/rex/dvc.lock" in said.err
        assert len(said.err.strip().splitlines()) == 1
    lock.write_text(whole)
    assert staleness.forecasts(done.workspace, ["rex"])[0].fresh


def test_a_deleted_lock_runs_again_to_the_same_bytes(done: SubjectFolder):
    whole = (done.folder / "dvc.lock").read_bytes()
    (done.folder / "dvc.lock").unlink()
    assert [o.stage for o in execution.bring_up_to_date(done) if o.action == "ran"] == STAGES
    assert (done.folder / "dvc.lock").read_bytes() == whole


def test_what_cache_and_remote_have_lost_is_computed_again(done: SubjectFolder):
    for path in (done.workspace.root / ".dvc" / "cache").rglob("*"):
        if path.is_file():
            path.unlink()
    shutil.rmtree(done.folder / "sample")
    actions = {o.stage: o.action for o in execution.bring_up_to_date(done)}
    assert [stage for stage, action in actions.items() if action == "ran"] == ["sample"]
    assert actions["fine_tune"] == "restored"  # recorded again as it lies there
    shutil.rmtree(done.folder / "fine_tune")
    assert {o.stage: o.action for o in execution.bring_up_to_date(done)}["fine_tune"] == "restored"


def test_photos_changed_by_hand_are_not_trained_on_unseen(done: SubjectFolder, dreamline: Command):
    (done.folder / "photos" / "00.png").write_bytes(b"another photo, past the gate")
    said = dreamline(done.workspace.root, "run", "rex")
    assert said.code == 2
    assert "accept it with `dvc add data/subjects/rex/photos`" in said.err


def test_a_damaged_manifest_of_an_input_is_healed_from_the_cache(done: SubjectFolder):
    (done.folder / "segment" / "manifest.json").write_text("{")
    execution.bring_up_to_date(done)
    assert json.loads((done.folder / "segment" / "manifest.json").read_text())["stage"] == "segment"


def test_parallel_subjects_of_one_class_make_the_prior_once(workspace: Workspace):
    subjects = [new_subject(workspace, name) for name in ("ace", "bob", "cid")]
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(run_in_a_process, subjects))
    assert [result.returncode for result in results] == [0, 0, 0], results[0].stderr + results[1].stderr
    assert (subjects[0].prior / ".work" / "calls.log").read_text().split() == ["class_prior"]
    assert all(forecast.fresh for forecast in staleness.forecasts(workspace, workspace.subjects()))


def test_a_read_only_folder_is_a_mistake_in_one_line(done: SubjectFolder, dreamline: Command, read_only):
    done.workspace.params_file.write_text(
        done.workspace.params_file.read_text().replace("seed: 5", "seed: 55")
    )
    with read_only(done.folder):
        said = dreamline(done.workspace.root, "run", "rex")
    assert said.code == 2
    assert (
        "Read-only" in said.err.strip().splitlines()[-1] or "Permission" in said.err.strip().splitlines()[-1]
    )
    assert "Traceback" not in said.err


def test_photos_are_recorded_as_dvc_add_would(rex: SubjectFolder, dvc):
    versions.add_photos(rex)
    ours, ignored = read_yaml(rex.photos_file), (rex.folder / ".gitignore").read_bytes()
    rex.photos_file.unlink()
    (rex.folder / ".gitignore").unlink()
    dvc("add", "data/subjects/rex/photos")
    assert read_yaml(rex.photos_file) == ours
    assert (rex.folder / ".gitignore").read_bytes() == ignored


@pytest.mark.parametrize("left", [None, "", "stages:\n  segment:\n    cmd: pyth", "stages: {"])
def test_a_stage_finished_but_not_recorded_is_recorded_by_the_next_run(
    done: SubjectFolder, monkeypatch, left: str | None
):
    done.workspace.params_file.write_text(
        done.workspace.params_file.read_text().replace("seed: 5", "seed: 55")
    )
    lock, commit = done.folder / "dvc.lock", versions.commit

    def killed(workspace: Workspace, stage) -> None:
        if left is not None:
            lock.write_text(left)  # DVC was writing it
        raise KeyboardInterrupt

    with monkeypatch.context() as deadly, pytest.raises(KeyboardInterrupt):
        deadly.setattr(versions, "commit", killed)
        execution.bring_up_to_date(done)
    assert versions.commit is commit
    log = done.folder / ".work" / "calls.log"
    before = log.read_text().split().count("sample")
    outcomes = {outcome.stage: outcome.action for outcome in execution.bring_up_to_date(done)}
    assert (outcomes["sample"], outcomes["evaluate"]) == ("fresh", "ran")
    assert log.read_text().split().count("sample") == before
    assert staleness.forecasts(done.workspace, [done.name])[0].fresh
    assert not (done.folder / ".work" / "recording.json").exists()


def test_a_stage_killed_in_its_work_is_not_taken_for_finished(done: SubjectFolder, monkeypatch):
    done.workspace.params_file.write_text(
        done.workspace.params_file.read_text().replace("seed: 5", "seed: 55")
    )
    monkeypatch.setenv("STANDIN_KILL", "sample")
    assert run_in_a_process(done).returncode == -signal.SIGKILL
    monkeypatch.delenv("STANDIN_KILL")
    assert (done.folder / ".work" / "recording.json").exists()  # and the old output lies there, whole
    assert {o.stage: o.action for o in execution.bring_up_to_date(done)}["sample"] == "ran"


def test_half_a_table_of_locks_is_removed(done: SubjectFolder):
    table = done.workspace.root / ".dvc" / "tmp" / "rwlock"
    table.write_text('{"read": {"a')
    assert {outcome.action for outcome in execution.bring_up_to_date(done)} == {"fresh"}
    assert not table.exists() or json.loads(table.read_text()) is not None
