"""What every segmenter owes its caller: one boolean mask a photo, how sure it is, and what a person should
know.

An option is a module with `Params` and `Segmenter(params, project)`. Building a `Segmenter` loads its
weights; `segment` only predicts, so one built object serves any number of photos.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.shared import params

SMALLEST_SIDE_PX = 16
BLANK_DEVIATION = 1.0  # standard deviation of the pixel values below which a photo shows nothing, of 255
LEAST_SHARE, MOST_SHARE = 0.002, 0.98  # of the photo's area


@dataclass(frozen=True)
class Mask:
    """A segmenter's answer for one photo."""

    pixels: np.ndarray  # bool [h w], True = subject, the photo's own size
    score: float  # 0 (no idea) to 1 (sure); comparable within one segmenter, not between two
    reasons: tuple[str, ...] = ()  # why not to trust the mask; empty: nothing to complain about

    @property
    def share(self) -> float:
        """Part of the photo that the subject covers, 0 to 1."""
        return float(self.pixels.mean())

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """The mask's bounding box, XYXY px, the far corner exclusive; None: the mask is empty."""
        rows, columns = np.flatnonzero(self.pixels.any(1)), np.flatnonzero(self.pixels.any(0))
        if not rows.size:
            return None
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


class Segmenter:
    """Checks the photo and the mask; an option fills in `find`."""

    may_cover_all = False  # True: a mask of the whole photo is what was asked for

    def __init__(self, params: params.Params, project: Path = Path()):
        """Load what is needed.

        Args:
            project: relative paths in params are meant from here.
        Raises:
            UserError: a checkpoint is missing or of the wrong kind.
        """
        self.params = params
        self.identity: dict[str, str] = {}  # digests of what was loaded, for the manifest

    def segment(self, image: np.ndarray) -> Mask:
        """Find the subject.

        Args:
            image: HWC uint8 sRGB, any size.
        Returns:
            A mask always, of the photo's size; where there is no subject, an empty or doubtful one with
            reasons.
        Raises:
            ValueError: the array is not an HWC uint8 picture (a defect in the caller).
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"expected a uint8 picture [h w 3], got {image.dtype} {list(image.shape)}")
        if min(image.shape[:2]) < SMALLEST_SIDE_PX:
            return _nothing(image, f"the photo is smaller than {SMALLEST_SIDE_PX} px")
        if image.std() < BLANK_DEVIATION:
            return _nothing(image, "the photo is blank: one colour and nothing on it")
        found = self.find(image)
        reasons = found.reasons
        if not found.pixels.any():
            reasons += ("no subject was found",)
        elif found.share < LEAST_SHARE:
            reasons += (f"the subject covers less than {LEAST_SHARE:.1%} of the photo",)
        elif found.share > MOST_SHARE and not self.may_cover_all:
            reasons += ("the mask covers the whole photo: subject and background were not told apart",)
        return Mask(found.pixels, found.score if found.pixels.any() else 0.0, reasons)

    def find(self, image: np.ndarray) -> Mask:
        """The option's own work, on a photo that is not blank. Same arguments and result as `segment`."""
        raise NotImplementedError


def _nothing(image: np.ndarray, reason: str) -> Mask:
    return Mask(np.zeros(image.shape[:2], bool), 0.0, (reason,))
