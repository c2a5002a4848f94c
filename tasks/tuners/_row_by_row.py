"""Frozen layers that give a row the same numbers whatever rows are beside it, so that company changes nothing.

PyTorch chooses kernels by the number of rows, and each rounds its own way. An optimizer that divides by the size of gradients
makes of that a few percent of an adapter (bench/fleet/stacked.py). On a CPU two choices stand in the way, and both are taken away
here: with one or two threads company changes no bit. What is left: a single row, or with two threads an odd number of rows, of a
subject; more threads, among which kernels divide their work by its size; and GPUs.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn import functional

BLOCK_ROWS = 4
"""Rows that a matrix product computes together; what is left over of few rows goes to another kernel."""


def concerned(network: nn.Module) -> list[nn.Module]:
    """Layers whose kernel goes by the number of rows, where something can be done about it."""
    if any(parameter.device.type != "cpu" for parameter in network.parameters()):
        return []
    return [module for module in network.modules() if isinstance(module, nn.Linear) or _single_tap(module)]


@contextmanager
def alike(layers: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, these layers have other kernels and the same mathematics."""
    changed = list(layers)
    for layer in changed:
        if isinstance(layer, nn.Conv2d):
            # Says nothing about a single tap; but what is dilated is never convolved by the kernel that PyTorch keeps for
            # one thread and fewer than 16 rows (aten/src/ATen/native/Convolution.cpp, use_mkldnn).
            layer.dilation = (2, 2)
        else:
            layer.forward = _in_whole_blocks(layer.forward)
    try:
        yield
    finally:
        for layer in changed:
            if isinstance(layer, nn.Conv2d):
                layer.dilation = (1, 1)
            else:
                del layer.forward


def _single_tap(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.kernel_size == module.dilation == (1, 1)


def _in_whole_blocks(plain: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A layer that fills up a batch of vectors, such as embeddings of timesteps; pictures and texts have rows enough."""

    def forward(x: Tensor) -> Tensor:
        missing = -len(x) % BLOCK_ROWS
        if x.dim() > 2 or not missing:
            return plain(x)
        return plain(functional.pad(x, (0, 0, 0, missing)))[: len(x)]

    return forward
