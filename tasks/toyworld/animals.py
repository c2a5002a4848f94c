"""Signed distance fields of dog, cat and duck; see `shapes` for what they take and return."""

from numba import njit

from tasks.toyworld.primitives import (
    ACCENT,
    BEAK,
    BODY,
    CREAM,
    EYE,
    HEAD,
    LAMP,
    LIMB,
    PUPIL,
    ball,
    ellipsoid,
    limb,
    smooth_min,
)


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def dog(x, y, z, s0, s1, s2, s3):
    m = abs(x)
    lift = 0.14 * s1
    fat = 0.25 + 0.08 * s0
    y = y - lift
    d = limb(x, y, z, 0.0, 0.6, -0.38, 0.0, 0.64, 0.34, fat, fat * 0.95)
    part = BODY
    e = limb(m, y, abs(z), 0.17, 0.5, 0.36, 0.19, 0.1 - lift, 0.4, 0.13, 0.12)
    if e < d:
        part = LIMB
    d = smooth_min(d, e, 0.06)
    e = limb(x, y, z, 0.0, 0.78, -0.6, 0.0, 1.1 + 0.12 * s3, -0.86, 0.09, 0.07)
    if e < d:
        d = e
        part = ACCENT
    if ball(x, y - 1.1, z - 0.6, 0.76) < d:
        e = smooth_min(
            ball(x, y - 1.1, z - 0.5, 0.32), limb(x, y, z, 0.0, 1.02, 0.7, 0.0, 1.0, 0.9, 0.18, 0.15), 0.1
        )
        if e < d:
            part = HEAD
        d = smooth_min(d, e, 0.1)
        if s2 < 0.6:  # hanging ears
            e = ellipsoid(m - 0.34, y - 1.02, z - 0.46, 0.085, 0.24 + 0.15 * s2, 0.16)
        else:  # standing ears
            e = limb(m, y, z, 0.18, 1.32, 0.46, 0.25, 1.46 + 0.2 * (s2 - 0.6), 0.44, 0.13, 0.07)
        if e < d:
            d = e
            part = ACCENT
        e = ball(x, y - 1.08, z - 1.04, 0.1)
        if e < d:
            d = e
            part = PUPIL
        e = ball(m - 0.145, y - 1.22, z - 0.755, 0.105)
        if e < d:
            d = e
            part = EYE
            if (m - 0.145) * 0.15 + (y - 1.22) * 0.1 + (z - 0.755) > 0.062:
                part = PUPIL
    return d, part


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def cat(x, y, z, s0, s1, s2, s3):
    m = abs(x)
    fat = 0.9 + 0.25 * s0
    d = ellipsoid(x, y - 0.5, z + 0.06, 0.34 * fat, 0.52, 0.38)
    part = BODY
    e = ball(m - 0.24 * fat, y - 0.25, z + 0.08, 0.25)
    d = smooth_min(d, e, 0.1)
    e = limb(m, y, z, 0.14, 0.5, 0.24, 0.15, 0.1, 0.36, 0.12, 0.11)
    if e < d:
        part = LIMB
    d = smooth_min(d, e, 0.05)
    if z < 0.1:
        e = min(
            limb(x, y, z, 0.0, 0.14, -0.36, 0.0, 0.24, -0.74, 0.1, 0.095),
            limb(x, y, z, 0.0, 0.24, -0.74, 0.12, 0.72 + 0.35 * s3, -0.84, 0.095, 0.085),
        )
        if e < d:
            d = e
            part = ACCENT
    if ball(x, y - 1.22, z - 0.16, 0.66) < d:
        wide = 0.4 + 0.06 * s1
        e = ellipsoid(x, y - 1.14, z - 0.16, wide, 0.34, 0.34)
        if e < d:
            part = HEAD
        d = smooth_min(d, e, 0.05)
        e = limb(m, y, z, 0.23, 1.34, 0.15, 0.33, 1.6 + 0.14 * s2, 0.12, 0.16, 0.02)
        if e < d:
            d = e
            part = ACCENT
        e = ellipsoid(m - 0.07, y - 1.03, z - 0.46, 0.11, 0.085, 0.09)
        if e < d:
            d = e
            part = CREAM
        e = ellipsoid(x, y - 1.085, z - 0.535, 0.065, 0.045, 0.05)
        if e < d:
            d = e
            part = BEAK
        e = ball(m - 0.175, y - 1.2, z - 0.4, 0.115)
        if e < d:
            d = e
            part = LAMP
            if abs(m - 0.18) < 0.04:
                part = PUPIL
    return d, part


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def duck(x, y, z, s0, s1, s2, s3):
    m = abs(x)
    d = ellipsoid(x, y - 0.45, z + 0.05, 0.42 + 0.06 * s0, 0.38, 0.6)
    part = BODY
    e = limb(x, y, z, 0.0, 0.55, -0.42, 0.0, 0.74 + 0.16 * s3, -0.76, 0.2, 0.06)
    d = smooth_min(d, e, 0.12)
    e = ellipsoid(m - 0.44 - 0.05 * s0, y - 0.5, z + 0.1, 0.11, 0.21 + 0.06 * s2, 0.38)
    if e < d:
        d = e
        part = ACCENT
    if y < 0.3:
        e = ellipsoid(m - 0.2, y - 0.05, z - 0.24, 0.16, 0.055, 0.24)
        if e < d:
            d = e
            part = BEAK
    up = 0.16 * s1
    if ball(x, y - 0.9 - up, z - 0.45, 0.9) < d:
        e = smooth_min(
            ball(x, y - 1.06 - up, z - 0.38, 0.33),
            limb(x, y, z, 0.0, 0.6, 0.3, 0.0, 1.0 + up, 0.36, 0.25, 0.22),
            0.1,
        )
        if e < d:
            part = HEAD
        d = smooth_min(d, e, 0.1)
        e = ellipsoid(x, y - 0.98 - up, z - 0.76, 0.2, 0.08, 0.24)
        if e < d:
            d = e
            part = BEAK
        e = ball(m - 0.17, y - 1.17 - up, z - 0.61, 0.1)
        if e < d:
            d = e
            part = EYE
            if (m - 0.17) * 0.4 + (z - 0.61) > 0.055:
                part = PUPIL
    return d, part
