"""What every tuner owes a method: which parameters move, a file of them, and a way to put them into a fresh base.

An option is a module with `Params` and `Tuner(params)`. A method asks one tuner and does not know which.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tasks.backbones.base import Backbone
from tasks.shared import params
from tasks.shared.errors import UserError

ADAPTER = "subject"
"""Name of our adapter among those of a network."""


class NotTogether(UserError):
    """This base cannot train several subjects at once; each by itself it can."""


class Stack:
    """What one or several subjects move, side by side in one base, so that one pass trains them all.

    Attributes:
        rows: what moves, each [members ...]; row k is member k's, shaped as `attach` has it.
    """

    def __init__(self, plain: Sequence[nn.Parameter], values: Sequence[Sequence[Tensor]]):
        """Begin with the members' values of what `attach` returned, now `plain`."""
        self.plain = list(plain)
        self.rows = [nn.Parameter(torch.stack(list(column))) for column in zip(*values, strict=True)]

    @contextmanager
    def joined(self, members: Sequence[int]) -> Iterator[None]:
        """Rows of the passes inside belong to these members: equally many each, one member after the other.

        It must last over the backward pass too. Members that are not named get a gradient of zero.
        """
        raise NotImplementedError
        yield

    @torch.no_grad()
    def show(self, member: int) -> None:
        """The base becomes what it would be if this member had been trained alone, until the next `joined`."""
        for parameter, row in zip(self.plain, self.rows, strict=True):
            parameter.copy_(row[member])


class Tuner:
    """The contract; an option fills it in."""

    trains_text = False  # True: text encoders move too, so their embeddings must not be cached
    stackable = False  # True: `stack` is there, and company changes a member's result by rounding at most

    def __init__(self, params: params.Params):
        self.params = params

    def attach(self, backbone: Backbone) -> list[nn.Parameter]:
        """Make the parameters that move trainable, in float32, and return them in a fixed order.

        Raises:
            UserError: this base has nothing that the tuner could move.
        """
        raise NotImplementedError

    def stack(self, backbone: Backbone, starts: Sequence[AbstractContextManager[Any]]) -> Stack:
        """Like `attach` for as many subjects as there are `starts`; each starts as `attach` starts inside its own.

        Raises:
            NotTogether: this base cannot train several at once; nothing is attached then.
            UserError: as `attach`.
        """
        raise NotImplementedError

    def save(self, backbone: Backbone, folder: Path, provenance: Mapping[str, Any]) -> None:
        """Write what moved as safetensors that stock diffusers loads.

        Args:
            provenance: facts for the files' metadata; no personal data.
        """
        raise NotImplementedError

    @contextmanager
    def installed(self, backbone: Backbone, folder: Path) -> Iterator[None]:
        """Put a saved result into a base; afterwards the base is bit for bit what it was.

        Raises:
            UserError: the files are missing or belong to another base.
        """
        raise NotImplementedError
        yield


def networks(backbone: Backbone, text: bool) -> dict[str, Any]:
    """Networks a tuner may move, by diffusers component name: the denoiser, and on request the text encoders."""
    return {"unet": backbone.denoiser, **(backbone.text_encoders if text else {})}
