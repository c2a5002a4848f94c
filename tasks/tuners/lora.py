"""LoRA: a low-rank update W + (alpha / rank) B A beside every chosen weight; the base itself stays frozen.

Source: Hu et al. 2021, arXiv:2106.09685, section 4.1, as PEFT implements it.
Cost: at rank 4 on the attention of Stable Diffusion 0.8 million numbers.
Differs: `convolutions` adapts the convolutions and feed-forward layers as well (LoCon), which small bases need.

Writes `pytorch_lora_weights.safetensors` (diffusers) and `kohya.safetensors` (other programs); both hold the same numbers.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from pydantic import Field
from torch import Tensor, nn

from tasks.backbones.base import Backbone
from tasks.shared import params, tensors
from tasks.shared.errors import UserError
from tasks.tuners import _stacked_lora, base

FILE, KOHYA = "pytorch_lora_weights.safetensors", "kohya.safetensors"
ATTENTION = ["to_k", "to_out.0", "to_q", "to_v"]
FURTHER = ["conv1", "conv2", "conv_shortcut", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"]
TEXT = ["k_proj", "out_proj", "q_proj", "v_proj"]


class Params(params.Params):
    """Size and place of the update."""

    rank: int = Field(default=8, ge=1, le=1024, description="inner dimension of the update")
    alpha: int | None = Field(
        default=None, ge=1, description="update counts alpha / rank; null: alpha = rank"
    )
    convolutions: bool = Field(default=False, description="adapt convolutions and feed-forward layers too")
    text_encoder: bool = Field(default=False, description="adapt the attention of the text encoders too")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="share of inputs dropped in training")


class Tuner(base.Tuner):
    """LoRA through PEFT."""

    params: Params

    def __init__(self, params: Params):
        super().__init__(params)
        self.trains_text = params.text_encoder
        self.stackable = params.dropout == 0  # whose input is dropped is chance that subjects would share

    def attach(self, backbone: Backbone) -> list[nn.Parameter]:
        """Add the adapter; B starts at zero, so the base's pictures do not change yet."""
        for name, network in base.networks(backbone, self.trains_text).items():
            network.add_adapter(self._config(name), adapter_name=base.ADAPTER)
        moving = []
        for network in base.networks(backbone, self.trains_text).values():
            for name, parameter in network.named_parameters():
                parameter.requires_grad_("lora_" in name)
                if "lora_" in name:
                    parameter.data = parameter.data.float()
                    moving.append(parameter)
        return moving

    def stack(self, backbone: Backbone, starts: Sequence[AbstractContextManager[Any]]) -> base.Stack:
        """Attach anew for each start and keep the numbers; the last adapter stays and is shown by turns."""
        networks = base.networks(backbone, self.trains_text)
        _stacked_lora.require_fit(networks, {name: self._targets(name) for name in networks})
        values: list[list[Tensor]] = []
        for start in starts:
            if values:
                backbone.pipeline.unload_lora_weights()
            with start:
                plain = self.attach(backbone)
            values.append([parameter.detach().clone() for parameter in plain])
        return _stacked_lora.Stack(networks, plain, values)

    def save(self, backbone: Backbone, folder: Path, provenance: Mapping[str, Any]) -> None:
        """Write both files."""
        state: dict[str, Tensor] = {}
        described: dict[str, Any] = {}
        for network_name, network in base.networks(backbone, self.trains_text).items():
            layers = get_peft_model_state_dict(network, adapter_name=base.ADAPTER)
            state |= {f"{network_name}.{name}": tensor for name, tensor in layers.items()}
            config = {key: _plain(value) for key, value in self._config(network_name).to_dict().items()}
            described |= {f"{network_name}.{key}": value for key, value in config.items()}
        facts = {"dreamline": json.dumps(dict(provenance), sort_keys=True, ensure_ascii=False)}
        adapter = json.dumps(described, indent=2, sort_keys=True)
        tensors.save(folder / FILE, state, {**facts, "lora_adapter_metadata": adapter})
        scale = self.params.alpha or self.params.rank
        tensors.save(
            folder / KOHYA, kohya_names(state, scale, backbone), {**facts, **self._kohya_facts(provenance)}
        )

    @contextmanager
    def installed(self, backbone: Backbone, folder: Path) -> Iterator[None]:
        """Load the file as any user of diffusers would, and unload it afterwards."""
        if not (folder / FILE).is_file():
            raise UserError(f"{folder}: no {FILE}; run the stage 'fine_tune' again")
        try:
            try:
                backbone.pipeline.load_lora_weights(folder, weight_name=FILE, adapter_name=base.ADAPTER)
            except (RuntimeError, ValueError, KeyError) as error:
                reason = str(error).strip().splitlines()[0]
                raise UserError(f"{folder / FILE}: does not fit base.model ({reason})") from error
            for network in backbone.modules.values():
                network.requires_grad_(False).eval()
            yield
        finally:
            backbone.pipeline.unload_lora_weights()

    def _targets(self, network: str) -> list[str]:
        return ATTENTION + (FURTHER if self.params.convolutions else []) if network == "unet" else TEXT

    def _config(self, network: str) -> LoraConfig:
        return LoraConfig(
            r=self.params.rank,
            lora_alpha=self.params.alpha or self.params.rank,
            lora_dropout=self.params.dropout,
            target_modules=sorted(self._targets(network)),
            init_lora_weights="gaussian",
        )

    def _kohya_facts(self, provenance: Mapping[str, Any]) -> dict[str, str]:
        """What other programs show of a file; their names begin with `ss_` or `modelspec.`."""
        return {
            "ss_network_module": "networks.lora",
            "ss_network_dim": str(self.params.rank),
            "ss_network_alpha": str(self.params.alpha or self.params.rank),
            "ss_sd_model_name": str(provenance.get("base", {}).get("model", "")),
            "modelspec.trigger_phrase": str(provenance.get("phrase", "")),
        }


def kohya_names(state: Mapping[str, Tensor], alpha: float, backbone: Backbone) -> dict[str, Tensor]:
    """The same tensors under the names that sd-scripts introduced and most programs read.

    `unet.down_blocks.0.attn.to_q.lora_A.weight` -> `lora_unet_down_blocks_0_attn_to_q.lora_down.weight`; of one text encoder the
    prefix is `lora_te`, of two `lora_te1` and `lora_te2`.
    """
    first = "lora_te1" if len(backbone.text_encoders) > 1 else "lora_te"
    prefixes = {"unet": "lora_unet", "text_encoder": first, "text_encoder_2": "lora_te2"}
    renamed = {}
    for name, tensor in state.items():
        network, layer = name.split(".", 1)
        layer, side, _ = layer.rsplit(".", 2)
        if network != "unet" and not layer.startswith("text_model."):
            layer = f"text_model.{layer}"
        key = f"{prefixes[network]}_{layer.replace('.', '_')}"
        renamed[f"{key}.{'lora_down' if side == 'lora_A' else 'lora_up'}.weight"] = tensor
        renamed[f"{key}.alpha"] = torch.tensor(float(alpha))
    return renamed


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else value
