"""A training loop that can be killed at any step and go on to the same weights.

The loss of a step is a function of the step's number (`losses(step)` draws from `draws(seed, step)`), so nothing random has
to be saved: weights, the optimizers' moments and the number of the next step are the whole state.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn


def draws(seed: int, step: int) -> np.random.Generator:
    """The random numbers of one step; the same whether or not the run was interrupted before it."""
    return np.random.default_rng([seed, step])


def optimizers(
    model: nn.Module, learning_rate: float, matrix_rate: float, weight_decay: float = 0.05
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside transformer blocks, AdamW for everything else.

    Embeddings, patch projections, norms, biases and heads are AdamW's, as the authors of Muon advise. The update of a matrix is
    scaled to AdamW's usual root mean square, so both rates are of the same kind.
    Source: Jordan et al. 2024 (Muon); Liu et al. 2025, arXiv:2502.16982, eq. 4 (scaling).
    """
    matrices, rest = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            inside = ".layers." in name or ".layer." in name or ".blocks." in name
            (matrices if inside and parameter.ndim == 2 else rest).append(parameter)
    adamw = torch.optim.AdamW(rest, lr=learning_rate, betas=(0.9, 0.98), weight_decay=weight_decay)
    if not matrices:
        return [adamw]
    muon = torch.optim.Muon(
        matrices, lr=matrix_rate, weight_decay=weight_decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    return [adamw, muon]


def warm_hold_decay(step: int, steps: int, warm: float = 0.03, decay: float = 0.5) -> float:
    """Factor on the learning rate: a linear rise, a plateau, a linear fall to nearly zero over the last `decay` of the run."""
    return min(1.0, (step + 1) / max(1.0, warm * steps), max(0.01, (steps - step) / max(1.0, decay * steps)))


def fit(
    model: nn.Module,
    losses: Callable[[int], dict[str, Tensor]],
    steps: int,
    work: Path,
    learning_rate: float = 1e-3,
    matrix_rate: float = 3e-3,
    clip: float = 1.0,
    checkpoint_every: int = 200,
    log_every: int = 50,
    watch: Callable[[int], dict[str, float]] | None = None,
    stop_at: int | None = None,
) -> list[dict[str, float]]:
    """Train to `steps`, going on from `work/checkpoint.pt` if it is there; returns the curve, also kept in `work/curve.json`.

    Args:
        losses: step -> named, already weighted scalar terms; their sum is minimised, each is logged by name.
        watch: called after every checkpoint, step -> figures that join the curve (never a held-out set).
        stop_at: return after this step with the checkpoint written (tests use it to interrupt a run).
    """
    work.mkdir(parents=True, exist_ok=True)
    opts = optimizers(model, learning_rate, matrix_rate)
    base_rates = [[group["lr"] for group in opt.param_groups] for opt in opts]
    first, curve = _restore(work, model, opts)
    sums: dict[str, float] = {}
    began, end = time.monotonic(), min(steps, stop_at or steps)
    model.train()
    for step in range(first, end):
        for opt, rates in zip(opts, base_rates, strict=True):
            for group, rate in zip(opt.param_groups, rates, strict=True):
                group["lr"] = rate * warm_hold_decay(step, steps)
            opt.zero_grad(set_to_none=True)
        terms = losses(step)
        torch.stack(list(terms.values())).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        for opt in opts:
            opt.step()
        for name, term in terms.items():
            sums[name] = sums.get(name, 0.0) + float(term.detach())
        done = step + 1
        if done % log_every == 0 or done == end:
            count = (done - 1) % log_every + 1
            row = {"step": done, **{name: round(total / count, 4) for name, total in sums.items()}}
            sums = {}
            curve.append(row)
            each = (time.monotonic() - began) / (done - first)
            print(f"{row}  {each:.2f} s/step, {each * (steps - done) / 60:.1f} min left", flush=True)
        if done % checkpoint_every == 0 or done == end:
            if watch is not None:
                model.eval()
                seen = {"step": done, **watch(done)}
                model.train()
                curve.append(seen)
                print(seen, flush=True)
            _save(work, model, opts, done, curve)
    model.eval()
    return curve


def _save(work: Path, model: nn.Module, opts: list[torch.optim.Optimizer], step: int, curve: list) -> None:
    """Write beside the old checkpoint, then rename: a reader finds the old one or the new one, never half of either."""
    state = {"step": step, "model": model.state_dict(), "optimizers": [opt.state_dict() for opt in opts]}
    torch.save(state, work / "checkpoint.tmp")
    os.replace(work / "checkpoint.tmp", work / "checkpoint.pt")
    (work / "curve.tmp").write_text(json.dumps(curve, indent=0))
    os.replace(work / "curve.tmp", work / "curve.json")


def _restore(work: Path, model: nn.Module, opts: list[torch.optim.Optimizer]) -> tuple[int, list]:
    """State of the interrupted run, or a fresh start."""
    if not (work / "checkpoint.pt").exists():
        return 0, []
    state = torch.load(work / "checkpoint.pt", weights_only=True)
    model.load_state_dict(state["model"])
    for opt, saved in zip(opts, state["optimizers"], strict=True):
        opt.load_state_dict(saved)
    curve = json.loads((work / "curve.json").read_text()) if (work / "curve.json").exists() else []
    print(f"going on at step {state['step']}", flush=True)
    return state["step"], [row for row in curve if row["step"] <= state["step"]]
