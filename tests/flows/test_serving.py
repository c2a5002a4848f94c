"""`dreamline serve`: whatever is killed comes back, and what was begun is finished, once."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.states import Cancelling, Running

from flows import deployments, execution, personalize, posting, turns
from flows.lock import held
from flows.serving import children, recovery
from flows.serving.params import Params
from flows.serving.runner import Runner
from flows.store import staleness, versions
from flows.workspace import SubjectFolder, Workspace
from tests.flows.test_supervisor import PATIENCE_S

from .conftest import Command, new_subject


@pytest.fixture
def client(api: str) -> Iterator[SyncPrefectClient]:
    with personalize.settings(api), get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def offered(workspace: Workspace, client: SyncPrefectClient, monkeypatch) -> dict[UUID, object]:
    """The project's deployments, most urgent first."""
    monkeypatch.chdir(workspace.root)
    return {offer.apply(): what for what, offer in deployments.offered(workspace)}


@pytest.fixture
def runner(workspace: Workspace, offered) -> Runner:
    return Runner(offered, Params(max_attempts=3), owner=str(workspace.root), alone=False)


def accepted(workspace: Workspace, name: str) -> SubjectFolder:
    """A subject as `add` leaves it; no other test has the same content, for which there would be a run already."""
    subject = new_subject(workspace, name)
    with open(subject.subject_file, "a") as file:
        file.write(f"# {workspace.root}\n")
    subject.prepare()
    versions.add_photos(subject)
    return subject


def calls(subject: SubjectFolder) -> list[str]:
    """Stages that have worked."""
    log = subject.folder / ".work" / "calls.log"
    return log.read_text().split() if log.exists() else []


def mine(client: SyncPrefectClient, workspace: Workspace) -> list:
    """All runs of this project, the oldest first."""
    found = client.read_flow_runs(limit=200)
    own = [run for run in found if run.parameters.get("project") == str(workspace.root)]
    return sorted(
        (run for run in own if run.deployment_id and not run.auto_scheduled), key=lambda run: run.created
    )


def drain(runner: Runner, client: SyncPrefectClient) -> int:
    """Execute what is due; how many runs that were."""
    count = 0
    while runner.execute_next(client, list(runner.offered)[:2]):
        count += 1
    return count


def test_content_posted_many_times_runs_once_and_changed_content_again(
    workspace: Workspace, runner: Runner, client: SyncPrefectClient
):
    rex = accepted(workspace, "rex")
    assert len({posting.post(workspace, "rex") for _ in range(3)}) == 1
    assert drain(runner, client) == 1
    assert staleness.forecasts(workspace, ["rex"])[0].fresh
    assert posting.post(workspace, "rex") == mine(client, workspace)[0].id
    assert drain(runner, client) == 0
    rex.subject_file.write_text(rex.subject_file.read_text().replace("sample: {}", "sample: {seed: 9}"))
    posting.post(workspace, "rex")
    assert drain(runner, client) == 1
    assert [run.state.name for run in mine(client, workspace)] == ["Completed", "Completed"]
    assert calls(rex).count("sample") == 2 and calls(rex).count("fine_tune") == 1


def test_runners_that_look_at_the_same_time_never_take_the_same_run(
    workspace: Workspace, offered, client: SyncPrefectClient, api: str
):
    accepted(workspace, "rex")
    expected = {posting.post(workspace, "rex", attempt) for attempt in range(4)}
    together, taken = threading.Barrier(3), []

    def take(number: int) -> None:
        runner = Runner(offered, Params(), f"runner {number}", alone=False)
        together.wait()
        with personalize.settings(api), get_client(sync_client=True) as own:
            while (found := runner._claim(own, list(offered)[:1])) is not None:
                taken.append(found.id)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 4 and set(taken) == expected
    assert recovery.sweep(client, list(offered), 1, owner="runner 0") <= 4


def test_a_finished_run_in_an_old_list_is_not_begun_again(
    workspace: Workspace, runner: Runner, client: SyncPrefectClient, monkeypatch
):
    rex = accepted(workspace, "rex")
    posting.post(workspace, "rex")
    listed = client.get_scheduled_flow_runs_for_deployments(list(runner.offered)[:1])
    assert drain(runner, client) == 1
    monkeypatch.setattr(client, "get_scheduled_flow_runs_for_deployments", lambda *_: listed)
    assert runner._claim(client, list(runner.offered)[:1]) is None
    assert calls(rex).count("sample") == 1


KILLED = """
import os, sys
from prefect.client.orchestration import get_client
from flows import personalize
from flows.serving.params import Params
from flows.serving.runner import Runner
from uuid import UUID
runner = Runner({UUID(sys.argv[1]): personalize.personalize}, Params(max_attempts=3), sys.argv[2], alone=False)
with get_client(sync_client=True) as client:
    runner.execute_next(client, list(runner.offered))
"""


def test_a_run_whose_runner_was_killed_is_finished_by_the_next(
    workspace: Workspace, runner: Runner, client: SyncPrefectClient, monkeypatch
):
    rex = accepted(workspace, "rex")
    first = posting.post(workspace, "rex")
    command = [sys.executable, "-c", KILLED, str(next(iter(runner.offered))), runner.owner]
    with monkeypatch.context() as deadly:
        deadly.setenv("STANDIN_KILL", "sample")
        assert subprocess.run(command, timeout=PATIENCE_S).returncode == -signal.SIGKILL
    assert client.read_flow_run(first).state.is_running()
    assert recovery.sweep(client, list(runner.offered), 3, runner.owner) == 1
    assert recovery.sweep(client, list(runner.offered), 3, runner.owner) == 0
    assert drain(runner, client) == 1
    dead, again = mine(client, workspace)
    assert (dead.state.name, again.state.name) == ("Crashed", "Completed")
    assert "attempt 2 of 3" in dead.state.message
    assert again.idempotency_key == f"{dead.idempotency_key}#1"
    assert calls(rex) == ["segment", "fine_tune", "sample", "sample", "evaluate", "report"]
    assert staleness.forecasts(workspace, ["rex"])[0].fresh
    assert not list(workspace.root.rglob("data/**/.*.new"))


def test_a_run_that_kills_its_process_every_time_is_left_in_the_end(
    workspace: Workspace, runner: Runner, client: SyncPrefectClient
):
    accepted(workspace, "rex")
    posting.post(workspace, "rex")
    for _ in range(3):
        run = runner._claim(client, list(runner.offered)[:1])
        client.set_flow_run_state(run.id, Running(), force=True)
        recovery.sweep(client, list(runner.offered), 3, runner.owner)
    assert drain(runner, client) == 0
    last = mine(client, workspace)[-1]
    assert last.state.name == "Crashed" and "died 3 times" in last.state.message


def test_a_death_after_which_the_work_has_got_on_is_no_attempt(
    workspace: Workspace, runner: Runner, client: SyncPrefectClient
):
    rex = accepted(workspace, "rex")
    posting.post(workspace, "rex")

    def die() -> None:
        run = runner._claim(client, list(runner.offered)[:1])
        client.set_flow_run_state(run.id, Running(), force=True)
        recovery.sweep(client, list(runner.offered), 2, runner.owner)

    for stage in ("fine_tune", "sample", "evaluate"):
        execution.bring_up_to_date(rex, before=stage)
        die()
    kept = rex.folder / ".work" / "evaluate" / "key"
    kept.mkdir(parents=True)
    for step in (1, 2):
        (kept / f"step_{step}").touch()
        die()
    again = mine(client, workspace)[-1]
    assert again.state.is_scheduled() and recovery.attempt_of(again) == 1
    for _ in range(2):
        die()
    assert "got no further" in mine(client, workspace)[-1].state.message


def test_a_run_that_stands_still_is_ended_however_lively_its_process_is(
    workspace: Workspace, runner: Runner, client: SyncPrefectClient, monkeypatch
):
    rex = accepted(workspace, "rex")
    posting.post(workspace, "rex")
    ended, kept = threading.Event(), rex.folder / ".work" / "fine_tune" / "key"
    runner.options, runner.end = Params(hung_after_h=3 / 3600), ended.set
    got_on_for = 0.0

    def hangs(*_args, **_options) -> list:
        nonlocal got_on_for
        began = time.monotonic()
        for step in range(40):  # a checkpoint every tenth of a second: it works
            (kept / f"step_{step}").mkdir(parents=True)
            time.sleep(0.1)
        assert not ended.is_set()
        got_on_for = time.monotonic() - began
        assert ended.wait(PATIENCE_S)
        return []

    monkeypatch.setattr(execution, "bring_up_to_date", hangs)
    assert runner.execute_next(client, list(runner.offered)[:1])
    assert ended.is_set() and got_on_for > 3


@pytest.mark.parametrize("damage", ["broken", "gone"])
def test_a_subject_that_cannot_be_read_does_not_stop_the_sweep(
    workspace: Workspace, runner: Runner, client: SyncPrefectClient, damage: str
):
    rex = accepted(workspace, "rex")
    posting.post(workspace, "rex")
    run = runner._claim(client, list(runner.offered)[:1])
    client.set_flow_run_state(run.id, Running(), force=True)
    if damage == "broken":
        rex.subject_file.write_text("class: [\n")
    else:
        shutil.rmtree(rex.folder)
    assert recovery.sweep(client, list(runner.offered), 3, runner.owner) == 1
    drain(runner, client)
    assert mine(client, workspace)[-1].state.is_failed()


def test_a_sweep_that_is_killed_itself_posts_nothing_twice(
    workspace: Workspace, runner: Runner, client: SyncPrefectClient, monkeypatch
):
    accepted(workspace, "rex")
    posting.post(workspace, "rex")
    runner._claim(client, list(runner.offered)[:1])
    with monkeypatch.context() as broken:
        broken.setattr(recovery, "close", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            recovery.sweep(client, list(runner.offered), 3, runner.owner)
    recovery.sweep(client, list(runner.offered), 3, runner.owner)
    assert len(mine(client, workspace)) == 2
    assert drain(runner, client) == 1


def test_a_mistake_is_failed_and_not_begun_again(
    workspace: Workspace, runner: Runner, client: SyncPrefectClient
):
    rex = accepted(workspace, "rex")
    posting.post(workspace, "rex")
    rex.subject_file.write_text(rex.subject_file.read_text().replace("sample: {}", "sample: {speed: 9}"))
    assert drain(runner, client) == 1
    assert recovery.sweep(client, list(runner.offered), 3, runner.owner) == 0
    (run,) = mine(client, workspace)
    assert run.state.name == "Failed" and "speed" in run.state.message


def test_what_another_runner_has_claimed_is_left_to_it(
    workspace: Workspace, runner: Runner, offered, client: SyncPrefectClient
):
    accepted(workspace, "rex")
    posting.post(workspace, "rex")
    other = Runner(offered, Params(), "another machine", alone=False)
    claimed = other._claim(client, list(offered)[:1])
    assert recovery.sweep(client, list(offered), 3, runner.owner) == 0
    assert recovery.sweep(client, list(offered), 3, "another machine") == 1
    assert client.read_flow_run(claimed.id).state.is_crashed()
    assert drain(other, client) == 1


def test_a_night_lets_the_more_urgent_pass_and_is_not_its_parent(
    workspace: Workspace, offered, client: SyncPrefectClient
):
    seen: list[str] = []

    @flow(name="a-night", validate_parameters=False)
    def night(project: str | None = None) -> None:
        seen.append("night begins")
        posting.post(workspace, "rex")
        turns.give_way()
        seen.append("night ends")

    accepted(workspace, "rex")
    urgent = next(iter(offered))
    long = night.to_deployment("long", parameters={"project": str(workspace.root)}).apply()
    client.create_flow_run_from_deployment(long)
    runner = Runner({urgent: offered[urgent], long: night}, Params(), "one", alone=False)
    personalize._listeners.append(tell := lambda name, event: seen.append(name))
    try:
        assert runner.execute_next(client, [urgent, long])
    finally:
        personalize._listeners.remove(tell)
    assert seen[0] == "night begins" and seen[-1] == "night ends" and "rex" in seen
    assert {run.state.name for run in mine(client, workspace)} == {"Completed"}
    assert all(run.parent_task_run_id is None for run in mine(client, workspace))


def test_what_is_left_at_the_end_of_serve_goes_on_as_the_same_attempt(
    workspace: Workspace, runner: Runner, client: SyncPrefectClient
):
    accepted(workspace, "rex")
    posting.post(workspace, "rex")
    runner.executing.append(runner._claim(client, list(runner.offered)[:1]))
    runner.leave(client)
    runner.executing.clear()
    left, again = mine(client, workspace)
    assert left.state.is_crashed() and recovery.attempt_of(again) == 1
    assert drain(runner, client) == 1


def test_a_cancelled_run_is_ended_and_not_begun_again(
    workspace: Workspace, runner: Runner, client: SyncPrefectClient
):
    accepted(workspace, "rex")
    posting.post(workspace, "rex")
    run = runner._claim(client, list(runner.offered)[:1])
    client.set_flow_run_state(run.id, Running(), force=True)
    runner.executing.append(run)
    assert not runner.cancelled(client)
    client.set_flow_run_state(run.id, Cancelling(), force=True)
    assert runner.cancelled(client)
    runner.executing.clear()
    assert client.read_flow_run(run.id).state.is_cancelled()
    assert recovery.sweep(client, list(runner.offered), 3, runner.owner) == 0
    assert drain(runner, client) == 0


def test_a_second_serve_of_a_project_refuses(workspace: Workspace, dreamline: Command, own_api):
    with held(workspace.state / "serve.lock"):
        said = dreamline(workspace.root, "serve")
    assert said.code == 2
    assert f"served already (process {os.getpid()})" in said.err


def test_a_damaged_database_is_named_with_what_to_do(workspace: Workspace, monkeypatch):
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    path = workspace.state / "prefect" / "prefect.db"
    assert children.damaged(workspace) is None
    path.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript("CREATE TABLE a (b); INSERT INTO a VALUES (1);")
    assert children.damaged(workspace) is None
    path.write_bytes(b"no database " * 1000)
    assert "move it away" in children.damaged(workspace)
