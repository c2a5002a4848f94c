"""Optimizers and averages of parameters by name."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tasks.shared.errors import UserError

Name = Literal["adamw", "adamw8bit", "prodigy"]


def make(
    name: Name,
    parameters: Sequence[nn.Parameter],
    learning_rate: float,
    betas: tuple[float, float],
    epsilon: float,
    weight_decay: float,
) -> torch.optim.Optimizer:
    """AdamW, AdamW with 8-bit moments, or Prodigy (which finds its own rate; give it a learning rate near 1).

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101; Dettmers et al. 2022, arXiv:2110.02861; Mishchenko and Defazio 2023,
    arXiv:2306.06101.
    Raises:
        UserError: the package that has the optimizer is not installed.
    """
    options: dict[str, Any] = {
        "lr": learning_rate,
        "betas": betas,
        "eps": epsilon,
        "weight_decay": weight_decay,
    }
    if name == "adamw":
        return torch.optim.AdamW(parameters, **options, fused=parameters[0].device.type in ("cpu", "cuda"))
    try:
        if name == "prodigy":
            from prodigyopt import Prodigy

            return Prodigy(parameters, **options, use_bias_correction=True, safeguard_warmup=True)
        from bitsandbytes.optim import AdamW8bit

        return AdamW8bit(parameters, **options)
    except ImportError as error:
        package = "prodigyopt" if name == "prodigy" else "bitsandbytes"
        raise UserError(
            f"fine_tune.optimizer: {name} needs `pip install {package}`; or choose adamw ({error})"
        ) from error


class Average:
    """Exponential moving average of parameters, young at first so that a short run is not stuck at its start.

    The decay at update n is min(decay, (1 + n) / (10 + n)). Source: the schedule of TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float):
        self.decay, self.updates = decay, 0
        self.values = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self, parameters: Sequence[nn.Parameter]) -> None:
        """Move towards the parameters."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(self.values, [parameter.detach() for parameter in parameters], 1 - decay)

    @contextmanager
    def applied(self, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
        """The average in place of the parameters, which come back afterwards."""
        own = [parameter.detach().clone() for parameter in parameters]
        assign(parameters, self.values)
        try:
            yield
        finally:
            assign(parameters, own)


@torch.no_grad()
def assign(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    """Overwrite parameters in place."""
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)
