"""A scene as the flat arrays that the jitted kernels read.

Object row, [30]: 0 class, 1 x, 2 z, 3 cos yaw, 4 sin yaw, 5 scale, 6 height of the bounding ball's centre and
7 its radius (own space), 8..11 proportions, 12 pattern, 13 axis, 14 scale, 15 phase, 16 on head, 17 head
tone, 18 accent tone, 19 limb tone, 20 decal, 21..23 first, 24..26 second, 27..29 decal colour (linear).
"""

import math

import numpy as np

from tasks.toyworld.identity import CLASSES, DECALS, PATTERNS
from tasks.toyworld.palette import RGB, linear
from tasks.toyworld.shapes import BOUNDS
from tasks.toyworld.stage import Camera, Placed


def object_rows(objects: tuple[Placed, ...]) -> np.ndarray:
    """One row per object, [k 30]."""
    rows = np.zeros((len(objects), 30))
    for row, placed in zip(rows, objects, strict=True):
        who = placed.identity
        cls = CLASSES.index(who.cls)
        yaw = math.radians(placed.yaw_deg)
        row[:8] = (cls, placed.x, placed.z, math.cos(yaw), math.sin(yaw), placed.scale, *BOUNDS[cls])
        row[8:12] = who.shape
        row[12:21] = (
            PATTERNS.index(who.pattern), who.pattern_axis, who.pattern_scale, who.pattern_phase,
            who.pattern_on_head, who.head_tone, who.accent_tone, who.limb_tone, DECALS.index(who.decal),
        )  # fmt: skip
        row[21:24], row[24:27], row[27:30] = (
            linear(RGB[colour]) for colour in (who.primary, who.secondary, who.decal_colour)
        )
    return rows


def camera_row(camera: Camera) -> np.ndarray:
    """[13]: position, right, up, forward (unit vectors, world), focal length in half picture heights."""
    return np.concatenate([camera.position, *camera.axes(), [camera.focal]])
