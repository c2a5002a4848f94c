"""When a drop is complete: names, open files, sizes and times that settle, markers."""

import os
from pathlib import Path

import pytest

from flows.intake.options import Params
from flows.intake.watching import Inbox
from flows.workspace import Workspace
from tests.flows import intake_drops
from tests.flows.intake_drops import NOW, Runs, drop, names, photos, reasons

box, runs = intake_drops.box, intake_drops.runs  # fixtures


@pytest.mark.parametrize("name", ["2.png.part", ".2.png.Xq9RzA", "2.png.crdownload", "sub/2.tmp", "~2.png~"])
def test_a_temporary_name_holds_a_drop_back_until_it_is_renamed(
    workspace: Workspace, box: Path, runs: Runs, name: str
):
    folder = drop(box, "rex")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"half of it")
    (folder / ".DS_Store").write_bytes(b"what a Mac leaves")
    looks = Inbox(workspace, NOW)
    looks.look()
    looks.look()
    assert workspace.subjects() == []
    (folder / name).unlink()
    photos(folder, count=3)
    looks.look()
    assert workspace.subjects() == ["rex"]
    assert len(list(workspace.subject("rex").folder.glob("photos/*.png"))) == 3


@pytest.mark.parametrize("name", ["rex.part", ".rex", "rex.zip.crdownload", "done", "Thumbs.db", ".DS_Store"])
def test_names_that_are_no_drops(workspace: Workspace, box: Path, runs: Runs, name: str):
    drop(box, "x").rename(box / name)
    Inbox(workspace, NOW).look()
    assert workspace.subjects() == []
    assert (box / name).exists()


def test_a_file_that_is_open_for_writing_holds_a_drop_back(workspace: Workspace, box: Path, runs: Runs):
    folder = drop(box, "rex")
    looks = Inbox(workspace, NOW)
    with open(folder / "1.png", "ab"):
        looks.look()
        if workspace.subjects():
            pytest.skip("this file system knows no leases")
    looks.look()
    assert workspace.subjects() == ["rex"]


def test_settling_starts_anew_with_every_change(workspace: Workspace, box: Path, runs: Runs, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("flows.intake.settling.time.monotonic", lambda: clock[0])
    looks = Inbox(workspace, Params(settle_s=30))
    folder = drop(box, "rex")
    old = (1_000_000_000, 1_000_000_000)

    def look_after(seconds: float) -> list[str]:
        clock[0] += seconds
        looks.look()
        return workspace.subjects()

    assert look_after(0) == []
    assert look_after(29) == []
    photos(folder, count=3)  # one more photo
    os.utime(folder / "2.png", old)  # with the time of the camera
    assert look_after(29) == []
    (folder / "1.png").rename(folder / "one.png")
    assert look_after(29) == []
    folder.rename(box / "max")
    assert look_after(29) == []
    photo = box / "max" / "0.png"
    data, about = photo.read_bytes(), photo.stat()
    photo.write_bytes(data[::-1])  # as large as before
    photo.write_bytes(data)
    os.utime(photo, ns=(about.st_atime_ns, about.st_mtime_ns))  # and as old
    assert look_after(29) == []
    assert look_after(29) == []
    assert look_after(1) == ["max"]


def test_an_empty_folder_is_waited_for(workspace: Workspace, box: Path, runs: Runs):
    (box / "rex").mkdir()
    (box / "rex" / "subject.yaml").write_text("class: dog\n")
    looks = Inbox(workspace, NOW)
    looks.look()
    assert reasons(box) == {}
    photos(box / "rex")
    looks.look()
    assert workspace.subjects() == ["rex"]


def test_a_marker_says_complete_and_an_old_one_does_not(workspace: Workspace, box: Path, runs: Runs):
    looks = Inbox(workspace, Params(settle_s=10_000))
    (box / "rex.ready").touch()
    os.utime(box / "rex.ready")
    drop(box, "rex")
    looks.look()
    if workspace.subjects() == ["rex"]:
        pytest.skip("this file system's clock is too coarse to tell")
    (box / "rex.ready").unlink()
    (box / "rex.ready").touch()
    looks.look()
    assert workspace.subjects() == ["rex"]
    assert names(box) == [".taken", "done"]
