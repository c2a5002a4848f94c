"""Segment cuts squares that hold the subject; a mask that cannot be trusted is a reason, never a crash."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks import segment
from tasks.segmenters import base, whole_frame
from tasks.shared import images, manifest
from tasks.shared.errors import UserError
from tasks.shared.settings import Settings

REPO = Path(__file__).resolve().parent.parent
SUBJECT = (255, 0, 255)
WHOLE = {"segmenter": {"name": "whole_frame"}}


class FindsMagenta(base.Segmenter):
    """A segmenter that is right by construction: the subject is what is magenta."""

    def find(self, image: np.ndarray) -> base.Mask:
        return base.Mask((image == SUBJECT).all(2), 0.9)


@pytest.fixture
def magenta(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_frame, "Segmenter", FindsMagenta)


def photo(
    boxes: list[tuple[int, int, int, int]], size: tuple[int, int] = (120, 90), seed: int = 0
) -> np.ndarray:
    """Grainy grey with magenta boxes XYXY on it. [h w 3]"""
    pixels = np.random.default_rng(seed).integers(60, 190, (size[1], size[0], 3), dtype=np.uint8)
    for x0, y0, x1, y1 in boxes:
        pixels[y0:y1, x0:x1] = SUBJECT
    return pixels


def taken(folder: Path, photos: list[np.ndarray]) -> Path:
    """A photos folder as ingest leaves it."""
    for number, pixels in enumerate(photos):
        images.save(folder / f"{number:02d}.png", pixels)
    folder.mkdir(exist_ok=True)
    manifest.write(folder, "ingest", 1)
    return folder


def segmented(photos: Path, out: Path, **options) -> dict[str, Any]:
    tree = {"segment": WHOLE | options, "recipe": {"segment": 1}}
    segment.run(photos, out, Settings(tree, out.parent))
    manifest.verify(out, "segment")
    return json.loads((out / "segment.json").read_text(encoding="utf-8"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("magenta")
def test_crops_masks_and_a_sheet(tmp_path: Path):
    boxes = [(50, 30, 80, 60), (0, 0, 30, 20), (100, 70, 120, 90)]  # in the middle and in two corners
    photos = taken(tmp_path / "photos", [photo([box], seed=seed) for seed, box in enumerate(boxes)])
    report = segmented(photos, tmp_path / "segment", size_px=64, crop_margin=0.25)
    assert report["summary"] == "subject found in 3 of 3 photos"
    assert report["warnings"] == []
    for number, (box, crop) in enumerate(zip(boxes, report["photos"], strict=True)):
        pixels = images.read(tmp_path / "segment" / "images" / f"{number:02d}.png")
        mask = images.read_mask(tmp_path / "segment" / "masks" / f"{number:02d}.png")
        assert pixels.shape == (64, 64, 3)
        assert mask.shape == (64, 64)
        assert crop["subject_box_px"] == list(box)
        assert crop["reasons"] == []
        shown = (pixels[..., 0] > 200) & (pixels[..., 1] < 60) & (pixels[..., 2] > 200)
        assert (shown & mask).sum() / (shown | mask).sum() > 0.9
        share = (box[2] - box[0]) * (box[3] - box[1]) / (crop["crop_box_px"][2] - crop["crop_box_px"][0]) ** 2
        assert abs(mask.mean() - share) < 0.05  # all of the subject is there
    assert report["photos"][0]["warnings"] == []
    assert "reaches the edge" in report["photos"][1]["warnings"][0]
    assert images.read(tmp_path / "segment" / "contact_sheet.png").shape[0] == 3 * segment.CELL_PX + 8


@pytest.mark.usefixtures("magenta")
@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ([], "no subject was found"),
        ([(0, 0, 120, 90)], "covers the whole photo"),
        ([(5, 5, 7, 7)], "less than"),
    ],
)
def test_a_mask_that_cannot_be_trusted_is_a_reason(tmp_path: Path, boxes: list, words: str):
    doubtful = photo(boxes)
    doubtful[0, 0] = 0  # else the third would be blank
    photos = taken(tmp_path / "photos", [photo([(20, 20, 60, 60)], seed=1), doubtful])
    report = segmented(photos, tmp_path / "whole", size_px=32)
    assert words in report["photos"][1]["reasons"][0]
    assert report["photos"][1]["whole_frame"]
    assert report["photos"][1]["subject_box_px"] == [0, 0, 120, 90]
    assert report["warnings"] == ["no subject made out in 1 of 2 photos, which are used whole"]
    mask = images.read_mask(tmp_path / "whole" / "masks" / "01.png")
    assert abs(mask.mean() - 90 / 120) < 0.05  # all of the photo, nothing of the filling

    report = segmented(photos, tmp_path / "skip", size_px=32, without_subject="skip")
    assert [crop["file"] for crop in report["photos"]] == ["00.png", None]
    assert words in report["photos"][1]["reasons"][0]
    assert [path.name for path in (tmp_path / "skip" / "images").iterdir()] == ["00.png"]
    assert [path.name for path in (tmp_path / "skip" / "masks").iterdir()] == ["00.png"]


@pytest.mark.usefixtures("magenta")
def test_no_subject_in_any_photo(tmp_path: Path):
    photos = taken(tmp_path / "photos", [photo([], seed=1), np.full((70, 70, 3), 9, np.uint8)])
    report = segmented(photos, tmp_path / "segment", size_px=32)
    assert "no subject made out in any of 2 photos" in report["warnings"][0]
    assert "blank" in report["warnings"][0]
    before = contents(tmp_path)
    with pytest.raises(UserError, match="without_subject"):
        segmented(photos, tmp_path / "segment", size_px=32, without_subject="skip")
    assert contents(tmp_path) == before


def test_whole_frame_keeps_all_of_a_wide_photo(tmp_path: Path):
    photos = taken(tmp_path / "photos", [photo([], (200, 100)), photo([], (80, 80))])
    report = segmented(photos, tmp_path / "segment", size_px=100)
    assert [crop["reasons"] for crop in report["photos"]] == [[], []]
    assert [crop["crop_box_px"] for crop in report["photos"]] == [[0, -50, 200, 150], [0, 0, 80, 80]]
    assert images.read_mask(tmp_path / "segment" / "masks" / "00.png").mean() == 0.5
    assert images.read_mask(tmp_path / "segment" / "masks" / "01.png").all()


@pytest.mark.usefixtures("magenta")
def test_every_option_arrives(tmp_path: Path):
    photos = taken(
        tmp_path / "photos", [photo([(0, 40, 120, 50)])]
    )  # as wide as the photo: must be filled up

    def changed(**options) -> bytes:
        segmented(photos, tmp_path / "out", **{"size_px": 48, **options})
        return (tmp_path / "out" / "images" / "00.png").read_bytes()

    plain = changed()
    assert changed() == plain
    assert changed(padding="edge") != plain
    assert images.read(tmp_path / "out" / "images" / "00.png").shape == (48, 48, 3)
    photos = taken(tmp_path / "photos", [photo([(40, 40, 60, 60)])])
    sides = []
    for margin in (0, 0.2, 0.5):
        report = segmented(photos, tmp_path / "out", size_px=64, crop_margin=margin)
        x0, _, x1, _ = report["photos"][0]["crop_box_px"]
        sides.append(x1 - x0)
    assert sides == [20, 28, 40]
    assert "enlarged to 64" in report["photos"][0]["warnings"][0]


def test_wrong_settings_and_inputs(tmp_path: Path):
    photos = taken(tmp_path / "photos", [photo([])])
    whole_frame_with_grid = {"name": "whole_frame", "grid": 3}
    for options, words in [
        ({"segmenter": {"name": "sma"}}, "did you mean 'sam'"),
        ({"segmenter": whole_frame_with_grid}, "segment.segmenter: unknown key 'grid'"),
        ({"margin": 1}, "crop_margin"),
        ({"size_px": "big"}, "size_px"),
        ({"crop_margin": float("nan")}, "crop_margin"),
    ]:
        with pytest.raises(UserError, match=words):
            segmented(photos, tmp_path / "segment", **options)
    with pytest.raises(UserError, match="not finished"):
        segmented(tmp_path, tmp_path / "segment")
    with pytest.raises(UserError, match="no photos in it"):
        segmented(taken(tmp_path / "none", []), tmp_path / "segment")
    (photos / "00.png").write_bytes((photos / "00.png").read_bytes()[:500])
    with pytest.raises(UserError, match=r"00\.png: not a readable picture"):
        segmented(photos, tmp_path / "segment")
    assert not (tmp_path / "segment").exists()


def test_killed_in_the_middle_and_run_again(tmp_path: Path):
    folder = tmp_path / "rex"
    folder.mkdir()
    (folder / "subject.yaml").write_text(
        "name: rex\nclass: dog\nclass_folder: dog\nsegment: {segmenter: {name: whole_frame}, size_px: 64}\n"
    )
    segmented(taken(tmp_path / "old", [photo([])]), folder / "segment", size_px=32)
    before = contents(folder)
    photos = taken(tmp_path / "photos", [photo([], (500, 400), seed) for seed in range(12)])
    paths = ["--photos", photos, "--out", folder / "segment", "--subject", folder / "subject.yaml"]
    command = [sys.executable, "-m", "tasks.segment", *map(str, paths), "--params", str(REPO / "params.yaml")]
    process = subprocess.Popen(command, cwd=REPO)
    while not (folder / ".segment.new" / "images" / "00.png").exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert {
        name: data for name, data in contents(folder).items() if not name.startswith(".segment.new")
    } == before
    assert len(segmented(photos, folder / "segment", size_px=64)["photos"]) == 12
    assert {path.name for path in folder.iterdir()} == {"segment", "subject.yaml"}


def test_sam_of_random_weights_gives_valid_crops(tmp_path: Path):
    """Whatever a model says, the outputs are whole; reads a checkpoint relative to the project."""
    torch = pytest.importorskip("torch")
    from tasks.segmenters import _sam_checkpoint

    encoder = {"img_size": 64, "patch_size": 16, "embed_dim": 16, "depth": 2, "num_heads": 2, "mlp_ratio": 2}
    windows = {"out_chans": 16, "use_rel_pos": True, "window_size": 2, "global_attn_indexes": [1]}
    transformer = {"depth": 1, "mlp_dim": 16, "num_heads": 2}
    heads = {"num_multimask_outputs": 3, "iou_head_depth": 2, "iou_head_hidden_dim": 16}
    config = {
        "image_encoder": encoder | windows,
        "prompt_encoder": {"mask_in_chans": 4},
        "mask_decoder": heads | {"transformer": transformer},
        "pixel_mean": _sam_checkpoint.IMAGENET_MEAN,
        "pixel_std": _sam_checkpoint.IMAGENET_STD,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        _sam_checkpoint.save(_sam_checkpoint.build(config), config, tmp_path / "weights" / "sam")
    photos = taken(
        tmp_path / "photos", [photo([(20, 20, 60, 60)], size, seed=3) for size in ((120, 90), (64, 100))]
    )
    choice = {"name": "sam", "checkpoint": "weights/sam", "grid": 3}
    report = segmented(photos, tmp_path / "segment", segmenter=choice, size_px=32)
    assert len(report["photos"]) == 2
    assert all(images.read_mask(path).any() for path in (tmp_path / "segment" / "masks").iterdir())
    first = contents(tmp_path / "segment")
    segmented(photos, tmp_path / "segment", segmenter=choice, size_px=32)
    assert contents(tmp_path / "segment") == first  # equal bytes
    made = manifest.read(tmp_path / "segment", "segment")["segmenter"]
    weights = tmp_path / "weights" / "sam" / "model.safetensors"
    assert made == {"name": "sam", "checkpoint": manifest.digest(weights)}
    with pytest.raises(UserError, match="no such SAM checkpoint"):
        segmented(photos, tmp_path / "segment", segmenter=choice | {"checkpoint": "weights/none"})
