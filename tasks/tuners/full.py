"""Full fine-tuning: every weight of the denoiser moves, as in the DreamBooth paper; on request the text encoders too.

Source: Ruiz et al. 2023, arXiv:2208.12242, section 3.2.
Cost: the whole denoiser for each subject (3.4 GB for Stable Diffusion 1).
Differs: nothing; the VAE stays frozen as in every latent DreamBooth.

Writes the changed components in diffusers' layout (`unet/`, `text_encoder/`), nothing else of the base.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import Field
from safetensors import SafetensorError
from torch import nn

from tasks.backbones.base import Backbone
from tasks.shared import params, tensors
from tasks.shared.errors import UserError
from tasks.tuners import base

FILES = {"unet": "diffusion_pytorch_model.safetensors"}  # text encoders: transformers' name
TEXT_FILE = "model.safetensors"


class Params(params.Params):
    """What moves beside the denoiser."""

    text_encoder: bool = Field(default=False, description="train the text encoders too")


class Tuner(base.Tuner):
    """Every weight moves."""

    params: Params

    def __init__(self, params: Params):
        super().__init__(params)
        self.trains_text = params.text_encoder

    def attach(self, backbone: Backbone) -> list[nn.Parameter]:
        """Unfreeze; half-precision weights become float32, since small updates would vanish in them."""
        moving: list[nn.Parameter] = []
        for network in base.networks(backbone, self.trains_text).values():
            network.float().requires_grad_(True)
            moving += network.parameters()
        return moving

    def save(self, backbone: Backbone, folder: Path, provenance: Mapping[str, Any]) -> None:
        """Write each changed component with its configuration."""
        facts = {"dreamline": json.dumps(dict(provenance), sort_keys=True, ensure_ascii=False)}
        for name, network in base.networks(backbone, self.trains_text).items():
            (folder / name).mkdir()
            if name == "unet":
                config = {key: value for key, value in network.config.items() if not key.startswith("_name")}
                text = json.dumps({"_class_name": type(network).__name__, **config}, indent=2, sort_keys=True)
                (folder / name / "config.json").write_text(text + "\n")
            else:
                network.config.save_pretrained(folder / name)
            tensors.save(folder / name / FILES.get(name, TEXT_FILE), network.state_dict(), facts)

    @contextmanager
    def installed(self, backbone: Backbone, folder: Path) -> Iterator[None]:
        """Exchange the weights; the base's own wait on the CPU."""
        networks = base.networks(backbone, self.trains_text)
        kept = {
            name: {key: tensor.detach().to("cpu", copy=True) for key, tensor in network.state_dict().items()}
            for name, network in networks.items()
        }
        try:
            for name, network in networks.items():
                file = folder / name / FILES.get(name, TEXT_FILE)
                try:
                    network.load_state_dict(safetensors.torch.load_file(file))
                except FileNotFoundError as error:
                    raise UserError(f"{file}: missing; run the stage 'fine_tune' again") from error
                except (RuntimeError, SafetensorError) as error:
                    reason = str(error).strip().splitlines()[0]
                    raise UserError(f"{file}: does not fit base.model ({reason})") from error
            yield
        finally:
            with torch.no_grad():
                for name, network in networks.items():
                    network.load_state_dict(kept[name])
