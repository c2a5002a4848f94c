"""Muon, for matrices and convolutions: the momentum's direction with all its singular values set to about one.

Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks", with the scaling of Liu et al. 2025,
arXiv:2502.16982, eq. 4. Differs: a convolution's kernel is taken as the matrix [out, in * kh * kw]; kernels of one shape are
orthogonalised together. (PyTorch's own `torch.optim.Muon` takes matrices only.)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration, tuned for a steep slope at zero


def orthogonalised(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Newton-Schulz: the nearest matrices with orthonormal rows or columns, to within some 30 % of each singular value.

    Args:
        matrices: any scale. [n r c]
        iterations: five take singular values of 0.01 and more to about one.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, as large as an Adam update would be.

    Args:
        parameters: matrices [out in] or kernels [out in kh kw].
        lr: of the same kind as AdamW's, since updates are scaled to a root mean square of 0.2.
        momentum: 0..1; 0 keeps nothing of earlier gradients.
        weight_decay: decoupled, times `lr` each step.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            shapes: dict[tuple[int, int], list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault((len(parameter), parameter[0].numel()), []).append(parameter)
            for (rows, columns), members in shapes.items():
                directions = torch.stack(
                    [self._momentum(p, group["momentum"]).reshape(rows, columns) for p in members]
                )
                scale = 0.2 * max(rows, columns) ** 0.5
                for parameter, update in zip(members, orthogonalised(directions), strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update.reshape(parameter.shape), alpha=-group["lr"] * scale)

    def _momentum(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        assert parameter.grad is not None, "step() passes only parameters that have a gradient"
        state["momentum"].lerp_(parameter.grad, 1 - momentum)
        return torch.lerp(parameter.grad, state["momentum"], momentum)
