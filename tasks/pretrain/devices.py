"""Handing a batch to the device that trains."""

import torch
from torch import Tensor


def moved(tensor: Tensor, device: str | torch.device) -> Tensor:
    """The tensor on `device`. A GPU fetches it by itself, from page-locked memory, while the next batch is drawn."""
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
