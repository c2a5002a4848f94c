"""DreamBooth: teach a rare token one subject, and keep its class by training on the base's own pictures of the class.

Claim: a few photos bind an identifier to a subject, and the prior term holds back drift and the loss of diversity.
Source: Ruiz et al. 2023, arXiv:2208.12242, sections 3.2 and 3.3. Trains: what its tuner moves.
Cost: two rows for each photo. Differs: identifier and prompts are given, not searched for; the loss is that of latent diffusion.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from tasks.backbones.base import Backbone
from tasks.methods import base
from tasks.shared import params, plugins, prompts
from tasks.tuners.base import Stack, Tuner


class Params(params.Params):
    """The method's own numbers."""

    tuner: dict[str, Any] = Field(
        default={"name": "lora", "rank": 8, "convolutions": True},
        description="which parameters move: `name` of a file in tasks/tuners/ and that tuner's keys",
    )
    prior_loss_weight: float = Field(
        default=1.0, ge=0, le=100, description="lambda of eq. 2; 0: no class pictures are used"
    )
    instance_prompt: str = Field(default="a {subject}", description="caption of every photo")
    class_prompt: str = Field(default="a {class}", description="caption of every class picture")


class Method(base.Method):
    """Eq. 2: the subject's reconstruction term and the weighted prior term, in one pass."""

    params: Params

    def __init__(self, params: Params):
        super().__init__(params)
        module, options = plugins.configure("tuners", params.tuner, "methods.dreambooth.tuner")
        self.tuner: Tuner = module.Tuner(options)
        self.uses_prior = params.prior_loss_weight > 0

    def observe(self, backbone: Backbone, material: base.Material) -> None:
        """Encode photos, class pictures and the two prompts."""
        templates = {"instance_prompt": self.params.instance_prompt, "class_prompt": self.params.class_prompt}
        texts = [
            prompts.filled(text, material.words, f"methods.dreambooth.{key}")
            for key, text in templates.items()
        ]
        self.text = base.Prompts(backbone, texts, material.instance.pixels.shape[1], self.tuner.trains_text)
        self.size = material.train_batch_size
        sources = [material.instance, material.prior] if self.uses_prior else [material.instance]
        self.sources = [base.Encoded(backbone, pictures, material) for pictures in sources if pictures]

    def prepare(self, backbone: Backbone) -> list[nn.Parameter]:
        """What the tuner moves."""
        return self.tuner.attach(backbone)

    def batch(self, number: int, generator: torch.Generator) -> base.Batch:
        """Photos first, then as many class pictures."""
        latents, masks = zip(
            *(source.take(number, self.size, generator) for source in self.sources), strict=True
        )
        conditioning = self.text.later(
            [prompt for prompt in range(len(self.sources)) for _ in range(self.size)]
        )
        return base.Batch(torch.cat(latents), conditioning, _joined(masks, latents))

    def terms(self, losses: Tensor) -> dict[str, Tensor]:
        """Each term is a mean over its own rows, so the weight means the same at any batch size."""
        terms = {"instance": losses[: self.size].mean()}
        if self.uses_prior:
            terms["prior"] = self.params.prior_loss_weight * losses[self.size :].mean()
        return terms

    def common(self) -> Mapping[str, Any] | None:
        """The tuner, and whether class pictures join the batch; prompts and weight are each subject's own."""
        if not self.tuner.stackable:
            return None
        tuner = {"name": self.params.tuner["name"], **self.tuner.params.model_dump(mode="json")}
        return {"tuner": tuner, "uses_prior": self.uses_prior}

    def stack(self, backbone: Backbone, starts: Sequence[AbstractContextManager[Any]]) -> Stack:
        """What the tuner moves, for several subjects."""
        return self.tuner.stack(backbone, starts)

    def save(self, backbone: Backbone, folder: Path, provenance: Mapping[str, Any]) -> None:
        """The tuner's files."""
        self.tuner.save(backbone, folder, provenance)

    @contextmanager
    def installed(self, backbone: Backbone, folder: Path) -> Iterator[None]:
        """The tuner's files, put into the base."""
        with self.tuner.installed(backbone, folder):
            yield


def _joined(masks: tuple[Tensor | None, ...], latents: tuple[Tensor, ...]) -> Tensor | None:
    """Masks of all rows; where a source has none, everything counts. None: no source has any."""
    if all(mask is None for mask in masks):
        return None
    return torch.cat([
        torch.ones_like(rows[:, 0]) if mask is None else mask for mask, rows in zip(masks, latents, strict=True)
    ])  # fmt: skip
