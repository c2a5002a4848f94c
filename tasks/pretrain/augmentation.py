"""What a picture may suffer without changing what it shows: framing, light, softness, noise.

The judges will look at pictures from a small generator, which are softer than renders; they learn not to
mind.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def reframed(
    pixels: Tensor, rng: np.random.Generator, closest: float = 0.65, mirrored: bool = False
) -> Tensor:
    """A random window of each picture at the picture's own size, sometimes mirrored.

    Args:
        pixels: 0..1. [b 3 h w]
        closest: smallest side of the window, as a part of the picture's.
        mirrored: also flip half of them left to right (not where words or decals have a side).
    """
    count = len(pixels)
    side = rng.uniform(closest, 1.0, count)
    shift = rng.uniform(-1, 1, (count, 2)) * (1 - side)[:, None]
    flip = np.where(rng.random(count) < 0.5, -1.0, 1.0) if mirrored else np.ones(count)
    theta = np.zeros((count, 2, 3), np.float32)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = side * flip, side, shift
    places = F.affine_grid(torch.from_numpy(theta), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, places, padding_mode="reflection", align_corners=False)


def relit(pixels: Tensor, rng: np.random.Generator, most: float = 0.15) -> Tensor:
    """Brightness, contrast and saturation changed by up to `most`; hues stay, since colours are asked about.
    [b 3 h w]
    """
    factor = torch.from_numpy(rng.uniform(1 - most, 1 + most, (3, len(pixels), 1, 1, 1)).astype(np.float32))
    grey = pixels.mean(1, keepdim=True)
    level = pixels.mean((1, 2, 3), keepdim=True)
    coloured = grey + (pixels - grey) * factor[0]
    return ((coloured - level) * factor[1] + level * factor[2]).clamp(0, 1)


def softened(pixels: Tensor, rng: np.random.Generator, share: float = 0.4) -> Tensor:
    """`share` of the pictures made smaller by 1.5 to 3 and large again, and a little noise on all. [b 3 h
    w]
    """
    size = pixels.shape[-1]
    small = F.interpolate(pixels, scale_factor=1 / rng.uniform(1.5, 3.0), mode="bilinear", antialias=True)
    soft = F.interpolate(small, size=(size, size), mode="bilinear")
    chosen = torch.from_numpy(rng.random(len(pixels)) < share)[:, None, None, None]
    noise = torch.from_numpy(rng.standard_normal(pixels.shape, dtype=np.float32))
    return (torch.where(chosen, soft, pixels) + float(rng.uniform(0, 0.03)) * noise).clamp(0, 1)


def some_patches(count: int, patches: int, share: float, rng: np.random.Generator) -> Tensor:
    """Numbers of the tokens that a ViT is to see of each picture: the class token, 0, and a random `share` of the
    patches, others for each picture. [count 1+k]
    """
    order = torch.from_numpy(rng.random((count, patches)).argsort(1)[:, : round(share * patches)])
    return torch.cat([torch.zeros(count, 1, dtype=torch.long), order + 1], 1)
