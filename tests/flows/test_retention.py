"""Old versions: shown, removed without harm to what is kept or to others, and said to be gone."""

import dataclasses
import datetime
import shutil
from pathlib import Path

import pytest

from flows import execution, history, retention
from flows.store import remote, staleness
from flows.workspace import SubjectFolder, Workspace
from tasks.shared.errors import UserError
from tests.flows.test_versions import changed, contents, objects

from .conftest import Command, new_subject, new_workspace


def keep(workspace: Workspace, versions: str, days: str = "null") -> None:
    """Set the section `retention`."""
    text = workspace.params_file.read_text().partition("retention:")[0]
    workspace.params_file.write_text(f"{text}retention: {{versions: {versions}, days: {days}}}\n")


def pushed(subject: SubjectFolder) -> None:
    remote.transfer(
        subject.workspace, "push", remote.targets(subject.workspace, [subject.name]), deadline_s=240
    )


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> SubjectFolder:
    """Three versions, the second one at the remote too."""
    rex = new_subject(new_workspace(tmp_path_factory.mktemp("retention") / "project"), "rex")
    execution.bring_up_to_date(rex)
    changed(rex, 50)
    pushed(rex)
    changed(rex, 60)
    return rex


@pytest.fixture
def old(three: SubjectFolder, tmp_path: Path) -> SubjectFolder:
    """A copy of its project."""
    root = shutil.copytree(three.workspace.root, tmp_path / "project", symlinks=True)
    return Workspace(root).subject("rex")


def test_pruning_removes_old_bytes_and_nothing_else(old: SubjectFolder, dreamline: Command):
    workspace, root = old.workspace, old.workspace.root
    bella = new_subject(workspace, "bella")  # at what is rex's second version: equal bytes
    for photo in (old.folder / "photos").iterdir():
        shutil.copy(photo, bella.folder / "photos" / photo.name)
    changed(bella, 50)
    before, hers, all_objects = contents(old), contents(bella), objects(workspace)
    keep(workspace, "1")
    shown = dreamline(root, "prune")
    assert "rex: versions 1, 2:" in shown.out
    assert "nothing was removed" in shown.out
    assert objects(workspace) == all_objects
    assert [version.gone for version in history.read(old)] == [None] * 3
    done = dreamline(root, "prune", "--yes")
    assert done.code == 0, done.err
    assert len(objects(workspace)) < len(all_objects)
    assert (contents(old), contents(bella)) == (before, hers)
    assert all(one.fresh for one in staleness.forecasts(workspace, ["rex", "bella"]))
    shutil.rmtree(bella.folder / "sample")  # what she shares with his second version is still in the cache
    assert "ran" not in {one.action for one in execution.bring_up_to_date(bella)}
    assert contents(bella) == hers
    first, second, third = history.read(old)
    assert first.gone and second.gone and not third.gone
    assert first.scores == third.scores
    assert "bytes removed on" in dreamline(root, "history", "rex").out
    with pytest.raises(UserError, match="bytes of version 1 were removed on"):
        history.roll_back(old, 1)
    assert contents(old) == before
    assert "keeps all there is" in dreamline(root, "prune", "--yes").out


def test_what_was_pruned_and_is_made_again_is_pushed_again(old: SubjectFolder):
    """DVC remembers what it has pushed."""
    workspace = old.workspace
    keep(workspace, "1")
    (done,) = retention.prune(workspace, retention.due(workspace, ["rex"]))
    assert done.objects > 3
    assert changed(old, 50) == ["sample", "evaluate", "report"]
    made = contents(old)
    pushed(old)
    shutil.rmtree(workspace.root / ".dvc" / "cache" / "files")
    shutil.rmtree(old.folder / "sample")
    remote.transfer(workspace, "pull", remote.targets(workspace, ["rex"]), deadline_s=240, force=True)
    assert contents(old) == made


def test_the_rules(old: SubjectFolder):
    workspace = old.workspace
    now = datetime.datetime.now(datetime.UTC)

    def due(at: datetime.datetime = now) -> list[int]:
        return [version.number for one in retention.due(workspace, ["rex"], at) for version in one.versions]

    assert due() == []  # ten are kept by default
    keep(workspace, "1")
    assert due() == [1, 2]
    keep(workspace, "2")
    assert due() == [1]
    keep(workspace, "1", days="7")
    assert due() == []
    assert due(now + datetime.timedelta(days=8)) == [1, 2]
    keep(workspace, "null")
    assert due(now + datetime.timedelta(days=800)) == []
    keep(workspace, "1")
    history.roll_back(old, 1)  # what the subject is now stays, however old
    assert due() == [2]
    keep(workspace, "0")
    with pytest.raises(UserError, match="retention"):
        due()


def test_a_line_of_a_later_dreamline_is_still_a_version(old: SubjectFolder):
    known = history.read(old)
    path = old.folder / history.FILE
    path.write_text(path.read_text().replace('"number": 2', '"mood": "good", "number": 2'))
    assert history.read(old) == known
    early = [dataclasses.asdict(one) for one in known]
    for one in early:
        del one["seconds"], one["gone"]
    import json

    path.write_text(
        "".join(json.dumps(one) + "\n" for one in early)
    )  # as it was before there were these keys
    assert [one.number for one in history.read(old)] == [1, 2, 3]
