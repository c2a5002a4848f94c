"""Who a toy is: colours, pattern, shape and decal, drawn from a class and an integer seed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from tasks.toyworld.palette import COLOURS, contrasting

CLASSES = ["dog", "cat", "duck", "car", "robot", "teapot", "mushroom", "rocket", "house", "chair"]
PATTERNS = ["plain", "two_tone", "stripes", "spots", "diamonds", "checks"]
DECALS = ["none", "star", "heart", "disc"]
SPLITS_FILE = Path(__file__).resolve().parents[2] / "data" / "toyworld" / "identities.json"

# Axes that bands cross, per class: 0 x (left to right), 1 y (up), 2 z (nose to tail), 3 around the y axis.
_BAND_AXES = {
    "dog": (2,), "cat": (1,), "duck": (2, 1), "car": (2, 0), "robot": (1, 0),
    "teapot": (1, 3), "mushroom": (3, 1), "rocket": (1, 3), "house": (1, 0), "chair": (0, 1),
}  # fmt: skip


@dataclass(frozen=True)
class Identity:
    """One individual. Never spoken in a caption, except its class and primary colour."""

    seed: int
    cls: str
    primary: str
    secondary: str
    pattern: str
    pattern_axis: int
    pattern_scale: float  # bands (or cells) per body half-length, about 0.8..1.4
    pattern_phase: float  # 0..1
    pattern_on_head: bool
    head_tone: int  # 0 primary, 1 secondary
    accent_tone: int  # ears, wings, roof, lid...
    limb_tone: int
    shape: tuple[float, ...]  # four class-specific proportions, 0..1
    decal: str
    decal_colour: str

    @property
    def difficulty(self) -> str:
        """How hard this individual is to learn: plain, two_tone, patterned, decal or fine."""
        if self.decal != "none":
            return "decal" if self.pattern in ("plain", "two_tone") else "fine"
        return self.pattern if self.pattern in ("plain", "two_tone") else "patterned"


def draw_identity(seed: int, cls: str) -> Identity:
    """The individual of class `cls` that belongs to `seed`; the same on every machine."""
    rng = np.random.default_rng([seed, CLASSES.index(cls)])
    primary = str(rng.choice(COLOURS))
    secondary = str(rng.choice(contrasting(primary)))
    pattern = str(rng.choice(PATTERNS, p=[0.18, 0.2, 0.22, 0.16, 0.12, 0.12]))
    decal = str(rng.choice(DECALS, p=[0.72, 0.12, 0.08, 0.08]))
    if pattern in ("plain", "two_tone"):
        decal_colours = contrasting(primary)
    else:
        decal_colours = [c for c in contrasting(primary) if c in contrasting(secondary)] or ["white"]
    accent, head, limb = (int(v) for v in rng.random(3) < (0.5 if cls == "house" else 0.8, 0.2, 0.35))
    if pattern in ("stripes", "spots", "diamonds", "checks"):
        head = 0
    return Identity(
        seed=seed,
        cls=cls,
        primary=primary,
        secondary=secondary,
        pattern=pattern,
        pattern_axis=int(rng.choice(_BAND_AXES[cls])),
        pattern_scale=float(np.round(rng.uniform(0.85, 1.35), 3)),
        pattern_phase=float(np.round(rng.random(), 3)),
        pattern_on_head=bool(rng.random() < 0.5),
        head_tone=head,
        accent_tone=accent,
        limb_tone=limb,
        shape=tuple(float(np.round(v, 3)) for v in rng.random(4)),
        decal=decal,
        decal_colour=str(rng.choice(decal_colours)),
    )


@lru_cache(maxsize=8)
def split_identities(split: str) -> tuple[Identity, ...]:
    """All individuals of a frozen split ("train", "judge", "second", "toybench"), classes interleaved."""
    seeds = json.loads(SPLITS_FILE.read_text())[split]
    if split == "toybench":
        return tuple(draw_identity(row["seed"], row["class"]) for row in seeds)
    longest = max(len(column) for column in seeds.values())
    return tuple(
        draw_identity(seeds[cls][i], cls) for i in range(longest) for cls in CLASSES if i < len(seeds[cls])
    )
