"""The ten settings: analytic ground, back wall, props, and a sky that is a function of direction.

World frame: y up, ground y = 0, subjects near the origin, the camera on the +z side; walls and props stand
behind. Colours are linear light. `sp` is the setting's own random numbers, [8] in 0..1.
"""

import math

import numpy as np
from numba import njit

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
def grain(i, j):
    """Pseudo-random 0..1 for a cell."""
    v = math.sin(i * 127.1 + j * 311.7) * 43758.5453
    return v - math.floor(v)


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def rolling(x, y):
    """Smooth low-frequency texture, about -1..1."""
    coarse = math.sin(1.3 * x + 1.7 * math.sin(0.9 * y)) * math.sin(1.1 * y + 0.7)
    return 0.6 * coarse + 0.4 * math.sin(2.3 * y - 1.9 * x)


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def mix(r, g, b, r2, g2, b2, k):
    return r + (r2 - r) * k, g + (g2 - g) * k, b + (b2 - b) * k


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def ramp(a, b, x):
    t = min(1.0, max(0.0, (x - a) / (b - a)))
    return t * t * (3.0 - 2.0 * t)


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def sky(kind, sp, dx, dy, dz):
    """Colour far away in direction d."""
    a = math.atan2(dx, -dz)
    e = dy
    if kind == 0:  # beach: sea below a bright sky
        if e < 0.0:
            return 0.02, 0.30, 0.52
        return mix(0.62, 0.86, 0.98, 0.12, 0.42, 0.92, ramp(0.0, 0.5, e))
    if kind == 1:  # snow: pale mountains
        peak = (
            0.10 + 0.10 * abs(math.sin(2.6 * a + 6.0 * sp[0])) + 0.05 * abs(math.sin(6.1 * a + 9.0 * sp[1]))
        )
        if e < peak:
            return mix(0.78, 0.84, 0.95, 0.42, 0.54, 0.78, ramp(peak - 0.13, peak, e))
        return mix(0.66, 0.80, 0.96, 0.34, 0.56, 0.92, ramp(0.05, 0.6, e))
    if kind == 2:  # forest: trunks in green gloom
        c = (a * 7.0 + 10.0 * sp[0]) % 1.0
        if c < 0.22 + 0.12 * grain(math.floor(a * 7.0 + 10.0 * sp[0]), 3.0) and e < 0.5:
            return 0.07, 0.035, 0.016
        k = 0.5 + 0.5 * rolling(a * 5.0, e * 7.0)
        return mix(0.010, 0.075, 0.014, 0.05, 0.22, 0.03, k)
    if kind == 3:  # desert: dunes under a yellow haze
        dune = 0.09 + 0.06 * math.sin(2.1 * a + 6.3 * sp[0]) + 0.03 * math.sin(4.7 * a + 6.3 * sp[1])
        if e < dune:
            slope = math.cos(2.1 * a + 6.3 * sp[0])
            return mix(0.74, 0.33, 0.09, 0.50, 0.18, 0.04, ramp(-0.3, 0.3, slope))
        return mix(0.98, 0.78, 0.46, 0.30, 0.58, 0.86, ramp(0.05, 0.5, e))
    if kind == 4:  # city at night: towers with lit windows
        u = a * 5.0 + 10.0 * sp[0]
        i = math.floor(u)
        top = 0.12 + 0.38 * grain(i, 1.0)
        f = u - i
        if e < top and f < 0.9:
            w, h = f * 4.5, e * 22.0
            lit = grain(i * 7.0 + math.floor(w), math.floor(h)) > 0.5
            if lit and 0.2 < w % 1.0 < 0.85 and 0.2 < h % 1.0 < 0.75 and f < 0.85:
                return 0.98, 0.72, 0.18
            return 0.018, 0.02, 0.05
        moon = (a - 0.6 + 1.2 * sp[1]) ** 2 + (e - 0.52) ** 2
        if moon < 0.006:
            return 0.95, 0.93, 0.75
        return mix(0.06, 0.035, 0.16, 0.006, 0.008, 0.04, ramp(0.0, 0.5, e))
    if kind == 6:  # meadow: hills and clouds
        hill = 0.07 + 0.05 * math.sin(1.7 * a + 6.3 * sp[0]) + 0.02 * math.sin(5.0 * a + 6.3 * sp[1])
        if e < hill:
            return mix(0.20, 0.50, 0.08, 0.09, 0.34, 0.05, ramp(hill - 0.09, hill, e))
        r, g, b = mix(0.58, 0.82, 0.98, 0.10, 0.38, 0.90, ramp(0.05, 0.55, e))
        cloud = ramp(0.25, 0.6, rolling(a * 3.0 + 7.0 * sp[2], e * 7.0 + 3.0 * sp[3])) * ramp(0.08, 0.2, e)
        return mix(r, g, b, 0.95, 0.97, 1.0, cloud)
    if kind == 8:  # moon: stars and the earth
        ea, ee = a - 0.55 + 1.1 * sp[0], e - 0.30 - 0.15 * sp[1]
        q = (ea * ea + ee * ee) / 0.021
        if q < 1.0:
            land = rolling(ea * 14.0 + 4.0 * sp[2], ee * 14.0 + 1.0) > 0.2
            shade = 0.35 + 0.65 * math.sqrt(1.0 - q)
            if land:
                return 0.10 * shade, 0.45 * shade, 0.12 * shade
            return 0.06 * shade, 0.28 * shade, 0.85 * shade
        u, v = a * 13.0, e * 13.0
        if grain(math.floor(u), math.floor(v)) > 0.72:
            su, sv = u % 1.0 - 0.5, v % 1.0 - 0.5
            if su * su + sv * sv < 0.03:
                return 0.9, 0.9, 0.95
        return 0.003, 0.003, 0.010
    if kind == 7:
        return 0.03, 0.006, 0.012
    return 0.5, 0.45, 0.38


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def wall(kind, sp, x, y):
    """Colour of the back wall at (x, y)."""
    if kind == 5:  # kitchen: cupboards, worktop, tiles
        if y < 0.95:
            if y > 0.86:
                return 0.72, 0.70, 0.66
            u, v = (x * 1.35 + sp[0]) % 1.0, y / 0.86
            if u < 0.05 or v < 0.06 or v > 0.96:
                return 0.05, 0.14, 0.15
            if 0.78 < u < 0.86 and 0.55 < v < 0.8:
                return 0.80, 0.74, 0.55
            return 0.11, 0.34, 0.36
        u, v = x * 0.42 + sp[1], (y - 1.35) / 0.95
        f = u % 1.0
        if 0.3 < f < 0.7 and 0.0 < v < 1.0:  # window
            if f < 0.33 or f > 0.67 or v < 0.05 or v > 0.95 or abs(f - 0.5) < 0.012 or abs(v - 0.5) < 0.022:
                return 0.92, 0.92, 0.90
            return 0.36, 0.68, 0.95
        tu, tv = (x * 3.2) % 1.0, (y * 3.2) % 1.0
        if y < 1.32 and (tu < 0.06 or tv < 0.06):
            return 0.62, 0.55, 0.42
        return 0.90, 0.80, 0.58
    if kind == 7:  # theatre: folds of a red curtain with a golden hem
        fold = 0.5 + 0.5 * math.sin(x * 8.5 + 6.3 * sp[0] + 0.4 * math.sin(2.0 * y))
        if y < 0.16:
            return 0.55 + 0.3 * fold, 0.36 + 0.2 * fold, 0.06
        return mix(0.055, 0.006, 0.016, 0.26, 0.012, 0.04, fold)
    # library: shelves of books
    shelf = y / 0.62
    row = math.floor(shelf)
    v = shelf - row
    bay = (x * 0.55 + sp[0]) % 1.0
    if v < 0.1 or bay < 0.05:
        return 0.17, 0.075, 0.026
    u = x * 7.5 + row * 3.7
    i = math.floor(u)
    f = u - i
    tall = 0.68 + 0.24 * grain(i, row + 5.0)
    if v > tall or f < 0.07:
        return 0.035, 0.016, 0.008
    hue = math.floor(grain(i + 0.5, row) * 6.0)
    k = 0.75 if 0.28 < v < 0.36 else 1.0
    if hue == 0:
        return 0.42 * k, 0.05 * k, 0.05 * k
    if hue == 1:
        return 0.05 * k, 0.16 * k, 0.38 * k
    if hue == 2:
        return 0.06 * k, 0.26 * k, 0.10 * k
    if hue == 3:
        return 0.62 * k, 0.42 * k, 0.12 * k
    if hue == 4:
        return 0.28 * k, 0.12 * k, 0.07 * k
    return 0.55 * k, 0.50 * k, 0.40 * k


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def ground(kind, sp, x, z):
    """Colour of the ground at (x, z)."""
    n = rolling(x * 1.3 + 9.0 * sp[4], z * 1.3 + 9.0 * sp[5])
    if kind == 0:
        shore = -2.6 - 1.4 * sp[0] + 0.12 * math.sin(1.7 * x + 6.0 * sp[1])
        if z < shore - 0.28:
            wave = math.sin(z * 3.4 + 0.6 * math.sin(x * 1.3))
            return mix(0.015, 0.34, 0.52, 0.05, 0.48, 0.62, ramp(0.2, 0.9, wave))
        if z < shore:
            return 0.86, 0.93, 0.94
        k = 0.5 + 0.5 * n
        return mix(0.84, 0.66, 0.36, 0.92, 0.77, 0.48, k)
    if kind == 1:
        return mix(0.88, 0.91, 0.97, 0.72, 0.79, 0.93, 0.5 + 0.5 * n)
    if kind == 2:
        k = 0.5 + 0.5 * n
        r, g, b = mix(0.10, 0.055, 0.022, 0.055, 0.13, 0.025, k)
        u, v = x * 2.1, z * 2.1
        if grain(math.floor(u), math.floor(v)) > 0.76:
            su, sv = u % 1.0 - 0.5, v % 1.0 - 0.5
            if su * su + sv * sv < 0.07:
                return 0.32, 0.13, 0.025
        return r, g, b
    if kind == 3:
        band = math.sin(z * 6.0 + 1.3 * math.sin(x * 1.1 + 6.0 * sp[2]))
        r, g, b = mix(0.80, 0.38, 0.11, 0.70, 0.28, 0.07, 0.5 + 0.5 * n)
        return mix(r, g, b, 0.90, 0.48, 0.17, 0.55 * ramp(0.3, 0.9, band))
    if kind == 4:
        side = 1.5 + sp[0]
        lane = x + 0.9 - 1.8 * sp[1]
        if abs(lane) < 0.085 and z % 1.5 < 0.85:
            return 0.90, 0.80, 0.42
        if lane > side or lane < -side - 0.4:
            if (x * 1.6) % 1.0 < 0.06 or (z * 1.6) % 1.0 < 0.06:
                return 0.055, 0.055, 0.085
            return 0.13, 0.13, 0.18
        return mix(0.030, 0.032, 0.055, 0.045, 0.047, 0.075, 0.5 + 0.5 * n)
    if kind == 5:
        if (math.floor(x * 1.25 + sp[0]) + math.floor(z * 1.25 + sp[1])) % 2 == 0:
            return 0.84, 0.84, 0.80
        return 0.11, 0.15, 0.20
    if kind == 6:
        r, g, b = mix(0.13, 0.42, 0.05, 0.26, 0.56, 0.09, 0.5 + 0.5 * n)
        u, v = x * 2.2, z * 2.2
        i, j = math.floor(u), math.floor(v)
        q = grain(i, j)
        if q > 0.66:
            su, sv = u % 1.0 - 0.5, v % 1.0 - 0.5
            if su * su + sv * sv < 0.055:
                if q > 0.88:
                    return 0.95, 0.75, 0.08
                if q > 0.77:
                    return 0.95, 0.55, 0.75
                return 0.95, 0.95, 0.95
        return r, g, b
    if kind == 7:
        half = 1.35 + 0.35 * sp[1]
        if abs(x) < half:
            return 0.56, 0.008, 0.018
        if abs(x) < half + 0.12:
            return 0.80, 0.55, 0.10
        if (math.floor(x * 1.4) + math.floor(z * 1.4)) % 2 == 0:
            return 0.055, 0.045, 0.050
        return 0.085, 0.070, 0.070
    if kind == 8:
        r, g, b = mix(0.30, 0.30, 0.31, 0.40, 0.40, 0.41, 0.5 + 0.5 * n)
        u, v = x * 0.75 + 5.0 * sp[0], z * 0.75 + 5.0 * sp[1]
        i, j = math.floor(u), math.floor(v)
        size = 0.16 + 0.26 * grain(i + 3.0, j)
        su, sv = u % 1.0 - 0.5, v % 1.0 - 0.5
        q = math.sqrt(su * su + sv * sv) / size
        if grain(i, j + 7.0) > 0.25:
            if q < 0.78:
                return 0.17, 0.17, 0.18
            if q < 1.0:
                return 0.56, 0.56, 0.56
        return r, g, b
    plank = math.floor(x * 1.9 + sp[0])  # library: floor boards and a rug
    f = (x * 1.9 + sp[0]) % 1.0
    q = (x * x + z * z) / (1.9 + 0.5 * sp[1])
    if q < 1.0:
        if q > 0.8 or 0.42 < q < 0.5:
            return 0.80, 0.64, 0.34
        return 0.06, 0.20, 0.17
    if f < 0.05:
        return 0.10, 0.05, 0.02
    k = grain(plank, math.floor(z * 0.45 + grain(plank, 2.0)))
    return mix(0.32, 0.16, 0.06, 0.44, 0.23, 0.09, k)


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
