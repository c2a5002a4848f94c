"""Opening weights: pins, refusals in one line, one-file models."""

import json
import shutil
import socket

import pytest
import torch

from tasks.backbones.base import digest_of, open_base
from tasks.shared.errors import UserError
from tasks.shared.settings import Base


@pytest.fixture
def copy(tiny_base, tmp_path):
    return shutil.copytree(tiny_base("sd15"), tmp_path / "mine")


def refused(match: str, **base: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        open_base(Base(**base), "cpu")
    assert "\n" not in str(caught.value)


def test_the_digest_is_the_revision_and_another_is_refused_with_the_right_one(copy):
    digest = digest_of(copy)
    backbone = open_base(Base(model=str(copy), revision=digest), "cpu")
    assert backbone.identity == {"model": "mine", "revision": digest}
    refused(f"revision: {digest}", model=str(copy), revision="main")
    assert open_base(Base(model=str(copy), revision="unpinned"), "cpu").identity["revision"] == digest


def test_the_digest_sees_bytes_names_and_additions_but_not_notes(copy):
    digest = digest_of(copy)
    (copy / "README.md").write_text("a note")
    assert digest_of(copy) == digest
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    assert digest_of(copy) != digest
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    assert digest_of(copy) == digest
    weights.rename(weights.with_name("model.safetensors"))
    assert digest_of(copy) != digest


def test_a_large_file_is_read_at_both_ends(copy, monkeypatch):
    from tasks.backbones import _weights

    monkeypatch.setattr(_weights, "_WHOLE_UP_TO", 50_000)
    monkeypatch.setattr(_weights, "_MIB", 1000)
    digest, weights = digest_of(copy), copy / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert digest_of(copy) != digest


def test_what_cannot_be_opened_says_why(copy, tmp_path):
    refused("no such folder", model=str(tmp_path / "nowhere"))
    refused("pickled", model=str(tmp_path / "model.ckpt"))
    refused("no such folder", model=str(tmp_path / "gone.safetensors"))
    index = copy / "model_index.json"
    known = json.loads(index.read_text())
    index.write_text(json.dumps({**known, "_class_name": "FluxPipeline"}))
    refused(
        "FluxPipeline; supported: StableDiffusionPipeline, StableDiffusionXLPipeline",
        model=str(copy),
        revision="unpinned",
    )
    index.write_text("{")
    refused("model_index.json", model=str(copy), revision="unpinned")
    index.write_text(json.dumps(known))
    (copy / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"no weights")
    refused("cannot be opened", model=str(copy), revision="unpinned")


def test_a_folder_of_pickles_is_refused_and_never_opened(copy):
    for path in copy.rglob("*.safetensors"):
        torch.save({"harm": 1}, path.with_suffix(".bin"))
        path.unlink()
    refused("pickled weights only", model=str(copy), revision="unpinned")


def test_pickles_beside_safetensors_are_not_opened(copy):
    bomb = copy / "unet" / "diffusion_pytorch_model.bin"
    bomb.write_bytes(b"cos\nsystem\n(S'touch bombed'\ntR.")
    open_base(Base(model=str(copy), revision="unpinned"), "cpu")
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    refused("cannot be opened", model=str(copy), revision="unpinned")


def test_a_hub_id_that_is_not_to_be_had_is_one_line_with_the_fix(tmp_path, monkeypatch):
    def unplugged(*_, **__):
        raise OSError("network is unreachable")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(socket.socket, "connect", unplugged)
    refused("go online once", model="nobody/no-such-model")


def test_half_precision_weights_leave_the_vae_in_float32(copy):
    backbone = open_base(Base(model=str(copy), revision="unpinned", dtype="bfloat16"), "cpu")
    assert backbone.denoiser.dtype == torch.bfloat16 and backbone.vae.dtype == torch.float32
    assert backbone.sample(["a dog"], [0]).shape == (1, 32, 32, 3)
