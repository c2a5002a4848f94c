"""What every method owes the engine: one seam for each thing that a paper changes, and nothing of a loop.

An option is a module with `Params` and `Method(params)`. The engine calls, in this order: `observe`, `prepare`, then for every
step `batch`, `loss_terms` and `after_step`, at last `save`. Sampling and evaluation use `installed` only.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tasks.backbones.base import Backbone, Conditioning
from tasks.diffusion.objective import Objective
from tasks.methods._pictures import Encoded, Material, Pictures, Prompts
from tasks.shared import params, plugins

__all__ = ["Batch", "Encoded", "Material", "Method", "Pictures", "Prompts", "from_manifest"]


@dataclass(frozen=True)
class Batch:
    """Rows of one forward pass."""

    latents: Tensor  # [b c h w]
    conditioning: Conditioning  # b rows
    masks: Tensor | None = None  # [b h w], share of each latent that counts


class Method:
    """The contract with empty defaults; a method fills in what it needs and never extends another method."""

    uses_prior = False  # True: the class prior is needed

    def __init__(self, params: params.Params):
        self.params = params

    def observe(self, backbone: Backbone, material: Material) -> None:
        """A first look at the frozen base and the pictures: encode what does not change, or learn without a loop."""

    def prepare(self, backbone: Backbone) -> list[nn.Parameter]:
        """Make trainable what moves, and return it in a fixed order; nothing: the engine does not loop."""
        return []

    def batch(self, number: int, generator: torch.Generator) -> Batch:
        """Rows for the batch with this running number; chance comes from `generator` (CPU) only."""
        raise NotImplementedError

    def loss_terms(
        self, backbone: Backbone, batch: Batch, objective: Objective, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Named scalar terms, already weighted; the engine minimises their sum and logs each by name."""
        raise NotImplementedError

    def after_step(self, step: int) -> None:
        """Called when `step` steps are done, for schedules of the method's own."""

    def save(self, backbone: Backbone, folder: Path, provenance: Mapping[str, Any]) -> None:
        """Write what was learnt, as safetensors.

        Args:
            provenance: facts for the files' metadata; no personal data.
        """
        raise NotImplementedError

    @contextmanager
    def installed(self, backbone: Backbone, folder: Path) -> Iterator[None]:
        """Personalise a base with what `save` wrote; afterwards the base is bit for bit what it was."""
        raise NotImplementedError
        yield


def from_manifest(facts: Mapping[str, Any]) -> Method:
    """The method that a fine_tune manifest records, with its params, ready for `installed`."""
    module = plugins.load("methods", facts["method"])
    return module.Method(params.validate(module.Params, facts["method_params"], "fine_tune/manifest.json"))
