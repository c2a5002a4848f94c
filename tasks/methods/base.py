"""What every method owes the engine: one seam for each thing that a paper changes, and nothing of a loop.

An option is a module with `Params` and `Method(params)`. The engine calls, in this order: `observe`, `prepare`, then for every
step `batch`, `loss_terms` and `after_step`, at last `save`. Sampling and evaluation use `installed` only.

Several subjects can be trained in one step if their methods say what they must have in `common`; then `stack` takes the place of
`prepare`, and `terms` that of `loss_terms`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tasks.backbones.base import Backbone, Conditioning
from tasks.diffusion.objective import Objective
from tasks.methods._pictures import Encoded, Material, Pictures, Prompts, Unencoded
from tasks.shared import params, plugins
from tasks.tuners.base import Stack

__all__ = ["Batch", "Encoded", "Material", "Method", "Pictures", "Prompts", "Unencoded", "from_manifest"]


@dataclass(frozen=True)
class Batch:
    """Rows of one forward pass."""

    latents: Tensor  # [b c h w]
    conditioning: Conditioning | Unencoded  # b rows; what the engine hands to `loss_terms` is encoded
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
        """Named scalar terms, already weighted; the engine minimises their sum and logs each by name.

        The default is one plain pass, of whose rows `terms` makes the terms.
        """
        draw = objective.draw(batch.latents, generator)
        return self.terms(
            objective.row_losses(backbone.predict, batch.latents, batch.conditioning, draw, batch.masks)
        )

    def terms(self, losses: Tensor) -> dict[str, Tensor]:
        """Terms as in `loss_terms`, of the losses of a batch's rows. [b]"""
        raise NotImplementedError

    def common(self) -> Mapping[str, Any] | None:
        """What subjects must have in common to be trained in one step, as plain values; None: each is trained alone.

        Only for a method that leaves `loss_terms` as it is.
        """
        return None

    def stack(self, backbone: Backbone, starts: Sequence[AbstractContextManager[Any]]) -> Stack:
        """Like `prepare` for as many subjects as there are `starts`; each starts as `prepare` starts inside its own."""
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


def encoded(backbone: Backbone, batches: Sequence[Batch]) -> list[Batch]:
    """The batches with their prompts encoded, all in one pass of the text encoders."""
    waiting = [batch.conditioning for batch in batches if isinstance(batch.conditioning, Unencoded)]
    if not waiting:
        return list(batches)
    together = backbone.encode_prompts([text for one in waiting for text in one.prompts], waiting[0].size_px)
    first, found = 0, []
    for batch in batches:
        if isinstance(batch.conditioning, Unencoded):
            rows = [first + row for row in batch.conditioning.index]
            first += len(batch.conditioning.prompts)
            batch = replace(batch, conditioning=together.rows(rows))
        found.append(batch)
    return found


def from_manifest(facts: Mapping[str, Any]) -> Method:
    """The method that a fine_tune manifest records, with its params, ready for `installed`."""
    module = plugins.load("methods", facts["method"])
    return module.Method(params.validate(module.Params, facts["method_params"], "fine_tune/manifest.json"))
