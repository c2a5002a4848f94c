"""The bench's subjects: ToyBench's thirty, and for each a twin that differs in its decal only (`<name>-twin`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from bench.toybench.lookalikes import twins
from tasks.toyworld.identity import Identity
from tasks.toyworld.scene import Scene
from tasks.toyworld.subjects import subject_identity, subject_scenes, subjects

TWIN = "-twin"


@dataclass(frozen=True)
class Toy:
    """One subject."""

    name: str
    identity: Identity
    twin: Identity  # who it must not be taken for
    difficulty: str
    scenes: tuple[Scene, ...]  # of its photos; a twin's are the same but for the toy


@lru_cache(maxsize=64)
def toy(name: str) -> Toy:
    """A subject by name.

    Raises:
        KeyError: no such subject.
    """
    original = name.removesuffix(TWIN)
    identity, scenes = subject_identity(original), subject_scenes(original)
    other = twins(identity)["decal"]
    if name != original:
        identity, other = other, identity
        scenes = [replace(s, objects=(replace(s.objects[0], identity=identity),)) for s in scenes]
    return Toy(name, identity, other, subjects()[original]["difficulty"], tuple(scenes))
