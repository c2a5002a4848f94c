"""A small convolutional network that names class, setting, body colour and view of a lone toy, and which classes a
picture of several shows: the bench's own eye.

It shares nothing with the models it judges: other architecture, other pictures (the judge-only identities), other seed. It is
trained by the bench in a few minutes and kept for these renders and settings; what it reaches on true renders stands beside every
score it gives.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.pretrain.renders import Renders, to_pixels
from tasks.shared import folders, progress, tensors
from tasks.toyworld.captions import CLASSES, COLOURS, SETTINGS
from tasks.toyworld.scene import VIEWS

ANSWERS: dict[str, list[str]] = {
    "class": list(CLASSES),
    "setting": list(SETTINGS),
    "colour": list(COLOURS),
    "view": list(VIEWS),
}
PRESENT = "present"  # the question with several right answers: which classes are there?
NOT_ASKED = -100  # what cross-entropy leaves out
WIDTHS, BATCH, LEARNING_RATE, SEED = (32, 64, 128, 192), 32, 3e-3, 7


class AttributeJudge(nn.Module):
    """Four strided stages, a mean over what is left, one linear head for each question."""

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for inside, outside in zip((3, *WIDTHS[:-1]), WIDTHS, strict=True):
            stages += [nn.Conv2d(inside, outside, 4 if inside == 3 else 3, stride=2, padding=1)]
            stages += [nn.BatchNorm2d(outside), nn.ReLU()]
            stages += [nn.Conv2d(outside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU()]
        self.trunk = nn.Sequential(*stages)
        sizes = {name: len(known) for name, known in ANSWERS.items()} | {PRESENT: len(CLASSES)}
        self.heads = nn.ModuleDict({name: nn.Linear(2 * WIDTHS[-1], size) for name, size in sizes.items()})

    def features(self, pixels: Tensor) -> Tensor:
        """What the heads look at. [b 3 s s] in [-1, 1] -> [b d]"""
        found = self.trunk(pixels)
        return torch.cat([found.mean(dim=(2, 3)), found.amax(dim=(2, 3))], dim=1)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Logits for each question. [b 3 s s] in [-1, 1] -> {question: [b answers]}"""
        pooled = self.features(pixels)
        return {name: head(pooled) for name, head in self.heads.items()}


def truth(scene: dict[str, Any]) -> dict[str, int]:
    """Right answers; NOT_ASKED for the colour of a sketch, which has none, and for what only a lone object has."""
    one = scene["objects"][0]
    if len(scene["objects"]) > 1:
        return {"setting": ANSWERS["setting"].index(scene["setting"])}
    colour = NOT_ASKED if scene["style"] == "sketch" else ANSWERS["colour"].index(one["colour"])
    return {
        "class": ANSWERS["class"].index(one["class"]),
        "setting": ANSWERS["setting"].index(scene["setting"]),
        "colour": colour,
        "view": ANSWERS["view"].index(scene["view"]),
    }


def trained(renders: Renders, folder: Path, epochs: int = 8) -> AttributeJudge:
    """The judge that `folder` keeps for these renders and settings, trained first if there is none."""
    told = [renders.scenes, ANSWERS, PRESENT, WIDTHS, BATCH, LEARNING_RATE, SEED, epochs]
    judge = AttributeJudge()
    judge.load_state_dict(_kept(folder, "attribute_judge", told, lambda: train(renders, epochs)))
    return judge.eval()


def taught_pairs(judge: AttributeJudge, pairs: Renders, folder: Path) -> AttributeJudge:
    """The judge with its head for several classes fitted anew on scenes of two, of which a usual split has few.

    The trunk stays as it is, so that nothing else that the judge says changes. Kept in `folder`, as `trained` does.
    """
    told = [pairs.scenes, _digest(judge.state_dict())]
    judge.heads[PRESENT].load_state_dict(_kept(folder, "pairs", told, lambda: _fitted(judge, pairs)))
    return judge


def _kept(folder: Path, name: str, told: list[Any], make: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """The weights that `folder` keeps for what was told, made first if there are none."""
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{name}-{digest}.safetensors"
    if not path.is_file():
        made = make()
        with folders.staged_file(path) as fresh:
            tensors.save(fresh, made.state_dict())
    return safetensors.torch.load_file(path)


def _fitted(judge: AttributeJudge, pairs: Renders, epochs: int = 40) -> nn.Linear:
    with torch.inference_mode():
        parts = [judge.features(pairs.pixels(rows)) for rows in np.array_split(np.arange(len(pairs)), 50)]
    features, wanted = torch.cat(parts).clone(), _present(pairs.scenes)
    centre, spread = features.mean(0), features.std(0) + 1e-6
    torch.manual_seed(SEED)
    head = nn.Linear(features.shape[1], wanted.shape[1])
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-3, weight_decay=0.05)
    for _ in range(epochs):
        for rows in torch.randperm(len(features)).split(256):
            optimizer.zero_grad()
            logits = head((features[rows] - centre) / spread)
            functional.binary_cross_entropy_with_logits(logits, wanted[rows]).backward()
            optimizer.step()
    with torch.no_grad():  # the scaling becomes part of the weights
        head.weight /= spread
        head.bias -= head.weight @ centre
    return head


def _digest(state: dict[str, Tensor]) -> str:
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in state.values())).hexdigest()


def train(renders: Renders, epochs: int = 8) -> AttributeJudge:
    """Fit the judge on a split of renders."""
    count = len(renders)
    answers, present = _stacked([truth(scene) for scene in renders.scenes]), _present(renders.scenes)
    torch.manual_seed(SEED)
    judge, rng = AttributeJudge().to(memory_format=torch.channels_last), np.random.default_rng(SEED)
    steps = epochs * (count // BATCH)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    order = np.concatenate([rng.permutation(count)[: count // BATCH * BATCH] for _ in range(epochs)])
    for drawn in progress.each(order.reshape(steps, BATCH), "training the bench's judge, steps", steps):
        rows = np.sort(drawn)
        pixels = renders.pixels(rows).to(memory_format=torch.channels_last)
        logits = judge(pixels * float(rng.uniform(0.8, 1.1)))
        losses = [functional.cross_entropy(logits[name], answers[name][rows]) for name in ANSWERS]
        losses.append(functional.binary_cross_entropy_with_logits(logits[PRESENT], present[rows]))
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()
        schedule.step()
    return judge.eval()


@torch.no_grad()
def right(judge: AttributeJudge, pictures: np.ndarray, asked: Sequence[dict[str, int]]) -> dict[str, float]:
    """Share of pictures in which the judge sees what was asked; a question that was not asked does not count.

    Args:
        pictures: [n s s 3] uint8
        asked: index of the right answer by question; NOT_ASKED or missing where it was not asked.
    """
    logits = [judge(to_pixels(pictures[start : start + 64])) for start in range(0, len(pictures), 64)]
    answers, shares = _stacked(asked), {}
    for name in ANSWERS:
        seen = torch.cat([part[name] for part in logits]).argmax(dim=1)
        counts = answers[name] >= 0
        if not counts.any():
            continue
        shares[name] = round(float((seen == answers[name])[counts].float().mean()), 4)
    return shares


@torch.no_grad()
def all_present(judge: AttributeJudge, pictures: np.ndarray, scenes: Sequence[dict[str, Any]]) -> float:
    """Share of pictures in which the classes that the judge believes in most are those of the scene, as many as it has.

    Args:
        pictures: [n s s 3] uint8
        scenes: each with `objects`, a list of dicts with `class`.
    """
    parts = [judge(to_pixels(pictures[start : start + 64]))[PRESENT] for start in range(0, len(pictures), 64)]
    wanted = _present(scenes).bool()
    ranks = torch.cat(parts).argsort(dim=1, descending=True).argsort(dim=1)
    seen = ranks < wanted.sum(dim=1, keepdim=True)
    return round(float((seen == wanted).all(dim=1).float().mean()), 4)


def _present(scenes: Sequence[dict[str, Any]]) -> Tensor:
    rows = [
        [float(any(one["class"] == cls for one in scene["objects"])) for cls in CLASSES] for scene in scenes
    ]
    return torch.tensor(rows)


def _stacked(asked: Sequence[dict[str, int]]) -> dict[str, Tensor]:
    return {name: torch.tensor([answer.get(name, NOT_ASKED) for answer in asked]) for name in ANSWERS}
