"""Ingest keeps what can be used, says what was wrong with the rest, and never leaves half a folder."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from tasks import ingest
from tasks.photos import gate
from tasks.shared import images, manifest
from tasks.shared.errors import UserError
from tasks.shared.settings import Settings, load
from tasks.shared.subject import Subject

REPO = Path(__file__).resolve().parent.parent
SUBJECT = {"name": "rex", "class": "dog", "class_folder": "dog"}


def settings(project: Path, subject: dict[str, Any] | None = None, **options) -> Settings:
    tree = {"ingest": options, "recipe": {"ingest": 1}}
    return Settings(tree, project, Subject.model_validate(SUBJECT | (subject or {})))


def photo(seed: int, size: tuple[int, int] = (200, 150)) -> Image.Image:
    """A sharp picture like no other: coloured shapes with texture."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize(
        size, Image.Resampling.BICUBIC
    )
    for _ in range(12):
        x, y = (int(rng.integers(0, side)) for side in size)
        w, h = (int(rng.integers(8, 60)) for _ in size)
        image.paste(tuple(int(value) for value in rng.integers(0, 256, 3)), (x, y, x + w, y + h))
    grain = rng.normal(0, 9, (size[1], size[0], 1))
    return Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def ingested(
    source: Path | list[Path], out: Path, subject: dict[str, Any] | None = None, **options
) -> dict[str, Any]:
    ingest.run(source, out, settings(out.parent, subject, **options))
    report = json.loads((out / "ingest.json").read_text(encoding="utf-8"))
    return report | {"by_name": {verdict["source"]: verdict for verdict in report["photos"]}}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_good_photos_are_kept_in_order_without_a_word(source: Path, tmp_path: Path):
    for name, seed in (("10.jpg", 10), ("2.jpg", 2), ("3 ü.png", 3)):
        photo(seed).save(source / name, quality=95)
    out = tmp_path / "photos"
    report = ingested(source, out)
    assert [(verdict["source"], verdict["file"]) for verdict in report["photos"]] == [
        ("2.jpg", "00.png"), ("3 ü.png", "01.png"), ("10.jpg", "02.png")]  # fmt: skip
    assert all(verdict["accepted"] and not verdict["warnings"] for verdict in report["photos"])
    assert report["warnings"] == []
    assert np.array_equal(images.read(out / "01.png"), np.asarray(photo(3)))
    assert set(manifest.verify(out, "ingest")["files"]) == {"00.png", "01.png", "02.png", "ingest.json"}


def test_folder_zip_and_files_give_the_same_bytes(source: Path, tmp_path: Path):
    for seed in range(3):
        photo(seed).save(source / f"{seed}.png")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as package:
        for path in source.iterdir():
            package.write(path, path.name)
    for number, where in enumerate((source, source, tmp_path / "a.zip", sorted(source.iterdir()))):
        ingested(where, tmp_path / f"out{number}")
    assert len({tuple(sorted(contents(tmp_path / f"out{number}").items())) for number in range(4)}) == 1


def test_no_metadata_and_no_path_of_the_machine_in_the_output(source: Path, tmp_path: Path):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Spy Camera", 6
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    photo(0).save(source / "a.jpg", exif=exif, comment=b"at home")
    ingested(source, tmp_path / "photos")
    everything = b"".join(contents(tmp_path / "photos").values())
    assert not any(
        word in everything for word in (b"Spy", b"Exif", b"eXIf", b"at home", str(tmp_path).encode())
    )
    assert images.read(tmp_path / "photos" / "00.png").shape == (200, 150, 3)  # turned


def test_one_bad_file_costs_only_itself(source: Path, tmp_path: Path):
    """Every bad input at once, beside three good photos."""
    for seed in range(3):
        photo(seed).save(source / f"good {seed}.jpg", quality=95)
    whole = io.BytesIO()
    photo(4).save(whole, "JPEG")
    bad = {
        "text.jpg": (b"just words\n" * 20, "text"),
        "cut.jpg": (whole.getvalue()[:-2000], "cut short"),
        "empty.jpg": (b"", "empty file"),
        "phone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 99, "HEIC|damaged"),
    }
    for name, (data, _) in bad.items():
        (source / name).write_bytes(data)
    for name, image, _ in (drawn := [
        ("dot.png", Image.new("RGB", (1, 1)), "too small: 1 x 1"),
        ("line.png", Image.new("RGB", (1, 5000)), "too small"),
        ("strip.png", photo(5, (64, 1000)), "ingest.max_aspect"),
        ("white.png", Image.new("RGB", (100, 100), "white"), "blank"),
        ("bomb.png", Image.new("1", (9000, 9000)), "ingest.max_megapixels"),
    ]):  # fmt: skip
        image.save(source / name)
    report = ingested(source, tmp_path / "photos")["by_name"]
    for name, words in [(name, words) for name, (_, words) in bad.items()] + [(n, w) for n, _, w in drawn]:
        assert not report[name]["accepted"]
        assert report[name]["file"] is None
        assert any(part in report[name]["reasons"][0] for part in words.split("|")), report[name]
    kept = sorted(path.name for path in (tmp_path / "photos").glob("*.png"))
    assert kept == ["00.png", "01.png", "02.png"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no photos in it; put 3 to 10"),
        ({".hidden.jpg": b"x"}, "no photos in it"),
        ({"notes.txt": b"hello", "b.jpg": b"words"}, "none of its 2 files can be used: b.jpg: text"),
        ({f"{n}.jpg": b"words" for n in range(9)}, "and 6 more"),
    ],
)
def test_refuses_what_cannot_work_and_keeps_what_was(source: Path, tmp_path: Path, files: dict, words: str):
    for name, data in files.items():
        (source / name).write_bytes(data)
    out = tmp_path / "photos"
    out.mkdir()
    (out / "old.png").write_bytes(b"old")
    with pytest.raises(UserError, match=words) as error:
        ingested(source, out)
    assert str(source) in str(error.value)
    assert "\n" not in str(error.value)
    assert contents(out) == {"old.png": b"old"}
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "source"}


def test_twenty_copies_of_one_photo_are_one(source: Path, tmp_path: Path):
    original = photo(1, (400, 300))
    for copy in range(19):
        small = original.resize((400 - 10 * copy, 300 - 7 * copy), Image.Resampling.LANCZOS)
        small.save(source / f"copy{copy:02d}.jpg", quality=95 - 3 * copy)
    original.save(source / "the largest.png")
    photo(2).save(source / "another.jpg", quality=95)
    report = ingested(source, tmp_path / "photos", max_aspect=3)
    kept = [verdict["source"] for verdict in report["photos"] if verdict["accepted"]]
    assert kept == ["another.jpg", "copy00.jpg"]  # of the largest ones the first
    reasons = [reason for verdict in report["photos"] for reason in verdict["reasons"]]
    assert len(reasons) == 19
    assert set(reasons) == {"nearly the same picture as copy00.jpg; a copy adds nothing"}
    assert "only 2 photos" in report["warnings"][0]


def test_the_same_shapes_in_other_colours_are_no_duplicate():
    first = photo(1)
    other = Image.fromarray(np.asarray(first)[..., ::-1])
    assert gate.fingerprint(first).shape - gate.fingerprint(first.convert("RGB")).shape == 0
    assert not gate.alike(gate.fingerprint(first), gate.fingerprint(other), 32)
    brighter = ImageEnhance.Brightness(first).enhance(1.03)
    assert gate.alike(gate.fingerprint(first), gate.fingerprint(brighter), 8)


def test_blurred_small_and_grey_photos_are_kept_with_a_warning(source: Path, tmp_path: Path):
    photo(1).save(source / "sharp.png")
    photo(2).filter(ImageFilter.GaussianBlur(4)).save(source / "blurred.png")
    photo(3, (100, 90)).save(source / "small.png")
    photo(4).convert("L").save(source / "grey.png")
    report = ingested(source, tmp_path / "photos")["by_name"]
    assert all(verdict["accepted"] for verdict in report.values())
    first_words = {
        name: [text.split(":")[0] for text in verdict["warnings"]] for name, verdict in report.items()
    }
    assert first_words == {
        "sharp.png": [],
        "blurred.png": ["blurred"],
        "small.png": ["small"],
        "grey.png": ["grey"],
    }


def test_a_sharp_subject_before_a_soft_background_is_not_blurred(source: Path):
    image = photo(1).filter(ImageFilter.GaussianBlur(6))
    image.paste(photo(2, (70, 70)), (60, 40))
    assert gate.sharpness(image) > ingest.Params().blur_sharpness


def test_only_so_many_photos(source: Path, tmp_path: Path):
    for seed in range(5):
        photo(seed).save(source / f"{seed}.png")
    report = ingested(source, tmp_path / "photos", max_photos=3)
    assert [verdict["accepted"] for verdict in report["photos"]] == [True] * 3 + [False] * 2
    assert "ingest.max_photos" in report["photos"][4]["reasons"][0]


def test_every_option_arrives(source: Path, tmp_path: Path):
    """Distinct values that each change the result."""
    photo(1, (300, 150)).save(source / "a.png")
    assert images.read(_kept(source, tmp_path, max_side_px=100)).shape == (50, 100, 3)
    assert "ingest.min_side_px is 170" in _refused(source, tmp_path, min_side_px=170)
    assert "ingest.max_aspect is 1.5" in _refused(source, tmp_path, max_aspect=1.5)
    assert "ingest.max_megapixels is 0.04" in _refused(source, tmp_path, max_megapixels=0.04)
    assert "ingest.max_file_mb is 0.01" in _refused(source, tmp_path, max_file_mb=0.01)
    warnings = json.loads(
        (_kept(source, tmp_path, small_side_px=151, blur_sharpness=1e6).parent / "ingest.json").read_text()
    )
    assert [text.split(":")[0] for text in warnings["photos"][0]["warnings"]] == ["small", "blurred"]
    assert warnings["warnings"] == [
        "only one photo: 3 to 10 from different sides and places keep the subject better"
    ]
    assert ingested(source, tmp_path / "out", few_photos=1)["warnings"] == []


def _kept(source: Path, tmp_path: Path, **options) -> Path:
    ingested(source, tmp_path / "out", **options)
    return tmp_path / "out" / "00.png"


def _refused(source: Path, tmp_path: Path, **options) -> str:
    with pytest.raises(UserError) as error:
        ingested(source, tmp_path / "out", **options)
    return str(error.value)


def test_wrong_params_are_found_before_anything_is_read(tmp_path: Path):
    nowhere, out = tmp_path / "nowhere", tmp_path / "photos"
    for options, words in (({"max_side": 1}, "max_side_px"), ({"max_aspect": float("nan")}, "max_aspect"),
                           ({"few_photos": "three"}, "few_photos")):  # fmt: skip
        with pytest.raises(UserError, match=words):
            ingest.run(nowhere, out, settings(tmp_path, **options))
    with pytest.raises(UserError, match="no such file or folder"):
        ingest.run(nowhere, out, settings(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_person_needs_consent(source: Path, tmp_path: Path):
    photo(1).save(source / "a.png")
    folder = tmp_path / "rex"
    folder.mkdir()
    person = {"kind": "person", "consent": "consent.yaml"}
    with pytest.raises(UserError, match="consent"):
        ingested(source, folder / "photos", person)
    assert not (folder / "photos").exists()
    record = "given_by: Rex\ndate: 2020-01-01\nexpires: 2999-01-01\npurposes: [ingest, train, sample]\n"
    (folder / "consent.yaml").write_text(record)
    assert ingested(source, folder / "photos", person)["photos"][0]["accepted"]


def test_a_full_disk_leaves_the_old_photos(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    photo(1).save(source / "a.png")
    out = tmp_path / "photos"
    ingested(source, out)
    before = contents(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(images, "save", full)
    with pytest.raises(UserError, match="No space left"):
        ingested(source, out)
    assert contents(tmp_path) == before


def command(source: Path, subject: Path) -> list[str]:
    paths = ["--source", source, "--out", subject.parent / "photos", "--params", REPO / "params.yaml"]
    return [sys.executable, "-m", "tasks.ingest", *map(str, paths), "--subject", str(subject)]


@pytest.fixture
def subject(tmp_path: Path) -> Path:
    (tmp_path / "rex").mkdir()
    path = tmp_path / "rex" / "subject.yaml"
    path.write_text("name: rex\nclass: dog\nclass_folder: dog\n")
    return path


def test_real_disk_faults_end_in_one_line_and_leave_the_old_photos(source: Path, subject: Path):
    """A file-size limit, a full file system and a read-only one, in a process of its own."""
    for seed in range(4):
        photo(seed, (300, 240)).save(source / f"{seed}.png")
    ingested(source, subject.parent / "photos")
    before = contents(subject.parent)
    line = " ".join(command(source, subject))
    faults = {"too small a limit": (f"ulimit -f 100; {line}", "File too large")}
    mount = f"mount -t tmpfs -o size=200k none {subject.parent.parent}/full"
    if (
        shutil.which("unshare")
        and subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0
    ):
        there = str(subject.parent)
        full = f"{mount} && cp -r {there}/subject.yaml {subject.parent.parent}/full && "
        faults["full"] = (full + line.replace(there, f"{subject.parent.parent}/full"), "No space left")
        faults["read-only"] = (
            f"mount --bind {there} {there} && mount -o remount,ro,bind {there} && {line}",
            "Read-only",
        )
        (subject.parent.parent / "full").mkdir()
    for name, (script, words) in faults.items():
        shell = (
            ["bash", "-c", script]
            if name == "too small a limit"
            else ["unshare", "-rm", "bash", "-c", script]
        )
        done = subprocess.run(shell, cwd=REPO, capture_output=True, text=True)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), f"{name}: {done.stderr}"
        assert words in done.stderr
        assert contents(subject.parent) == before


def test_killed_in_the_middle_and_run_again(source: Path, subject: Path):
    for seed in range(8):
        photo(seed, (500, 400)).save(source / f"{seed}.png")
    out = subject.parent / "photos"
    ingested([source / "0.png"], out)
    before = contents(out)
    process = subprocess.Popen(command(source, subject), cwd=REPO)
    while not list(subject.parent.glob(".photos.new/*.provisional")) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert contents(out) == before
    manifest.verify(out, "ingest")
    ingested(source, out)
    assert len(list(out.glob("*.png"))) == 8
    manifest.verify(out, "ingest")
    assert {path.name for path in subject.parent.iterdir()} == {"photos", "subject.yaml"}


def test_the_command_needs_a_subject(source: Path, subject: Path):
    photo(1).save(source / "a.png")
    with pytest.raises(UserError, match="needs a subject"):
        ingest.run(source, subject.parent / "photos", load(REPO / "params.yaml"))
