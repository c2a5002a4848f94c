"""What every tuner owes a method: which parameters move, a file of them, and a way to put them into a fresh base.

An option is a module with `Params` and `Tuner(params)`. A method asks one tuner and does not know which.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from tasks.backbones.base import Backbone
from tasks.shared import params

ADAPTER = "subject"
"""Name of our adapter among those of a network."""


class Tuner:
    """The contract; an option fills it in."""

    trains_text = False  # True: text encoders move too, so their embeddings must not be cached

    def __init__(self, params: params.Params):
        self.params = params

    def attach(self, backbone: Backbone) -> list[nn.Parameter]:
        """Make the parameters that move trainable, in float32, and return them in a fixed order.

        Raises:
            UserError: this base has nothing that the tuner could move.
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
