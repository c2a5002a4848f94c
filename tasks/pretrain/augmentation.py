"""What a picture may suffer without changing what it shows: framing, light, softness, noise.

The judges will look at pictures from a small generator, which are softer than renders; they learn not to
mind.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def reframed(
    images: np.ndarray, rng: np.random.Generator, closest: float = 0.7, mirrored: bool = False
) -> Tensor:
    """A random window of each picture at the picture's own size, sometimes mirrored.

    The windows of one batch are of one size, so that they are scaled together.

    Args:
        images: uint8 [b s s 3]
        closest: smallest side of the window, as a part of the picture's.
        mirrored: also flip half of the batches left to right (not where decals have a side).
    Returns:
        0..1 [b 3 s s]
    """
    count, size = images.shape[:2]
    side = round(size * rng.uniform(closest, 1.0))
    corners = rng.integers(0, size - side + 1, (count, 2))
    windows = np.stack(
        [one[top : top + side, left : left + side] for one, (top, left) in zip(images, corners, strict=True)]
    )
    if mirrored and rng.random() < 0.5:
        windows = windows[:, :, ::-1]
    pixels = torch.from_numpy(windows.transpose(0, 3, 1, 2).copy()).float().div_(255)
    return F.interpolate(pixels, size=(size, size), mode="bilinear") if side < size else pixels


def relit(pixels: Tensor, rng: np.random.Generator, most: float = 0.15) -> Tensor:
    """Brightness and contrast changed by up to `most`, in place; hues stay, since colours are asked about.
    0..1 [b 3 h w]
    """
    contrast, light = torch.from_numpy(rng.uniform(1 - most, 1 + most, (2, len(pixels), 1, 1, 1))).float()
    level = pixels.mean((1, 2, 3), keepdim=True)
    return pixels.mul_(contrast).add_(level * (light - contrast)).clamp_(0, 1)


def softened(pixels: Tensor, rng: np.random.Generator, share: float = 0.4) -> Tensor:
    """A `share` of the batches made smaller by 1.5 to 3 and large again, as many with a little noise. [b 3 h w]"""
    size = pixels.shape[-1]
    if rng.random() < share:
        small = F.interpolate(pixels, scale_factor=1 / rng.uniform(1.5, 3.0), mode="bilinear", antialias=True)
        pixels = F.interpolate(small, size=(size, size), mode="bilinear")
    if rng.random() < share:
        noise = torch.from_numpy(rng.standard_normal(pixels.shape, dtype=np.float32))
        pixels = pixels.add(noise, alpha=float(rng.uniform(0, 0.04))).clamp_(0, 1)
    return pixels


def some_patches(count: int, patches: int, share: float, rng: np.random.Generator) -> Tensor:
    """Numbers of the tokens that a ViT is to see of each picture: the class token, 0, and a random `share` of the
    patches, others for each picture. [count 1+k]
    """
    order = torch.from_numpy(rng.random((count, patches)).argsort(1)[:, : round(share * patches)])
    return torch.cat([torch.zeros(count, 1, dtype=torch.long), order + 1], 1)
