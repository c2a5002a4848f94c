"""Class pictures: growth keeps bytes, a kill loses nothing that was done, what is no picture is replaced."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tasks import class_prior
from tasks.backbones.base import Backbone
from tasks.class_prior import ATTEMPT_STRIDE
from tasks.shared import images, manifest, settings
from tasks.shared.errors import UserError

SMALL = {
    "num_inference_steps": 2,
    "size_px": 32,
    "batch_size": 4,
    "judge": None,
    "num_class_images": 6,
    "max_attempts": 3,
}


class Project:
    """One class in a folder of its own."""

    def __init__(self, folder: Path, base: Path):
        self.folder, self.base = folder, base
        self.class_file, self.out = folder / "dog" / "class.yaml", folder / "dog" / "images"
        self.class_file.parent.mkdir(parents=True)
        self.class_file.write_text("class: dog\n")

    def run(self, **changes) -> dict[str, bytes]:
        tree = {
            "base": {"model": str(self.base), "revision": "unpinned"},
            "class_prior": {**SMALL, **changes},
            "recipe": {"class_prior": 1},
        }
        class_prior.run(self.class_file, self.out, settings.Settings(tree, self.folder))
        return self.files()

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.out.glob("*.png"))}


@pytest.fixture
def project(tmp_path: Path, tiny_base: Callable[[str], Path]) -> Project:
    return Project(tmp_path / "one", tiny_base("sd15"))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Seeds of each call of the sampler."""
    calls: list[list[int]] = []
    sample = Backbone.sample

    def counted(self, prompts, seeds, options=None, batch=8):
        calls.append(list(seeds))
        return sample(self, prompts, seeds, options, batch)

    monkeypatch.setattr(Backbone, "sample", counted)
    return calls


def test_writes_pictures_with_provenance_and_manifest(project: Project) -> None:
    files = project.run(seed=100)
    assert list(files) == [f"{index:04d}.png" for index in range(6)]
    content = manifest.verify(project.out, "class_prior")
    assert content["prompt"] == "a dog"
    assert [entry["seed"] for entry in content["pictures"]] == list(range(100, 106))
    record = images.provenance(project.out / "0003.png")
    assert (record["prompt"], record["seed"], record["method"]) == ("a dog", 103, None)
    assert record["base"]["model"] == "sd15"
    assert len(record["base"]["revision"]) == 32
    assert str(project.folder) not in (project.out / "manifest.json").read_text()
    assert not (project.folder / "dog" / ".work" / "class_prior").exists()


def test_more_pictures_keep_the_old_bytes_and_draw_only_the_new(
    project: Project, drawn: list, tmp_path: Path
) -> None:
    few = project.run(num_class_images=6)
    assert drawn == [[0, 1, 2, 3], [4, 5, 6, 7]]  # always whole batches
    drawn.clear()
    more = project.run(num_class_images=10)
    assert drawn == [[4, 5, 6, 7], [8, 9, 10, 11]]
    assert {name: more[name] for name in few} == few
    at_once = Project(tmp_path / "two", project.base).run(num_class_images=10)
    assert at_once == more
    drawn.clear()
    assert project.run(num_class_images=6) == few
    assert project.run(num_class_images=6) == few
    assert drawn == []


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a photo of a {class}"}, {"seed": 5}, {"num_inference_steps": 3}, {"guidance_scale": 2.0},
        {"scheduler": "ddim"}, {"size_px": 16}, {"batch_size": 3}, {"max_attempts": 1},
    ],
)  # fmt: skip
def test_any_other_param_draws_all_anew(project: Project, drawn: list, change: dict) -> None:
    project.run()
    drawn.clear()
    project.run(**change)
    assert len(drawn) >= 2


def test_another_base_draws_all_anew(project: Project, tiny_base: Callable[[str], Path]) -> None:
    before = project.run()
    project.base = tiny_base("sd21v")
    after = project.run()
    assert not set(before.values()) & set(after.values())


def test_a_damaged_picture_alone_is_drawn_again(project: Project, drawn: list) -> None:
    before = project.run()
    (project.out / "0002.png").write_bytes(b"\x89PNG cut off")
    (project.out / "0005.png").unlink()
    drawn.clear()
    assert project.run() == before
    assert drawn == [[0, 1, 2, 3], [4, 5, 6, 7]]


def fault(monkeypatch: pytest.MonkeyPatch, harm: Callable[[int, np.ndarray], np.ndarray]) -> None:
    """Let the sampler return `harm(seed, pixels)`."""
    sample = Backbone.sample

    def harmed(self, prompts, seeds, options=None, batch=8):
        drawn = sample(self, prompts, seeds, options, batch)
        return np.stack([harm(seed, pixels) for seed, pixels in zip(seeds, drawn, strict=True)])

    monkeypatch.setattr(Backbone, "sample", harmed)


def test_a_black_picture_is_replaced(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    before = project.run()
    project.out.rename(project.folder / "healthy")
    bad = {2, 2 + ATTEMPT_STRIDE}  # the first further attempt is black too
    fault(monkeypatch, lambda seed, pixels: pixels * 0 if seed in bad else pixels)
    after = project.run()
    assert [name for name in before if before[name] != after[name]] == ["0002.png"]
    entry = manifest.read(project.out, "class_prior")["pictures"][2]
    assert (entry["attempt"], entry["seed"]) == (2, 2 + 2 * ATTEMPT_STRIDE)
    assert images.provenance(project.out / "0002.png")["seed"] == entry["seed"]
    assert images.read(project.out / "0002.png").std() > 1


def test_a_repeated_picture_is_replaced(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    first: list[np.ndarray] = []

    def repeat(seed: int, pixels: np.ndarray) -> np.ndarray:
        first.append(pixels)
        return np.clip(first[0].astype(int) + 1, 0, 255).astype(np.uint8) if seed == 5 else pixels

    fault(monkeypatch, repeat)
    project.run()
    entries = manifest.read(project.out, "class_prior")["pictures"]
    assert [entry["attempt"] for entry in entries] == [0, 0, 0, 0, 0, 1]


def test_gives_up_on_one_picture_with_a_warning(project: Project, monkeypatch, caplog) -> None:
    fault(monkeypatch, lambda seed, pixels: pixels * 0 if seed % ATTEMPT_STRIDE == 3 else pixels)
    files = project.run()
    assert list(files) == ["0000.png", "0001.png", "0002.png", "0004.png", "0005.png"]
    assert "picture 3 is left out after 3 attempts: black" in caplog.text
    entry = manifest.read(project.out, "class_prior")["pictures"][3]
    assert (entry["file"], entry["reasons"]) == (None, ["black"])


def test_a_base_that_draws_nothing_is_an_error(project: Project, monkeypatch) -> None:
    fault(monkeypatch, lambda seed, pixels: pixels * 0)
    with pytest.raises(UserError, match="black"):
        project.run()
    assert not project.out.exists()


class Eye:
    """A judge of our own making: sees "dog" where `sees(pixels)`; stands in for CLIP's two encoders."""

    identity = {"model": "eye", "revision": "1"}

    def __init__(self, sees: Callable[[np.ndarray], bool]):
        self.sees = sees

    def embed(self, pictures) -> np.ndarray:
        return np.array([[1.0, 0.0] if self.sees(pixels) else [0.0, 1.0] for pixels in pictures])

    def embed_text(self, texts) -> np.ndarray:
        return np.array([[1.0, 0.0] if "dog" in text else [0.0, 1.0] for text in texts])


def test_a_classless_picture_is_replaced_and_kept_if_nothing_better_comes(
    project: Project, monkeypatch, caplog
) -> None:
    marked = {1, 4, *(4 + attempt * ATTEMPT_STRIDE for attempt in (1, 2, 3))}

    def blot(seed: int, pixels: np.ndarray) -> np.ndarray:
        pixels = pixels.copy()
        pixels[0, 0] = 255 if seed in marked else 0
        return pixels

    fault(monkeypatch, blot)
    monkeypatch.setattr(class_prior, "_open_judge", lambda *_: Eye(lambda pixels: pixels[0, 0, 0] < 128))
    project.run(judge="eye")
    content = manifest.read(project.out, "class_prior")
    assert content["judge_knows_class"] is True
    assert [entry["attempt"] for entry in content["pictures"]] == [0, 1, 0, 0, 0, 0]
    assert content["pictures"][4]["reasons"] == ["the judge does not see 'a dog' in it"]
    assert "picture 4 is kept" in caplog.text


def test_a_real_clip_judge_is_part_of_the_key(project: Project, tiny_judges: Path, drawn: list) -> None:
    project.run(judge=str(tiny_judges / "clip"), num_class_images=4)
    content = manifest.verify(project.out, "class_prior")
    digest = manifest.digest(tiny_judges / "clip" / "model.safetensors")
    assert content["key"]["judge"]["revision"] == digest
    assert content["judge_knows_class"] in (True, False)  # it is random
    drawn.clear()
    project.run(num_class_images=4)
    assert len(drawn) == 1


def test_a_judge_that_does_not_know_the_class_turns_nothing_down(
    project: Project, monkeypatch, caplog, drawn
) -> None:
    monkeypatch.setattr(class_prior, "_open_judge", lambda *_: Eye(lambda pixels: False))
    project.run(judge="eye")
    assert manifest.read(project.out, "class_prior")["judge_knows_class"] is False
    assert "does not know" in caplog.text
    assert len(drawn) == 2


def test_the_policy_holds_for_class_pictures(project: Project) -> None:
    with pytest.raises(UserError, match=r"class_prior\.prompt.*minor"):
        project.run(prompt="a naked child and a {class}")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"prompt": "a {subject}"}, "unknown placeholder {subject}"),
        ({"num_clas_images": 3}, "num_class_images"),
        ({"guidance_scale": float("nan")}, "guidance_scale"),
        ({"seed": "many"}, "seed"),
        ({"judge": "no/such/judge"}, "class_prior.judge"),
    ],
)
def test_wrong_params_end_before_the_work(project: Project, changes: dict, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint.replace("{", r"\{")):
        project.run(**changes)
    assert not project.out.exists()


def test_a_killed_run_goes_on_where_it_stopped(project: Project, tmp_path: Path, drawn: list) -> None:
    changes = {"num_class_images": 28, "num_inference_steps": 8}
    whole = Project(tmp_path / "whole", project.base).run(**changes)
    program = (
        "import sys, time; sys.path.insert(0, sys.argv[4])\n"
        "from pathlib import Path\n"
        "from test_class_prior import Project\n"
        "project = Project.__new__(Project)\n"
        "project.folder, project.base = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "project.class_file = project.folder / 'dog' / 'class.yaml'\n"
        "project.out = project.folder / 'dog' / 'images'\n"
        "project.run(**eval(sys.argv[3]))\n"
    )
    root, here = Path(class_prior.__file__).parent.parent, Path(__file__).parent
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(project.folder), str(project.base), repr(changes), str(here)],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
    )
    work = project.out.parent / ".work" / "class_prior"
    deadline = time.monotonic() + 120
    while not (work / "0005.json").exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    finished = len(list(work.glob("[0-9]*.json")))
    assert 6 <= finished < 28
    assert not project.out.exists()
    drawn.clear()
    assert project.run(**changes) == whole
    assert len(drawn) == 7 - finished // 4
    assert not work.exists()
