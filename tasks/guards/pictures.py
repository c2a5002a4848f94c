"""Is there a picture at all? Numbers that are none are refused; black and blank pictures are flagged.

A black picture is what a decoder's NaN becomes on its way to bytes (half precision overflows in SDXL's VAE,
for one). It is written nevertheless: an evaluation that never sees a sampler's failures would flatter it.
Whoever can draw again replaces it.
"""

import numpy as np

from tasks.guards import base

BLACK_LEVEL = 4.0  # of 255: no pixel above it
BLANK_DEVIATION = 1.0  # of 255: standard deviation within each channel


class Guard(base.Guard):
    """Looks at the pixels alone."""

    order = 20

    def review(self, picture: base.Picture, context: base.Context) -> list[base.Objection]:
        """Object to NaN, black and blank."""
        pixels = picture.pixels
        if pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(f"expected a picture [h w 3], got {list(pixels.shape)}")
        if not np.isfinite(pixels).all():
            return [base.Objection("holds NaN or infinite values", refuse=True)]
        values = pixels.astype(np.float32) * (1 if pixels.dtype == np.uint8 else 255)
        if values.max() <= BLACK_LEVEL:
            return [base.Objection("black", refuse=False)]
        if values.std(axis=(0, 1)).max() < BLANK_DEVIATION:
            return [base.Objection("blank: one colour and nothing on it", refuse=False)]
        return []
