"""Chance as a function of the seed and a number, so that no state of a generator has to be kept."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def own_chance(seed: int, number: int) -> Iterator[torch.Generator]:
    """A CPU generator for one batch; torch's global generators are set likewise and put back afterwards."""
    digest = hashlib.sha256(f"{seed}:{number}".encode()).digest()
    value = int.from_bytes(digest[:8], "little") >> 1
    with torch.random.fork_rng():
        torch.manual_seed(value)
        yield torch.Generator().manual_seed(value)
