"""The only training loop. It knows steps, optimizers and checkpoints, and nothing of what a method trains or why.

Chance in step s is a function of the seed and s: a generator for the method's draws, and torch's own state for
dropout. So no state of a random generator has to be saved, and a run that was killed and goes on ends in the same bytes
as one that was not.
"""

import hashlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler
from torch import Tensor, nn

from tasks.backbones.base import Backbone
from tasks.diffusion.objective import Objective
from tasks.methods.base import Method
from tasks.shared import progress
from tasks.shared.errors import UserError
from tasks.training import optimizers
from tasks.training.checkpoints import Checkpoints
from tasks.training.options import Params

log = logging.getLogger(__name__)

FLUSH_STEPS = 10  # losses stay on the device for so many steps, then all are read at once
HELD_DRAWS = 4  # batches of the loss on the way
Row = dict[str, float]
Watch = Callable[[int], Row]


class Run:
    """One method being trained on one base."""

    def __init__(self, method: Method, backbone: Backbone, options: Params, checkpoints: Checkpoints):
        self.method, self.backbone, self.options, self.checkpoints = method, backbone, options, checkpoints
        self.accelerator = Accelerator(cpu=backbone.device.type == "cpu")
        if self.accelerator.num_processes > 1:
            raise UserError("fine_tune runs in one process; start it without `accelerate launch`")
        with own_chance(options.seed, 0):
            self.parameters = method.prepare(backbone)
        if not self.parameters:
            return
        self.objective = Objective.of(backbone.noise_scheduler, options.snr_gamma)
        self.optimizer = optimizers.make(
            options.optimizer,
            self.parameters,
            options.learning_rate,
            (options.adam_beta1, options.adam_beta2),
            options.adam_epsilon,
            options.weight_decay,
        )
        self.schedule = get_scheduler(
            options.lr_scheduler,
            self.optimizer,
            num_warmup_steps=options.lr_warmup_steps,
            num_training_steps=options.max_train_steps,
        )
        self.average = optimizers.Average(self.parameters, options.ema_decay) if options.ema_decay else None
        self.moving = [module for module in backbone.modules.values() if _moves(module)]
        if options.gradient_checkpointing:
            for module in self.moving:
                _checkpoint_gradients(module, True)
        self.curve: list[Row] = []
        self.step = 0

    def train(self, watch: Watch | None = None) -> list[Row]:
        """Train to the last step, going on from the newest checkpoint; afterwards the average, if any, is in place.

        Args:
            watch: called every `validation_steps` and at the end with the number of steps done; what it returns joins the curve.
        Returns:
            One row for each logged step: step, loss, each term by name, learning_rate, grad_norm; `held_*` now and then.
        Raises:
            UserError: the loss stopped being a number.
        """
        if not self.parameters:
            return []
        self._restore()
        self._mode(training=True)
        last, began, first = self.options.max_train_steps, time.monotonic(), self.step
        pending: list[tuple[int, dict[str, Tensor], float]] = []
        for step in progress.each(range(self.step, last), "training, steps", last - self.step):
            rate = float(self.schedule.get_last_lr()[0])
            pending.append((step + 1, self._one_step(step), rate))
            self.step = step + 1
            at_end = self.step == last
            look = self.options.validation_steps and (at_end or self._due(self.options.validation_steps))
            if len(pending) == FLUSH_STEPS or at_end or look or self._due(self.checkpoints.every):
                self._flush(pending)
            if look:
                self._validate(watch)
            if self._due(self.checkpoints.every) and not at_end:
                self._save()
        if self.step > first:
            log.info(
                "trained %d steps, %.2f steps/s", last - first, (last - first) / (time.monotonic() - began)
            )
        self._mode(training=False)
        if self.average:
            optimizers.assign(self.parameters, self.average.values)
        return self.curve

    def _one_step(self, step: int) -> dict[str, Tensor]:
        options, sums = self.options, dict[str, Tensor]()
        self.optimizer.zero_grad(set_to_none=True)
        for number in range(
            step * options.gradient_accumulation_steps, (step + 1) * options.gradient_accumulation_steps
        ):
            with own_chance(options.seed, number + 1) as generator:
                terms = self._terms(number, generator)
                loss = torch.stack(list(terms.values())).sum() / options.gradient_accumulation_steps
                loss.backward()
            for name, term in terms.items():
                share = term.detach() / options.gradient_accumulation_steps
                sums[name] = sums[name] + share if name in sums else share
        if options.max_grad_norm:
            sums["grad_norm"] = nn.utils.clip_grad_norm_(self.parameters, options.max_grad_norm)
        self.optimizer.step()
        self.schedule.step()
        if self.average:
            self.average.update(self.parameters)
        self.method.after_step(step + 1)
        return sums

    def _terms(self, number: int, generator: torch.Generator) -> dict[str, Tensor]:
        with self._precision():
            batch = self.method.batch(number, generator)
            return self.method.loss_terms(self.backbone, batch, self.objective, generator)

    def _precision(self) -> AbstractContextManager[Any]:
        if self.options.mixed_precision == "fp32":
            return nullcontext()
        return torch.autocast(self.accelerator.device.type, torch.bfloat16)

    def _flush(self, pending: list[tuple[int, dict[str, Tensor], float]]) -> None:
        """Read the losses of the last steps into the curve."""
        for step, sums, rate in pending:
            values = {name: round(float(value), 6) for name, value in sums.items()}
            norm = values.pop("grad_norm", 0.0)
            loss = sum(values.values())
            if not math.isfinite(loss + norm):
                raise UserError(
                    f"fine_tune: the loss is no number any more at step {step}; try half the learning_rate "
                    f"({rate:g} now), mixed_precision: fp32, base.dtype: float32, or a smaller max_grad_norm"
                )
            row = {"step": step, "loss": round(loss, 6), **values, "learning_rate": rate, "grad_norm": norm}
            self.curve.append(row)
        pending.clear()

    def _validate(self, watch: Watch | None) -> None:
        """The loss on fixed draws (comparable along the run, unlike the training loss), and whatever `watch` does."""
        self._mode(training=False)
        with self.average.applied(self.parameters) if self.average else nullcontext():
            totals: dict[str, float] = {}
            for number in range(HELD_DRAWS):
                with torch.no_grad(), own_chance(self.options.seed, -1 - number) as generator:
                    for name, term in self._terms(number, generator).items():
                        totals[name] = totals.get(name, 0.0) + float(term) / HELD_DRAWS
            held = {f"held_{name}": round(total, 6) for name, total in totals.items()}
            self.curve[-1].update(held)
            if watch is not None:
                self.curve[-1].update(watch(self.step))
        self._mode(training=True)

    def _mode(self, training: bool) -> None:
        for module in self.moving:
            module.train(training)
            if self.options.gradient_checkpointing:
                _checkpoint_gradients(module, training)

    def _due(self, every: int) -> bool:
        return bool(every) and self.step % every == 0

    def _save(self) -> None:
        self.checkpoints.save(
            self.step,
            {
                "parameters": [parameter.detach() for parameter in self.parameters],
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "average": (self.average.values, self.average.updates) if self.average else None,
                "curve": self.curve,
            },
        )

    def _restore(self) -> None:
        state = self.checkpoints.load(self.backbone.device)
        if state is None:
            return
        optimizers.assign(self.parameters, state["parameters"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.average:
            self.average.values, self.average.updates = state["average"]
        self.curve, self.step = state["curve"], state["step"]
        log.info("going on at step %d of %d", self.step, self.options.max_train_steps)


@contextmanager
def own_chance(seed: int, number: int) -> Iterator[torch.Generator]:
    """A CPU generator for one batch; torch's global generators are set likewise and put back afterwards."""
    digest = hashlib.sha256(f"{seed}:{number}".encode()).digest()
    value = int.from_bytes(digest[:8], "little") >> 1
    with torch.random.fork_rng():
        torch.manual_seed(value)
        yield torch.Generator().manual_seed(value)


def _moves(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _checkpoint_gradients(module: Any, on: bool) -> None:
    """Recompute activations in the backward pass; diffusers and transformers name the switch differently."""
    names = ("enable_gradient_checkpointing", "gradient_checkpointing_enable") if on else (
        "disable_gradient_checkpointing", "gradient_checkpointing_disable"
    )  # fmt: skip
    for name in names:
        if hasattr(module, name):
            getattr(module, name)()
            return
