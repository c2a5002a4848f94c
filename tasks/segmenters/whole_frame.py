"""No segmentation: the subject is whatever the photo shows, background included.

Claim: the plain DreamBooth setting, where the photos are used as they are. Source: Ruiz et al. 2023,
arXiv:2208.12242, 3.2. Cost: none. Differs: nothing to differ in.
"""

import numpy as np

from tasks.segmenters import base
from tasks.shared import params


class Params(params.Params):
    """There is nothing to choose."""


class Segmenter(base.Segmenter):
    """Calls every pixel the subject."""

    may_cover_all = True

    def find(self, image: np.ndarray) -> base.Mask:
        """The whole photo."""
        return base.Mask(np.ones(image.shape[:2], bool), 1.0)
