"""Sky, back walls and grounds of the ten settings, by their number in `settings.SETTINGS`.

Colours are linear light. `sp` is the setting's own random numbers, [8] in 0..1.
"""

import math

from numba import njit

from tasks.toyworld.textures import grain, mix, ramp, rolling


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
