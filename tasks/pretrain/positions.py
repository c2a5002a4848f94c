"""Where the judges' position embeddings start: at sines and cosines as large as embedded patches.

The library starts them at 0.02 against about 0.3 of an embedded patch, too faint for attention by place to be
found in a run of a few hundred steps; how much this start gains here was not measured on its own.
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
