"""A SAM of a few thousand weights, random, as a checkpoint folder."""

from pathlib import Path

import pytest
import torch

from tasks.pretrain import segmenter
from tasks.segmenters import _sam_checkpoint

TINY = segmenter.Params(size_px=64, embed_dim=40, depth=2, out_chans=32)


@pytest.fixture(scope="session")
def tiny_sam(tmp_path_factory) -> Path:
    """Random weights whose masks are not all empty."""
    sam = segmenter.Student(TINY).sam
    with torch.no_grad():
        sam.mask_decoder.mask_tokens.weight.mul_(5)
    folder = tmp_path_factory.mktemp("checkpoints") / "sam"
    _sam_checkpoint.save(sam, segmenter.config(TINY), folder)
    return folder
