"""Replicas that share weights against one model that sees the whole batch."""

import copy

import torch
from torch import nn

from tasks.pretrain import checkpoints
from tasks.pretrain.parallel import Replicas


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))


def test_two_halves_step_like_the_whole():
    pixels, alone = torch.randn(10, 6), model()
    together = copy.deepcopy(alone)
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.1)
    replicas = Replicas(together, 2)
    optimizers = [[torch.optim.SGD(shard, lr=0.1)] for shard in replicas.shards()]
    for _ in range(3):
        optimizer.zero_grad()
        alone(pixels).square().mean().backward()
        expected = nn.utils.clip_grad_norm_(alone.parameters(), 0.5)
        optimizer.step()
        replicas.each(lambda n, m: m(pixels[5 * n : 5 * n + 5]).square().mean().backward())
        norm = replicas.step(optimizers, 0.5)
        assert abs(norm - expected.item()) < 1e-5
    for own, other in zip(together.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(own, other)


def test_every_parameter_has_one_owner():
    replicas = Replicas(model(), 3)
    owned = [id(p) for shard in replicas.shards() for p in shard]
    assert sorted(owned) == sorted(id(p) for p in replicas.modules[0].parameters())


def test_an_epoch_sees_every_example_once():
    seen = [i for step in range(6) for i in checkpoints.indices_of_step(9, 3, step, seed=4)]
    assert sorted(seen[:9]) == sorted(seen[9:]) == list(range(9))
    assert seen[:9] != seen[9:]
