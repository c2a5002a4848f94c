"""Where an interrupted training goes on: one folder, replaced as a whole, so a reader finds the last state or
the one before.

Nothing random is kept. All draws of a step come from `draws(seed, step)`, a function of the step's number, so
weights, moments and that number are the whole state.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tasks.shared import folders

NAME = "checkpoint"


def draws(seed: int, step: int, replica: int = 0) -> np.random.Generator:
    """The random numbers of one replica's part of one step; the same whether or not the run was interrupted before it."""
    return np.random.default_rng([seed, step, replica])


def torch_draws(rng: np.random.Generator, device: str = "cpu") -> torch.Generator:
    """A torch generator seeded by the next number of `rng`; what it draws depends on the device."""
    return torch.Generator(device).manual_seed(int(rng.integers(2**62)))


def indices_of_step(count: int, batch: int, step: int, seed: int) -> np.ndarray:
    """Which of `count` examples step number `step` sees: every one once per epoch, shuffled anew each epoch. int64 [batch]"""
    places = np.arange(step * batch, (step + 1) * batch)
    orders = {
        epoch: np.random.default_rng([seed, epoch, 1_000_003]).permutation(count)
        for epoch in np.unique(places // count)
    }
    return np.array([orders[place // count][place % count] for place in places])


@dataclass
class Progress:
    """How far a training has come."""

    step: int = 0  # steps done
    images: int = 0  # pictures seen in them
    train_s: float = 0.0  # wall time spent in them
    curve: list[dict[str, float]] = field(default_factory=list)  # one row per report


def save(
    work: Path, progress: Progress, modules: dict[str, nn.Module], optimizers: list[torch.optim.Optimizer]
) -> None:
    """Replace the checkpoint in `work`: each module as safetensors, the optimizers' moments, the scalars as JSON."""
    with folders.staged(work / NAME) as fresh:
        for name, module in modules.items():
            save_file(_own_memory(module), fresh / f"{name}.safetensors")
        torch.save([optimizer.state_dict() for optimizer in optimizers], fresh / "optimizers.pt")
        (fresh / "progress.json").write_text(json.dumps(vars(progress)))
    with folders.staged_file(work / "curve.json") as fresh:
        fresh.write_text(json.dumps(progress.curve, indent=0) + "\n")


def restore(work: Path, modules: dict[str, nn.Module], optimizers: list[torch.optim.Optimizer]) -> Progress:
    """Put the checkpoint's state into `modules` and `optimizers`, in place; without one, leave them as they are.

    Without `optimizers` only the modules are read. In place, because replicas of a module share its memory (see `parallel`).
    """
    folder = work / NAME
    if not (folder / "progress.json").exists():
        return Progress()
    with torch.no_grad():
        for name, module in modules.items():
            saved = load_file(folder / f"{name}.safetensors")
            for key, tensor in module.state_dict().items():
                tensor.copy_(saved[key])
    if optimizers:
        states = torch.load(folder / "optimizers.pt", weights_only=True)
        for optimizer, state in zip(optimizers, states, strict=True):
            optimizer.load_state_dict(state)
    return Progress(**json.loads((folder / "progress.json").read_text()))


def _own_memory(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in module.state_dict().items()}
