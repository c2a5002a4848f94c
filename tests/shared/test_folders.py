"""Outputs are finished or absent, whatever happens on the way."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tasks.shared import images, manifest, plugins
from tasks.shared.errors import UserError
from tasks.shared.folders import staged, staged_file


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_error_leaves_the_old_folder_as_it_was(tmp_path: Path):
    out = tmp_path / "out"
    with staged(out) as folder:
        (folder / "a").write_text("old")
    with pytest.raises(RuntimeError), staged(out) as folder:
        (folder / "a").write_text("new")
        raise RuntimeError
    assert contents(tmp_path) == {"out/a": b"old"}


def test_success_replaces_the_whole_folder(tmp_path: Path):
    out = tmp_path / "out"
    for name in ("a", "b"):
        with staged(out) as folder:
            (folder / name).write_text(name)
    assert contents(tmp_path) == {"out/b": b"b"}


CHILD = """
import sys, time
from pathlib import Path
from tasks.shared.folders import staged
with staged(Path(sys.argv[1])) as folder:
    (folder / "a").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_kill_9_leaves_the_old_folder_and_the_next_run_cleans_up(tmp_path: Path):
    out = tmp_path / "out"
    with staged(out) as folder:
        (folder / "a").write_text("old")
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(out)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert contents(out) == {"a": b"old"}
    with staged(out) as folder:
        assert not list(folder.iterdir())
        (folder / "a").write_text("new")
    assert contents(tmp_path) == {"out/a": b"new"}


def test_a_kill_between_the_two_renames_is_mended(tmp_path: Path):
    out = tmp_path / "out"
    (tmp_path / ".out.old").mkdir()
    (tmp_path / ".out.old" / "a").write_text("old")
    with pytest.raises(RuntimeError), staged(out):
        raise RuntimeError
    assert contents(tmp_path) == {"out/a": b"old"}


def test_a_file_is_whole_or_absent(tmp_path: Path):
    with pytest.raises(RuntimeError), staged_file(tmp_path / "a.json") as path:
        path.write_text("half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with staged_file(tmp_path / "a.json") as path:
        path.write_text("whole")
    assert contents(tmp_path) == {"a.json": b"whole"}


def test_several_writers_of_one_file_do_not_meet(tmp_path: Path):
    both_inside = threading.Barrier(8)

    def write(number: int) -> None:
        with staged_file(tmp_path / "a.json") as path:
            path.write_text(str(number) * 1000)
            both_inside.wait(timeout=60)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert contents(tmp_path) == {"a.json": contents(tmp_path)["a.json"]}
    assert set(contents(tmp_path)["a.json"]) <= set(b"01234567")
    assert len(set(contents(tmp_path)["a.json"])) == 1


def test_what_a_killed_writer_left_is_removed_and_a_running_ones_is_not(tmp_path: Path):
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    (tmp_path / f".a.json.{child.pid}-1.new").write_text("half")
    (tmp_path / f".a.json.{os.getpid()}-1.new").write_text("another thread's")
    with staged_file(tmp_path / "a.json") as path:
        path.write_text("whole")
    assert contents(tmp_path) == {"a.json": b"whole", f".a.json.{os.getpid()}-1.new": b"another thread's"}


def test_a_manifest_notices_a_changed_a_missing_and_a_foreign_folder(tmp_path: Path):
    (tmp_path / "a").write_text("1")
    manifest.write(tmp_path, "sample", 2, params={"seed": 1})
    assert manifest.verify(tmp_path, "sample")["params"] == {"seed": 1}
    with pytest.raises(UserError, match="made by another stage"):
        manifest.read(tmp_path, "segment")
    (tmp_path / "a").write_text("2")
    with pytest.raises(UserError, match="missing or damaged"):
        manifest.verify(tmp_path, "sample")
    (tmp_path / manifest.NAME).write_text("{")
    with pytest.raises(UserError, match="damaged"):
        manifest.read(tmp_path, "sample")
    (tmp_path / manifest.NAME).unlink()
    with pytest.raises(UserError, match="not finished"):
        manifest.read(tmp_path, "sample")


def test_a_png_keeps_its_provenance_and_equal_input_gives_equal_bytes(tmp_path: Path):
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    facts = {"prompt": "ein Hund im Schnee — ☃", "seed": 3}
    for name in ("a.png", "b.png"):
        images.save(tmp_path / name, pixels, facts)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert images.provenance(tmp_path / "a.png") == facts
    assert np.array_equal(images.read(tmp_path / "a.png"), pixels)
    mask = np.eye(4, dtype=bool)
    images.save(tmp_path / "m.png", mask)
    assert np.array_equal(images.read_mask(tmp_path / "m.png"), mask)
    assert images.provenance(tmp_path / "m.png") is None


def test_a_grid_keeps_every_picture(tmp_path: Path):
    red, blue = np.full((2, 3, 3), [255, 0, 0], np.uint8), np.full((2, 3, 3), [0, 0, 255], np.uint8)
    sheet = images.grid([[red, blue], [blue]], gap_px=1)
    assert sheet.shape == (5, 7, 3)
    assert (sheet[:2, :3] == red).all()
    assert (sheet[3:, :3] == blue).all()
    assert (sheet[3:, 4:] == 255).all()


def test_an_unknown_option_is_answered_with_the_nearest():
    assert "dreambooth" in plugins.names("methods")
    with pytest.raises(UserError, match="did you mean 'dreambooth'"):
        plugins.load("methods", "dreamboth")
    with pytest.raises(UserError, match="there are: "):
        plugins.load("methods", "../shared/errors")
