"""Stable Diffusion XL: two text encoders, a pooled embedding and the picture's size as further conditions.

Source: Podell et al. 2023, arXiv:2307.01952, sections 2.1-2.2; diffusers' StableDiffusionXLPipeline.
Differs: pictures count as uncropped and of their own size, as our square crops are.
"""

from collections.abc import Sequence

import torch
from diffusers import StableDiffusionXLPipeline
from torch import Tensor

from tasks.backbones import base

PIPELINE = StableDiffusionXLPipeline
WITHOUT = {"add_watermarker": False}


class Backbone(base.Backbone):
    """A StableDiffusionXLPipeline."""

    def encode_prompts(self, prompts: Sequence[str], size_px: int | None = None) -> base.Conditioning:
        """Hidden states of both encoders side by side, the pooled embedding of the second, and six numbers for the size."""
        embeds, _, pooled, _ = self.pipeline.encode_prompt(
            list(prompts), device=self.device, do_classifier_free_guidance=False
        )
        return self._with_size(embeds, pooled, size_px)

    def unconditional(self, size_px: int | None = None) -> base.Conditioning:
        """Zeros where the checkpoint says so, else the empty prompt."""
        _, embeds, _, pooled = self.pipeline.encode_prompt(
            [""], device=self.device, do_classifier_free_guidance=True
        )
        return self._with_size(embeds, pooled, size_px)

    def predict(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: base.Conditioning) -> Tensor:
        """Noise or velocity, as the base was trained."""
        denoiser = self.denoiser
        added = {key: value.to(denoiser.dtype) for key, value in conditioning.added.items()}
        embeds = conditioning.prompt_embeds.to(denoiser.dtype)
        output = denoiser(
            noisy_latents.to(denoiser.dtype), timesteps, embeds, added_cond_kwargs=added, return_dict=False
        )
        return output[0].float()

    def _with_size(self, embeds: Tensor, pooled: Tensor, size_px: int | None) -> base.Conditioning:
        size = size_px or self.size_px
        time_ids = torch.tensor([[size, size, 0, 0, size, size]], dtype=embeds.dtype, device=embeds.device)
        return base.Conditioning(embeds, {"text_embeds": pooled, "time_ids": time_ids.repeat(len(embeds), 1)})

    def _latent_units(self) -> tuple[float | Tensor, float | Tensor]:
        """Some VAEs of this shape (Playground v2.5) name a centre and spread for each channel."""
        config = self.vae.config
        if getattr(config, "latents_mean", None) is None or getattr(config, "latents_std", None) is None:
            return super()._latent_units()
        centre, spread = (
            torch.tensor(values, device=self.vae.device).view(1, -1, 1, 1)
            for values in (config.latents_mean, config.latents_std)
        )
        return centre, spread / config.scaling_factor
