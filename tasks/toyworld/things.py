"""Signed distance fields of the seven things; see `shapes` for what they take and return."""

import math

from numba import njit

from tasks.toyworld.primitives import (
    ACCENT,
    BEAK,
    BODY,
    CREAM,
    EYE,
    GLASS,
    HEAD,
    LAMP,
    LIMB,
    METAL,
    PUPIL,
    TYRE,
    WOOD,
    ball,
    box,
    disc,
    ellipsoid,
    limb,
    smooth_min,
)


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def car(x, y, z, s0, s1, s2, s3):
    m, l = abs(x), abs(z)
    wheel = 0.23 + 0.06 * s2
    half = 0.84 + 0.14 * s3
    d = box(x, y - 0.46, z, 0.5, 0.21, half, 0.12)
    part = BODY
    tall = 0.23 + 0.08 * s1
    zc = z + 0.05 + 0.16 * s0
    e = box(x, y - 0.6 - tall, zc, 0.42, tall, 0.5, 0.12)
    if e < d:
        part = HEAD
        v = y - 0.6 - tall
        if y > 0.7 and v < tall - 0.1:
            if m > 0.36 and 0.05 < abs(zc) < 0.4:
                part = GLASS
            if m < 0.34 and abs(zc) > 0.42:
                part = GLASS
        d = e
    e = disc(math.sqrt((y - wheel) ** 2 + (l - half * 0.6) ** 2), m - 0.47, wheel, 0.12, 0.04)
    if e < d:
        d = e
        part = TYRE
        if (y - wheel) ** 2 + (l - half * 0.6) ** 2 < 0.3 * wheel * wheel:
            part = METAL
    e = box(x, y - 0.32, l - half, 0.48, 0.07, 0.06, 0.04)
    if e < d:
        d = e
        part = ACCENT
    e = ball(m - 0.32, y - 0.52, l - half + 0.02, 0.11)
    if e < d:
        d = e
        part = LAMP if z > 0.0 else BEAK
    return d, part


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def robot(x, y, z, s0, s1, s2, s3):
    m = abs(x)
    wide = 0.32 + 0.1 * s0
    d = box(x, y - 0.8, z, wide, 0.33, 0.26, 0.06)
    part = BODY
    e = box(m - wide - 0.12, y - 0.8, z, 0.1, 0.32, 0.12, 0.05)
    if e < d:
        d = e
        part = LIMB
    if y < 0.6:
        e = ball(m - wide - 0.12, y - 0.43, z, 0.125)
        if e < d:
            d = e
            part = METAL
        e = box(m - 0.19, y - 0.25, z, 0.13, 0.26, 0.15, 0.05)
        if e < d:
            d = e
            part = LIMB
        e = box(m - 0.19, y - 0.08, z - 0.06, 0.16, 0.08, 0.24, 0.05)
        if e < d:
            d = e
            part = ACCENT
    if ball(x, y - 1.5, z, 0.6) < d:
        hw = 0.26 + 0.08 * s1
        e = box(x, y - 1.4, z, hw, 0.21, 0.24, 0.05)
        if e < d:
            d = e
            part = HEAD
        e = disc(math.sqrt(x * x + z * z), y - 1.15, 0.13, 0.08, 0.02)
        if e < d:
            d = e
            part = METAL
        e = disc(math.sqrt((y - 1.4) ** 2 + z * z), m - hw, 0.1, 0.07, 0.02)
        if e < d:
            d = e
            part = ACCENT
        top = 1.74 + 0.12 * s3
        e = limb(x, y, z, 0.0, 1.58, 0.0, 0.0, top, 0.0, 0.04, 0.04)
        if e < d:
            d = e
            part = METAL
        e = ball(x, y - top - 0.04, z, 0.095)
        if e < d:
            d = e
            part = BEAK
        eye = 0.09 + 0.025 * s2
        e = disc(math.sqrt((m - 0.13) ** 2 + (y - 1.46) ** 2), z - 0.25, eye, 0.05, 0.02)
        if e < d:
            d = e
            part = LAMP
            if (m - 0.13) ** 2 + (y - 1.46) ** 2 < 0.2 * eye * eye:
                part = PUPIL
        e = box(x, y - 1.29, z - 0.24, 0.16, 0.035, 0.03, 0.01)
        if e < d:
            d = e
            part = PUPIL
    return d, part


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def teapot(x, y, z, s0, s1, s2, s3):
    tall = 0.46 + 0.12 * s0
    d = ellipsoid(x, y - tall - 0.02, z, 0.58, tall, 0.58)
    part = BODY
    rad = math.sqrt(x * x + z * z)
    e = disc(rad, y - 0.05, 0.34, 0.06, 0.03)
    if e < d:
        d = e
        part = LIMB
    top = 2.0 * tall
    e = ellipsoid(x, y - top + 0.02, z, 0.36, 0.12, 0.36)
    if e < d:
        d = e
        part = ACCENT
    e = ball(x, y - top - 0.17, z, 0.1 + 0.04 * s1)
    if e < d:
        d = e
        part = ACCENT
    if z > 0.0:
        e = limb(x, y, z, 0.0, tall * 0.8, 0.44, 0.0, tall * 1.6, 0.86 + 0.14 * s2, 0.17, 0.085)
        if e < d:
            part = LIMB
        d = smooth_min(d, e, 0.05)
    else:
        ring = 0.27 + 0.06 * s3
        q = math.sqrt((y - tall - 0.06) ** 2 + (z + 0.6) ** 2) - ring
        e = math.sqrt(q * q + x * x) - 0.085
        if e < d:
            d = e
            part = LIMB
    return d, part


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def mushroom(x, y, z, s0, s1, s2, s3):
    high = 0.6 + 0.2 * s3
    wide = 0.62 + 0.14 * s0
    fat = 0.17 + 0.1 * s2
    rad = math.sqrt(x * x + z * z)
    d = limb(x, y, z, 0.0, 0.16, 0.0, 0.0, high, 0.0, fat + 0.07, fat)
    d = max(d, 0.005 - y)
    part = CREAM
    e = disc(rad, y - high + 0.14, fat + 0.12, 0.05, 0.04)
    if e < d:
        d = e
        part = ACCENT
    e = ellipsoid(x, y - high, z, wide, 0.42 + 0.26 * s1, wide)
    low = high + 0.02 - y
    if low > e - 0.03 and rad < wide - 0.06:
        inside = CREAM
    else:
        inside = BODY
    e = -smooth_min(-e, -low, 0.08)
    if e < d:
        d = e
        part = inside
    return d, part


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def rocket(x, y, z, s0, s1, s2, s3):
    wide = 0.34 + 0.08 * s0
    half = 0.76 + 0.12 * s3
    d = ellipsoid(x, y - half - 0.12, z, wide, half, wide)
    d = max(d, 0.24 - y)
    part = BODY if y < half * 1.5 + 0.12 - 0.15 * s2 else HEAD
    rad = math.sqrt(x * x + z * z)
    e = disc(rad, y - 0.19, 0.2, 0.1, 0.03)
    if e < d:
        d = e
        part = METAL
    m, l = abs(x), abs(z)
    u, v = max(m, l), min(m, l)
    span = 0.24 + 0.08 * s1
    shear = y - 0.36 + 0.9 * (u - 0.42)
    e = box(u - 0.42, shear * 0.8, v, span, 0.22, 0.055, 0.04) * 0.75
    e = max(e, -y)
    if e < d:
        d = e
        part = ACCENT
    if y > 0.7 and y < 1.5:
        yc = half * 1.15 + 0.1
        q = math.sqrt(x * x + (y - yc) ** 2)
        e = disc(q, l - wide + 0.03, 0.17, 0.06, 0.03)
        if e < d:
            d = e
            part = GLASS if q < 0.115 else METAL
    return d, part


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def house(x, y, z, s0, s1, s2, s3):
    m, l = abs(x), abs(z)
    wide = 0.5 + 0.1 * s0
    wall = 0.68 + 0.14 * s2
    deep = 0.46
    slope = 0.55 + 0.4 * s1
    k = 1.0 / math.sqrt(1.0 + slope * slope)
    ridge = wall + wide * slope
    gable = (y - ridge + slope * m) * k
    d = max(max(m - wide, l - deep), max(-y, gable))
    part = BODY
    e = max(max(abs(gable - 0.03) - 0.065, l - deep - 0.1), wall - 0.14 - y)
    if e < d:
        d = e
        part = ACCENT
    e = box(x - wide * 0.5, y - ridge + 0.16, z + 0.18, 0.1, 0.24 + 0.1 * s3, 0.1, 0.02)
    if e < d:
        d = e
        part = LIMB
    e = box(x, y - 0.24, z - deep, 0.14, 0.25, 0.035, 0.02)
    if e < d:
        d = e
        part = WOOD
    # windows: a pair beside the door, two on each side wall, two at the back
    e = box(m - 0.33, y - 0.4, l - deep, 0.115, 0.13, 0.03, 0.01)
    e2 = box(m - wide, y - 0.4, l - 0.22, 0.03, 0.13, 0.115, 0.01)
    if min(e, e2) < d:
        d = min(e, e2)
        if e < e2:
            along = m - 0.33
        else:
            along = l - 0.22
        part = GLASS if abs(along) < 0.085 and abs(y - 0.4) < 0.1 else EYE
    return d, part


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def chair(x, y, z, s0, s1, s2, s3):
    m, l = abs(x), abs(z)
    wide = 0.38 + 0.08 * s0
    d = box(x, y - 0.56, z, wide, 0.09, 0.42, 0.05)
    part = BODY
    e = box(x, y - 0.68, z - 0.03, wide - 0.06, 0.075, 0.34, 0.07)
    if e < d:
        d = e
        part = ACCENT
    tall = 0.36 + 0.12 * s1
    e = box(x, y - 0.66 - tall, z + 0.38 + 0.1 * (y - 0.66), wide, tall, 0.075, 0.03 + 0.04 * s2) * 0.97
    if e < d:
        d = e
        part = BODY
    e = limb(m, y, l, wide - 0.09, 0.5, 0.33, wide - 0.05, 0.08, 0.38, 0.085, 0.075)
    if e < d:
        d = e
        part = LIMB
    if s3 > 0.5:
        e = box(m - wide - 0.03, y - 0.88, z, 0.06, 0.05, 0.4, 0.04)
        e = min(e, box(m - wide - 0.03, y - 0.7, z - 0.3, 0.05, 0.2, 0.06, 0.03))
        if e < d:
            d = e
            part = LIMB
    return d, part
