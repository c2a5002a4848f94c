"""Judges: opened by name, safetensors only, features as transformers' own call gives them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel, ViTModel

from tasks.metrics._judges import ImageJudge, TextJudge
from tasks.shared import manifest
from tasks.shared.errors import UserError

RANDOM = np.random.default_rng(0)
PICTURES = [
    RANDOM.integers(0, 256, size=(h, w, 3), dtype=np.uint8) for h, w in ((32, 32), (48, 40), (64, 64))
]


def test_dino_features_are_the_class_token_of_a_plain_transformers_call(tiny_judges: Path):
    model, processor = (
        kind.from_pretrained(tiny_judges / "identity") for kind in (ViTModel, AutoImageProcessor)
    )
    rows = ImageJudge("identity", project=tiny_judges, batch=2).embed(PICTURES)
    for row, picture in zip(rows, PICTURES, strict=True):
        with torch.no_grad():
            token = model(**processor(Image.fromarray(picture), return_tensors="pt")).last_hidden_state[0, 0]
        assert torch.cosine_similarity(torch.tensor(row), token, dim=0) == pytest.approx(1, abs=1e-5)
        assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)


def test_clip_features_are_those_that_transformers_scores_with(tiny_judges: Path):
    folder, texts = tiny_judges / "clip", ["a photo of a dog", "a red vase in the beach"]
    model, processor, tokenizer = (
        kind.from_pretrained(folder) for kind in (CLIPModel, AutoImageProcessor, AutoTokenizer)
    )
    judge = TextJudge("clip", project=tiny_judges)
    tokens = tokenizer(texts, padding="max_length", max_length=16, return_tensors="pt")
    pixels = processor([Image.fromarray(PICTURES[0])], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        logits = model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, pixel_values=pixels)
    ours = judge.embed(PICTURES[:1]) @ judge.embed_text(texts).T * np.exp(model.logit_scale.item())
    assert ours == pytest.approx(logits.logits_per_image.numpy(), abs=1e-4)


def test_a_long_prompt_is_cut_and_not_a_crash(tiny_judges: Path):
    assert TextJudge("clip", project=tiny_judges).embed_text(["dog " * 100]).shape == (1, 12)


def test_each_picture_passes_once(tiny_judges: Path):
    judge = ImageJudge("identity", project=tiny_judges)
    first = judge.embed([*PICTURES, PICTURES[0]])
    judge.model = None  # a second pass would fail
    assert np.array_equal(judge.embed(PICTURES), first[:3])
    assert np.array_equal(first[0], first[3])


def test_opening_leaves_the_global_generator_alone(tiny_judges: Path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    ImageJudge("identity", project=tiny_judges)
    assert torch.equal(torch.rand(3), expected)


def test_the_digest_of_a_folder_is_checked_and_recorded(tiny_judges: Path):
    digest = manifest.digest(tiny_judges / "identity" / "model.safetensors")
    judge = ImageJudge("identity", digest, tiny_judges)
    assert judge.identity == {"model": "identity", "revision": digest}
    with pytest.raises(UserError, match="its digest is"):
        ImageJudge("identity", "0" * 64, tiny_judges)


@pytest.mark.parametrize("lost", ["model.safetensors", "preprocessor_config.json", "config.json"])
def test_an_incomplete_folder_is_one_clear_line(tiny_judges: Path, tmp_path: Path, lost: str):
    shutil.copytree(tiny_judges / "identity", tmp_path / "identity")
    (tmp_path / "identity" / lost).unlink()
    with pytest.raises(UserError, match="judge 'identity'") as caught:
        ImageJudge("identity", project=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_damaged_file_and_a_wrong_kind_are_clear_lines(tiny_judges: Path, tmp_path: Path):
    shutil.copytree(tiny_judges / "identity", tmp_path / "identity")
    (tmp_path / "identity" / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(UserError, match="cannot be opened"):
        ImageJudge("identity", project=tmp_path)
    with pytest.raises(UserError, match="a CLIPModel is needed"):
        TextJudge("identity", project=tiny_judges)
