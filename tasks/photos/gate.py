"""Is a photo good enough to learn a subject from? Numbers and yes or no; ingest puts them into words."""

from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image
from scipy import ndimage

SHARPNESS_SIDE_PX = 256
"""Photos are compared for sharpness at this long side: blur that shows only when enlarged does no harm."""
BLANK_DEVIATION = 1.5  # of 255
GREY_SPREAD = 6  # of 255; JPEG colours a grey photo a little
THUMBNAIL_PX, THUMBNAIL_DIFFERENCE = 16, 10.0
"""Different photos of one subject differ by 10.6 of 255 or more on average; copies that were re-encoded,
resized, turned by 1 degree or cropped by 1 % by 4.2 at most (79 photos of DreamBench)."""


def is_blank(image: Image.Image) -> bool:
    """One colour and nothing on it."""
    return float(np.asarray(image).std(axis=(0, 1)).max()) < BLANK_DEVIATION


def is_grey(image: Image.Image) -> bool:
    """No pixel has a colour."""
    pixels = np.asarray(image).astype(np.int16)
    return bool((pixels.max(2) - pixels.min(2)).max() <= GREY_SPREAD)


def sharpness(image: Image.Image) -> float:
    """Variance of the Laplacian of the grey levels, at a common size.

    A sharp part suffices, so a soft background is no fault. Photos of DreamBench have 148 to 6,500;
    blurred by a Gaussian of 0.4 % of their long side 8 to 160, of 0.8 % 2 to 14.
    Source: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy".
    """
    grey = image.convert("L")
    grey.thumbnail((SHARPNESS_SIDE_PX, SHARPNESS_SIDE_PX), Image.Resampling.LANCZOS)
    return float(ndimage.laplace(np.asarray(grey, dtype=np.float32)).var())


@dataclass(frozen=True)
class Fingerprint:
    """What stays of a photo when it is re-encoded, resized or cropped by a hair."""

    shape: imagehash.ImageHash  # 64 bits, blind to colour
    colours: np.ndarray  # [16 16 3] 0..255


def fingerprint(image: Image.Image) -> Fingerprint:
    """Perceptual hash and thumbnail. Source: imagehash's phash (DCT of the grey levels)."""
    small = image.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX)
    return Fingerprint(imagehash.phash(image), np.asarray(small, dtype=np.float32))


def alike(a: Fingerprint, b: Fingerprint, bits: int) -> bool:
    """Nearly the same picture: at most `bits` of 64 differ, and the colours agree too."""
    return a.shape - b.shape <= bits and float(np.abs(a.colours - b.colours).mean()) <= THUMBNAIL_DIFFERENCE
