"""Pictures that show no toys, so that the autoencoder also learns what a photograph is made of.

Three kinds: dead leaves (opaque shapes over each other, whose edges and sizes are distributed as in photographs), coloured noise
with a natural spectrum, and crops of the free photographs that come inside the scikit-image package.
Source of the idea: Lee, Mumford and Huang 2001 (dead leaves); Baradad et al. 2021, arXiv:2106.05963 (learning to see from noise).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skimage
from PIL import Image

# In the wheel of scikit-image: public domain or CC0 (see its data/README.txt), no download.
PHOTOGRAPHS = (
    "astronaut chelsea coffee hubble_deep_field rocket motorcycle_left motorcycle_right retina ihc grass gravel brick camera"
).split()


def photographs() -> list[np.ndarray]:
    """The bundled photographs that this version of scikit-image has. uint8 [h w 3] each"""
    folder = Path(skimage.__file__).parent / "data"
    paths = [path for name in PHOTOGRAPHS for path in sorted(folder.glob(f"{name}.*"))]
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths]


def photograph_crop(rng: np.random.Generator, photos: list[np.ndarray], size: int) -> np.ndarray:
    """A square of one photograph at a random scale, colours rotated and gained at random. uint8 [size size 3]"""
    photo = photos[rng.integers(len(photos))]
    limit = min(photo.shape[:2])
    side = int(rng.uniform(min(size, limit), limit))
    top, left = (int(rng.integers(length - side + 1)) for length in photo.shape[:2])
    crop = Image.fromarray(photo[top : top + side, left : left + side]).resize(
        (size, size), Image.Resampling.LANCZOS
    )
    pixels = np.asarray(crop)[:, :: rng.choice([-1, 1])].astype(np.float32)
    if rng.random() < 0.5:
        pixels = pixels[..., rng.permutation(3)]
    return np.clip(pixels * rng.uniform(0.75, 1.2, 3) + rng.uniform(-15, 15), 0, 255).astype(np.uint8)


def noise(rng: np.random.Generator, size: int) -> np.ndarray:
    """Noise whose amplitude falls with frequency as 1/f^a, a drawn from 0.8 to 2.2, colours correlated. uint8 [size size 3]"""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]) + 1.0 / size
    spectrum = np.fft.rfft2(rng.standard_normal((3, size, size))) / frequency ** rng.uniform(0.8, 2.2)
    waves = np.fft.irfft2(spectrum, s=(size, size))
    waves = (waves - waves.mean((1, 2), keepdims=True)) / waves.std((1, 2), keepdims=True)
    mixed = (
        np.einsum("dc,chw->hwd", np.eye(3) + rng.uniform(0, 1.5), waves)
        if rng.random() < 0.7
        else waves.transpose(1, 2, 0)
    )
    centre, spread = rng.uniform(60, 200, 3), rng.uniform(10, 50)
    return np.clip(centre + spread * mixed, 0, 255).astype(np.uint8)


def dead_leaves(rng: np.random.Generator, size: int, leaves: int = 70) -> np.ndarray:
    """Discs, bars and triangles over each other, radii distributed as 1/r^3; plain, shaded or striped. uint8 [size size 3]"""
    down, right = np.mgrid[:size, :size].astype(np.float32)
    picture = np.broadcast_to(rng.uniform(0, 255, 3), (size, size, 3)).astype(np.float32)
    smallest, largest = size / 20, size / 2
    radii = 1 / np.sqrt(rng.uniform(1 / largest**2, 1 / smallest**2, leaves))
    for radius in np.sort(radii)[::-1]:
        y, x = rng.uniform(-radius / 2, size + radius / 2, 2)
        angle = rng.uniform(0, 2 * np.pi)
        along = (right - x) * np.cos(angle) + (down - y) * np.sin(angle)
        across = (down - y) * np.cos(angle) - (right - x) * np.sin(angle)
        shape = rng.integers(3)
        if shape == 0:
            inside = along**2 + (across * rng.uniform(1, 2)) ** 2 < radius**2
        elif shape == 1:
            inside = (np.abs(along) < radius) & (np.abs(across) < radius * rng.uniform(0.1, 1))
        else:
            inside = (along > -radius / 2) & (np.abs(across) < (radius - along) * rng.uniform(0.3, 0.8))
        colour, other = rng.uniform(0, 255, (2, 3))
        if rng.random() < 0.3:
            mix = (np.sin(along * rng.uniform(0.4, 1.5)) > 0).astype(np.float32)
        else:
            mix = np.clip(0.5 + along / radius * rng.uniform(0, 0.5), 0, 1)
        picture[inside] = (colour + mix[..., None] * (other - colour))[inside]
    return np.clip(picture, 0, 255).astype(np.uint8)


def pool(count: int, size: int, seed: int) -> np.ndarray:
    """`count` pictures without toys: half photograph crops, a third dead leaves, the rest noise. uint8 [count size size 3]"""
    photos = photographs()
    pictures = np.empty((count, size, size, 3), np.uint8)
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        kind = number % 6
        if kind < 3:
            pictures[number] = photograph_crop(rng, photos, size)
        else:
            pictures[number] = dead_leaves(rng, size) if kind < 5 else noise(rng, size)
    return pictures
