"""The jitted heart: march rays, shade them, fill the buffers.

Numba's cache watches this file only: after a change to what it imports, remove __pycache__ here.
"""

import math

import numpy as np
from numba import njit

from tasks.toyworld.patterns import albedo
from tasks.toyworld.primitives import ACCENT
from tasks.toyworld.settings import FAR, LIGHT, backdrop
from tasks.toyworld.shapes import distance
from tasks.toyworld.textures import ramp

PHOTO, CARTOON = 0, 1
TONE = np.minimum(np.linspace(0, 2, 2048, endpoint=False) ** 2, 4)  # by the square root of the light, 0..2
TONE = np.where(TONE > 0.8, 0.8 + 0.2 * (1.0 - np.exp(-(TONE - 0.8) / 0.2)), TONE) ** (1 / 2.2)
TILE = 8  # px; rays of a tile share one conservative start


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def to_local(o, x, y, z):
    """World point to the own space of object row `o`."""
    inv = 1.0 / o[5]
    x, z = (x - o[1]) * inv, (z - o[2]) * inv
    return o[3] * x - o[4] * z, y * inv, o[4] * x + o[3] * z


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def march(o, x, y, z, dx, dy, dz, start):
    """First hit in own space: distance along the ray (-1 when missed), part. Free space before `start`."""
    by = y - o[6]
    b = x * dx + by * dy + z * dz
    h = b * b - (x * x + by * by + z * z - o[7] * o[7])
    if h <= 0.0:
        return -1.0, 0
    h = math.sqrt(h)
    t, end = max(-b - h, start), -b + h
    cls = int(o[0])
    for _ in range(56):
        d, part = distance(cls, x + t * dx, y + t * dy, z + t * dz, o[8], o[9], o[10], o[11])
        if d < 0.0016:
            return t, part
        t += d * 0.92
        if t > end:
            break
    return -1.0, 0


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def cone_start(o, x, y, z, dx, dy, dz, spread):
    """How far (own space) a cone of rays, `spread` wide at distance 1, stays clear; 1e9 when it misses."""
    by = y - o[6]
    middle = math.sqrt(x * x + by * by + z * z)
    t, end = max(middle - o[7] * (1.0 + spread), 0.0), middle + o[7]
    cls = int(o[0])
    for _ in range(40):
        px, py, pz = x + t * dx, y + t * dy, z + t * dz
        to_ball = math.sqrt(px * px + (py - o[6]) ** 2 + pz * pz) - o[7]
        if to_ball > 0.1:  # outside the bounding ball its distance is the safe one
            d = to_ball + 0.02
        else:
            d, _ = distance(cls, px, py, pz, o[8], o[9], o[10], o[11])
        free = 0.8 * d - spread * t
        if free < 0.004:
            return max(t - 0.02, 0.0)
        t += free
        if t > end:
            return 1e9
    return max(t - 0.02, 0.0)


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def nearest(objects, x, y, z, dx, dy, dz, starts):
    """First object along a world ray: t (1e9 when none), index, part. starts: [k], see `cone_start`."""
    best, who, what = 1e9, -1, 0
    for k in range(objects.shape[0]):
        if starts[k] > 1e8:
            continue
        o = objects[k]
        lx, ly, lz = to_local(o, x, y, z)
        t, part = march(o, lx, ly, lz, o[3] * dx - o[4] * dz, dy, o[4] * dx + o[3] * dz, starts[k])
        if t >= 0.0 and t * o[5] < best:
            best, who, what = t * o[5], k, part
    return best, who, what


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def lit(o, x, y, z, lx, ly, lz):
    """Soft shadow of object `o` at a world point, 0 dark .. 1 lit; l points to the light."""
    x, y, z = to_local(o, x, y, z)
    dx, dy, dz = o[3] * lx - o[4] * lz, ly, o[4] * lx + o[3] * lz
    by = y - o[6]
    b = x * dx + by * dy + z * dz
    h = b * b - (x * x + by * by + z * z - o[7] * o[7])
    if h <= 0.0:
        return 1.0
    h = math.sqrt(h)
    t, end = max(-b - h, 0.0), -b + h
    if end <= 0.0:
        return 1.0
    t = max(t, 0.03)
    cls = int(o[0])
    open_ = 1.0
    for _ in range(24):
        d, _part = distance(cls, x + t * dx, y + t * dy, z + t * dz, o[8], o[9], o[10], o[11])
        open_ = min(open_, 0.5 + 5.0 * d / (t + 0.25))
        if open_ < 0.05:
            return 0.0
        t += min(max(d, 0.035), 0.3)
        if t > end:
            break
    open_ = max(open_, 0.0)
    return open_ * open_ * (3.0 - 2.0 * open_)


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def gradient(o, x, y, z):
    """Unit normal in own space, by four evaluations at a tetrahedron's corners."""
    cls = int(o[0])
    s0, s1, s2, s3 = o[8], o[9], o[10], o[11]
    e = 0.004
    a, _ = distance(cls, x + e, y - e, z - e, s0, s1, s2, s3)
    b, _ = distance(cls, x - e, y - e, z + e, s0, s1, s2, s3)
    c, _ = distance(cls, x - e, y + e, z - e, s0, s1, s2, s3)
    d, _ = distance(cls, x + e, y + e, z + e, s0, s1, s2, s3)
    nx, ny, nz = a - b - c + d, -a - b + c + d, -a + b - c + d
    inv = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-18)
    return nx * inv, ny * inv, nz * inv


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def trace(
    objects, kind, sp, props, light, look, ox, oy, oz, dx, dy, dz, starts, known, shade, open_, shade2, open2
):
    """One ray: linear rgb, t, object (-1 backdrop), part, world normal, shadow bits, light, openness.

    `known` is the object whose `shade` and `open_` a ray beside it has found, -2 for none; `shade2` and
    `open2` are those of another surface next to it, -1 for none.
    """
    t, who, part = nearest(objects, ox, oy, oz, dx, dy, dz, starts)
    fresh = known != who
    if fresh and shade2 >= 0.0:
        fresh = False
        shade, open_ = shade2, open2
    if fresh:
        shade, open_ = 1.0, 1.0
    lx, ly, lz = light[0], light[1], light[2]
    amb_r, amb_g, amb_b = LIGHT[kind, 0], LIGHT[kind, 1], LIGHT[kind, 2]
    key_r, key_g, key_b = LIGHT[kind, 3], LIGHT[kind, 4], LIGHT[kind, 5]
    bits = 0
    if who >= 0:
        o = objects[who]
        x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
        px, py, pz = to_local(o, x, y, z)
        ux, uy, uz = gradient(o, px, py, pz)
        nx, ny, nz = o[3] * ux + o[4] * uz, uy, -o[4] * ux + o[3] * uz
        r, g, b = albedo(o, part, px, py, pz, ux, uz)
        diffuse = max(nx * lx + ny * ly + nz * lz, 0.0)
        if fresh and diffuse > 0.0:
            for k in range(objects.shape[0]):
                s = lit(objects[k], x + 0.02 * nx, y + 0.02 * ny, z + 0.02 * nz, lx, ly, lz)
                if k != who and s < 0.5:
                    bits |= 1 << k
                shade *= s
        # ambient occlusion by the toy itself and by the ground
        if fresh:
            cls = int(o[0])
            d, _ = distance(cls, px + 0.18 * ux, py + 0.18 * uy, pz + 0.18 * uz, o[8], o[9], o[10], o[11])
            open_ = 0.45 + 0.55 * min(max(d / 0.18, 0.0), 1.0)
            open_ *= 0.55 + 0.45 * min(1.0, max(0.0, y / 0.45 + max(ny, 0.0)))
        if look == CARTOON:
            step = 0.62 if diffuse * shade < 0.25 else 1.0
            return (r * step, g * step, b * step, t, who, part, nx, ny, nz, bits, shade, open_)
        hemi = open_ * (0.62 + 0.38 * ny)
        r *= amb_r * hemi + key_r * diffuse * shade
        g *= amb_g * hemi + key_g * diffuse * shade
        b *= amb_b * hemi + key_b * diffuse * shade
        hx, hy, hz = lx - dx, ly - dy, lz - dz
        gloss = max((nx * hx + ny * hy + nz * hz) / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-12), 0.0)
        gloss = gloss**36 * 0.22 * shade
        if part > ACCENT:
            gloss *= 1.8
        rim = (1.0 + (nx * dx + ny * dy + nz * dz)) ** 3 * 0.07 * open_
        r, g, b = (r + gloss + rim * amb_r, g + gloss + rim * amb_g, b + gloss + rim * amb_b)
        return r, g, b, t, who, part, nx, ny, nz, bits, shade, open_

    t, r, g, b, nx, ny, nz, what = backdrop(kind, sp, props, ox, oy, oz, dx, dy, dz)
    if what == 0:
        return r, g, b, FAR, -1, 0, 0.0, 0.0, 0.0, 0, 1.0, 1.0
    x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
    for k in range(objects.shape[0] if fresh else 0):
        o = objects[k]
        s = lit(o, x + 0.01 * nx, y + 0.01 * ny, z + 0.01 * nz, lx, ly, lz)
        if s < 0.5:
            bits |= 1 << k
        shade *= s
        if what == 1:
            px, py, pz = to_local(o, x, 0.06, z)
            if px * px + pz * pz < o[7] * o[7]:
                d, _ = distance(int(o[0]), px, py, pz, o[8], o[9], o[10], o[11])
                open_ *= 0.45 + 0.55 * ramp(0.0, 0.32, d + 0.05)
    if look == CARTOON:
        step = 0.6 if shade < 0.5 else 1.0
        return r * step, g * step, b * step, t, -1, 0, nx, ny, nz, bits, shade, open_
    if what == 1:  # ground and walls keep their own colour in full light
        k_r = (amb_r * open_ + key_r * shade * ly) / (amb_r + key_r * ly)
        k_g = (amb_g * open_ + key_g * shade * ly) / (amb_g + key_g * ly)
        k_b = (amb_b * open_ + key_b * shade * ly) / (amb_b + key_b * ly)
    else:
        diffuse = max(nx * lx + ny * ly + nz * lz, 0.0) * shade
        k_r = amb_r * (0.8 + 0.2 * ny) + key_r * diffuse
        k_g = amb_g * (0.8 + 0.2 * ny) + key_g * diffuse
        k_b = amb_b * (0.8 + 0.2 * ny) + key_b * diffuse
    return r * k_r, g * k_g, b * k_b, t, -1, 0, nx, ny, nz, bits, shade, open_


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def ray(cam, u, v):
    """Unit direction through (u, v) in half heights, v up; and its length along the axis."""
    f = cam[12]
    x = cam[9] + (cam[3] * u + cam[6] * v) / f
    y = cam[10] + (cam[4] * u + cam[7] * v) / f
    z = cam[11] + (cam[5] * u + cam[8] * v) / f
    inv = 1.0 / math.sqrt(x * x + y * y + z * z)
    return x * inv, y * inv, z * inv, inv


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def silhouette(objects, cam, size):
    """Which pixels show a subject, [size size] bool; no shading."""
    seen = np.zeros((size, size), np.bool_)
    starts = np.zeros(objects.shape[0])
    for i in range(size):
        v = 1.0 - (i + 0.5) * 2.0 / size
        for j in range(size):
            dx, dy, dz, _ = ray(cam, (j + 0.5) * 2.0 / size - 1.0, v)
            _, who, _ = nearest(objects, cam[0], cam[1], cam[2], dx, dy, dz, starts)
            seen[i, j] = who >= 0
    return seen


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def tone(v):
    """Linear light to sRGB 0..1, with a soft shoulder."""
    return TONE[int(min(math.sqrt(max(v, 0.0)) * 1024.0 + 0.5, 2047.0))]


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def picture(objects, kind, sp, props, light, look, cam, size):
    """All buffers at once: rgb [h w 3] 0..1 sRGB, who, part, normal [h w 3], depth, shadow bits."""
    rgb = np.empty((size, size, 3), np.float32)
    normal = np.empty((size, size, 3), np.float32)
    depth = np.empty((size, size), np.float32)
    who = np.empty((size, size), np.int8)
    part = np.empty((size, size), np.uint8)
    bits = np.empty((size, size), np.uint8)
    shades = np.empty((size, size), np.float32)
    opens = np.empty((size, size), np.float32)
    ox, oy, oz = cam[0], cam[1], cam[2]
    tiles = (size + TILE - 1) // TILE
    starts = np.empty((tiles, tiles, objects.shape[0]))
    spread = 1.1 * math.sqrt(2.0) * TILE / size / cam[12]
    for i in range(tiles):
        for j in range(tiles):
            u, v = ((j + 0.5) * 2.0 * TILE / size - 1.0, 1.0 - (i + 0.5) * 2.0 * TILE / size)
            dx, dy, dz, _ = ray(cam, u, v)
            for k in range(objects.shape[0]):
                o = objects[k]
                x, y, z = to_local(o, ox, oy, oz)
                starts[i, j, k] = cone_start(
                    o, x, y, z, o[3] * dx - o[4] * dz, dy, o[4] * dx + o[3] * dz, spread
                )
    for i in range(size):
        v = 1.0 - (i + 0.5) * 2.0 / size
        for j in range(size):
            dx, dy, dz, along = ray(cam, (j + 0.5) * 2.0 / size - 1.0, v)
            r, g, b, t, k, p, nx, ny, nz, s, shades[i, j], opens[i, j] = trace(
                objects, kind, sp, props, light, look, ox, oy, oz, dx, dy, dz,
                starts[i // TILE, j // TILE], -2, 1.0, 1.0, -1.0, 1.0,
            )  # fmt: skip
            rgb[i, j, 0], rgb[i, j, 1], rgb[i, j, 2] = tone(r), tone(g), tone(b)
            normal[i, j, 0], normal[i, j, 1], normal[i, j, 2] = nx, ny, nz
            depth[i, j] = min(t * along, FAR)
            who[i, j], part[i, j], bits[i, j] = k, p, s
    # Four more samples (two inside the backdrop) where neighbours differ: objects, patterns, props.
    edge = np.zeros((size, size), np.bool_)
    for i in range(size):
        for j in range(size):
            for n in range(2):
                i2, j2 = i + 1 - n, j + n
                if i2 >= size or j2 >= size:
                    continue
                jump = 0.0
                for c in range(3):
                    jump = max(jump, abs(rgb[i, j, c] - rgb[i2, j2, c]))
                if who[i, j] != who[i2, j2] or jump > (0.15 if who[i, j] < 0 else 0.09):
                    edge[i, j] = True
                    edge[i2, j2] = True
    fine = rgb.copy()
    for i in range(size):
        for j in range(size):
            if not edge[i, j]:
                continue
            shade2, open2, inner = -1.0, 1.0, who[i, j] < 0
            for n in range(4):
                i2 = min(max(i + (1 if n == 0 else (-1 if n == 1 else 0)), 0), size - 1)
                j2 = min(max(j + (1 if n == 2 else (-1 if n == 3 else 0)), 0), size - 1)
                if who[i2, j2] != who[i, j]:
                    shade2, open2, inner = shades[i2, j2], opens[i2, j2], False
            sr, sg, sb = 0.0, 0.0, 0.0
            samples = 2 if inner else 4
            for n in range(samples):
                du = (0.125 if n == 0 else (-0.125 if n == 1 else (-0.375 if n == 2 else 0.375))) + 0.5
                dv = (0.375 if n == 0 else (-0.375 if n == 1 else (0.125 if n == 2 else -0.125))) + 0.5
                dx, dy, dz, _ = ray(cam, (j + du) * 2.0 / size - 1.0, 1.0 - (i + dv) * 2.0 / size)
                r, g, b, _, _, _, _, _, _, _, _, _ = trace(
                    objects, kind, sp, props, light, look, ox, oy, oz, dx, dy, dz,
                    starts[i // TILE, j // TILE], who[i, j], shades[i, j], opens[i, j], shade2, open2,
                )  # fmt: skip
                sr, sg, sb = sr + tone(r), sg + tone(g), sb + tone(b)
            share = 1.0 / (samples + 1)
            fine[i, j, 0] = share * (rgb[i, j, 0] + sr)
            fine[i, j, 1] = share * (rgb[i, j, 1] + sg)
            fine[i, j, 2] = share * (rgb[i, j, 2] + sb)
    return fine, who, part, normal, depth, bits
