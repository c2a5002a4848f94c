"""LoRA of several subjects in one pass: stacked factors beside each frozen layer, one batched product for all.

PEFT's own mixed batches refuse training. Here each layer's factors are A [k r in ..] and B [k out r ..], a pass has the rows of
member after member, and PEFT's adapter rests meanwhile; it shows single members outside of the joint passes.

A convolution's A is a matrix product for all taps at once whose results are then shifted and added: on a CPU that takes half the
time of convolving subject by subject, and less than a grouped convolution or unfolding (bench/fleet/stacked.py has the figures).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora import Conv2d, Linear, LoraLayer
from torch import Tensor, nn
from torch.nn import functional

from tasks.shared.errors import UserError
from tasks.tuners import base

Update = Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]
"""(input, the frozen layer's output, A, B, scale) -> the output with every member's update."""


class Stack(base.Stack):
    """The adapters of several subjects in the layers that PEFT has wrapped."""

    def __init__(
        self, networks: Mapping[str, nn.Module], plain: Sequence[nn.Parameter], values: list[list[Tensor]]
    ):
        """Put the stacked update behind every wrapped layer.

        Raises:
            UserError: a layer of a kind or a base with dropout, where the result would not be that of training alone.
        """
        super().__init__(plain, values)
        self.members: list[int] | None = None
        self.all = list(range(len(values)))
        self.layers: list[LoraLayer] = []
        self.resting = False
        row_of = {id(parameter): row for parameter, row in zip(self.plain, self.rows, strict=True)}
        for name, network in networks.items():
            _refuse_dropout(name, network)
            for module in network.modules():
                if isinstance(module, LoraLayer):
                    self._join(name, module, row_of)

    @contextmanager
    def joined(self, members: Sequence[int]) -> Iterator[None]:
        """See the contract."""
        self._rest(True)
        self.members = list(members)
        try:
            yield
        finally:
            self.members = None

    def show(self, member: int) -> None:
        """See the contract."""
        self._rest(False)
        super().show(member)

    def _join(self, network: str, layer: Any, row_of: Mapping[int, nn.Parameter]) -> None:
        down, up = (row_of[id(side[base.ADAPTER].weight)] for side in (layer.lora_A, layer.lora_B))
        update, scale = _update_of(network, layer), float(layer.scaling[base.ADAPTER])

        def add(module: nn.Module, given: tuple[Any, ...], output: Tensor) -> Tensor | None:
            if self.members is None:
                return None
            factors = (down, up) if self.members == self.all else (down[self.members], up[self.members])
            return update(given[0].to(down.dtype), output.to(down.dtype), *factors, scale).to(output.dtype)

        layer.get_base_layer().register_forward_hook(add)
        self.layers.append(layer)

    def _rest(self, rest: bool) -> None:
        """Let PEFT's own adapter rest or work; entered at every step, so only a change costs time."""
        if self.resting != rest:
            for layer in self.layers:
                layer.enable_adapters(not rest)
            self.resting = rest


def _update_of(network: str, layer: LoraLayer) -> Update:
    if isinstance(layer, Linear):
        return linear
    plain: Any = layer.get_base_layer()
    if isinstance(layer, Conv2d):
        shifted_only = plain.stride == plain.dilation == (1, 1) and plain.groups == 1
        if shifted_only and plain.padding_mode == "zeros" and not isinstance(plain.padding, str):
            return _convolution(plain.kernel_size, plain.padding)
    raise UserError(
        f"base.model: {network} has a {type(plain).__name__} that cannot be trained for several at once"
    )


def linear(x: Tensor, output: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """W x + scale B_k A_k x; x [k*n .. in], A [k r in], B [k out r]."""
    members = len(down)
    inner = torch.bmm(x.reshape(members, -1, x.shape[-1]), down.mT)
    wide = output.reshape(members, -1, output.shape[-1])
    return torch.baddbmm(wide, inner, up.mT, alpha=scale).view(output.shape)


def _convolution(kernel: tuple[int, int], padding: tuple[int, int]) -> Update:
    turned = tuple(size - 1 - pad for size, pad in zip(kernel, padding, strict=True))

    def convolution(x: Tensor, output: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
        """W * x + scale B_k (A_k * x); x [k*n in h w], A [k r in kh kw], B [k out r 1 1]."""
        members, channels = len(down), down.shape[2]
        each = len(x) // members
        taps = down.flip(-1, -2).permute(0, 1, 3, 4, 2).reshape(members, -1, channels)
        inner = torch.bmm(_repeated(taps, each), x.flatten(2))  # [k*n r*kh*kw h*w]
        if kernel != (1, 1):
            inner = functional.fold(inner, output.shape[2:], kernel, padding=turned).flatten(2)
        wide = output.flatten(2)
        return torch.baddbmm(wide, _repeated(up.flatten(2), each), inner, alpha=scale).view(output.shape)

    return convolution


def _repeated(factor: Tensor, each: int) -> Tensor:
    """A matrix for each row of the pass. [k a b] -> [k*each a b]"""
    members, *shape = factor.shape
    return factor[:, None].expand(members, each, *shape).reshape(members * each, *shape)


def _refuse_dropout(name: str, network: Any) -> None:
    own = any(isinstance(module, nn.Dropout) and module.p > 0 for module in network.modules())
    if own or getattr(network.config, "attention_dropout", False):
        raise UserError(
            f"base.model: {name} has dropout of its own and cannot be trained for several at once"
        )
