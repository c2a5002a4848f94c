"""The Prefect flow: the same bytes as DVC, runs that can be seen later, retries for what is transient only."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags

from flows import execution, prefect_api
from flows.workspace import SubjectFolder, Workspace
from tasks.shared.errors import Transient, UserError

from .conftest import PLAN, STAGES, dreamline_process, new_subject, new_workspace


@pytest.fixture
def run(api: str) -> Callable[..., list[dict]]:
    """Call the flow for a subject."""
    from flows import personalize

    def call(subject: SubjectFolder) -> list[dict]:
        with personalize.settings(api):
            return personalize.run(subject.workspace, subject.name)

    return call


def contents(subject: SubjectFolder) -> dict[str, bytes]:
    """All files of all outputs, and what DVC recorded of them."""
    roots = [subject.folder / stage for stage in STAGES] + [subject.prior / "images"]
    files = [path for root in roots for path in root.rglob("*") if path.is_file()]
    files += [subject.folder / "dvc.lock", subject.prior / "dvc.lock", subject.folder / "dvc.yaml"]
    return {str(path.relative_to(subject.workspace.root)): path.read_bytes() for path in files}


def calls(subject: SubjectFolder) -> list[str]:
    logs = [subject.prior / ".work" / "calls.log", subject.folder / ".work" / "calls.log"]
    return [line for log in logs if log.exists() for line in log.read_text().splitlines()]


def test_the_flow_and_dvc_repro_agree_and_then_leave_each_other_nothing_to_do(rex, run, dvc, tmp_path: Path):
    assert [outcome["action"] for outcome in run(rex)] == ["ran"] * 6
    assert calls(rex) == PLAN
    assert "didn't change" in dvc("repro", "data/subjects/rex/dvc.yaml")
    assert "up to date" in dvc("status")
    assert calls(rex) == PLAN
    assert "0.5" in dvc("metrics", "show")

    by_hand = new_subject(new_workspace(tmp_path / "by_hand"), "rex")
    execution.staleness.look(by_hand)  # writes dvc.yaml, as `dreamline add` does
    subprocess.run(
        [sys.executable, "-m", "dvc", "repro", str(by_hand.dvc_file)], cwd=by_hand.workspace.root, check=True
    )
    assert calls(by_hand) == PLAN
    assert contents(by_hand) == contents(rex)
    assert {outcome["action"] for outcome in run(by_hand)} == {"fresh"}
    assert calls(by_hand) == PLAN


def test_every_subject_has_the_template_byte_for_byte(rex: SubjectFolder):
    bob = new_subject(rex.workspace, "bob", "cat")
    for subject in (rex, bob):
        subject.prepare()
        assert subject.dvc_file.read_text() == rex.workspace.template("subject.dvc.yaml")
        assert (subject.prior / "dvc.yaml").read_text() == rex.workspace.template("class_prior.dvc.yaml")
    rex.dvc_file.write_text("stages: {}")
    rex.prepare()
    assert rex.dvc_file.read_text() == bob.dvc_file.read_text()


def test_a_transient_failure_is_tried_again_and_another_is_not(rex: SubjectFolder, run, monkeypatch):
    from flows import personalize

    monkeypatch.setattr(personalize, "RETRY_DELAYS_S", [0, 0])
    work = rex.folder / ".work"
    work.mkdir(exist_ok=True)
    (work / "stumble_sample").write_text("2")
    run(rex)
    assert [stage for stage in calls(rex) if stage == "sample"] == ["sample"] * 3

    (work / "stumble_report").write_text("5")
    rex.workspace.params_file.write_text(rex.workspace.params_file.read_text().replace("seed: 7", "seed: 77"))
    with pytest.raises(Transient, match="network is away"):
        run(rex)
    (work / "stumble_report").write_text("0")
    monkeypatch.setenv("STANDIN_FULL", "report")
    before = len(calls(rex))
    with pytest.raises(UserError, match="No space"):
        run(rex)
    assert len(calls(rex)) == before + 1
    assert (rex.folder / "report" / "manifest.json").exists()  # the old one is still there


def test_runs_tell_the_subject_and_show_progress_and_report(rex: SubjectFolder, run, api: str):
    from flows import personalize

    run(rex)
    with personalize.settings(api), get_client(sync_client=True) as client:
        found = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=["subject:rex"])), limit=50
        )
        started = [flow_run for flow_run in found if flow_run.start_time]  # others' may be waiting there
        newest = max(started, key=lambda flow_run: flow_run.start_time)
        artifacts = client.read_artifacts(limit=200)
    assert newest.name == "rex"
    assert newest.state.is_completed()
    mine = {
        artifact.key for artifact in artifacts if artifact.flow_run_id == newest.id or artifact.task_run_id
    }
    assert {"rex-progress", "rex-report", "rex-stages"} <= mine


def test_a_killed_command_leaves_no_server_and_the_next_goes_on(rex: SubjectFolder, own_api):
    done = dreamline_process(rex.workspace.root, "run", "rex", STANDIN_KILL="fine_tune")
    assert done.code == -signal.SIGKILL
    deadline = time.monotonic() + 60
    while servers_of(rex.workspace) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert servers_of(rex.workspace) == [], "the server ends with the command that started it"
    finished = calls(rex)
    done = dreamline_process(rex.workspace.root, "run", "rex")
    assert done.code == 0, done.err
    assert calls(rex)[len(finished) :] == PLAN[PLAN.index("fine_tune") :], "what was finished is kept"
    with closing(sqlite3.connect(rex.workspace.state / "prefect" / "prefect.db")) as database:
        states = database.execute("select name, state_name from flow_run order by start_time").fetchall()
        # a task that dies before it is known to run keeps the name Prefect gave it first: fine_tune-039
        tasks = {row[0].partition("-")[0] for row in database.execute("select name from task_run")}
    assert states == [("rex", "Crashed"), ("rex", "Completed")]
    assert set(PLAN[PLAN.index("fine_tune") :]) <= tasks <= set(PLAN)
    assert servers_of(rex.workspace) == []


def servers_of(workspace: Workspace) -> list[str]:
    """Processes whose environment names the project: its Prefect home."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment, command = (
                (folder / "environ").read_bytes(),
                (folder / "cmdline").read_bytes().decode(),
            )
        except OSError:
            continue
        if f"PREFECT_HOME={workspace.state}".encode() in environment and int(folder.name) != os.getpid():
            found.append(command)
    return found


def test_an_api_that_does_not_answer_is_a_mistake_in_one_line(workspace: Workspace, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with prefect_api.connection(workspace) as wait, pytest.raises(UserError, match="does not answer"):
        wait()
    assert not workspace.state.exists()


def test_nightly_goes_on_after_a_failure_and_reports_it(workspace: Workspace, api: str):
    from flows import nightly, personalize

    for name in ("ace", "bob", "cid", "dot"):
        new_subject(workspace, name)
    execution.bring_up_to_date(workspace.subject("ace"))
    (workspace.subjects_folder / "bob" / ".work").mkdir()
    bob = workspace.subjects_folder / "bob" / "subject.yaml"
    bob.write_text(bob.read_text().replace("sample: {}", "sample: {sead: 1}"))
    execution.bring_up_to_date(workspace.subject("cid"))
    (workspace.subjects_folder / "cid" / "dvc.lock").write_text("stages: [damaged")
    with personalize.settings(api):
        night = nightly.run(workspace, workspace.subjects())
        rows, page = night.rows, nightly.finish(workspace, night).read_text()
    assert {row.subject: row.state for row in rows} == {  # ace was up to date, two are broken
        "ace": "unchanged",
        "bob": "failed",
        "cid": "failed",
        "dot": "new",
    }, [row.reason for row in rows]
    reasons = {row.subject: row.reason for row in rows}
    assert "did you mean 'seed'" in reasons["bob"]
    assert "dvc.lock: damaged; restore it with `git checkout --" in reasons["cid"]
    assert all(name in page for name in ("ace", "bob", "cid", "dot"))
