"""Versions of a subject: recorded, gone back to, and removed everywhere without harm to others."""

import hashlib
import json
import shutil

import pytest

from flows import erasure, execution, history
from flows.lock import held
from flows.store import departed, recalls, remote, staleness
from flows.store import objects as stored
from flows.workspace import SubjectFolder, Workspace, write_subject
from tasks.shared.errors import UserError

from .conftest import PLAN, Command, new_subject


@pytest.fixture
def rex(done: SubjectFolder) -> SubjectFolder:
    """It has a version already."""
    return done


def contents(subject: SubjectFolder) -> dict[str, bytes]:
    """Every output, and what the user wrote."""
    left_out = (".work", history.FILE, ".gitignore")
    return {
        str(path.relative_to(subject.folder)): path.read_bytes()
        for path in sorted(subject.folder.rglob("*"))
        if path.is_file() and not set(path.parts) & set(left_out)
    }


def changed(subject: SubjectFolder, seed: int) -> list[str]:
    """Override a param and run; returns what ran."""
    write_subject(subject.subject_file, {"sample": {"seed": seed}})
    return [done.stage for done in execution.bring_up_to_date(subject) if done.action == "ran"]


def objects(workspace: Workspace) -> set[str]:
    """Names of all objects in the cache and at the default remote."""
    folders = [
        workspace.root / ".dvc" / "cache" / "files" / "md5",
        workspace.state / "remote" / "files" / "md5",
    ]
    return {
        path.parent.name + path.name
        for folder in folders
        if folder.is_dir()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_run_that_changed_something_is_a_version(rex: SubjectFolder):
    assert execution.bring_up_to_date(rex)[-1].action == "fresh"
    assert changed(rex, 50) == ["sample", "evaluate", "report"]
    first, second = history.read(rex)
    assert (first.number, first.ran) == (1, tuple(PLAN))
    assert (second.number, second.ran) == (2, ("sample", "evaluate", "report"))
    assert history.current(rex) == 2
    with open(rex.folder / history.FILE, "a") as file:
        file.write('{"number": 3, "cut sh')
    assert [version.number for version in history.read(rex)] == [1, 2]
    changed(rex, 60)
    assert [version.number for version in history.read(rex)] == [1, 2, 3]


def test_going_back_brings_every_byte_of_a_version(rex: SubjectFolder):
    execution.bring_up_to_date(rex)
    before = contents(rex)
    changed(rex, 50)
    after = contents(rex)
    assert before != after
    history.roll_back(rex, 1)
    assert contents(rex) == before
    assert history.current(rex) == 1
    assert all(one.fresh for one in staleness.forecasts(rex.workspace, ["rex"]))
    history.roll_back(rex, 2)
    assert contents(rex) == after


def test_going_back_takes_from_the_remote_what_the_cache_lacks(rex: SubjectFolder):
    execution.bring_up_to_date(rex)
    before = contents(rex)
    remote.transfer(rex.workspace, "push", remote.targets(rex.workspace, ["rex"]), deadline_s=120)
    changed(rex, 50)
    shutil.rmtree(rex.workspace.root / ".dvc" / "cache")
    history.roll_back(rex, 1)
    assert contents(rex) == before


def test_a_version_that_nobody_holds_changes_nothing(rex: SubjectFolder):
    execution.bring_up_to_date(rex)
    sample = {path.name for path in (rex.folder / "sample").rglob("*")}
    old = {path.read_bytes() for path in (rex.folder / "sample").rglob("*") if path.is_file()}
    changed(rex, 50)
    now = contents(rex)
    for name in objects(rex.workspace):
        path = rex.workspace.root / ".dvc" / "cache" / "files" / "md5" / name[:2] / name[2:]
        if path.exists() and path.read_bytes() in old - set(now.values()):
            path.chmod(0o644)
            path.unlink()
    with pytest.raises(UserError, match="nothing was changed"):
        history.roll_back(rex, 1)
    assert contents(rex) == now
    assert sample


@pytest.mark.parametrize(("number", "words"), [(7, "there are 1 to 1"), (0, "no version 0")])
def test_a_version_that_is_not_there_is_refused(rex: SubjectFolder, number: int, words: str):
    execution.bring_up_to_date(rex)
    with pytest.raises(UserError, match=words):
        history.roll_back(rex, number)


def test_params_that_go_back_compute_nothing(done: SubjectFolder):
    made = contents(done)
    text = done.workspace.params_file.read_text()
    log = done.folder / ".work" / "calls.log"
    done.workspace.params_file.write_text(text.replace("strength: 5.5", "strength: 5.75"))
    execution.bring_up_to_date(done)
    assert contents(done) != made
    began = log.read_text()
    done.workspace.params_file.write_text(text)
    [foreseen] = staleness.forecasts(done.workspace, ["rex"], foresee=recalls.foresee)
    assert [one.stage.name for one in foreseen.to_run] == ["sample", "evaluate", "report"]
    assert not foreseen.to_compute  # neither the stage whose param went back nor those behind it
    actions = {one.stage: one.action for one in execution.bring_up_to_date(done)}
    assert {stage for stage, action in actions.items() if action == "restored"} == {
        "sample",
        "evaluate",
        "report",
    }
    assert "ran" not in actions.values()
    assert log.read_text() == began
    assert contents(done) == made
    assert staleness.forecasts(done.workspace, ["rex"])[0].fresh
    assert [one.number for one in history.read(done)] == [1, 2]
    assert history.current(done) == 1


def test_what_the_cache_has_lost_is_made_again(done: SubjectFolder):
    text = done.workspace.params_file.read_text()
    for changed_text in (text.replace("strength: 5.5", "strength: 5.75"), text):
        done.workspace.params_file.write_text(changed_text)
        shutil.rmtree(done.workspace.root / ".dvc" / "cache" / "files")
        [foreseen] = staleness.forecasts(done.workspace, ["rex"], foresee=recalls.foresee)
        assert foreseen.to_compute == foreseen.to_run != []
        actions = {one.stage: one.action for one in execution.bring_up_to_date(done)}
    assert actions["sample"] == "ran"


def test_what_goes_back_is_foreseen_up_to_what_is_new(done: SubjectFolder):
    text = done.workspace.params_file.read_text()
    done.workspace.params_file.write_text(text.replace("strength: 5.5", "strength: 5.75"))
    execution.bring_up_to_date(done)
    done.workspace.params_file.write_text(text.replace("strength: 6.5", "strength: 6.75"))
    [foreseen] = staleness.forecasts(done.workspace, ["rex"], foresee=recalls.foresee)
    assert [one.stage.name for one in foreseen.to_run if one.recalled] == ["sample"]
    assert [one.stage.name for one in foreseen.to_compute] == ["evaluate", "report"]
    actions = {one.stage: one.action for one in execution.bring_up_to_date(done)}
    assert [actions[name] for name in ("sample", "evaluate", "report")] == ["restored", "ran", "ran"]


def test_removing_everywhere_leaves_nothing_of_one_and_all_of_the_others(workspace: Workspace):
    rex = new_subject(workspace, "rex")
    workspace = rex.workspace
    bella = new_subject(workspace, "bella")  # of the same class, with a photo in common
    shutil.copy(bella.folder / "photos" / "00.png", rex.folder / "photos" / "00.png")
    hers, his = set[bytes](), set[bytes]()
    for seed in (50, 70):
        for subject, bytes_of in ((rex, his), (bella, hers)):
            changed(subject, seed)
            bytes_of.update(contents(subject).values())
            remote.transfer(workspace, "push", remote.targets(workspace, [subject.name]), deadline_s=120)
    kept_files = contents(bella)
    names = {hashlib.md5(content).hexdigest() for content in his - hers}
    assert len(names & objects(workspace)) > 10
    record = erasure.everywhere(rex)

    assert not rex.folder.exists()
    assert not names & objects(workspace)
    assert contents(bella) == kept_files
    assert all(one.fresh for one in staleness.forecasts(workspace, ["bella"]))
    shutil.rmtree(workspace.root / ".dvc" / "cache")
    history.roll_back(bella, 1)  # her other version is whole too, at the remote
    assert record.versions == 2
    assert record.objects > 10
    assert record.kept >= 1  # the photo in common
    assert record.remote == "store"
    (line,) = (workspace.root / departed.LOG).read_text().splitlines()
    assert json.loads(line)["digest"] == record.digest
    assert len(record.digest) == len(hashlib.sha256().hexdigest())


def test_an_unreachable_remote_stops_the_removal_before_the_folder_goes(
    rex: SubjectFolder, monkeypatch: pytest.MonkeyPatch
):
    execution.bring_up_to_date(rex)
    (rex.workspace.root / ".dvc" / "config.local").write_text(
        "[core]\n    remote = gone\n['remote \"gone\"']\n    url = s3://gone\n    endpointurl = http://127.0.0.1:1\n"
    )
    monkeypatch.setattr(stored, "PATIENCE_S", 8.0)
    with pytest.raises(UserError, match="remote"):
        erasure.everywhere(rex)
    assert rex.subject_file.exists()
    assert not (rex.workspace.root / departed.LOG).exists()


def test_removing_a_subject_that_runs_is_refused(rex: SubjectFolder):
    execution.bring_up_to_date(rex)
    with held(rex.lock_file), pytest.raises(UserError, match="going on"):
        erasure.everywhere(rex)
    assert rex.folder.exists()


def test_the_commands_say_what_they_did(workspace: Workspace, dreamline: Command):
    rex = new_subject(workspace, "rex")
    root = rex.workspace.root
    assert "no version yet" in dreamline(root, "history", "rex").out
    execution.bring_up_to_date(rex)
    changed(rex, 50)
    assert [line[:1] for line in dreamline(root, "history", "rex").out.splitlines()[1:]] == [" ", "*"]
    back = dreamline(root, "rollback", "rex", "1")
    assert back.code == 0, back.err
    assert "version 1 again" in back.out
    assert [line[:1] for line in dreamline(root, "history", "rex").out.splitlines()[1:]] == ["*", " "]
    gone = dreamline(root, "remove", "rex", "--everywhere", "--yes")
    assert gone.code == 0, gone.err
    assert "noted in data/removed.jsonl" in gone.out
