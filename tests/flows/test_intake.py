"""The inbox: whole drops become versions of subjects, each with one run; bad ones are explained; crashes change nothing."""

import os
import shutil
import threading
import zipfile
from pathlib import Path

import pytest

from flows import adding, intake, posting
from flows.intake import acceptance, drops
from flows.intake.options import Params
from flows.intake.watching import Inbox
from flows.lock import held
from flows.workspace import Workspace
from tasks.photos import decode
from tests.flows import intake_drops
from tests.flows.intake_drops import NOW, Runs, drop, names, photos, reasons, zipped

box, runs = intake_drops.box, intake_drops.runs  # fixtures


def test_a_folder_and_a_zip_become_subjects_with_one_run_each(workspace: Workspace, box: Path, runs: Runs):
    drop(box, "rex")
    zipped(drop(box, "tmp", order="class: cat\nname: tom\n", seed=1), box / "Tom's photos.zip", inside="x/")
    shutil.rmtree(box / "tmp")
    looks = Inbox(workspace, NOW)
    looks.look()
    looks.look()
    assert workspace.subjects() == ["rex", "tom"]
    assert workspace.subject("tom").identity.class_word == "cat"
    assert runs.names == ["rex", "tom"]
    assert len(runs.posts) == 2
    assert names(box) == [".taken", "done"]
    (kept,) = (box / "done" / "rex").iterdir()
    assert names(kept / "rex") == ["0.png", "1.png", "subject.yaml"]


def test_a_zip_with_settings_in_a_folder(workspace: Workspace, box: Path, runs: Runs, tmp_path: Path):
    (box / "rex").mkdir()
    zipped(photos(tmp_path / "p"), box / "rex" / "all.zip")
    (box / "rex" / "subject.yaml").write_text("class: dog\nprompts: ['a {subject} on mars']\n")
    Inbox(workspace, NOW).look()
    subject = workspace.subject("rex")
    assert len(list((subject.folder / "photos").glob("*.png"))) == 2
    assert "a {subject} on mars" in subject.subject_file.read_text()


def test_the_same_bytes_again_are_nothing(workspace: Workspace, box: Path, runs: Runs, tmp_path: Path):
    looks = Inbox(workspace, NOW)
    first = drop(box, "rex")
    shutil.copytree(first, tmp_path / "again" / "rex")
    looks.look()
    before = workspace.subject("rex").photos_file.read_bytes()
    shutil.copytree(tmp_path / "again" / "rex", box / "rex")  # other times, same bytes
    (box / "rex" / "subject.yaml").write_text("# a comment\nclass: dog\n")
    looks.look()
    zipped(tmp_path / "again" / "rex", box / "rex.zip")  # packed, and still the same photos
    looks.look()
    assert runs.posts == ["rex"]
    assert workspace.subject("rex").photos_file.read_bytes() == before
    assert len(names(box / "done" / "rex")) == 3
    assert reasons(box) == {}


def test_changed_photos_are_a_new_version_and_going_back_is_one_too(
    workspace: Workspace, box: Path, runs: Runs
):
    looks = Inbox(workspace, NOW)
    recorded = []
    for seed in (0, 1, 0):
        drop(box, "rex", seed=seed, order="class: dog\n" if not recorded else None)
        looks.look()
        recorded.append(workspace.subject("rex").photos_file.read_bytes())
    assert recorded[0] == recorded[2] != recorded[1]
    assert len(runs.by_key) == 3
    cached = list((workspace.root / ".dvc" / "cache").rglob("*.dir"))
    assert len(cached) == 2, "the old photos are kept"


def test_new_settings_alone_are_a_new_run(workspace: Workspace, box: Path, runs: Runs):
    looks = Inbox(workspace, NOW)
    for order in ("class: dog\n", "class: dog\nprompts: ['a {subject} at sea']\n"):
        drop(box, "rex", order=order)
        looks.look()
    assert len(runs.by_key) == 2


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (None, "write `class: dog`"),
        ("clas: dog\n", "unknown key 'clas', did you mean 'class'?"),
        ("class: dog\nname: ../x\n", "name:"),
        ("class: dog\nname: /etc\n", "name:"),
        ("class: ../../dog\n", "class:"),
        ("class: dog\nmethod: ../../os\n", "method:"),
        ("class: dog\nmethod: nothing\n", "there are: dreambooth"),
        ("class: dog\nconsent: ../../etc/passwd\n", "consent:"),
        ("class: dog\nconsent: /etc/hosts.yaml\n", "consent:"),
        ("class: dog\nconsent: missing.yaml\n", "there is no 'missing.yaml'"),
        ("class: man\nkind: person\n", "consent"),
        ("class: dog\nprompts: ['a {subject.__class__}']\n", "unknown placeholder"),
        ("class: dog\nfine_tune: {max_train_steps: 1000000}\n", "unknown key 'fine_tune'"),
        ("a: &a [x]\nb: *a\n", "anchors and aliases"),
        ("class: " + "[" * 5000, "brackets within brackets"),
        ("class: 0x" + "f" * 15000, "class:"),
        ("class: dog\n#" + "x" * 30_000, "larger than 20 kB"),
        ("class: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
        ("class: \x00\n", "not valid YAML"),
    ],
)
def test_what_a_drop_may_not_ask_for(
    workspace: Workspace, box: Path, runs: Runs, order: str | None, expected: str
):
    folder = drop(box, "rex", order)
    zipped(folder, box / "tom.zip", inside="tom/")
    Inbox(workspace, NOW).look()
    said = reasons(box)
    assert set(said) == {"rex-1", "tom.zip-1"}
    for reason in said.values():
        assert expected in reason
        assert len(reason.strip().splitlines()) == 1
        assert ".taken" not in reason
    assert workspace.subjects() == []
    assert runs.posts == []
    assert names(box / ".taken") == []


def test_a_known_subject_needs_no_class_and_a_default_serves_the_rest(
    workspace: Workspace, box: Path, runs: Runs
):
    drop(box, "rex")
    Inbox(workspace, NOW).look()
    drop(box, "rex", order=None, seed=1)
    drop(box, "mug", order=None)
    Inbox(workspace, Params(settle_s=0, default_class="mug")).look()
    assert {name: workspace.subject(name).identity.class_word for name in workspace.subjects()} == {
        "rex": "dog",
        "mug": "mug",
    }


def test_hostile_files_in_a_folder(workspace: Workspace, box: Path, runs: Runs, tmp_path: Path):
    secret = photos(tmp_path / "secret") / "0.png"
    (drop(box, "link") / "2.png").symlink_to(secret)
    (drop(box, "linked") / "more").symlink_to(secret.parent)
    os.mkfifo(drop(box, "pipe") / "2.png")
    (box / "outside").symlink_to(secret.parent)
    shutil.copy(secret, box / "single.png")
    (drop(box, "deep") / "/".join("abcdefghij")).mkdir(parents=True)
    shutil.copy(secret, box / "deep" / "/".join("abcdefghij"))
    drop(box, "bad", seed=3)
    (box / "bad" / "0.png").write_text("no picture")
    (box / "bad" / "1.png").unlink()
    drop(box, "many", count=5)
    with open(drop(box, "big") / "big.png", "wb") as file:
        file.truncate(2_000_000_000)
    drop(box, "good")
    drop(box, "ü" * 100, seed=4)
    Inbox(workspace, Params(settle_s=0, max_files=4, max_mb=1000)).look()
    said = {name.removesuffix("-1"): reason for name, reason in reasons(box).items()}
    assert workspace.subjects() == ["good"]
    for name, expected in {
        "link": "a link",
        "linked": "a link",
        "pipe": "pipe or device",
        "outside": "a link",
        "single.png": "neither a folder nor a zip",
        "deep": "deep",
        "bad": "none of its 1 files can be used: 0.png: text",
        "many": "inbox.max_files",
        "big": "inbox.max_mb",
        "ü" * 100: "no letter or digit",
    }.items():
        assert expected in said.pop(name)
    assert said == {}
    assert (box / "rejected" / "pipe-1" / "pipe" / "2.png").is_fifo(), "nothing is deleted"
    assert runs.posts == ["good"]


def test_hostile_zips(workspace: Workspace, box: Path, runs: Runs, tmp_path: Path):
    good = (photos(tmp_path / "p") / "0.png").read_bytes()

    def pack(name: str, **files: bytes) -> None:
        with zipfile.ZipFile(box / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as package:
            for path, data in {"subject.yaml": b"class: dog\n", **files}.items():
                package.writestr(path, data)

    pack("slip", **{"../../../slip.png": good, "0.png": good})
    pack("only_slip", **{"/tmp/slip.png": good})
    pack("bomb", **{"bomb.png": bytes(50_000_000)})
    pack("settings_bomb", **{"0.png": good, "subject.yaml": b"#" + b"x" * 50_000_000})
    (box / "damaged.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    (box / "cut.zip").write_bytes((box / "slip.zip").read_bytes()[:-30])
    Inbox(workspace, NOW).look()
    said = reasons(box)
    assert workspace.subjects() == ["slip"]  # its good photo; the other leads nowhere
    assert list(workspace.root.parent.rglob("slip.png")) == []
    assert "leads out of the archive" in said["only_slip.zip-1"]
    assert "decompression bomb" in said["bomb.zip-1"]
    assert "subject.yaml" in said["settings_bomb.zip-1"]
    assert "damaged zip" in said["damaged.zip-1"]
    assert "damaged zip" in said["cut.zip-1"]
    assert len(said) == 5


def test_the_server_is_away_and_comes_back(workspace: Workspace, box: Path, runs: Runs):
    runs.away = True
    drop(box, "rex")
    drop(box, "tom", seed=1)
    looks = Inbox(workspace, NOW)
    looks.look()
    drop(box, "rex", seed=2)  # newer photos must wait for their turn
    looks.look()
    assert runs.posts == []
    assert len(names(box / ".taken")) == 3
    runs.away = False
    looks.look()
    assert runs.names == ["rex", "rex", "tom"]
    assert names(box / ".taken") == []
    assert len(names(box / "done" / "rex")) == 2


def test_a_subject_that_is_running_is_waited_for(workspace: Workspace, box: Path, runs: Runs):
    drop(box, "rex")
    looks = Inbox(workspace, NOW)
    looks.look()
    drop(box, "rex", seed=1)
    drop(box, "tom", seed=1)
    with held(workspace.subject("rex").lock_file):
        looks.look()
        assert runs.names == ["rex", "tom"]
        assert reasons(box) == {}
    looks.look()
    assert runs.names == ["rex", "rex", "tom"]


def test_a_full_disk_or_wrong_params_reject_nobody(workspace: Workspace, box: Path, runs: Runs, monkeypatch):
    drop(box, "rex")
    looks = Inbox(workspace, NOW)

    def full(*args: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("tasks.photos.gate.fingerprint", full)
        looks.look()
    assert reasons(box) == {}
    whole = workspace.params_file.read_text()
    workspace.params_file.write_text(whole + "ingest: {max_photo: 3}\n")
    with pytest.raises(Exception, match="max_photo"):
        looks.look()
    workspace.params_file.write_text(whole)
    assert workspace.subjects() == []
    looks.look()
    assert workspace.subjects() == ["rex"]


def test_one_that_cannot_be_explained_stops_no_other_and_is_moved_aside_in_the_end(
    workspace: Workspace, box: Path, runs: Runs, monkeypatch
):
    drop(box, "a")
    drop(box, "b", seed=1)
    add = adding.add

    def poisoned(workspace: Workspace, sources: list[Path], name: str, **more: object) -> adding.Added:
        if name == "a":
            raise ZeroDivisionError
        return add(workspace, sources, name, **more)

    monkeypatch.setattr(adding, "add", poisoned)
    looks = Inbox(workspace, NOW)
    looks.look()
    assert workspace.subjects() == ["b"]
    for _ in range(acceptance.MOST_TRIES):
        looks.look()
    assert "ended the program" in reasons(box)["a-1"]


def test_two_watchers_do_not_meet(workspace: Workspace, box: Path, runs: Runs):
    drop(box, "rex")
    with held(workspace.state / "inbox.lock"), pytest.raises(Exception, match="another"):
        Inbox(workspace, NOW).look()
    assert workspace.subjects() == []


def test_watching_goes_on_after_a_look_that_failed(workspace: Workspace, box: Path, runs: Runs, monkeypatch):
    with open(workspace.params_file, "a") as file:
        file.write("inbox: {poll_s: 0.05, settle_s: 0}\n")
    stop, looks = threading.Event(), []
    look = Inbox.look

    def sometimes(self: Inbox) -> None:
        looks.append(1)
        if len(looks) == 1:
            raise RuntimeError("the first one fails")
        if len(looks) == 2:
            drop(box, "rex")
        look(self)
        if workspace.subjects():
            stop.set()

    monkeypatch.setattr(Inbox, "look", sometimes)
    watcher = threading.Thread(target=intake.watch, args=(workspace, stop))
    watcher.start()
    watcher.join(60)
    assert not watcher.is_alive()
    assert workspace.subjects() == ["rex"]


def test_rejected_and_done_names_are_counted_up(workspace: Workspace, box: Path, runs: Runs):
    looks = Inbox(workspace, NOW)
    for _ in range(3):
        drop(box, "rex", order="clas: dog\n")
        looks.look()
    assert names(box / "rejected") == ["rex-1", "rex-2", "rex-3"]


def test_forgetting_a_subject_takes_its_drops_along(workspace: Workspace, box: Path, runs: Runs):
    drop(box, "rex")
    drop(box, "rex-2", seed=1)
    Inbox(workspace, NOW).look()
    assert drops.forget(workspace, "rex") == 1
    assert names(box / "done") == ["rex-2"]


def test_a_later_attempt_has_another_key(workspace: Workspace, box: Path, runs: Runs):
    drop(box, "rex")
    Inbox(workspace, NOW).look()
    subject = workspace.subject("rex")
    assert posting.key(subject) != posting.key(subject, attempt=1)
    assert posting.key(subject, 1) == posting.key(subject, 1)


def test_photos_are_decoded_by_the_gate(workspace: Workspace, box: Path, runs: Runs, monkeypatch):
    """What the intake takes in went through ingest, not beside it."""
    calls = []
    before = decode.decode
    monkeypatch.setattr(decode, "decode", lambda *given: calls.append(1) or before(*given))
    drop(box, "rex")
    Inbox(workspace, NOW).look()
    assert len(calls) == 2
