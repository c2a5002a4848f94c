"""The denoising objective as plain tensor mathematics: draw, add noise, target, error, weights.

Noise and timesteps are arguments, because some methods compare two models on the same draw; errors stay unreduced, because masks
weigh pixels before the mean. Source: Ho et al. 2020, arXiv:2006.11239, eq. 4 and 14 (epsilon); Salimans and Ho 2022,
arXiv:2202.00512, section 4 (v); Hang et al. 2023, arXiv:2303.09556, eq. 7 and 8 (min-SNR).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from tasks.shared.errors import UserError

Predict = Callable[[Tensor, Tensor, Any], Tensor]
"""(noisy latents, timesteps, conditioning) -> the denoiser's answer."""


@dataclass(frozen=True)
class Draw:
    """What chance decides in a training step."""

    noise: Tensor  # [b c h w]
    timesteps: Tensor  # [b], 0..T-1


@dataclass(frozen=True)
class Objective:
    """How a base was trained, and so how it is trained further."""

    alphas_cumprod: Tensor  # [T], falling from nearly 1 to nearly (or exactly) 0
    prediction_type: str  # epsilon | v_prediction
    snr_gamma: float | None = None  # None: no weights

    @staticmethod
    def of(noise_scheduler: Any, snr_gamma: float | None = None) -> "Objective":
        """The objective that a checkpoint's scheduler describes, whatever its class.

        Raises:
            UserError: it predicts something else than epsilon or v.
        """
        schedule = DDPMScheduler.from_config(noise_scheduler.config)
        kind = schedule.config.prediction_type
        if kind not in ("epsilon", "v_prediction"):
            raise UserError(
                f"base.model: its scheduler predicts {kind!r}; training knows epsilon and v_prediction"
            )
        return Objective(schedule.alphas_cumprod.double(), kind, snr_gamma)

    def draw(self, latents: Tensor, generator: torch.Generator) -> Draw:
        """Standard normal noise and uniform timesteps, one a row, drawn on the CPU in that order."""
        noise = torch.randn(latents.shape, generator=generator)
        timesteps = torch.randint(0, len(self.alphas_cumprod), (len(latents),), generator=generator)
        return Draw(noise.to(latents.device), timesteps.to(latents.device))

    def add_noise(self, latents: Tensor, draw: Draw) -> Tensor:
        """sqrt(abar_t) z + sqrt(1 - abar_t) eps. [b c h w]"""
        signal, noise = self._mix(draw.timesteps, latents)
        return signal * latents + noise * draw.noise

    def target(self, latents: Tensor, draw: Draw) -> Tensor:
        """What the denoiser should say: eps, or v = sqrt(abar_t) eps - sqrt(1 - abar_t) z. [b c h w]"""
        if self.prediction_type == "epsilon":
            return draw.noise
        signal, noise = self._mix(draw.timesteps, latents)
        return signal * draw.noise - noise * latents

    def error(self, predict: Predict, latents: Tensor, conditioning: Any, draw: Draw) -> Tensor:
        """Squared error of the denoiser, not reduced. [b c h w], >= 0"""
        prediction = predict(self.add_noise(latents, draw), draw.timesteps, conditioning)
        return (prediction.float() - self.target(latents, draw)).square()

    def snr(self, timesteps: Tensor) -> Tensor:
        """abar_t / (1 - abar_t); 0 at a zero-terminal step. [b]"""
        alphas = self.alphas_cumprod.to(timesteps.device)[timesteps]
        return alphas / (1 - alphas)

    def weights(self, timesteps: Tensor) -> Tensor:
        """Weight of each row, by its own timestep; ones without `snr_gamma`. [b]

        Min-SNR weighs the error of x0 with min(snr, gamma): min(1, gamma / snr) of the error of eps, and
        min(snr, gamma) / (snr + 1) of that of v. Both are finite at snr = 0.
        """
        if self.snr_gamma is None:
            return torch.ones(timesteps.shape, device=timesteps.device)
        snr = self.snr(timesteps)
        if self.prediction_type == "epsilon":
            return (self.snr_gamma / snr).clamp(max=1).float()
        return (snr.clamp(max=self.snr_gamma) / (snr + 1)).float()

    def row_losses(
        self, predict: Predict, latents: Tensor, conditioning: Any, draw: Draw, masks: Tensor | None = None
    ) -> Tensor:
        """Weighted mean squared error of every row. [b]

        Args:
            masks: see `masked_mean`.
        """
        return self.weighed(self.error(predict, latents, conditioning, draw), draw, masks)

    def weighed(self, error: Tensor, draw: Draw, masks: Tensor | None = None) -> Tensor:
        """Weighted mean of every row of `error`. [b]"""
        return masked_mean(error, masks) * self.weights(draw.timesteps)

    def _mix(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """sqrt(abar_t) and sqrt(1 - abar_t), each [b 1 1 1]."""
        alphas = self.alphas_cumprod.to(timesteps.device)[timesteps].view(-1, 1, 1, 1)
        return alphas.sqrt().to(like.dtype), (1 - alphas).sqrt().to(like.dtype)


def masked_mean(error: Tensor, masks: Tensor | None) -> Tensor:
    """Mean of each row's error over what its mask covers. [b]

    Divided by the mask's area, so that a small subject teaches as strongly as a large one; a row with an empty mask counts 0.

    Args:
        error: [b c h w]
        masks: share of each latent that the subject covers, 0..1, [b h w]; None: everything counts.
    """
    if masks is None:
        return error.mean(dim=(1, 2, 3))
    area = masks.sum(dim=(1, 2)).clamp(min=1e-6)
    return (error.mean(dim=1) * masks).sum(dim=(1, 2)) / area
