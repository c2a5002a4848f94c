"""Stable Diffusion 1.x and 2.x: one CLIP text encoder, epsilon or v-prediction as the scheduler's configuration says.

Source: Rombach et al. 2022, arXiv:2112.10752; diffusers' StableDiffusionPipeline.
"""

from collections.abc import Sequence

from diffusers import StableDiffusionPipeline
from torch import Tensor

from tasks.backbones import base

PIPELINE = StableDiffusionPipeline
WITHOUT = {
    "safety_checker": None,
    "requires_safety_checker": False,
}  # guards look at pictures, for every base alike


class Backbone(base.Backbone):
    """A StableDiffusionPipeline."""

    def encode_prompts(self, prompts: Sequence[str], size_px: int | None = None) -> base.Conditioning:
        """The text encoder's last hidden states; `size_px` plays no part."""
        embeds, _ = self.pipeline.encode_prompt(
            list(prompts), self.device, 1, do_classifier_free_guidance=False
        )
        return base.Conditioning(embeds)

    def predict(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: base.Conditioning) -> Tensor:
        """Noise or velocity, as the base was trained."""
        denoiser = self.denoiser
        embeds = conditioning.prompt_embeds.to(denoiser.dtype)
        return denoiser(noisy_latents.to(denoiser.dtype), timesteps, embeds, return_dict=False)[0].float()
