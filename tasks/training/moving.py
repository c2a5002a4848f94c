"""What moves in a training: the parameters of one subject alone, or those of one or several side by side.

The engine's loop asks the same of both. Whatever is kept of a member is in the form of a training of its own, so that a
checkpoint fits in any company.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from tasks.backbones.base import Backbone
from tasks.methods.base import Method
from tasks.tuners.base import NotTogether, Stack

State = dict[str, Any]


class Alone:
    """One subject that can have no company: what its method prepared."""

    stacked = False

    def __init__(self, parameters: list[nn.Parameter]):
        self.parameters = parameters  # for the optimizer and the average

    def joined(self, members: Sequence[int]) -> AbstractContextManager[None]:
        """Nothing to join."""
        return nullcontext()

    def show(self, member: int) -> None:
        """The base already shows it."""

    def clip(self, max_norm: float) -> list[Tensor]:
        """Scale gradients down to a norm; returns each member's norm before."""
        return [nn.utils.clip_grad_norm_(self.parameters, max_norm)]

    def of_member(self, tensors: Sequence[Tensor], member: int) -> list[Tensor]:
        """The member's part of tensors that are shaped as `parameters`."""
        return list(tensors)

    def of_all(self, members: Sequence[list[Tensor]]) -> list[Tensor]:
        """The reverse of `of_member`."""
        return members[0]

    def optimizer_state(self, optimizer: torch.optim.Optimizer, member: int) -> State:
        """As the member's own optimizer would give it."""
        return optimizer.state_dict()

    def optimizer_state_of_all(self, members: Sequence[State]) -> State:
        """The reverse of `optimizer_state`."""
        return members[0]


class SideBySide(Alone):
    """Subjects that may be several, each parameter a tensor [members ...]; the optimizer then treats every number by itself."""

    stacked = True

    def __init__(self, stack: Stack):
        super().__init__(stack.rows)
        self.stack = stack

    def joined(self, members: Sequence[int]) -> AbstractContextManager[None]:
        """Rows of the passes inside belong to these members."""
        return self.stack.joined(members)

    def show(self, member: int) -> None:
        """The base shows this member alone."""
        self.stack.show(member)

    @torch.no_grad()
    def clip(self, max_norm: float) -> list[Tensor]:
        """Each member by its own norm, as `clip_grad_norm_` does; one norm of all rows would be summed in another order."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        each = zip(*gradients, strict=True)
        total = torch.stack([nn.utils.get_total_norm(own) for own in each])
        scale = (max_norm / (total + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))
        return list(total)

    def of_member(self, tensors: Sequence[Tensor], member: int) -> list[Tensor]:
        """Its row of each."""
        return [tensor[member].clone() for tensor in tensors]

    def of_all(self, members: Sequence[list[Tensor]]) -> list[Tensor]:
        """Rows side by side."""
        return [torch.stack(column) for column in zip(*members, strict=True)]

    def optimizer_state(self, optimizer: torch.optim.Optimizer, member: int) -> State:
        """Moments are shaped as their parameter, counters are shared."""
        whole = optimizer.state_dict()
        state = {
            number: {
                key: value[member].clone() if value.shape == self.parameters[number].shape else value
                for key, value in entry.items()
            }
            for number, entry in whole["state"].items()
        }
        return {**whole, "state": state}

    def optimizer_state_of_all(self, members: Sequence[State]) -> State:
        """Moments side by side."""
        state = {}
        for number, first in members[0]["state"].items():
            entries = [member["state"][number] for member in members]
            shape = self.parameters[number].shape[1:]
            state[number] = {
                key: torch.stack([entry[key] for entry in entries]) if value.shape == shape else value
                for key, value in first.items()
            }
        return {**members[0], "state": state}


def of(methods: Sequence[Method], backbone: Backbone, starts: Sequence[AbstractContextManager[Any]]) -> Alone:
    """Make trainable what moves.

    A single subject moves by the same arithmetic as several wherever it can, so that company changes nothing.

    Args:
        starts: the chance by which each subject begins.
    Raises:
        UserError: as the method, or several cannot be trained on this base.
    """
    if methods[0].common() is not None:
        try:
            return SideBySide(methods[0].stack(backbone, starts))
        except NotTogether:
            if len(methods) > 1:
                raise
    with starts[0]:
        return Alone(methods[0].prepare(backbone))
