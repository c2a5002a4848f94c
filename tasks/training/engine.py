"""The only training loop. It knows steps, optimizers and checkpoints, and nothing of what a method trains or why.

It trains one subject, or several in one step: their rows go through the base together, and everything else (draws, losses,
gradient norms, looks, checkpoints) is each one's own.

Chance in step s is a function of the seed and s: a generator for the method's draws, and torch's own state for
dropout. So no state of a random generator has to be saved, and a run that was killed and goes on ends in the same bytes
as one that was not.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler
from torch import nn

from tasks.backbones.base import Backbone, Conditioning
from tasks.diffusion.objective import Draw, Objective
from tasks.methods.base import Method, encoded
from tasks.shared import progress
from tasks.shared.errors import UserError
from tasks.training import moving, optimizers
from tasks.training.chance import own_chance
from tasks.training.checkpoints import Checkpoints
from tasks.training.member import Member, Row, Terms, Watch
from tasks.training.options import Params

log = logging.getLogger(__name__)

FLUSH_STEPS = 10  # losses stay on the device for so many steps, then all are read at once
HELD_DRAWS = 4  # batches of the loss on the way


class Training:
    """One or more subjects being trained on one base, each as if it were alone."""

    def __init__(self, members: Sequence[Member], backbone: Backbone, options: Params):
        """Make trainable what moves.

        Args:
            options: of all; a member's seed is its own.
        Raises:
            UserError: as the method, or several cannot be trained on this base.
        """
        self.members, self.backbone, self.options = list(members), backbone, options
        self.accelerator = Accelerator(cpu=backbone.device.type == "cpu")
        if self.accelerator.num_processes > 1:
            raise UserError("fine_tune runs in one process; start it without `accelerate launch`")
        if len(self.members) > 1 and options.optimizer != "adamw":
            raise UserError(
                f"fine_tune.optimizer: {options.optimizer} looks at all numbers at once; adamw trains several subjects"
            )
        starts = [own_chance(member.seed, 0) for member in self.members]
        self.moving = moving.of([member.method for member in self.members], backbone, starts)
        self.parameters = self.moving.parameters
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
        self.networks = [module for module in backbone.modules.values() if _moves(module)]
        if options.gradient_checkpointing:
            for module in self.networks:
                _checkpoint_gradients(module, True)
        self.step = 0

    @property
    def going_on(self) -> list[int]:
        """Numbers of the members that have not failed."""
        return [number for number, member in enumerate(self.members) if member.failure is None]

    def train_all(self) -> None:
        """Train to the last step, going on from the newest checkpoint; afterwards the average, if any, is in place.

        A member whose loss stops being a number, or whose `watch` fails, leaves with its `failure`; the others go on.
        """
        if not self.parameters:
            return
        self._restore()
        self._mode(training=True)
        last, began, first = self.options.max_train_steps, time.monotonic(), self.step
        pending: list[tuple[int, dict[int, Terms], float]] = []
        for step in progress.each(range(self.step, last), "training, steps", last - self.step):
            rate = float(self.schedule.get_last_lr()[0])
            pending.append((step + 1, self._one_step(step), rate))
            self.step = step + 1
            at_end = self.step == last
            look = self.options.validation_steps and (at_end or self._due(self.options.validation_steps))
            save = any(self._due(member.checkpoints.every) for member in self.members)
            if len(pending) == FLUSH_STEPS or at_end or look or save:
                self._flush(pending)
            if look:
                self._validate()
            if save and not at_end:
                self._save()
            if not self.going_on:
                break
        if self.step > first:
            log.info(
                "trained %d steps of %d subjects, %.2f steps/s",
                self.step - first,
                len(self.members),
                (self.step - first) / (time.monotonic() - began),
            )
        self._mode(training=False)
        if self.average:
            optimizers.assign(self.parameters, self.average.values)

    def show(self, number: int) -> None:
        """Make the base what it is with this member's training alone, for looking and saving."""
        self.moving.show(number)

    def _one_step(self, step: int) -> dict[int, Terms]:
        options, sums = self.options, {number: Terms() for number in self.going_on}
        self.optimizer.zero_grad(set_to_none=True)
        for number in range(
            step * options.gradient_accumulation_steps, (step + 1) * options.gradient_accumulation_steps
        ):
            with self._losses(list(sums), number + 1, number) as found:
                every = [term for terms in found for term in terms.values()]
                loss = torch.stack(every).sum() / options.gradient_accumulation_steps
                loss.backward()
            for own, terms in zip(sums.values(), found, strict=True):
                for name, term in terms.items():
                    share = term.detach() / options.gradient_accumulation_steps
                    own[name] = own[name] + share if name in own else share
        if options.max_grad_norm:
            norms = self.moving.clip(options.max_grad_norm)
            for number, own in sums.items():
                own["grad_norm"] = norms[number]
        self.optimizer.step()
        self.schedule.step()
        if self.average:
            self.average.update(self.parameters)
        for number in sums:
            self.members[number].method.after_step(step + 1)
        return sums

    @contextmanager
    def _losses(self, numbers: list[int], chance: int, batch: int) -> Iterator[list[Terms]]:
        """Terms of some members in one pass; inside, the pass may still be gone back through."""
        if not self.moving.stacked:
            with own_chance(self.members[0].seed, chance) as generator:
                yield [self._alone(self.members[0].method, batch, generator)]
            return
        with self.moving.joined(numbers):
            yield self._together([self.members[number] for number in numbers], chance, batch)

    def _alone(self, method: Method, batch: int, generator: torch.Generator) -> Terms:
        with self._precision():
            rows = encoded(self.backbone, [method.batch(batch, generator)])[0]
            return method.loss_terms(self.backbone, rows, self.objective, generator)

    def _together(self, members: Sequence[Member], chance: int, batch: int) -> list[Terms]:
        """Each member draws by its own chance; the networks then see the rows of all at once."""
        with self._precision():
            batches, draws = [], []
            for member in members:
                with own_chance(member.seed, chance) as generator:
                    batches.append(member.method.batch(batch, generator))
                    draws.append(self.objective.draw(batches[-1].latents, generator))
            batches = encoded(self.backbone, batches)
            if len({len(one.latents) for one in batches}) > 1:
                raise UserError("subjects with batches of different sizes cannot be trained in one step")
            conditionings = cast(list[Conditioning], [one.conditioning for one in batches])
            errors = self.objective.error(
                self.backbone.predict,
                torch.cat([one.latents for one in batches]),
                Conditioning.cat(conditionings),
                Draw(torch.cat([one.noise for one in draws]), torch.cat([one.timesteps for one in draws])),
            ).chunk(len(members))
            losses = (
                self.objective.weighed(error, draw, one.masks)
                for error, draw, one in zip(errors, draws, batches, strict=True)
            )
            return [member.method.terms(own) for member, own in zip(members, losses, strict=True)]

    def _precision(self) -> AbstractContextManager[Any]:
        if self.options.mixed_precision == "fp32":
            return nullcontext()
        return torch.autocast(self.accelerator.device.type, torch.bfloat16)

    def _flush(self, pending: list[tuple[int, dict[int, Terms], float]]) -> None:
        """Read the losses of the last steps into the curves."""
        for step, sums, rate in pending:
            for number, own in sums.items():
                self.members[number].note(step, own, rate)
        pending.clear()

    def _validate(self) -> None:
        """The loss on fixed draws (comparable along the run, unlike the training loss), and whatever `watch` does."""
        self._mode(training=False)
        with self.average.applied(self.parameters) if self.average else nullcontext():
            for number in self.going_on:
                self.show(number)
                member = self.members[number]
                try:
                    member.curve[-1].update(self._look(member))
                except Exception as failure:
                    if len(self.members) == 1:
                        raise
                    log.warning("one of the subjects leaves the training: %s", failure)
                    member.failure = failure
        self._mode(training=True)

    def _look(self, member: Member) -> Row:
        totals: dict[str, float] = {}
        for number in range(HELD_DRAWS):
            with torch.no_grad(), own_chance(member.seed, -1 - number) as generator:
                for name, term in self._alone(member.method, number, generator).items():
                    totals[name] = totals.get(name, 0.0) + float(term) / HELD_DRAWS
        held = {f"held_{name}": round(total, 6) for name, total in totals.items()}
        return {**held, **(member.watch(self.step) if member.watch else {})}

    def _mode(self, training: bool) -> None:
        for module in self.networks:
            module.train(training)
            if self.options.gradient_checkpointing:
                _checkpoint_gradients(module, training)

    def _due(self, every: int) -> bool:
        return bool(every) and self.step % every == 0

    def _save(self) -> None:
        """Each member's state is that of a training of its own: it may go on alone, or among others."""
        for number in self.going_on:
            member = self.members[number]
            state = {
                "parameters": self.moving.of_member([p.detach() for p in self.parameters], number),
                "optimizer": self.moving.optimizer_state(self.optimizer, number),
                "schedule": self.schedule.state_dict(),
                "average": None,
                "curve": member.curve,
            }
            if self.average:
                state["average"] = self.moving.of_member(self.average.values, number), self.average.updates
            member.checkpoints.save(self.step, state)

    def _restore(self) -> None:
        """Go on from the newest step of which every member has a checkpoint."""
        kept = [member.checkpoints.steps() for member in self.members]
        common = max(set[int]().union(*kept).intersection(*kept), default=0)
        states = [member.checkpoints.load(self.backbone.device, common) for member in self.members]
        known = [state for state in states if state is not None]
        if len(known) < len(states):
            return
        optimizers.assign(self.parameters, self.moving.of_all([state["parameters"] for state in known]))
        self.optimizer.load_state_dict(
            self.moving.optimizer_state_of_all([state["optimizer"] for state in known])
        )
        self.schedule.load_state_dict(known[0]["schedule"])
        if self.average:
            self.average.values = self.moving.of_all([state["average"][0] for state in known])
            self.average.updates = known[0]["average"][1]
        for member, state in zip(self.members, known, strict=True):
            member.curve = state["curve"]
        self.step = common
        log.info("going on at step %d of %d", self.step, self.options.max_train_steps)


class Run(Training):
    """One method being trained on one base."""

    def __init__(self, method: Method, backbone: Backbone, options: Params, checkpoints: Checkpoints):
        super().__init__([Member(method, options.seed, checkpoints)], backbone, options)

    def train(self, watch: Watch | None = None) -> list[Row]:
        """Train, show what was learnt, and return the curve.

        Raises:
            UserError: the loss stopped being a number.
        """
        self.members[0].watch = watch
        self.train_all()
        if self.members[0].failure:
            raise self.members[0].failure
        self.show(0)
        return self.members[0].curve


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
