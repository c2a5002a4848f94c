"""The colour of a point on a toy: part, pattern, decal."""

import math

import numpy as np
from numba import njit

from tasks.toyworld.palette import linear
from tasks.toyworld.primitives import ACCENT, BODY, HEAD, LIMB

# Materials that no identity changes, by part id; linear light.
FIXED = np.zeros((16, 3))
for _part, _rgb in {
    5: (250, 250, 250), 6: (16, 16, 18), 7: (250, 120, 20), 8: (96, 168, 214), 9: (34, 34, 38),
    10: (188, 194, 204), 11: (255, 226, 70), 12: (244, 228, 194), 13: (110, 62, 30),
}.items():  # fmt: skip
    FIXED[_part] = linear(_rgb)

# Centre and half sizes of the patterned body, per class (cx, cy, cz, hx, hy, hz).
FRAME = np.array([
    (0.0, 0.66, 0.0, 0.3, 0.34, 0.66), (0.0, 0.52, 0.0, 0.4, 0.52, 0.42),
    (0.0, 0.46, -0.05, 0.48, 0.42, 0.66), (0.0, 0.55, 0.0, 0.5, 0.4, 0.95),
    (0.0, 0.8, 0.0, 0.38, 0.36, 0.3), (0.0, 0.52, 0.0, 0.58, 0.5, 0.58),
    (0.0, 0.84, 0.0, 0.7, 0.42, 0.7), (0.0, 0.85, 0.0, 0.38, 0.62, 0.38),
    (0.0, 0.5, 0.0, 0.55, 0.5, 0.48), (0.0, 0.8, 0.0, 0.42, 0.5, 0.44),
    (0.0, 1.0, 0.0, 1.0, 1.0, 1.0),
])  # fmt: skip

# Decal: projection axis (0 both flanks, 2 front and back), centre along z or x, centre height, radius.
DECAL = np.array([
    (0, -0.02, 0.7, 0.22), (2, 0.0, 0.52, 0.22), (2, 0.0, 0.5, 0.22), (0, -0.02, 0.5, 0.2),
    (2, 0.0, 0.82, 0.24), (0, 0.0, 0.55, 0.3), (2, 0.0, 0.9, 0.22), (0, 0.0, 0.85, 0.22),
    (2, 0.0, 0.82, 0.17), (2, 0.0, 1.1, 0.25), (2, 0.0, 1.0, 0.4),
])  # fmt: skip


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def in_decal(kind, u, v):
    """Is (u, v), with v up and 1 the outer radius, inside the star, heart or disc?"""
    if kind == 1:
        r = math.sqrt(u * u + v * v)
        a = abs(((math.atan2(u, v) / (2.0 * math.pi) * 5.0 + 0.5) % 1.0) - 0.5) * 2.0
        return r < 1.05 - 0.62 * a
    if kind == 2:
        x, y = u * 1.15, v * 1.2 + 0.12
        q = x * x + y * y - 0.85
        return q * q * q * 1.2 - x * x * y * y * y < 0.0
    return u * u + v * v < 0.8


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def in_pattern(kind, axis, scale, phase, cls, x, y, z):
    """Is this body point of the second colour?"""
    qx, qy, qz = (
        (x - FRAME[cls, 0]) / FRAME[cls, 3],
        (y - FRAME[cls, 1]) / FRAME[cls, 4],
        (z - FRAME[cls, 2]) / FRAME[cls, 5],
    )
    turn = math.atan2(qx, qz) / math.pi  # -1..1 around the y axis
    if kind == 1:  # two halves
        if phase < 0.55 or axis != 2:
            return qy < -0.25 + 0.35 * phase
        return qz < -0.1
    if kind == 2:  # bands
        if axis == 3:
            return math.floor((turn + phase) * 4.0) % 2 == 0
        q = qx if axis == 0 else (qy if axis == 1 else qz)
        return math.floor(q * 1.9 * scale + phase) % 2 == 0
    if kind == 3:  # round spots on a spiral of directions around the body
        n = 13 if scale < 1.1 else 17
        inv = 1.0 / math.sqrt(qx * qx + qy * qy + qz * qz + 1e-9)
        ux, uy, uz = qx * inv, qy * inv, qz * inv
        limit = math.cos(0.37 if n == 13 else 0.33)
        for i in range(n):
            h = 1.0 - 2.0 * (i + 0.5) / n
            r = math.sqrt(1.0 - h * h)
            a = 2.39996 * i + 6.2832 * phase
            if ux * r * math.cos(a) + uy * h + uz * r * math.sin(a) > limit:
                return True
        return False
    if kind == 4:  # diamonds
        if cls == 4 or cls == 8 or cls == 9:
            u = qx + qz
        elif cls == 0 or cls == 2 or cls == 3:
            u = qz * 1.6 + qx
        else:
            u = turn * 3.0
        v = qy * 1.1
        fine = 0.8 * scale if (cls == 0 or cls == 2 or cls == 3) else 1.0
        return (math.floor((u + v) * fine + phase) + math.floor((u - v) * fine + phase)) % 2 == 0
    if kind == 5:  # checks
        if cls == 5 or cls == 6 or cls == 7:
            return (math.floor((turn + phase) * 4.0) + math.floor(qy * 1.5 + phase)) % 2 == 0
        cells = 1.3 * scale
        long = cells * (1.5 if cls == 0 or cls == 2 or cls == 3 else 1.0)
        return (
            math.floor(qx * cells + 0.5) + math.floor(qy * cells + phase) + math.floor(qz * long + phase)
        ) % 2 == 0
    return False


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def albedo(o, part, x, y, z, nx, nz):
    """Linear colour of a point of object row `o` (layout in encode.py) in the object's own space."""
    cls = int(o[0])
    if part > ACCENT:
        return FIXED[part, 0], FIXED[part, 1], FIXED[part, 2]
    second = False
    patterned = o[12] > 0 and (part == BODY or (part == HEAD and o[16] > 0.5))
    if patterned:
        second = in_pattern(int(o[12]), int(o[13]), o[14], o[15], cls, x, y, z)
    elif part == HEAD:
        second = o[17] > 0.5
    elif part == ACCENT:
        second = o[18] > 0.5
    elif part == LIMB:
        second = o[19] > 0.5
    if part == BODY and o[20] > 0:
        k = DECAL[cls]
        if k[0] == 0:
            u = z - k[1]
            facing = abs(nx)
            if x < 0.0:
                u = -u
        else:
            u = x - k[1]
            facing = abs(nz)
        if facing > 0.35 and in_decal(int(o[20]), u / k[3], (y - k[2]) / k[3]):
            return o[27], o[28], o[29]
    if second:
        return o[24], o[25], o[26]
    return o[21], o[22], o[23]
