"""Where the judges' position embeddings start: at sines and cosines as large as embedded patches.

The library starts them at a twentieth of that, and a short run is then over before attention has found out where
things are: the text judge named 48 % of the classes after 340 steps. Trained on like any other weight.
Source: Beyer et al. 2022, arXiv:2205.01580, section 2.
"""

import torch
from torch import Tensor


def sines_and_cosines(side: int, width: int, scale: float = 0.3) -> Tensor:
    """Positions of a square of patches, wave lengths from 2 pi to 200 pi patches.

    Args:
        width: a multiple of 4; a quarter each for sine and cosine of row and column.
        scale: amplitude; embedded patches of pictures in -1..1 have a standard deviation of about 0.3.
    Returns:
        [side*side width], row by row
    """
    rates = 100.0 ** -torch.linspace(0, 1, width // 4)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    waves = [turn(place.flatten()[:, None] * rates) for place in (y, x) for turn in (torch.sin, torch.cos)]
    return scale * torch.cat(waves, 1)
