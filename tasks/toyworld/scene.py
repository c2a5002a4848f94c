"""A scene: who stands where, in which setting, under which light, seen from where, drawn how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.toyworld.framing import framed
from tasks.toyworld.identity import Identity
from tasks.toyworld.settings import SETTINGS
from tasks.toyworld.stage import Camera, Placed

STYLES = ["photo", "cartoon", "sketch"]
VIEWS = ["front", "side", "behind", "above", "angle"]
# How far a class reaches sideways from its axis, for placing two side by side.
_REACH = {
    "dog": 0.95, "cat": 0.75, "duck": 0.85, "car": 0.95, "robot": 0.6,
    "teapot": 0.9, "mushroom": 0.75, "rocket": 0.65, "house": 0.8, "chair": 0.65,
}  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """Everything a picture is made of; rendering it twice gives the same bytes."""

    objects: tuple[Placed, ...]
    setting: str
    light_yaw_deg: float
    light_elevation_deg: float
    camera: Camera
    style: str
    view: str  # of the first object
    seed: int  # of the setting's scenery


def _view_of(yaw_deg: float, elevation_deg: float) -> str:
    """The word for seeing an object turned by `yaw_deg` relative to the camera."""
    turn = abs((yaw_deg + 180.0) % 360.0 - 180.0)
    if elevation_deg > 31.0:
        return "above"
    if turn < 32.0:
        return "front"
    if turn > 148.0:
        return "behind"
    return "side" if 60.0 < turn < 120.0 else "angle"


def _turn_for(view: str | None, rng: np.random.Generator) -> float:
    """A yaw relative to the camera, degrees; toys mostly show their face, as pictures of them do."""
    side = float(rng.choice([-1.0, 1.0]))
    if view == "front":
        return side * float(rng.uniform(0, 30))
    if view == "side":
        return side * float(rng.uniform(64, 116))
    if view == "behind":
        return side * float(rng.uniform(152, 180))
    if view == "angle" or (view is None and rng.random() < 0.45):
        return side * float(rng.uniform(33, 59))
    return float(rng.uniform(-180, 180))


def sample_scene(
    rng: np.random.Generator,
    identities: Sequence[Identity],
    *,
    setting: str | None = None,
    identity: Identity | None = None,
    style: str | None = None,
    view: str | None = None,
    objects: int | None = None,
) -> Scene:
    """Draw a scene; what is fixed by keyword stays fixed.

    Args:
        identities: pool that unfixed individuals are drawn from; may be empty when `identity` is given alone.
        view: one of VIEWS, of the first object.
        objects: 1 or 2; by default 12 % of scenes have two. A fixed `identity` alone gives one.
    """
    seed = int(rng.integers(2**31))
    setting = setting or str(rng.choice(SETTINGS))
    style = style or str(rng.choice(STYLES, p=[0.92, 0.04, 0.04]))
    draw = rng.random()
    if objects is None:
        objects = 2 if identity is None and draw < 0.12 else 1
    first = identity or identities[int(rng.integers(len(identities)))]
    camera_yaw = float(rng.uniform(-22, 22))
    elevation = float(rng.uniform(32, 40)) if view == "above" else 5.0 + 35.0 * float(rng.beta(1.3, 2.6))
    if view not in (None, "above"):
        elevation = min(elevation, 30.0)
    turn = _turn_for(view, rng)
    placed = [Placed(first, 0.0, 0.0, camera_yaw + turn, float(rng.uniform(0.92, 1.08)))]
    others = [one for one in identities if one.cls != first.cls] if objects == 2 else []
    if others:
        second = others[int(rng.integers(len(others)))]
        half = 0.42 * (_REACH[first.cls] + _REACH[second.cls]) * float(rng.uniform(0.9, 1.05))
        side = float(rng.choice([-1.0, 1.0]))
        z = float(rng.uniform(-0.2, 0.2))
        placed = [
            replace(placed[0], x=-side * half, z=z, scale=0.85 * placed[0].scale),
            Placed(
                second,
                side * half,
                -z,
                camera_yaw + _turn_for(None, rng),
                0.85 * float(rng.uniform(0.92, 1.08)),
            ),
        ]
    camera = framed(tuple(placed), camera_yaw, elevation, focal=float(rng.uniform(2.2, 3.0)), rng=rng)
    return Scene(
        objects=tuple(placed),
        setting=setting,
        light_yaw_deg=camera_yaw + float(rng.uniform(-70, 70)),
        light_elevation_deg=float(rng.uniform(35, 65)),
        camera=camera,
        style=style,
        view=view or _view_of(turn, elevation),
        seed=seed,
    )
