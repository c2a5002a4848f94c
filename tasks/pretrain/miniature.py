"""Putting the miniature together: a folder that `StableDiffusionPipeline.from_pretrained` opens, half precision.

python -m tasks.pretrain.miniature --out <folder>         a miniature with random weights, to try formats on
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tasks.pretrain import tokenizer as tokenizers
from tasks.pretrain import vae as autoencoder
from tasks.shared import folders
from tasks.toyworld.captions import full_vocabulary


def make_scheduler() -> DDIMScheduler:
    """The noise schedule that training reads and sampling ships with.

    v-prediction, ending in pure noise (zero terminal SNR), so that brightness is the prompt's and not the noise's.
    Source: Salimans and Ho 2022, arXiv:2202.00512 (v); Lin et al. 2023, arXiv:2305.08891 (zero terminal SNR, trailing).
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def make_text_encoder(tokenizer: CLIPTokenizer, width: int = 192, layers: int = 3) -> CLIPTextModel:
    """A small CLIP text transformer; its last hidden state is what the denoiser attends to. -> [b l width]"""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def make_denoiser(
    channels: tuple[int, ...] = (64, 128, 192), latent_channels: int = 8, size: int = 16, width: int = 192
) -> UNet2DConditionModel:
    """A U-Net that attends to the text at all levels but the finest."""
    coarser = len(channels) - 1
    return UNet2DConditionModel(
        sample_size=size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * coarser,
        up_block_types=("CrossAttnUpBlock2D",) * coarser + ("UpBlock2D",),
        block_out_channels=channels,
        layers_per_block=1,
        cross_attention_dim=width,
        attention_head_dim=tuple(
            c // 32 for c in channels
        ),  # in this class the number of heads, not their width
        norm_num_groups=16,
    )


def assemble(
    out: Path,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    text_encoder: CLIPTextModel,
    denoiser: UNet2DConditionModel,
    scheduler: DDIMScheduler,
) -> None:
    """Write the parts into `out`, each taking its old self's place at once; what else lies in `out` stays.

    `model_index.json` comes last. The models keep their precision; the files hold halves.
    """
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=denoiser,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    for name, part in pipeline.components.items():
        if part is None:
            continue
        with folders.staged(out / name) as fresh:
            if name == "tokenizer":
                tokenizers.save(tokenizer, fresh)
            else:
                part.save_pretrained(fresh)
            for weights in fresh.glob("*.safetensors"):
                halves = {key: t.half().contiguous() for key, t in load_file(weights).items()}
                save_file(halves, weights, metadata={"format": "pt"})
            _forget_machine(fresh / "config.json")
    with folders.staged_file(out / "model_index.json") as fresh:
        fresh.write_text(pipeline.to_json_string())
    _forget_machine(out / "model_index.json")


def _forget_machine(config: Path) -> None:
    """Drop the folder a model was loaded from, which save_pretrained would publish."""
    if config.exists():
        values = json.loads(config.read_text())
        values.pop("_name_or_path", None)
        config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")


def main() -> None:
    """Write a miniature with random weights."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True)
    torch.manual_seed(0)
    tokenizer = tokenizers.build(full_vocabulary())
    vae = autoencoder.build(autoencoder.Params())
    denoiser = make_denoiser()
    assemble(
        parser.parse_args().out, vae, tokenizer, make_text_encoder(tokenizer), denoiser, make_scheduler()
    )


if __name__ == "__main__":
    main()
