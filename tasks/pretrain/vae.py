"""The miniature's autoencoder: 128 px pictures to 16 x 16 latents of 8 channels and back.

An ordinary diffusers `AutoencoderKL`, thin at the top so that two cores can train it in a quarter of an hour.
What the loss asks for is what the pictures are looked at for: the subject counts more than the lawn, edges
count besides colours. One picture in five shows no toy (see `textures`), so that a photograph survives the
way there and back.

When training ends the latents are turned and stretched so that what shows more is larger (see `latent_scale`),
and a plain `scaling_factor` of 1 is true.

    python -m tasks.pretrain.vae --data data/toyworld --out data/miniature/vae --work <checkpoints>
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

from tasks.pretrain import checkpoints, flags, loop, textures
from tasks.pretrain.devices import moved
from tasks.pretrain.latent_scale import rescale
from tasks.pretrain.muon import Muon
from tasks.pretrain.parallel import Replicas
from tasks.pretrain.renders import Renders, to_pixels
from tasks.shared import folders, params


class Params(params.Params):
    """Size of the autoencoder and of its training."""

    channels: tuple[int, ...] = Field(
        default=(16, 32, 64, 128), description="width of each level; every next one halves the side"
    )
    latent_channels: int = Field(default=8, description="channels of the latents")
    max_train_steps: int = Field(default=2400, description="optimizer steps")
    train_batch_size: int = Field(
        default=16, description="crops a step; whole pictures come in batches of a quarter as many"
    )
    replicas: int = Field(
        default=2, description="threads that share a step; changes the order of additions, so the last bits"
    )
    crop_px: int = Field(default=64, description="side of a crop, a multiple of 8")
    crop_share: float = Field(
        default=0.75, description="share of the steps that see crops, the others whole pictures"
    )
    other_share: float = Field(default=0.1875, description="share of the pictures that show no toys")
    other_pool: int = Field(default=1200, description="different pictures without toys")
    learning_rate: float = Field(default=6e-3, description="peak, of Muon, for kernels and matrices inside")
    adamw_learning_rate: float = Field(
        default=2e-3, description="peak, of AdamW, for the first and last convolution, norms, biases"
    )
    warmup_steps: int = Field(default=50, description="steps of linear rise")
    decay_share: float = Field(
        default=0.5, description="part of the steps, at the end, over which the rate falls to nothing"
    )
    subject_weight: float = Field(default=3.0, description="a pixel of an object counts 1 + this")
    gradient_weight: float = Field(default=1.0, description="of the differences between neighbouring pixels")
    kl_weight: float = Field(
        default=3e-4, description="of the divergence from a unit normal, nats per latent number"
    )
    emphasis: float = Field(
        default=0.2, description="1: distance between latents is distance between pictures; 0: whitened"
    )
    rescale_on: int = Field(
        default=2000, description="training pictures that the latents' spread is measured on"
    )
    checkpoint_every: int = Field(default=200, description="steps")
    device: str = Field(
        default="cpu", description="where it is trained; cuda: one GPU, for which one replica does"
    )
    seed: int = Field(default=0, description="of weights, batches and posterior noise")


def build(options: Params, size_px: int = 128) -> AutoencoderKL:
    """The randomly initialised autoencoder."""
    torch.manual_seed(options.seed)
    levels = len(options.channels)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=options.channels,
        layers_per_block=1,
        latent_channels=options.latent_channels,
        norm_num_groups=8,
        sample_size=size_px,
        scaling_factor=1.0,
        force_upcast=False,
        mid_block_add_attention=False,
    )
    return vae.to(options.device, memory_format=torch.channels_last)


def reconstruction_loss(
    recon: Tensor, pixels: Tensor, weight: Tensor, gradient_weight: float
) -> dict[str, Tensor]:
    """How far a reconstruction is from its picture, in colours and in edges; weighted means.

    Args:
        recon, pixels: -1..1. [b 3 h w]
        weight: of each pixel, mean about 1. [b 1 h w]
    """
    error = recon - pixels
    down, right = error.diff(dim=2), error.diff(dim=3)
    edges = (weight[:, :, 1:] * down.abs()).mean() + (weight[..., 1:] * right.abs()).mean()
    return {
        "l1": (weight * error.abs()).mean(),
        "l2": (weight * error.square()).mean(),
        "edges": gradient_weight * edges,
    }


def draw_batch(
    data: Renders, others: np.ndarray, options: Params, step: int, replica: int
) -> tuple[Tensor, Tensor, torch.Generator]:
    """One replica's part of a step: crops or whole pictures, some without toys.

    Returns:
        pixels -1..1 [b 3 s s], subjects 0 or 1 [b 1 s s], generator for the posterior noise
    """
    whole = checkpoints.draws(options.seed, step, 999).random() >= options.crop_share
    rng = checkpoints.draws(options.seed, step, replica)
    side = data.images.shape[1] if whole else options.crop_px
    count = max(1, options.train_batch_size // options.replicas // (4 if whole else 1))
    without = rng.binomial(count, options.other_share)
    images, masks = np.empty((count, side, side, 3), np.uint8), np.zeros((count, side, side), bool)
    for row in range(count):
        source = others if row < without else data.images
        number = rng.integers(len(source))
        top, left = rng.integers(source.shape[1] - side + 1, size=2)
        window = np.s_[number, top : top + side, left : left + side]
        images[row] = source[window]
        if row >= without:
            masks[row] = data.masks[window] > 0
    subjects = moved(torch.from_numpy(masks), options.device)[:, None].float()
    return to_pixels(images, options.device), subjects, checkpoints.torch_draws(rng, options.device)


def loss_terms(
    vae: Any, pixels: Tensor, subjects: Tensor, generator: torch.Generator, options: Params
) -> dict[str, Tensor]:
    """The weighted terms of one batch; shapes as `draw_batch` returns them."""
    posterior = vae.encode(pixels.contiguous(memory_format=torch.channels_last)).latent_dist
    recon = vae.decode(posterior.sample(generator)).sample
    weight = 1 + options.subject_weight * subjects
    terms = reconstruction_loss(recon, pixels, weight / weight.mean(), options.gradient_weight)
    return {**terms, "kl": options.kl_weight * posterior.kl().mean() / posterior.mean[0].numel()}


def make_optimizers(replicas: Replicas, options: Params) -> list[list[torch.optim.Optimizer]]:
    """For each thread: Muon for the kernels inside, AdamW for the picture's first and last convolution and all vectors."""
    vae: Any = replicas.modules[0]
    outer = {id(p) for conv in (vae.encoder.conv_in, vae.decoder.conv_out) for p in conv.parameters()}
    made = []
    for shard in replicas.shards():
        kernels = [p for p in shard if p.ndim > 1 and id(p) not in outer]
        rest = [p for p in shard if p.ndim == 1 or id(p) in outer]
        adamw = torch.optim.AdamW(rest, lr=options.adamw_learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
        made.append([Muon(kernels, lr=options.learning_rate), adamw])
    return made


def rate(step: int, options: Params) -> float:
    """Factor on the learning rates at `step`: linear rise, plateau, linear fall."""
    left = (options.max_train_steps - step) / (options.decay_share * options.max_train_steps)
    return min(1.0, (step + 1) / options.warmup_steps, left)


def train(data: Renders, work: Path, options: Params, stop_at: int | None = None) -> AutoencoderKL:
    """Train, going on from the checkpoint in `work` if there is one; the latents are not rescaled yet.

    Args:
        stop_at: return after this step with the checkpoint written (tests interrupt a run with it).
    """
    vae = build(options, data.images.shape[1])
    others = textures.pool(options.other_pool, data.images.shape[1], options.seed)
    replicas = Replicas(vae, options.replicas)
    optimizers = make_optimizers(replicas, options)

    def losses(step: int, replica: int, module: nn.Module) -> dict[str, Tensor]:
        return loss_terms(module, *draw_batch(data, others, options, step, replica), options)

    loop.run(
        replicas,
        optimizers,
        losses,
        rate=lambda step: rate(step, options),
        steps=options.max_train_steps,
        images_per_step=options.train_batch_size,
        checkpoint_every=options.checkpoint_every,
        keep={"vae": vae},
        work=work,
        stop_at=stop_at,
    )
    return vae.eval()


@torch.no_grad()
def encode(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    """The latents' means, on the CPU. -1..1 [b 3 h w] -> [b c h/8 w/8]"""
    return vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mean.float().cpu()


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """The pictures, on the CPU, not clipped. [b c h/8 w/8] -> [b 3 h w]"""
    return vae.decode(latents.to(vae.device, vae.dtype)).sample.float().cpu()


def psnr(recon: Tensor, pixels: Tensor, where: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio of each picture, dB, after rounding to -1..1.

    Args:
        recon, pixels: -1..1. [b 3 h w]
        where: only these pixels count; 0 or 1. [b 1 h w]
    """
    error = (recon.clamp(-1, 1) - pixels).square().mean(1, keepdim=True)
    where = torch.ones_like(error) if where is None else where
    mean = (error * where).sum((1, 2, 3)) / where.sum((1, 2, 3)).clamp(min=1)
    return 10 * torch.log10(4 / mean.clamp(min=1e-8))


@torch.no_grad()
def measure(vae: AutoencoderKL, data: Renders, count: int = 500) -> dict[str, float]:
    """Mean PSNR over the first `count` pictures of a split: whole picture and subject alone, dB."""
    whole, subject = [], []
    for start in range(0, min(count, len(data)), 50):
        indices = np.arange(start, min(start + 50, len(data)))
        pixels, subjects = data.pixels(indices), data.subjects(indices)
        recon = decode(vae, encode(vae, pixels))
        whole.append(psnr(recon, pixels))
        subject.append(psnr(recon, pixels, subjects)[subjects.sum((1, 2, 3)) > 0])
    return {
        "psnr_db": round(float(torch.cat(whole).mean()), 2),
        "subject_psnr_db": round(float(torch.cat(subject).mean()), 2),
    }


@torch.no_grad()
def measure_photos(vae: AutoencoderKL, folder: Path, size_px: int = 128) -> dict[str, float]:
    """Mean PSNR over the photographs in `folder/*/*.jpg`, centre squares at `size_px`: how real photos survive. dB"""
    paths = sorted(folder.glob("*/*.jpg"))
    photos = np.stack([_square(path, size_px) for path in paths])
    recon = [decode(vae, encode(vae, part)) for part in to_pixels(photos).split(32)]
    return {
        "photos": len(paths),
        "photo_psnr_db": round(float(psnr(torch.cat(recon), to_pixels(photos)).mean()), 2),
    }


def _square(path: Path, size_px: int) -> np.ndarray:
    photo = Image.open(path).convert("RGB")
    side, (width, height) = min(photo.size), photo.size
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    return np.asarray(photo.crop(box).resize((size_px, size_px), Image.Resampling.LANCZOS))


def run(data: Path, out: Path, work: Path, options: Params, photos: Path | None = None) -> dict[str, float]:
    """Train on `data/train`, rescale, measure on `data/heldout`, write `out`; returns the measures.

    Args:
        out: diffusers folder of the autoencoder, half precision, with `quality.json` beside the weights.
        photos: folder of folders of photographs, looked at only after training.
    """
    renders = Renders(data / "train")
    vae = train(renders, work, options)
    chosen = checkpoints.draws(options.seed, 0, 998).permutation(len(renders))[: options.rescale_on]
    parts = np.array_split(chosen, max(1, len(chosen) // 50))
    rescale(vae, torch.cat([encode(vae, renders.pixels(part)) for part in parts]), options.emphasis)
    vae.half().float()  # measure what is shipped
    quality = measure(vae, Renders(data / "heldout"))
    if photos is not None:
        quality |= measure_photos(vae, photos)
    with folders.staged(out) as fresh:
        vae.half().save_pretrained(fresh)
        (fresh / "quality.json").write_text(json.dumps(quality, indent=1) + "\n")
    return quality


def main() -> None:
    """Command line of this file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("data", "out", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--photos", type=Path, help="folders of photographs to measure on, never trained on")
    flags.add(parser, Params)
    given = parser.parse_args()
    print(run(given.data, given.out, given.work, flags.read(given, Params), given.photos))


if __name__ == "__main__":
    main()
