"""SAM checkpoints of every origin, and which of a photo's masks is called its subject."""

import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from segment_anything import SamPredictor, sam_model_registry

from tasks.segmenters import _sam_checkpoint, sam
from tasks.shared import manifest
from tasks.shared.errors import UserError

WITH_POSITIONS = {  # a small Sam built like an official one: relative positions, eight heads in the decoder
    "image_encoder": {
        "img_size": 128,
        "patch_size": 16,
        "embed_dim": 48,
        "depth": 3,
        "num_heads": 4,
        "mlp_ratio": 2.0,
        "out_chans": 32,
        "use_rel_pos": True,
        "window_size": 5,
        "global_attn_indexes": [0, 2],
    },
    "prompt_encoder": {"mask_in_chans": 12},
    "mask_decoder": {
        "num_multimask_outputs": 3,
        "transformer": {"depth": 1, "mlp_dim": 40, "num_heads": 8},
        "iou_head_depth": 2,
        "iou_head_hidden_dim": 24,
    },
    "pixel_mean": _sam_checkpoint.IMAGENET_MEAN,
    "pixel_std": _sam_checkpoint.IMAGENET_STD,
}


@pytest.fixture(scope="module")
def official():
    torch.manual_seed(0)
    return _sam_checkpoint.build(WITH_POSITIONS)


def test_sizes_are_read_from_the_shapes(official):
    assert _sam_checkpoint.config_from_shapes(official.state_dict()) == WITH_POSITIONS


@pytest.mark.parametrize(
    ("name", "embed_dim", "depth", "heads", "everywhere"),
    [("vit_b", 768, 12, 12, [2, 5, 8, 11]), ("vit_h", 1280, 32, 16, [7, 15, 23, 31])],
)
def test_sizes_of_the_official_models(name, embed_dim, depth, heads, everywhere):
    with torch.device("meta"):  # shapes without memory
        state = sam_model_registry[name]().state_dict()
    found = _sam_checkpoint.config_from_shapes(state)
    encoder = found["image_encoder"]
    assert (encoder["embed_dim"], encoder["depth"], encoder["num_heads"]) == (embed_dim, depth, heads)
    assert encoder["global_attn_indexes"] == everywhere
    assert (encoder["img_size"], encoder["patch_size"], encoder["window_size"]) == (1024, 16, 14)
    assert (encoder["mlp_ratio"], encoder["out_chans"]) == (4, 256)
    assert found["mask_decoder"] == {
        "num_multimask_outputs": 3,
        "transformer": {"depth": 2, "mlp_dim": 2048, "num_heads": 8},
        "iou_head_depth": 3,
        "iou_head_hidden_dim": 256,
    }
    assert found["prompt_encoder"] == {"mask_in_chans": 16}


def test_a_lone_state_dict_opens_and_predicts_as_the_model_it_came_from(official, tmp_path):
    save_file(official.state_dict(), tmp_path / "official.safetensors")
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    answers = []
    for model in (official, _sam_checkpoint.open(tmp_path / "official.safetensors")):
        predictor = SamPredictor(model)
        predictor.set_image(image)
        answers.append(predictor.predict(np.array([[60.0, 45.0]]), np.array([1]), return_logits=True))
    np.testing.assert_array_equal(answers[0][0], answers[1][0])
    segmenter = sam.Segmenter(sam.Params(checkpoint="official.safetensors"), tmp_path)
    assert segmenter.segment(image).pixels.shape == (90, 120)


def test_other_weights_than_the_pinned_ones_are_refused(tiny_sam):
    digest = manifest.digest(_sam_checkpoint.weights_file(tiny_sam))
    pinned = sam.Segmenter(sam.Params(checkpoint=str(tiny_sam), revision=digest))
    assert pinned.identity == {"checkpoint": digest}
    with pytest.raises(UserError, match=f"write `revision: {digest}`"):
        sam.Segmenter(sam.Params(checkpoint=str(tiny_sam), revision="0" * 64))


def test_pickles_are_converted_once_and_never_opened_otherwise(official, tmp_path, monkeypatch):
    torch.save(official.state_dict(), tmp_path / "sam.pth")
    with pytest.raises(
        UserError, match=r"python -m tasks\.segmenters\.sam convert in\.pth out\.safetensors"
    ) as refusal:
        sam.Segmenter(sam.Params(checkpoint="sam.pth"), tmp_path)
    assert "\n" not in str(refusal.value)
    command = ["sam", "convert", str(tmp_path / "sam.pth"), str(tmp_path / "sam.safetensors")]
    monkeypatch.setattr(sys, "argv", command)
    sam.main()
    for name, tensor in load_file(tmp_path / "sam.safetensors").items():
        assert torch.equal(tensor, official.state_dict()[name])


class Trap:
    """Runs code when unpickled."""

    def __reduce__(self):
        return (print, ("the pickle was run",))


def test_a_pickle_with_code_in_it_is_not_converted(tmp_path, capsys):
    torch.save({"image_encoder.patch_embed.proj.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(UserError, match="more than tensors"):
        _sam_checkpoint.convert(tmp_path / "trap.pth", tmp_path / "out.safetensors")
    assert "was run" not in capsys.readouterr().out
    assert not (tmp_path / "out.safetensors").exists()
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="not the state dict of a Sam"):
        _sam_checkpoint.convert(tmp_path / "other.pth", tmp_path / "out.safetensors")


def test_damaged_and_foreign_files_are_one_line(tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{}")
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    for name in ("cut", "other"):
        with pytest.raises(UserError) as error:
            _sam_checkpoint.open(tmp_path / f"{name}.safetensors")
        assert "\n" not in str(error.value)
        assert name in str(error.value)


def test_prompts_must_be_there():
    for missing in ({"prompts": "points"}, {"prompts": "box"}):
        with pytest.raises(ValidationError):
            sam.Params(**missing)


def test_every_prompt_is_passed_on(tiny_sam, monkeypatch):
    seen = {}

    def predict(self, **given):
        seen.update(given)
        return np.ones((1, 40, 50), bool), np.array([0.5]), None

    monkeypatch.setattr(SamPredictor, "predict", predict)
    options = {
        "points": [[10, 20], [30, 5]],
        "points_off": [[1, 2]],
        "box": [3, 4, 35, 36],
        "prompts": "points",
    }
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    found = sam.Segmenter(sam.Params(checkpoint=str(tiny_sam), **options)).segment(image)
    assert seen["point_coords"].tolist() == [[10, 20], [30, 5], [1, 2]]
    assert seen["point_labels"].tolist() == [1, 1, 0]
    assert seen["box"].tolist() == [3, 4, 35, 36]
    assert seen["multimask_output"] is False
    assert found.reasons
    assert found.share == 1


def drawn(*shapes: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(shapes)).float() * 20 - 10


def test_the_subject_is_central_whole_and_off_the_frame():
    y, x = np.mgrid[:64, :64]
    whole = np.hypot(x - 32, y - 30) < 18
    part = np.hypot(x - 32, y - 24) < 6
    corner = np.hypot(x - 8, y - 56) < 7
    ground = ~whole
    everything = np.ones_like(whole)
    speck = np.hypot(x - 32, y - 32) < 1
    named = [whole, whole, whole, whole, part, corner, ground, ground, everything, speck]
    scores = sam.subject_scores(drawn(*named), torch.full((len(named),), 0.9))
    assert scores.argmax() in range(4)
    assert scores[8] == 0
    assert scores[9] == 0
    assert scores[6] < scores[0] / 3
    unsure = sam.subject_scores(drawn(*named), torch.tensor([0.1] * 4 + [0.9] * 6))
    assert unsure.argmax() == 4, "the model's own doubt must count"


def test_crumbs_and_holes_are_cleared():
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    mask[30, 30] = False  # a pinhole
    mask[15:30, 40:45] = False  # a handle
    mask[2:4, 2:4] = True  # a crumb
    found = sam._solid(mask)
    assert found[30, 30]
    assert not found[20, 42]
    assert not found[2, 2]
