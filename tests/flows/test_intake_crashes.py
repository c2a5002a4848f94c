"""A watcher that is killed at any step, and drops that kill it: the end is the same."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from flows import adding, posting
from flows.intake import acceptance, drops, receipts
from flows.intake.drops import Taken
from flows.intake.watching import Inbox
from flows.store import versions
from flows.workspace import Workspace
from tests.flows import intake_drops
from tests.flows.intake_drops import NOW, Runs, drop, names, reasons

box, runs = intake_drops.box, intake_drops.runs  # fixtures


def die(home: object, step: str, when: str, looks: Inbox) -> int:
    """Look in a process of its own that is killed before or after a step; returns how it ended."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    before = getattr(home, step)

    def killing(*args: Any, **more: Any) -> None:
        if when == "after":
            before(*args, **more)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(home, step, killing)
    looks.look()
    os._exit(0)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("home", "step"),
    [
        *((drops, "take"), (Taken, "begin"), (adding, "add"), (adding, "prepare_prior")),
        *((versions, "add_photos"), (receipts, "write"), (posting, "post"), (drops, "finish")),
    ],
)
def test_kill_9_at_any_step_leads_to_the_same_end(
    workspace: Workspace, box: Path, runs: Runs, home: object, step: str, when: str
):
    drop(box, "rex")
    runs.file = box.parent / "posts"
    assert die(home, step, when, Inbox(workspace, NOW)) == signal.SIGKILL
    Inbox(workspace, NOW).look()
    Inbox(workspace, NOW).look()
    assert workspace.subjects() == ["rex"]
    keys = set(runs.file.read_text().split())
    receipt = receipts.read(workspace.subject("rex").folder)
    assert receipt is not None and receipt.run
    assert keys == {receipt.key} == {posting.key(workspace.subject("rex"))}
    assert len(names(box / "done" / "rex")) == 1
    assert names(box / ".taken") == []
    assert len(list(workspace.subject("rex").folder.glob("photos/*.png"))) == 2


def test_kill_9_while_rejecting(workspace: Workspace, box: Path, runs: Runs):
    drop(box, "rex", order="clas: dog\n")
    Inbox(workspace, NOW)
    taken = drops.take(workspace, box / "rex")
    (taken.folder / "reason.txt").write_text("written, then killed before the move\n")
    Inbox(workspace, NOW).look()
    assert "did you mean 'class'" in reasons(box)["rex-1"]
    assert names(box / "rejected" / "rex-1") == ["reason.txt", "rex"]


@pytest.fixture
def taken(workspace: Workspace, box: Path) -> Taken:
    """A drop on its way."""
    return drops.take(workspace, drop(box, "rex"))


def test_a_drop_that_kills_its_process_comes_last_and_is_given_up(
    workspace: Workspace, taken: Taken, box: Path, runs: Runs
):
    for _ in range(acceptance.MOST_TRIES):
        taken.begin()
    drop(box, "tom", seed=1)
    Inbox(workspace, NOW).look()
    assert workspace.subjects() == ["tom"]
    assert "ended the program" in reasons(box)["rex-1"]
