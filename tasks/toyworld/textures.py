"""Small functions that colours are mixed with; compiled, scalar."""

import math

from numba import njit


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
