"""Muon against the singular value decomposition it approximates."""

import torch
from torch import nn

from tasks.pretrain.muon import Muon, orthogonalised


def test_singular_values_become_about_one():
    matrices = torch.randn(3, 16, 40, generator=torch.Generator().manual_seed(0))
    for batch in (matrices, matrices.mT):
        values = torch.linalg.svdvals(orthogonalised(batch))
        assert values.min() > 0.6 and values.max() < 1.3


def test_directions_are_kept():
    matrix = torch.randn(1, 12, 12, generator=torch.Generator().manual_seed(1))
    left, _, right = torch.linalg.svd(matrix)
    exact = left @ right
    found = orthogonalised(matrix, iterations=10)
    assert (found * exact).sum() / (found.norm() * exact.norm()) > 0.97


def test_a_kernel_moves_by_the_promised_root_mean_square():
    kernel = nn.Parameter(torch.zeros(32, 16, 3, 3))
    kernel.grad = torch.randn(kernel.shape, generator=torch.Generator().manual_seed(2))
    Muon([kernel], lr=0.01).step()
    root = kernel.detach().square().mean().sqrt().item()
    assert 0.5 * 0.2 * 0.01 < root < 1.3 * 0.2 * 0.01
