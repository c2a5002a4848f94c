"""One subject of a training: what it learns, by which chance, and what becomes of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from tasks.methods.base import Method
from tasks.shared.errors import UserError
from tasks.training.checkpoints import Checkpoints

Row = dict[str, float]
Terms = dict[str, Tensor]
Watch = Callable[[int], Row]


@dataclass
class Member:
    """What the engine knows of a subject.

    Attributes:
        seed: of everything that chance decides for it.
        watch: called every `validation_steps` and at the end with the number of steps done; what it returns joins the curve.
        curve: one row for each logged step: step, loss, each term by name, learning_rate, grad_norm; `held_*` now and then.
        failure: why it left the training.
    """

    method: Method
    seed: int
    checkpoints: Checkpoints
    watch: Watch | None = None
    curve: list[Row] = field(default_factory=list)
    failure: Exception | None = None

    def note(self, step: int, terms: Terms, rate: float) -> None:
        """Read the losses of a step into the curve; one that is no number is a failure, after which nothing is noted."""
        if self.failure is not None:
            return
        values = {name: round(float(value), 6) for name, value in terms.items()}
        norm = values.pop("grad_norm", 0.0)
        loss = sum(values.values())
        if math.isfinite(loss + norm):
            row = {"step": step, "loss": round(loss, 6), **values, "learning_rate": rate, "grad_norm": norm}
            self.curve.append(row)
            return
        self.failure = UserError(
            f"fine_tune: the loss is no number any more at step {step}; try half the learning_rate "
            f"({rate:g} now), mixed_precision: fp32, base.dtype: float32, or a smaller max_grad_norm"
        )
