"""Signed distance fields of the ten classes, in their own space: y up, nose to +z, standing on y = 0.

Every class function takes a point and four proportions in 0..1 and returns (distance, part). Distances may
be somewhat too short or long (ellipsoids, tapered limbs); the marcher allows for that. Limbs are mirrored by
|x|, and clusters of small parts are skipped while their bounding sphere is farther than what was found.
"""

import math

from numba import njit

BODY, HEAD, LIMB, ACCENT, EYE, PUPIL, BEAK, GLASS, TYRE, METAL, LAMP, CREAM, WOOD = range(1, 14)
PART_NAMES = [
    "none",
    "body",
    "head",
    "limb",
    "accent",
    "eye",
    "pupil",
    "beak",
    "glass",
]  # index is the part id
PART_NAMES += ["tyre", "metal", "lamp", "cream", "wood"]

BALL = 10  # class id of the plain unit ball that tests march against


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def ellipsoid(x, y, z, a, b, c):
    k0 = math.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2)
    k1 = math.sqrt((x / (a * a)) ** 2 + (y / (b * b)) ** 2 + (z / (c * c)) ** 2) + 1e-9
    return k0 * (k0 - 1.0) / k1


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def limb(x, y, z, ax, ay, az, bx, by, bz, r0, r1):
    """A capsule from a to b whose radius runs from r0 to r1."""
    ex, ey, ez = bx - ax, by - ay, bz - az
    px, py, pz = x - ax, y - ay, z - az
    h = (px * ex + py * ey + pz * ez) / (ex * ex + ey * ey + ez * ez)
    h = min(1.0, max(0.0, h))
    qx, qy, qz = px - ex * h, py - ey * h, pz - ez * h
    return math.sqrt(qx * qx + qy * qy + qz * qz) - (r0 + (r1 - r0) * h)


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def ball(x, y, z, r):
    return math.sqrt(x * x + y * y + z * z) - r


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def box(x, y, z, a, b, c, r):
    """Box with half sizes a, b, c and edges rounded by r."""
    qx, qy, qz = abs(x) - a + r, abs(y) - b + r, abs(z) - c + r
    mx, my, mz = max(qx, 0.0), max(qy, 0.0), max(qz, 0.0)
    return math.sqrt(mx * mx + my * my + mz * mz) + min(max(qx, max(qy, qz)), 0.0) - r


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def disc(radial, along, radius, half, r):
    """Cylinder given the distance from its axis and along it."""
    qx, qy = radial - radius + r, abs(along) - half + r
    mx, my = max(qx, 0.0), max(qy, 0.0)
    return math.sqrt(mx * mx + my * my) + min(max(qx, qy), 0.0) - r


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def smooth_min(a, b, k):
    h = max(k - abs(a - b), 0.0) / k
    return min(a, b) - h * h * k * 0.25


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


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def distance(cls, x, y, z, s0, s1, s2, s3):
    """Distance to class number `cls` and the nearest part."""
    if cls < 5:
        if cls == 0:
            return dog(x, y, z, s0, s1, s2, s3)
        if cls == 1:
            return cat(x, y, z, s0, s1, s2, s3)
        if cls == 2:
            return duck(x, y, z, s0, s1, s2, s3)
        if cls == 3:
            return car(x, y, z, s0, s1, s2, s3)
        return robot(x, y, z, s0, s1, s2, s3)
    if cls == 5:
        return teapot(x, y, z, s0, s1, s2, s3)
    if cls == 6:
        return mushroom(x, y, z, s0, s1, s2, s3)
    if cls == 7:
        return rocket(x, y, z, s0, s1, s2, s3)
    if cls == 8:
        return house(x, y, z, s0, s1, s2, s3)
    if cls == 9:
        return chair(x, y, z, s0, s1, s2, s3)
    return ball(x, y - 1.0, z, 1.0), BODY


# Bounding ball of each class for any proportions: height of its centre, radius (checked by a test).
BOUNDS = (
    (0.88, 1.24), (0.9, 1.09), (0.68, 1.14), (0.55, 1.2), (0.97, 1.05), (0.68, 1.24),
    (0.68, 0.98), (0.95, 1.24), (0.82, 1.2), (0.82, 1.08), (1.0, 1.01),
)  # fmt: skip


def face_points(cls: int, shape: tuple[float, ...]) -> dict[str, tuple[float, float, float]]:
    """Where the eyes and nose of a class sit, in its own space; empty for classes without a face."""
    longer = 0.14 * shape[1]
    if cls == 0:
        eye, nose = (0.145, 1.22 + longer, 0.86), (0.0, 1.08 + longer, 1.14)
    elif cls == 1:
        eye, nose = (0.175, 1.2, 0.515), (0.0, 1.085, 0.585)
    elif cls == 2:
        neck = 0.16 * shape[1]
        eye, nose = (0.2, 1.17 + neck, 0.7), (0.0, 0.98 + neck, 1.0)
    elif cls == 4:
        eye, nose = (0.13, 1.46, 0.3), (0.0, 1.29, 0.27)
    else:
        return {}
    right = (-eye[0], eye[1], eye[2])
    tip = {0: "nose", 1: "nose", 2: "beak", 4: "mouth"}[cls]
    return {"left_eye": eye, "right_eye": right, tip: nose}
