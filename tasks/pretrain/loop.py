"""The loop both trainers share: losses on every replica at once, one step, a line now and then, a checkpoint now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from tasks.pretrain import checkpoints
from tasks.pretrain.parallel import Replicas

Losses = Callable[[int, int, nn.Module], dict[str, Tensor]]

REPORT_EVERY = 50  # steps


def run(
    replicas: Replicas,
    optimizers: list[list[torch.optim.Optimizer]],
    losses: Losses,
    *,
    rate: Callable[[int], float],
    steps: int,
    images_per_step: int,
    checkpoint_every: int,
    keep: dict[str, nn.Module],
    work: Path,
    max_grad_norm: float = 1.0,
    after_step: Callable[[int], None] | None = None,
    after_checkpoint: Callable[[int], None] | None = None,
    stop_at: int | None = None,
) -> checkpoints.Progress:
    """Train from the checkpoint in `work`, or from the start, up to `steps`.

    Args:
        losses: (step, replica, module) -> named, weighted scalar terms; their sum is minimised, each is logged by name.
        rate: step -> factor on every learning rate.
        keep: what a checkpoint holds beside the optimizers' moments.
        after_step, after_checkpoint: called with the number of steps done.
        stop_at: leave after this step, checkpoint written.
    """
    flat = [optimizer for own in optimizers for optimizer in own]
    for optimizer in flat:
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
    progress = checkpoints.restore(work, keep, flat)
    for module in replicas.modules:
        module.train()
    # as PyTorch does for convolutions; a CPU does not look at it
    torch.backends.cuda.matmul.allow_tf32 = True
    sums: dict[str, Tensor] = {}  # on the device, so that no step waits for one before it
    began, before_s, first, reported = time.monotonic(), progress.train_s, progress.step, progress.step
    reported_s = before_s
    for step in range(first, min(steps, stop_at or steps)):
        for optimizer in flat:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * rate(step)
        for terms in replicas.each(partial(_one_replica, losses, step)):
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value / len(replicas)
        norm = replicas.step(optimizers, max_grad_norm)
        sums["grad_norm"] = sums.get("grad_norm", 0.0) + norm
        progress.step = step + 1
        progress.images += images_per_step
        if after_step is not None:
            after_step(progress.step)
        progress.train_s = before_s + time.monotonic() - began
        last = progress.step == min(steps, stop_at or steps)
        if progress.step % REPORT_EVERY == 0 or last:
            means = {
                name: round(float(total) / (progress.step - reported), 5) for name, total in sums.items()
            }
            row = {"step": progress.step, "images": progress.images, **means}
            progress.curve.append(row)
            each_s = (progress.train_s - reported_s) / (progress.step - reported)
            sums, reported, reported_s = {}, progress.step, progress.train_s
            _report(row, progress, each_s, steps, images_per_step)
        if progress.step % checkpoint_every == 0 or last:
            checkpoints.save(work, progress, keep, flat)
            if after_checkpoint is not None:
                after_checkpoint(progress.step)
    return progress


def _one_replica(losses: Losses, step: int, number: int, module: nn.Module) -> dict[str, Tensor]:
    return _backward(losses(step, number, module))


def _backward(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    torch.stack(list(terms.values())).sum().backward()
    return {name: term.detach().double() for name, term in terms.items()}


def _report(
    row: dict[str, float], progress: checkpoints.Progress, each_s: float, steps: int, images_per_step: int
) -> None:
    print(
        f"{row}  {images_per_step / each_s:.1f} images/s, {progress.train_s / 60:.1f} min done, "
        f"{each_s * (steps - progress.step) / 60:.1f} min left",
        flush=True,
    )
