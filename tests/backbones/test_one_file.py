"""A base as one .safetensors file in the layout of the original Stable Diffusion code."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from torch import Tensor

from tasks.backbones.base import SampleOptions, digest_of, open_base
from tasks.shared.errors import UserError
from tasks.shared.settings import Base

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
UNET = {
    "time_embedding.linear_1.": "time_embed.0.", "time_embedding.linear_2.": "time_embed.2.",
    "conv_in.": "input_blocks.0.0.", "conv_norm_out.": "out.0.", "conv_out.": "out.2.",
    "down_blocks.0.resnets.0.": "input_blocks.1.0.", "down_blocks.0.downsamplers.0.conv.": "input_blocks.2.0.op.",
    "down_blocks.1.resnets.0.": "input_blocks.3.0.", "down_blocks.1.attentions.0.": "input_blocks.3.1.",
    "mid_block.resnets.0.": "middle_block.0.", "mid_block.attentions.0.": "middle_block.1.",
    "mid_block.resnets.1.": "middle_block.2.",
    "up_blocks.0.resnets.0.": "output_blocks.0.0.", "up_blocks.0.attentions.0.": "output_blocks.0.1.",
    "up_blocks.0.resnets.1.": "output_blocks.1.0.", "up_blocks.0.attentions.1.": "output_blocks.1.1.",
    "up_blocks.0.upsamplers.0.": "output_blocks.1.2.",
    "up_blocks.1.resnets.0.": "output_blocks.2.0.", "up_blocks.1.resnets.1.": "output_blocks.3.0.",
}  # fmt: skip
VAE = {
    "mid_block.attentions.0.": "mid.attn_1.", "mid_block.resnets.0.": "mid.block_1.", "mid_block.resnets.1.": "mid.block_2.",
    "down_blocks.0.downsamplers.0.": "down.0.downsample.", "up_blocks.0.upsamplers.0.": "up.1.upsample.",
    **{f"down_blocks.{i}.resnets.0.": f"down.{i}.block.0." for i in range(2)},
    **{f"up_blocks.{i}.resnets.{j}.": f"up.{1 - i}.block.{j}." for i in range(2) for j in range(2)},
    "conv_shortcut": "nin_shortcut", "conv_norm_out": "norm_out",
}  # fmt: skip
VAE_ATTENTION = {
    "group_norm.": "norm.",
    "to_q.": "q.",
    "to_k.": "k.",
    "to_v.": "v.",
    "to_out.0.": "proj_out.",
}


def replaced(name: str, table: dict[str, str]) -> str:
    for ours, theirs in table.items():
        name = name.replace(ours, theirs)
    return name


def unet_name(name: str) -> str:
    prefix = next(ours for ours in UNET if name.startswith(ours))
    rest = name.removeprefix(prefix)
    return f"model.diffusion_model.{UNET[prefix]}{replaced(rest, RESNET) if '.resnets.' in prefix else rest}"


def vae_entry(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    if ".attentions." in name:
        name = replaced(name, VAE_ATTENTION)
        if tensor.ndim == 2:
            tensor = tensor[:, :, None, None].contiguous()
    return f"first_stage_model.{replaced(name, VAE)}", tensor


def write_one_file(folder: Path, file: Path) -> None:
    """The tiny sd15 base in the original layout (as diffusers' convert_diffusers_to_original_stable_diffusion.py does)."""
    state = {
        unet_name(name): t
        for name, t in load_file(folder / "unet/diffusion_pytorch_model.safetensors").items()
    }
    state |= dict(
        vae_entry(name, t)
        for name, t in load_file(folder / "vae/diffusion_pytorch_model.safetensors").items()
    )
    for name, tensor in load_file(folder / "text_encoder/model.safetensors").items():
        state[f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}"] = tensor
    save_file(state, file)


def test_one_file_draws_what_the_folder_draws(tiny_base, tmp_path):
    folder, file = tiny_base("sd15"), tmp_path / "tiny.safetensors"
    write_one_file(folder, file)
    shutil.copytree(folder, tmp_path / "tiny", ignore=shutil.ignore_patterns("*.safetensors"))
    options = SampleOptions(num_inference_steps=3)
    backbone = open_base(Base(model=str(file), revision=digest_of(file)), "cpu")
    assert backbone.identity == {"model": "tiny.safetensors", "revision": digest_of(file)}
    expected = open_base(Base(model=str(folder), revision="unpinned"), "cpu").sample(["a dog"], [1], options)
    assert np.array_equal(backbone.sample(["a dog"], [1], options), expected)


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "tiny.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"no readable \.safetensors"):
        open_base(Base(model=str(tmp_path / "tiny.safetensors"), revision="unpinned"), "cpu")
