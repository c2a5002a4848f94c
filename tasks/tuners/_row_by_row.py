"""Frozen layers that give a row the same numbers whatever rows are beside it, so that company changes nothing.

PyTorch chooses kernels by the number of rows, and each rounds its own way. An optimizer that divides by the size of gradients
makes of that a few percent of an adapter (bench/fleet/stacked.py). On a CPU those choices are taken away here: with one or two
threads company changes no bit. What is left: more threads, among which kernels divide their work by its size, and GPUs.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn import functional

BLOCK_ROWS = 4
"""Rows that a matrix product computes together; what is left over of few rows goes to another kernel."""
SMALL = 20_480
"""A single row of so many numbers is not convolved by oneDNN (aten/src/ATen/native/Convolution.cpp, use_mkldnn)."""


def concerned(network: nn.Module) -> list[nn.Module]:
    """Frozen layers whose kernel goes by the number of rows, where something can be done about it; no adapter's own."""
    if any(parameter.device.type != "cpu" for parameter in network.parameters()):
        return []
    layers = [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return [layer for layer in layers if not layer.weight.requires_grad]


@contextmanager
def alike(layers: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, these layers have other kernels and the same mathematics."""
    changed = list(layers)
    convolutions = [layer for layer in changed if isinstance(layer, nn.Conv2d)]
    single_taps = [layer for layer in convolutions if layer.kernel_size == layer.dilation == (1, 1)]
    for layer in changed:
        layer.forward = _filled_up(layer, layer.forward)
    for layer in single_taps:
        # Says nothing about a single tap; but what is dilated is never convolved by the kernel that PyTorch keeps for one
        # thread and fewer than 16 rows (use_mkldnn, as above).
        layer.dilation = (2, 2)
    try:
        yield
    finally:
        for layer in single_taps:
            layer.dilation = (1, 1)
        for layer in changed:
            del layer.forward


def _filled_up(layer: nn.Module, plain: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The layer's forward with the rows that are missing for the kernel of larger batches."""

    def forward(x: Tensor) -> Tensor:
        missing = _missing(layer, x)
        if not missing:
            return plain(x)
        return plain(functional.pad(x, (0, 0) * (x.dim() - 1) + (0, missing)))[: len(x)]

    return forward


def _missing(layer: nn.Module, x: Tensor) -> int:
    if isinstance(
        layer, nn.Linear
    ):  # vectors, such as embeddings of timesteps; pictures and texts have rows enough
        return -len(x) % BLOCK_ROWS if x.dim() == 2 else 0
    if isinstance(layer, nn.Conv2d) and layer.stride != (
        1,
        1,
    ):  # two threads share the way back differently if rows are odd
        return len(x) % 2
    return int(len(x) == 1 and x.numel() <= SMALL)
