"""LoRA of one or several subjects in one pass: stacked factors beside each frozen layer, one batched product for all.

PEFT's own mixed batches refuse training. Here each layer's factors are A [k r in ..] and B [k out r ..], a pass has the rows of
member after member, and PEFT's adapter rests meanwhile; it shows single members outside of the joint passes. A member's products
are of the same shape in any company, and of itself alone.

A convolution's A is a matrix product for all taps at once whose results are then shifted and added: on a CPU that takes half the
time of convolving subject by subject, and less than a grouped convolution or unfolding (bench/fleet/stacked.py has the figures).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.nn import functional

from tasks.tuners import _row_by_row, base

Update = Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]
"""(input, the frozen layer's output, A, B, scale) -> the output with every member's update."""


class Stack(base.Stack):
    """The adapters of several subjects in the layers that PEFT has wrapped."""

    def __init__(
        self, networks: Mapping[str, nn.Module], plain: Sequence[nn.Parameter], values: list[list[Tensor]]
    ):
        """Put the stacked update behind every wrapped layer of networks that `require_fit` has passed."""
        super().__init__(plain, values)
        self.members: list[int] | None = None
        self.all = list(range(len(values)))
        self.layers: list[LoraLayer] = []
        self.resting = False
        row_of = {id(parameter): row for parameter, row in zip(self.plain, self.rows, strict=True)}
        for network in networks.values():
            for module in network.modules():
                if isinstance(module, LoraLayer):
                    self._join(module, row_of)
        self.concerned = [layer for network in networks.values() for layer in _row_by_row.concerned(network)]

    @contextmanager
    def joined(self, members: Sequence[int]) -> Iterator[None]:
        """See the contract."""
        self._rest(True)
        self.members = list(members)
        try:
            with _row_by_row.alike(self.concerned):
                yield
        finally:
            self.members = None

    def show(self, member: int) -> None:
        """See the contract."""
        self._rest(False)
        super().show(member)

    def _join(self, layer: Any, row_of: Mapping[int, nn.Parameter]) -> None:
        down, up = (row_of[id(side[base.ADAPTER].weight)] for side in (layer.lora_A, layer.lora_B))
        update, scale = _update_of(layer.get_base_layer()), float(layer.scaling[base.ADAPTER])

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


def require_fit(networks: Mapping[str, nn.Module], targets: Mapping[str, Sequence[str]]) -> None:
    """Make sure, before anything is attached, that each member's result would be its own.

    Args:
        targets: ends of the paths of the layers to be adapted, by network.
    Raises:
        base.NotTogether: a base with dropout, or a layer of a kind that is not known here.
    """
    for name, network in networks.items():
        config: Any = network.config
        own = any(isinstance(module, nn.Dropout) and module.p > 0 for module in network.modules())
        if own or getattr(config, "attention_dropout", False):
            raise base.NotTogether(
                f"base.model: {name} has dropout of its own and cannot be trained for several at once"
            )
        ends = tuple(f".{target}" for target in targets[name])
        for path, module in network.named_modules():
            if f".{path}".endswith(ends) and not (isinstance(module, nn.Linear) or _only_shifts(module)):
                raise base.NotTogether(
                    f"base.model: {name}.{path} is a {type(module).__name__} that cannot be trained for several at once"
                )


def _only_shifts(layer: nn.Module) -> bool:
    """A convolution whose taps are the whole picture, shifted."""
    return (
        isinstance(layer, nn.Conv2d)
        and layer.stride == layer.dilation == (1, 1)
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def _update_of(plain: Any) -> Update:
    return linear if isinstance(plain, nn.Linear) else _convolution(plain.kernel_size, plain.padding)


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
