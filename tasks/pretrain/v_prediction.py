"""The denoiser's objective: what a v-predicting model predicts, at which noise, and how much an error counts."""

import numpy as np
import torch
from torch import Tensor


def velocity(latents: Tensor, noise: Tensor, signal: Tensor) -> Tensor:
    """What a v-predicting model predicts: sqrt(a) noise - sqrt(1 - a) latents. Source: arXiv:2202.00512, appendix D.

    Args:
        signal: a, the share of the picture's variance that is left. [b]
    """
    signal = signal[:, None, None, None]
    return signal.sqrt() * noise - (1 - signal).sqrt() * latents


def error_weights(signal: Tensor, gamma: float, floor: float) -> Tensor:
    """Weight of the squared v-error at each noise level: min(SNR, gamma) / (SNR + 1), but not below `floor`.

    Most of what a picture can teach early stands between much and little noise; at high noise nearly all of the
    error is chance, and a full weight there drowns the rest.
    Source: Hang et al. 2023, arXiv:2303.09556, section 3.4. Differs: the floor; with zero terminal SNR the first
    step of sampling would never be trained without it.

    Args:
        signal: a, the share of the picture's variance that is left. [b]
    """
    return torch.minimum(signal, gamma * (1 - signal)).clamp(min=floor)


def spread_timesteps(rng: np.random.Generator, count: int, steps: int) -> Tensor:
    """Timesteps, one from each `count`-th of the range, in random order: less luck per batch. int64 [count]"""
    places = (rng.permutation(count) + rng.random()) / count
    return torch.from_numpy((places * steps).astype(np.int64))
