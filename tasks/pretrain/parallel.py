"""Data parallelism inside one process: one Python thread a core, one model a thread, all sharing their weights.

On a few cores this beats OpenMP threads inside each operator: small operators do not split well, and a team of OpenMP threads
stalls whenever another process takes one of its cores. PyTorch's operators release the interpreter lock, so the threads do run
side by side.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor, nn

Result = TypeVar("Result")


class Replicas:
    """`count` views of one module: the same parameters in the same memory, but gradients and activations of their own."""

    def __init__(self, module: nn.Module, count: int):
        self.modules = [module, *(_sharing(module) for _ in range(count - 1))]
        self.parameters = [[p for p in m.parameters() if p.requires_grad] for m in self.modules]
        self._threads = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))

    def __len__(self) -> int:
        return len(self.modules)

    def each(self, function: Callable[[int, nn.Module], Result]) -> list[Result]:
        """Call `function(number, module)` once per replica, all at the same time; results in the replicas' order."""
        futures = [
            self._threads.submit(function, number, module) for number, module in enumerate(self.modules)
        ]
        return [future.result() for future in futures]

    def step(self, optimizers: list[list[torch.optim.Optimizer]], max_grad_norm: float) -> Tensor:
        """Average the gradients into the first replica, clip them together, step every optimizer, forget the gradients.

        Args:
            optimizers: for each replica those of its part of `self.shards()`, so that each thread updates its own part.
            max_grad_norm: upper limit of the Euclidean norm of the averaged gradient; larger ones are scaled down.
        Returns:
            the norm before clipping, a scalar where the parameters are
        """
        places = self._places()

        def average(number: int, _: nn.Module) -> Tensor:
            own = [self.parameters[0][place] for place in places[number]]
            grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in own]
            for parameters in self.parameters[1:]:
                other = [parameters[place].grad for place in places[number]]
                pairs = [(a, b) for a, b in zip(grads, other, strict=True) if b is not None]
                torch._foreach_add_([a for a, _ in pairs], [b for _, b in pairs])
            torch._foreach_div_(grads, len(self))
            for parameter, grad in zip(own, grads, strict=True):
                parameter.grad = grad
            return torch.stack(torch._foreach_norm(grads)).square().sum()

        norm = torch.stack(self.each(average)).sum().sqrt()
        factor = (max_grad_norm / (norm + 1e-6)).clamp(max=1.0)  # not read here: a GPU is not waited for

        def update(number: int, module: nn.Module) -> None:
            grads = [grad for place in places[number] if (grad := self.parameters[0][place].grad) is not None]
            torch._foreach_mul_(grads, factor)
            for optimizer in optimizers[number]:
                optimizer.step()

        self.each(update)
        for module in self.modules:
            module.zero_grad(set_to_none=True)
        return norm

    def shards(self) -> list[list[nn.Parameter]]:
        """The first replica's trainable parameters dealt out to the threads, about the same number of values to each."""
        return [[self.parameters[0][place] for place in places] for places in self._places()]

    def _places(self) -> list[list[int]]:
        sizes = [p.numel() for p in self.parameters[0]]
        dealt: list[list[int]] = [[] for _ in self.modules]
        loads = [0] * len(self)
        for place in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
            lightest = loads.index(min(loads))
            dealt[lightest].append(place)
            loads[lightest] += sizes[place]
        return [sorted(places) for places in dealt]


def _sharing(module: nn.Module) -> nn.Module:
    """A copy of `module` whose parameters and buffers lie in the memory of the original's."""
    twin = copy.deepcopy(module)
    for own, other in zip(twin.parameters(), module.parameters(), strict=True):
        own.data = other.data
    for mine, theirs in zip(twin.buffers(), module.buffers(), strict=True):
        mine.data = theirs.data
    return twin
