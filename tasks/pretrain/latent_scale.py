"""How long each direction of the latents is: as long as what it changes in the picture.

An autoencoder with hardly any divergence term is free to make a barely visible detail as large as the outline
of a house. A denoiser's squared error then goes to the details, and the outlines are learned last. So, when the
autoencoder is trained, its latents are turned and stretched: axes are the principal directions of what the
decoder shows, ordered by how much they show, and their spread follows it. The change is folded into the two
1 x 1 convolutions around the latents, so nothing decodes differently and a plain `scaling_factor` of 1 is true.

Why it matters for diffusion: Skorokhodov et al. 2025, arXiv:2502.14831, section 3. Their remedy is a term of
the autoencoder's loss; this one needs no training.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import Tensor

PROBE = 0.1  # of a latent's spread: a change small enough for the decoder to be linear in it


@torch.no_grad()
def pixel_metric(vae: AutoencoderKL, latents: Tensor, seed: int = 0) -> Tensor:
    """G, so that d' G d is the squared change of the picture, summed over pixels, for a change d of one latent. [c c]

    By finite differences: the decoder's answer to the same white noise in one channel after the other.

    Args:
        latents: a sample of the data's. [n c h w]
    """
    count, channels, height, width = latents.shape
    spread = latents.std((0, 2, 3))
    noise = torch.randn(count, height, width, generator=torch.Generator().manual_seed(seed)).to(latents)
    there = vae.decode(latents).sample
    answers = []
    for channel in range(channels):
        moved, probe = latents.clone(), PROBE * spread[channel].clamp(min=1e-4)
        moved[:, channel] += probe * noise
        answers.append(((vae.decode(moved).sample - there) / probe).flatten())
    answer = torch.stack(answers).double()
    return (answer @ answer.T / (count * height * width)).cpu()


def scaling_map(metric: Tensor, covariance: Tensor, emphasis: float) -> Tensor:
    """A, so that z' = A (z - mean) has independent channels whose variances are (shown variance)^emphasis, on average 1. [c c]

    Args:
        metric: as `pixel_metric` returns it. [c c]
        covariance: of the latents over data and places. [c c]
        emphasis: 1: distance between latents is distance between pictures; 0: every direction counts the same.
    """
    floor = 1e-5 * metric.diagonal().mean() * torch.eye(len(metric), dtype=metric.dtype)
    root = torch.linalg.cholesky(metric + floor).T
    shown, axes = torch.linalg.eigh(root @ covariance @ root.T)
    shown, axes = shown.flip(0).clamp(min=1e-5 * shown.max()), axes.flip(1)
    wanted = shown**emphasis
    stretch = (wanted / wanted.mean() / shown).sqrt()
    return stretch[:, None] * (axes.T @ root)


@torch.no_grad()
def rescale(vae: AutoencoderKL, latents: Tensor, emphasis: float, probes: int = 64) -> None:
    """Turn and stretch the latents of `vae`, in place, without changing what decodes from what.

    The posterior's log variance, which a turn mixes, is carried over to first order around its mean.

    Args:
        latents: a sample of the data's latents as `vae` encodes it now. [n c h w]
        emphasis: see `scaling_map`.
        probes: pictures that the decoder is probed on.
    """
    count = latents.shape[1]
    flat = latents.double().permute(1, 0, 2, 3).flatten(1)
    mean = flat.mean(1)
    turn = scaling_map(pixel_metric(vae, latents[:probes].to(vae.device)), torch.cov(flat), emphasis)
    back = torch.linalg.inv(turn)
    quant, post = vae.quant_conv, vae.post_quant_conv
    weight, bias = quant.weight[:, :, 0, 0].double().cpu(), quant.bias.double().cpu()
    variance = bias[count:].exp()
    mixed = turn.square() * variance
    share = mixed / mixed.sum(1, keepdim=True)
    weight = torch.cat([turn @ weight[:count], share @ weight[count:]])
    bias = torch.cat(
        [turn @ (bias[:count] - mean), share @ (bias[count:] - variance.log()) + mixed.sum(1).log()]
    )
    quant.weight.copy_(weight[:, :, None, None])
    quant.bias.copy_(bias)
    decode = post.weight[:, :, 0, 0].double().cpu()
    post.bias.add_((decode @ mean).to(post.bias))
    post.weight.copy_((decode @ back)[:, :, None, None])
