"""How the judges and the segmenter are fitted: one model on one thread, Muon for the blocks' matrices, a rate
that rises, stays and falls.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from tasks.pretrain import loop
from tasks.pretrain.muon import Muon
from tasks.pretrain.parallel import Replicas
from tasks.shared import folders


def optimizers(
    model: nn.Module, learning_rate: float, matrix_rate: float, weight_decay: float = 0.05
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside transformer blocks, AdamW for embeddings, patch projections, norms, biases
    and heads.
    """
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            inside = any(part in name for part in (".layers.", ".layer.", ".blocks."))
            (matrices if inside and parameter.ndim == 2 else rest).append(parameter)
    return [
        torch.optim.AdamW(rest, lr=learning_rate, betas=(0.9, 0.98), weight_decay=weight_decay),
        Muon(matrices, lr=matrix_rate, weight_decay=weight_decay),
    ]


def warm_hold_decay(step: int, steps: int, warm: float = 0.03, decay: float = 0.5) -> float:
    """Factor on the learning rate: a linear rise, a plateau, a linear fall to nearly zero over the last
    `decay` of the run.
    """
    return min(1.0, (step + 1) / max(1.0, warm * steps), max(0.01, (steps - step) / max(1.0, decay * steps)))


def fit(
    model: nn.Module,
    losses: Callable[[int], dict[str, Tensor]],
    steps: int,
    images_per_step: int,
    work: Path,
    learning_rate: float,
    matrix_rate: float,
    watch: Callable[[], dict[str, float]],
    stop_at: int | None = None,
) -> bool:
    """Train to `steps`, going on from the checkpoint in `work` if there is one; True when that is reached.

    Args:
        losses: step -> named, already weighted scalar terms.
        work: holds the checkpoint, `curve.json` and `watched.json`; tied to one set of params.
        watch: figures beside every checkpoint, on pictures that are neither trained on nor held out.
        stop_at: return after this step with the checkpoint written, as if killed there.
    """

    def watched(step: int) -> None:
        model.eval()
        row = {"step": step, **watch()}
        model.train()
        print(row, flush=True)
        path = work / "watched.json"
        earlier = json.loads(path.read_text()) if path.exists() and step else []
        with folders.staged_file(path) as fresh:
            fresh.write_text(
                json.dumps([*(old for old in earlier if old["step"] < step), row], indent=0) + "\n"
            )

    progress = loop.run(
        Replicas(model, 1),
        [optimizers(model, learning_rate, matrix_rate)],
        lambda step, _replica, _model: losses(step),
        rate=lambda step: warm_hold_decay(step, steps),
        steps=steps,
        images_per_step=images_per_step,
        checkpoint_every=max(100, steps // 20),
        keep={"model": model},
        work=work,
        after_checkpoint=watched,
        stop_at=stop_at,
    )
    model.eval()
    return progress.step >= steps
