"""What the classes are built of: simple signed distance fields, and the names of parts.

Distances may be somewhat too short or long (ellipsoids, tapered limbs); the marcher allows for that.
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
