"""Adding subjects: all of it or nothing, old photos kept."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

from flows import adding
from flows.store import staleness
from flows.workspace import Workspace
from tasks.shared.errors import UserError

from .conftest import REPO, Command


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of photos that the gate lets pass, with a name that no folder should have."""
    folder = tmp_path / "Mein Hündchen (2026)"
    folder.mkdir()
    for number, picture in enumerate((data.chelsea(), data.coffee(), data.astronaut(), data.rocket())):
        Image.fromarray(picture[:400, :400]).save(folder / f"-photo {number} ü.jpg", quality=95)
    return folder


def test_a_new_subject_has_all_it_needs_and_git_is_told_what_to_leave(workspace: Workspace, photos: Path):
    added = adding.add(workspace, [photos], **{"class": "stuffed animal"})
    subject = added.subject
    assert subject.name == "mein_h_ndchen_2026"
    assert added.new
    assert added.accepted == 4
    assert subject.identity.class_folder == "stuffed_animal"
    assert (subject.prior / "class.yaml").read_text() == "class: stuffed animal\n"
    assert [verdict.why for verdict in staleness.forecasts(workspace, [subject.name])[0].to_run] == [
        "never run"
    ] * 6
    status = ["git", "status", "--short", "-uall"]
    shown = subprocess.run(status, cwd=workspace.root, capture_output=True, text=True).stdout
    assert ".png" not in shown
    assert ".work" not in shown
    assert f"{subject.name}/photos.dvc" in shown


def test_new_photos_are_a_new_version_and_other_keys_stay(workspace: Workspace, photos: Path):
    subject = adding.add(workspace, [photos], name="rex", **{"class": "dog", "identifier": "xyz"}).subject
    subject.subject_file.write_text("# mine\n" + subject.subject_file.read_text())
    before = subject.photos_file.read_text()
    added = adding.add(workspace, sorted(photos.glob("*"))[:3], name="rex")
    assert not added.new
    assert added.accepted == 3
    assert subject.photos_file.read_text() != before
    assert subject.subject_file.read_text().startswith("# mine\n")
    assert workspace.subject("rex").identity.identifier == "xyz"


def test_a_refused_set_leaves_the_old_one(workspace: Workspace, photos: Path, tmp_path: Path):
    subject = adding.add(workspace, [photos], name="rex", **{"class": "dog"}).subject
    before = {
        path: path.read_bytes()
        for path in subject.folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_text("no picture")
    with pytest.raises(UserError, match=r"a\.jpg"):
        adding.add(workspace, [tmp_path / "bad"], name="rex", identifier="other")
    after = {
        path: path.read_bytes()
        for path in subject.folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }
    assert after == before
    with pytest.raises(UserError):
        adding.add(workspace, [tmp_path / "bad"], name="new", **{"class": "dog"})
    assert workspace.subjects() == ["rex"]


def test_words_that_the_base_does_not_know_are_found_without_pytorch():
    code = (
        "import sys; from flows import adding, workspace\n"
        "print(adding.unknown_words(workspace.find(), 'sks zebra'), 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout == "['zebra'] False\n"


def test_a_person_without_consent_is_refused(workspace: Workspace, photos: Path, dreamline: Command):
    said = dreamline(
        workspace.root, "add", str(photos), "--class", "man", "--name", "joe", "--kind", "person"
    )
    assert said.code == 2
    assert "consent" in said.err
    assert workspace.subjects() == []


def test_a_refused_drop_leaves_the_consent_record_as_it_was(
    workspace: Workspace, photos: Path, tmp_path: Path
):
    def record(name: str, who: str) -> Path:
        path = tmp_path / name
        lines = [f"given_by: {who}", "date: 2020-01-01", "purposes: [ingest, train, sample]"]
        path.write_text("\n".join([*lines, "expires: 2999-01-01"]) + "\n")
        return path

    told = {"class": "man", "kind": "person"}
    adding.add(workspace, [photos], name="joe", consent=record("first.yaml", "joe"), **told)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"no picture")
    with pytest.raises(UserError):
        adding.add(
            workspace, [tmp_path / "bad"], name="joe", consent=record("second.yaml", "somebody"), **told
        )
    assert "joe" in (workspace.subjects_folder / "joe" / "consent.yaml").read_text()
    adding.add(workspace, [photos], name="joe", consent=record("third.yaml", "joe again"), **told)
    assert "joe again" in (workspace.subjects_folder / "joe" / "consent.yaml").read_text()
