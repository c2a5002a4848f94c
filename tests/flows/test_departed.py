"""A subject that one machine removes leaves all others: texts, photos, outputs and the objects of the caches."""

import json

import pytest

from flows import execution
from flows.lock import held
from flows.store import departed, git, objects, remote, sharing
from flows.workspace import Workspace
from tests.flows.clones import clone, make, run_git, transfer

from .conftest import Command

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def both(hub) -> tuple[Workspace, Workspace]:
    """Two clones that hold everything of rex, and bob's photos."""
    one, two = clone(hub, "one"), clone(hub, "two")
    make(one, "bob")
    with sharing.round_trip(one, "rex"):
        execution.bring_up_to_date(one.subject("rex"))
    sharing.give(one, ["bob"], "bob: new")
    for workspace in (one, two):
        sharing.take(workspace)
    transfer(two, "pull", remote.targets(two, ["rex"]), 60, force=True)
    return one, two


def cached(workspace: Workspace) -> set[str]:
    files = (workspace.root / ".dvc" / "cache" / "files" / "md5").rglob("*")
    return {path.parent.name + path.name for path in files if path.is_file()}


def noted(workspace: Workspace) -> list[str]:
    return [json.loads(line)["subject"] for line in departed.removed(workspace.root)]


def test_what_one_removes_leaves_the_other(both, hub, dreamline: Command):
    one, two = both
    with objects.cache(two) as stores:
        his = objects._expanded(stores, objects.of_all(two.subject("rex")))
        prior = objects._expanded(stores, objects.needed(two, without={"rex": None}))
    assert his - prior <= cached(two)
    done = dreamline(one.root, "remove", "rex", "--everywhere", "--yes")
    assert done.code == 0, done.err
    assert "handed on" in done.out + done.err
    assert run_git(one.root, "status", "--short") == ""
    assert "rex" not in run_git(hub, "ls-tree", "-r", "--name-only", "main")
    assert sharing.take(two)
    assert not (two.subjects_folder / "rex").exists()
    assert cached(two) & his <= prior and cached(two) >= prior & his
    assert noted(one) == noted(two) == ["rex"]
    assert run_git(two.root, "status", "--short") == ""
    assert two.subjects() == one.subjects() == ["bob"]


def test_a_run_keeps_what_it_works_on(both, dreamline: Command, caplog: pytest.LogCaptureFixture):
    one, two = both
    assert dreamline(one.root, "remove", "rex", "--everywhere", "--yes").code == 0
    folder = two.subjects_folder / "rex"
    with held(two.subject("rex").lock_file):
        sharing.take(two)
    assert (folder / "photos").exists()
    assert (
        "rex: removed by another machine, but not here: rex: a run of this subject is going on" in caplog.text
    )
    assert f"delete {folder}" in caplog.text


def test_logs_of_two_machines_come_together_and_a_race_is_settled(
    both, hub, dreamline: Command, monkeypatch: pytest.MonkeyPatch
):
    one, two = both
    push, raced = git.call, []

    def other_first(root, *arguments: str, **told):
        if arguments[0] == "push" and not raced:
            raced.append(1)
            assert dreamline(two.root, "remove", "bob", "--everywhere", "--yes").code == 0
        return push(root, *arguments, **told)

    monkeypatch.setattr(git, "call", other_first)
    assert dreamline(one.root, "remove", "rex", "--everywhere", "--yes").code == 0
    assert raced
    monkeypatch.undo()
    sharing.take(two)
    assert sorted(noted(one)) == sorted(noted(two)) == ["bob", "rex"]
    assert one.subjects() == two.subjects() == []
    assert run_git(hub, "log", "--merges", "--oneline", "main") == ""
    for workspace in (one, two):
        assert run_git(workspace.root, "status", "--short") == ""


def test_what_was_removed_while_the_others_were_away_is_handed_on_later(both, hub):
    from flows import erasure

    one, two = both
    erasure.everywhere(one.subject("rex"))
    assert sharing.withdraw(one, ["rex"], "rex: removed everywhere")
    assert sharing.withdraw(one, ["rex"], "rex: removed everywhere") is None
    sharing.take(two)
    assert not (two.subjects_folder / "rex").exists()
    assert noted(two) == ["rex"]


def test_a_removal_that_cannot_be_handed_on_says_how(
    both, hub, dreamline: Command, monkeypatch: pytest.MonkeyPatch
):
    one, two = both
    away = hub.with_name("away.git")
    monkeypatch.setattr(
        sharing, "withdraw", lambda *told, before=sharing.withdraw: (hub.rename(away), before(*told))[1]
    )
    done = dreamline(one.root, "remove", "rex", "--everywhere", "--yes")
    assert done.code == 2
    assert "other machines do not know it yet" in done.err
    away.rename(hub)
    command = done.err.partition("back: `")[2].partition("`")[0].replace("\n", " ")
    for part in command.split(" && "):
        words = part.split()
        run_git(one.root, *words[1:], *(["origin", "main"] if words[1] == "push" else []))
    sharing.take(two)
    assert not (two.subjects_folder / "rex").exists()
