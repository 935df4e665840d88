"""The optimizer of a player: which rule updates what, and what a checkpoint keeps of it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from morphogen.core.family import Player
from morphogen.trainer.optim import PlayerOptimizer

MUON = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch 2.9 has the first Muon")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3))


def optimizer(net: nn.Sequential) -> PlayerOptimizer:
    matrices = [net[0].weight]
    player = Player(list(net.parameters()), lr=1e-3, ema=0.9, matrices=matrices, matrix_lr=1e-2)
    return PlayerOptimizer(player, clip=None)


def moved(net: nn.Sequential, found: PlayerOptimizer, steps: int, start: int = 0) -> None:
    for i in range(start, start + steps):
        x = torch.randn(16, 12, generator=torch.Generator().manual_seed(i))
        found.clear()
        (net(x) - x[:, :3]).square().mean().backward()
        found.move(found.gradient_norm(), 1.0)


@MUON
def test_the_update_of_a_matrix_is_orthogonal_and_the_rest_is_adams() -> None:
    net = network()
    before = copy.deepcopy(net)
    moved(net, optimizer(net), 1)
    scale = 1e-2 * 0.2 * 12**0.5  # of an orthogonal matrix whose elements move like those of AdamW
    values = torch.linalg.svdvals((net[0].weight - before[0].weight).detach()) / scale
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3
    for a, b in ((net[0].bias, before[0].bias), (net[2].weight, before[2].weight)):
        assert torch.allclose((a - b).abs(), torch.full_like(a, 1e-3), rtol=1e-2)


@MUON
def test_a_checkpoint_keeps_its_momentum() -> None:
    net = network()
    found = optimizer(net)
    moved(net, found, 3)
    again = copy.deepcopy(net)
    other = optimizer(again)
    other.load_state({name: value.clone() for name, value in found.state().items()})
    moved(net, found, 3, 3)
    moved(again, other, 3, 3)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(found.emas[0].averages, other.emas[0].averages, strict=True))
