"""The ten settings: analytic ground, back wall, props, and a sky that is a function of direction.

World frame: y up, ground y = 0, subjects near the origin, the camera on the +z side; walls and props stand
behind. Colours are linear light. `sp` is the setting's own random numbers, [8] in 0..1.
"""

import math

import numpy as np
from numba import njit

from tasks.toyworld.props import hit_prop
from tasks.toyworld.surfaces import ground, sky, wall
from tasks.toyworld.textures import mix, ramp

SETTINGS = ["beach", "snow", "forest", "desert", "city", "kitchen", "meadow", "theatre", "moon", "library"]
FAR = 60.0  # depth of the sky

# Light per setting: sky ambient rgb, key light rgb.
LIGHT = np.array([
    (0.52, 0.58, 0.66, 0.86, 0.82, 0.74), (0.60, 0.64, 0.72, 0.74, 0.74, 0.74),
    (0.40, 0.46, 0.38, 0.86, 0.82, 0.66), (0.52, 0.48, 0.44, 0.92, 0.82, 0.66),
    (0.34, 0.36, 0.50, 0.80, 0.78, 0.70), (0.54, 0.52, 0.48, 0.72, 0.70, 0.66),
    (0.50, 0.58, 0.56, 0.84, 0.82, 0.74), (0.42, 0.36, 0.36, 0.92, 0.86, 0.76),
    (0.34, 0.35, 0.40, 1.00, 0.98, 0.94), (0.50, 0.44, 0.38, 0.76, 0.70, 0.58),
])  # fmt: skip

WALL = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 2.9, 0.0, 3.1, 0.0, 2.7])  # distance behind the origin; 0 no wall


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def backdrop(kind, sp, props, ox, oy, oz, dx, dy, dz):
    """What a ray meets behind the subjects: t, albedo rgb, normal, kind (0 sky, 1 ground, 2 wall, prop)."""
    t = 1e9
    what = 0
    nx, ny, nz = 0.0, 0.0, 0.0
    r, g, b = 0.0, 0.0, 0.0
    if dy < -1e-6:
        t = -oy / dy
        what = 1
        ny = 1.0
    w = WALL[kind]
    if w > 0.0 and dz < -1e-6:
        tw = (-w - oz) / dz
        if tw < t:
            t = tw
            what = 2
            ny = 0.0
            nz = 1.0
    best = -1
    for i in range(props.shape[0]):
        tp, px, py, pz = hit_prop(props, i, ox, oy, oz, dx, dy, dz)
        if tp < t:
            t, nx, ny, nz = tp, px, py, pz
            what = 2
            best = i
    if best >= 0:
        p = props[best]
        r, g, b = p[7], p[8], p[9]
        if p[10] == 1.0 and oy + t * dy - p[2] > 0.45 * p[5]:
            r, g, b = 0.86, 0.90, 0.96
        elif p[10] == 2.0:
            a = math.atan2(ox + t * dx - p[1], oz + t * dz - p[3])
            if math.floor(a * 1.2732395) % 2 == 0:
                r, g, b = 0.9, 0.9, 0.88
    elif what == 2:
        r, g, b = wall(kind, sp, ox + t * dx, oy + t * dy)
    elif what == 1 and t < 45.0:
        r, g, b = ground(kind, sp, ox + t * dx, oz + t * dz)
        if w == 0.0 and t > 6.0:  # fade into the horizon
            sr, sg, sb = sky(kind, sp, dx, 0.02 if kind != 0 else -0.01, dz)
            r, g, b = mix(r, g, b, sr, sg, sb, 0.85 * ramp(6.0, 22.0, t))
    else:
        t = 1e9
        what = 0
        r, g, b = sky(kind, sp, dx, max(dy, 0.0), dz)
    return t, r, g, b, nx, ny, nz, what
