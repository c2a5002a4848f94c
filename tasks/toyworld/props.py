"""Scenery behind the subject: what a setting puts there, and where a ray meets it."""

import math

import numpy as np
from numba import njit


def draw_props(setting: str, rng: np.random.Generator) -> np.ndarray:
    """Scenery behind the subject, [m 11]: type, x, y, z, a, b, c, linear rgb, look.

    Types: 0 ball (radius a); 1 upright cylinder (radius a, height b); 2 cone (same); 3 box (half sizes).
    Look: 0 plain, 1 snowy towards the top, 2 two-coloured segments.
    """
    rows: list[tuple[float, ...]] = []

    def spot(near: float = -2.2, far: float = -4.5) -> tuple[float, float]:
        z = float(rng.uniform(far, near))
        return float(rng.uniform(-1.0, 1.0)) * (1.2 - 0.62 * z), z

    count = int(rng.integers(2, 5))
    if setting == "beach":
        x, z = spot(-1.9, -2.5)
        rows.append((1, x, 0, z, 0.05, 1.75, 0, 0.6, 0.5, 0.4, 0))
        rows.append(
            (2, x, 1.35, z, 1.0, 0.55, 0, *[(0.75, 0.03, 0.04), (0.03, 0.16, 0.7)][int(rng.integers(2))], 2)
        )
    elif setting == "snow":
        for _ in range(count):
            x, z = spot()
            s = float(rng.uniform(0.8, 1.3))
            rows.append((1, x, 0, z, 0.1 * s, 0.4 * s, 0, 0.12, 0.06, 0.03, 0))
            rows.append((2, x, 0.3 * s, z, 0.62 * s, 0.95 * s, 0, 0.03, 0.16, 0.09, 1))
            rows.append((2, x, 0.9 * s, z, 0.45 * s, 0.9 * s, 0, 0.03, 0.16, 0.09, 1))
    elif setting == "forest":
        for _ in range(count + 1):
            x, z = spot(-1.9, -4.0)
            if rng.random() < 0.7:
                rows.append((1, x, 0, z, float(rng.uniform(0.16, 0.28)), 6, 0, 0.13, 0.062, 0.028, 0))
            else:
                rows.append((2, x, 0.1, z, 0.6, 1.5, 0, 0.02, 0.14, 0.03, 0))
    elif setting == "desert":
        for _ in range(count - 1):
            x, z = spot(-1.8, -3.5)
            s = float(rng.uniform(0.8, 1.25))
            if rng.random() < 0.75:  # cactus with two arms
                green = (0.05, 0.26, 0.06, 0)
                rows.append((1, x, 0, z, 0.17 * s, 1.3 * s, 0, *green))
                rows.append((0, x, 1.3 * s, z, 0.17 * s, 0, 0, *green))
                for side, up in ((1.0, 0.75), (-1.0, 0.6)):
                    rows.append((1, x + side * 0.36 * s, up * s, z, 0.1 * s, 0.42 * s, 0, *green))
                    rows.append((0, x + side * 0.36 * s, (up + 0.42) * s, z, 0.1 * s, 0, 0, *green))
                    rows.append(
                        (3, x + side * 0.2 * s, (up + 0.06) * s, z, 0.2 * s, 0.09 * s, 0.09 * s, *green)
                    )
            else:
                rows.append((0, x, 0.05, z, 0.4 * s, 0, 0, 0.40, 0.19, 0.09, 0))
    elif setting == "city":
        for side in (-1.0, 1.0):
            if rng.random() < 0.75:
                x, z = (side * float(rng.uniform(1.5, 2.6)), float(rng.uniform(-3.0, -1.8)))
                rows.append((1, x, 0, z, 0.05, 1.9, 0, 0.05, 0.05, 0.07, 0))
                rows.append((0, x, 1.98, z, 0.17, 0, 0, 3.0, 2.5, 1.4, 0))
    elif setting == "meadow":
        for _ in range(count - 1):
            x, z = spot()
            s = float(rng.uniform(0.8, 1.25))
            rows.append((1, x, 0, z, 0.13 * s, 0.9 * s, 0, 0.16, 0.075, 0.03, 0))
            rows.append((0, x, 1.3 * s, z, 0.62 * s, 0, 0, 0.045, 0.25, 0.04, 0))
    elif setting == "theatre":
        gold = (0.80, 0.52, 0.10, 0)
        for side in (-1.0, 1.0):
            for z in (-2.5, -1.5):
                x = side * 1.75
                rows.append((1, x, 0, z, 0.05, 0.85, 0, *gold))
                rows.append((0, x, 0.92, z, 0.11, 0, 0, *gold))
            rows.append((3, side * 1.75, 0.72, -2.0, 0.035, 0.045, 0.5, 0.45, 0.02, 0.03, 0))
    elif setting == "moon":
        for _ in range(count):
            x, z = spot(-1.8, -4.0)
            rows.append((0, x, 0.0, z, float(rng.uniform(0.2, 0.5)), 0, 0, 0.26, 0.26, 0.27, 0))
    elif setting == "library":
        side = float(rng.choice([-1.0, 1.0])) * float(rng.uniform(1.4, 2.0))
        rows.append((1, side, 0, -2.1, 0.045, 1.2, 0, 0.5, 0.35, 0.1, 0))
        rows.append((2, side, 1.15, -2.1, 0.4, 0.5, 0, 1.3, 0.95, 0.4, 0))
    elif setting == "kitchen" and rng.random() < 0.35:
        x = float(rng.choice([-1.0, 1.0])) * float(rng.uniform(1.2, 2.2))
        rows.append((3, x, 0.9, -2.6, 0.42, 0.9, 0.3, 0.80, 0.82, 0.84, 0))
    return np.array(rows, np.float64).reshape(-1, 11)


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def hit_prop(props, i, ox, oy, oz, dx, dy, dz):
    """Distance to one prop along the ray and the normal there; distance 1e9 when missed."""
    kind = int(props[i, 0])
    x, y, z = ox - props[i, 1], oy - props[i, 2], oz - props[i, 3]
    if kind == 0:
        b = x * dx + y * dy + z * dz
        h = b * b - (x * x + y * y + z * z - props[i, 4] * props[i, 4])
        if h < 0.0:
            return 1e9, 0.0, 0.0, 0.0
        t = -b - math.sqrt(h)
        if t < 0.0:
            return 1e9, 0.0, 0.0, 0.0
        return (t, (x + t * dx) / props[i, 4], (y + t * dy) / props[i, 4], (z + t * dz) / props[i, 4])
    if kind == 3:
        along = x * dx + y * dy + z * dz
        reach = props[i, 4] ** 2 + props[i, 5] ** 2 + props[i, 6] ** 2
        if x * x + y * y + z * z - along * along > reach:
            return 1e9, 0.0, 0.0, 0.0
        near, far = -1e9, 1e9
        nx, ny, nz = 0.0, 0.0, 0.0
        for k in range(3):
            o = x if k == 0 else (y if k == 1 else z)
            d = dx if k == 0 else (dy if k == 1 else dz)
            if abs(d) < 1e-9:
                d = 1e-9
            h = props[i, 4 + k]
            t0, t1 = (-h - o) / d, (h - o) / d
            if t0 > t1:
                t0, t1 = t1, t0
            if t0 > near:
                near = t0
                s = -1.0 if d > 0.0 else 1.0
                nx = s if k == 0 else 0.0
                ny = s if k == 1 else 0.0
                nz = s if k == 2 else 0.0
            far = min(far, t1)
        if near > far or near < 0.0:
            return 1e9, 0.0, 0.0, 0.0
        return near, nx, ny, nz
    slope = (
        props[i, 4] / props[i, 5] if kind == 2 else 0.0
    )  # cylinder: radius a; cone: radius shrinks with height
    ra = props[i, 4] - slope * y
    rb = -slope * dy
    a = dx * dx + dz * dz - rb * rb
    b = x * dx + z * dz - ra * rb
    c = x * x + z * z - ra * ra
    h = b * b - a * c
    if h < 0.0 or abs(a) < 1e-12:
        return 1e9, 0.0, 0.0, 0.0
    root = math.sqrt(h)
    t = min((-b - root) / a, (-b + root) / a)
    v = y + t * dy
    if t < 0.0 or v < 0.0 or v > props[i, 5]:
        t = max((-b - root) / a, (-b + root) / a)
        v = y + t * dy
        if t < 0.0 or v < 0.0 or v > props[i, 5]:
            return 1e9, 0.0, 0.0, 0.0
    nx, nz = x + t * dx, z + t * dz
    ny = slope * math.sqrt(nx * nx + nz * nz)
    inv = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
    return t, nx * inv, ny * inv, nz * inv
