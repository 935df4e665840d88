"""Integer layers beside plain integers, exact sums, and integer tables beside the functions that they stand for."""

import random

import pytest
import torch
from torch import nn

from morphogen.core.errors import ArtifactError, CapabilityError
from morphogen.core.rng import Rng
from morphogen.nn.backbones.causal import CausalConv
from morphogen.nn.integer.checking import checked
from morphogen.nn.integer.conversion import prove, to_integers
from morphogen.nn.integer.grid import EXACT, FRACTION, LIMIT, UNIT, to_grid
from morphogen.nn.integer.tables import PRECISION, Frequencies, Log1p, spread

LAYERS = {
    "linear": (lambda: nn.Linear(7, 5), (3, 7)),
    "conv": (lambda: nn.Conv2d(3, 4, 3, padding=1), (2, 3, 5, 6)),
    "strided": (lambda: nn.Conv2d(3, 4, 3, stride=2, padding=1), (2, 3, 5, 6)),
    "causal": (lambda: CausalConv(3, 4, 2, 1), (2, 5, 6, 3)),
    "strictly causal": (lambda: CausalConv(3, 4, 1, 2, strict=True), (2, 5, 6, 3)),
}


def made(name):
    with Rng(0).forked():
        layer = LAYERS[name][0]()
        x = to_grid(torch.randn(LAYERS[name][1]))
    return layer, to_integers(layer), x


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_a_layer_is_its_real_one_up_to_the_grid(name):
    layer, integers, x = made(name)
    assert torch.allclose(integers(x), layer.double()(x), atol=2 * UNIT)
    assert torch.equal(to_grid(integers(x)), integers(x))


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_a_layer_is_what_plain_integers_give(name):
    _, integers, x = made(name)
    with checked(nn.Sequential(integers), random.Random(0).randrange) as seen:
        for _ in range(10):
            integers(x)
    assert list(seen.values()) == [10 * len(x)]
    with pytest.raises(ArithmeticError), checked(nn.Sequential(integers), random.Random(0).randrange):
        integers(x + 0.3 * UNIT)  # off the grid


@torch.no_grad()
def test_sums_do_not_depend_on_their_order():
    """At the largest activations and weights, any order of the terms gives the same bits; float32 does not."""
    with Rng(0).forked():
        layer = to_integers(nn.Linear(500, 8))
        x = to_grid(LIMIT * torch.randn(64, 500).sign() * torch.rand(64, 500))
        order = torch.randperm(500)
    other = to_integers(nn.Linear(500, 8))
    for name in ("exponent", "bias"):
        getattr(other.rows, name).copy_(getattr(layer.rows, name))
    other.rows.weight.copy_(layer.rows.weight[:, order])
    assert torch.equal(layer(x), other(x[:, order]))
    assert torch.equal(layer(x), torch.cat([layer(row[None]) for row in x]))


@torch.no_grad()
def test_a_layer_whose_sums_might_round_is_refused():
    layer = to_integers(nn.Linear(4, 2))
    assert 0 < prove(nn.Sequential(layer))["0"] < EXACT
    layer.rows.bias.fill_(2**53)
    with pytest.raises(ArtifactError, match=r"2\^53"):
        prove(nn.Sequential(layer))
    with pytest.raises(CapabilityError, match="GroupNorm"):
        to_integers(nn.Sequential(nn.GroupNorm(2, 4)))


@pytest.mark.parametrize("values", [2, 16, 256])
def test_frequencies_are_a_softmax_of_integers(values):
    logits = 4.0 * Rng(0).normal("l", 500, (values,), torch.float64)
    logits[0] = 0.0
    logits[1, 0] = 1000.0
    logits[2, 1:] = -torch.inf
    f = Frequencies()(logits)
    assert torch.equal(f, f.round()) and bool((f >= 1).all())
    assert bool((f.sum(-1) == 2**PRECISION).all())
    log_p = logits.log_softmax(-1)
    likely = log_p > -9.0
    assert bool(((f / 2**PRECISION).log() - log_p)[likely].abs().max() < 2e-2)
    excess = (log_p.exp() * (log_p - (f / 2**PRECISION).log())).nan_to_num().sum(-1)
    assert bool((excess < 1e-4).all())  # nats of a symbol


@pytest.mark.parametrize("values", [2, 7, 32])
def test_frequencies_are_those_of_plain_integers(values):
    table = Frequencies()
    steps = Rng(0).integers("l", 200, 1 << 28, (values,)) - (1 << 27)
    found = table(steps.double() * 2.0**-PRECISION)
    assert found.long().tolist() == [table.plain(row) for row in steps.tolist()]


def test_masses_of_zero_have_the_smallest_frequency():
    f = spread(torch.tensor([[0, 5, 0, 3]]))
    assert f[0, 0] == f[0, 2] == 1.0 and f.sum() == 2**PRECISION
    assert f[0, 1] / f[0, 3] == pytest.approx(5 / 3, rel=1e-5)


def test_log_counts_are_on_the_grid():
    table = Log1p(100)
    n = torch.arange(101)
    assert torch.allclose(table(n), torch.log1p(n.double()), atol=0.5 * 2.0**-FRACTION)
    assert torch.equal(table(torch.tensor([1000])), table(torch.tensor([100])))  # beyond its end
