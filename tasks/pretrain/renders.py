"""Reading a rendered split of the toyworld: pictures, masks and captions on disk, opened without loading them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tasks.pretrain.devices import moved
from tasks.shared.errors import UserError
from tasks.toyworld.captions import caption


class Renders:
    """One split, such as `data/toyworld/train`.

    Attributes:
        images: uint8 [n s s 3], sRGB, memory-mapped
        masks: uint8 [n s s], 0 background, k the k-th object, memory-mapped
        parts: uint8 [n s s], 0 background, numbers of `tasks.toyworld.primitives`, memory-mapped
        scenes: what was rendered, one dict a picture (`caption`, `setting`, `view`, `objects`, ...)
    """

    def __init__(self, folder: Path):
        """Raises:
        UserError: `folder` is not a finished split (its `manifest.json` is written last).
        """
        if not (folder / "manifest.json").exists():
            raise UserError(f"{folder}: no finished renders there; run tasks.toyworld.render first")
        self.images = np.load(folder / "images.npy", mmap_mode="r")
        self.masks = np.load(folder / "masks.npy", mmap_mode="r")
        self.parts = np.load(folder / "parts.npy", mmap_mode="r")
        lines = (folder / "scenes.jsonl").read_text(encoding="utf-8").splitlines()
        self.scenes: list[dict[str, Any]] = [json.loads(line) for line in lines]
        if not len(self.images) == len(self.masks) == len(self.scenes):
            raise UserError(f"{folder}: images, masks and scenes differ in number; render it again")

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, indices: np.ndarray, device: str | torch.device = "cpu") -> Tensor:
        """Pictures as the models take them. float -1..1 [b 3 s s]"""
        return to_pixels(self.images[np.asarray(indices)], device)

    def subjects(self, indices: np.ndarray) -> Tensor:
        """Where any object is. float 0 or 1 [b 1 s s]"""
        return torch.from_numpy(self.masks[np.asarray(indices)] > 0)[:, None].float()

    def captions(self, drawn: int, seed: int) -> list[list[str]]:
        """For every picture the caption it was rendered with and `drawn - 1` others as true. [n][drawn]"""
        return [
            [
                scene["caption"],
                *(said(scene, np.random.default_rng([seed, number, k])) for k in range(1, drawn)),
            ]
            for number, scene in enumerate(self.scenes)
        ]


def said(scene: dict[str, Any], rng: np.random.Generator) -> str:
    """A caption for a picture of which only its line of `scenes.jsonl` is left."""
    objects = tuple(
        SimpleNamespace(identity=SimpleNamespace(cls=one["class"], primary=one["colour"]))
        for one in scene["objects"]
    )
    kept = SimpleNamespace(
        objects=objects, setting=scene["setting"], view=scene["view"], style=scene["style"]
    )
    return caption(kept, rng)  # type: ignore[arg-type]


def to_pixels(images: np.ndarray, device: str | torch.device = "cpu") -> Tensor:
    """uint8 [b h w 3] -> float -1..1 [b 3 h w]"""
    bytes_there = moved(torch.from_numpy(np.ascontiguousarray(images)), device)
    return bytes_there.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_unit(images: np.ndarray) -> Tensor:
    """Pictures as the judges' processors take them. uint8 [b h w 3] -> 0..1 [b 3 h w]"""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255
