"""Folders, zips and files give names and bytes; hostile ones give reasons."""

import contextlib
import os
import random
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.photos import archive, names, sources
from tasks.photos.decode import Unreadable
from tasks.shared.errors import UserError

MB = 1_000_000
NOISE = random.Random(0).randbytes(2_000)


def read_all(*paths: Path, max_file: int = 5 * MB, max_total: int = 20 * MB) -> dict[str, bytes | str]:
    """Name -> bytes, or the reason why there are none, in the order of the sources."""
    found: dict[str, bytes | str] = {}
    with sources.opened(paths, max_file, max_total) as entries:
        for entry in entries:
            try:
                found[entry.name] = entry.read()
            except Unreadable as reason:
                found[entry.name] = str(reason)
    return found


def zipped(path: Path, files: dict[str, bytes], **how) -> Path:
    with zipfile.ZipFile(path, "w", **how) as package:
        for name, data in files.items():
            package.writestr(zipfile.ZipInfo(name), data, compress_type=how.get("compression"))
    return path


def test_folder_zip_and_files_give_the_same(tmp_path: Path):
    folder = tmp_path / "photos"
    (folder / "day 2").mkdir(parents=True)
    files = {"img10.jpg": b"ten", "img2.jpg": b"two", "day 2/Ärger ☃.png": NOISE}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    expected = ["day 2/Ärger ☃.png", "img2.jpg", "img10.jpg"]  # 2 before 10
    assert list(read_all(folder)) == expected
    packed = zipped(tmp_path / "photos.zip", files, compression=zipfile.ZIP_DEFLATED)
    assert read_all(packed) == read_all(folder) == files
    assert read_all(folder / "img10.jpg", folder / "img2.jpg") == {"img2.jpg": b"two", "img10.jpg": b"ten"}


def test_junk_and_hidden_files_are_ignored(tmp_path: Path):
    junk = [
        ".hidden.jpg",
        "Thumbs.db",
        "desktop.ini",
        "__MACOSX/._a.jpg",
        "._a.jpg",
        ".git/a.jpg",
        ".DS_Store",
    ]
    packed = zipped(tmp_path / "a.zip", dict.fromkeys([*junk, "a.jpg"], b"x"))
    with zipfile.ZipFile(packed) as package:
        package.extractall(tmp_path / "a")
    assert list(read_all(packed)) == list(read_all(tmp_path / "a")) == ["a.jpg"]


def test_links_pipes_and_large_files_in_a_folder(tmp_path: Path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (tmp_path / "elsewhere.jpg").write_bytes(b"photo")
    (folder / "link.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    (folder / "broken.jpg").symlink_to(tmp_path / "gone.jpg")
    (folder / "around").symlink_to(folder, target_is_directory=True)
    os.mkfifo(folder / "pipe.jpg")
    with open(folder / "movie.mp4", "wb") as file:
        file.truncate(6 * MB)
    found = read_all(folder)
    assert found["link.jpg"] == b"photo"
    assert "No such file" in found["broken.jpg"]
    assert found["pipe.jpg"] == "not a file"
    assert "ingest.max_file_mb" in found["movie.mp4"]
    assert set(found) == {"link.jpg", "broken.jpg", "pipe.jpg", "movie.mp4"}


def test_a_missing_source_is_the_users_mistake(tmp_path: Path):
    with pytest.raises(UserError, match="no such file or folder"):
        read_all(tmp_path / "nowhere")


def test_too_many_files_are_no_subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "MOST_FILES", 3)
    for number in range(5):
        (tmp_path / f"{number}.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match="more than 3 files"):
        read_all(tmp_path)


@pytest.mark.parametrize(
    "name", ["../../up.jpg", "a/../../up.jpg", "/etc/up.jpg", "..\\up.jpg", "C:\\up.jpg"]
)
def test_a_name_that_leads_out_of_the_zip_is_refused_and_nothing_is_written(tmp_path: Path, name: str):
    inside = tmp_path / "inside"
    inside.mkdir()
    packed = zipped(inside / "slip.zip", {name: b"x", "good.jpg": b"good"})
    found = read_all(packed)
    assert found.pop("good.jpg") == b"good"
    assert "leads out of the archive" in next(iter(found.values()))
    assert [path.name for path in tmp_path.rglob("*.jpg")] == []


def test_a_link_in_a_zip_is_not_followed(tmp_path: Path):
    link = zipfile.ZipInfo("link.jpg")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as package:
        package.writestr(link, "/etc/passwd")
    assert "a link" in read_all(tmp_path / "a.zip")["link.jpg"]


def test_bombs(tmp_path: Path):
    deflated = {"compression": zipfile.ZIP_DEFLATED}
    packed = zipped(
        tmp_path / "ratio.zip", {"bomb.bmp": bytes(4 * MB), "flat.bmp": bytes(MB // 2)}, **deflated
    )
    found = read_all(packed)
    assert "decompression bomb" in found["bomb.bmp"]
    assert len(found["flat.bmp"]) == MB // 2  # small enough to do no harm
    packed = zipped(tmp_path / "large.zip", {"large.bmp": bytes(6 * MB)}, **deflated)
    assert "ingest.max_file_mb" in read_all(packed)["large.bmp"]
    packed = zipped(tmp_path / "total.zip", {f"{number}.jpg": NOISE for number in range(8)})
    read = list(read_all(packed, max_total=5_000).values())
    assert read[:2] == [NOISE, NOISE]
    assert all("ingest.max_archive_mb" in reason for reason in read[2:])


def test_a_header_that_lies_about_its_size_does_not_get_more(tmp_path: Path):
    """The table of contents says 100 bytes, the data unpack to 3 MB."""
    packed = zipped(tmp_path / "liar.zip", {"a.jpg": bytes(3 * MB)}, compression=zipfile.ZIP_DEFLATED)
    data = packed.read_bytes().replace(struct.pack("<I", 3 * MB), struct.pack("<I", 100))
    packed.write_bytes(data)
    assert "damaged in the archive" in read_all(packed)["a.jpg"]


def test_a_huge_table_of_contents_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(archive, "MOST_DIRECTORY_BYTES", 1_000)
    packed = zipped(tmp_path / "many.zip", {f"{number}.jpg": b"" for number in range(100)})
    with pytest.raises(UserError, match="table of contents"):
        read_all(packed)


def test_locked_damaged_and_unknown_packing(tmp_path: Path):
    packed = zipped(tmp_path / "a.zip", {"a.jpg": NOISE})
    data = bytearray(packed.read_bytes())
    locked = data.copy()
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    assert "password" in read_all(tmp_path / "locked.zip")["a.jpg"]
    data[60] ^= 0xFF
    (tmp_path / "damaged.zip").write_bytes(data)
    assert "damaged in the archive" in read_all(tmp_path / "damaged.zip")["a.jpg"]
    odd = bytearray(packed.read_bytes())
    odd[odd.index(b"PK\x01\x02") + 10] = 97
    (tmp_path / "odd.zip").write_bytes(odd)
    assert "in a way we do not read" in read_all(tmp_path / "odd.zip")["a.jpg"]
    for cut in (4, 30, 700, len(data) - 10):
        (tmp_path / "cut.zip").write_bytes(packed.read_bytes()[:cut])
        with pytest.raises(UserError, match="damaged zip"):
            read_all(tmp_path / "cut.zip")


def test_a_photo_with_a_zip_behind_it_is_a_photo(tmp_path: Path):
    packed = zipped(tmp_path / "a.zip", {"a.jpg": NOISE})
    both = tmp_path / "both.jpg"
    both.write_bytes(b"\xff\xd8\xff" + packed.read_bytes())
    assert read_all(both) == {"both.jpg": both.read_bytes()}


@given(st.integers(0, 400), st.integers(0, 255))
def test_any_zip_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, at: int, value: int):
    path = tmp_path_factory.mktemp("zips") / "a.zip"
    zipped(path, {"a.jpg": NOISE[:100], "b.jpg": b"b"}, compression=zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    data[at % len(data)] = value
    path.write_bytes(data)
    with contextlib.suppress(UserError):
        read_all(path)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("IMG 1.jpg", "IMG 1.jpg"),
        ("../../etc/passwd.jpg", "etc/passwd.jpg"),
        ("..\\..\\up.jpg", "up.jpg"),
        ("-rf.jpg", "_rf.jpg"),
        ("Ä☃日.png", "Ä☃日.png"),
        ("A\u0308.png", "Ä.png"),
        ("a\x1b[31mred\n.jpg", "a?[31mred?.jpg"),
        ("gpj.\u202ephoto", "gpj.?photo"),
        ("bad\udcff.jpg", "bad?.jpg"),
        ("", "(no name)"),
        ("..", "(no name)"),
    ],
)
def test_names_are_cleaned_for_showing(name: str, shown: str):
    assert names.shown(name) == shown


@given(st.text(max_size=300))
def test_a_shown_name_is_harmless(name: str):
    shown = names.shown(name)
    assert 1 <= len(shown) <= names.LONGEST
    assert not shown.startswith(("-", "/"))
    assert ".." not in names.parts(shown)
    assert shown.isprintable() | (" " in shown) | any(ord(c) > 127 for c in shown)
    shown.encode("utf-8")


@given(st.lists(st.text(max_size=40)))
def test_any_names_can_be_sorted(found: list[str]):
    backwards = found[::-1]
    assert sorted(found, key=names.natural) == sorted(backwards, key=names.natural)


def test_numbers_are_sorted_as_people_count():
    ordered = ["a1.jpg", "A2.jpg", "a02b.jpg", "a10.jpg", "a" + "9" * 5000, "b.jpg"]
    shuffled = ordered[::-1]
    assert sorted(shuffled, key=names.natural) == ordered
