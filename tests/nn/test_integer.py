"""Integer layers beside plain integers, exact sums, and integer tables beside the functions that they stand for."""

import random

import pytest
import torch
from torch import nn

from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import ArtifactError, CapabilityError
from morphogen.core.rng import Rng
from morphogen.nn.backbones.causal import CausalConv
from morphogen.nn.integer.checking import checked
from morphogen.nn.integer.conversion import prove, to_integers
from morphogen.nn.integer.grid import EXACT, FRACTION, LIMIT, UNIT, to_grid
from morphogen.nn.integer.latent_coding import LatentTables
from morphogen.nn.integer.smooth import ExpTable, IntegerActivation, Smooth
from morphogen.nn.integer.tables import PRECISION, Frequencies, Log1p, spread
from morphogen.nn.integer.value_coding import ValueTables
from morphogen.theory.likelihoods import likelihood, parameters

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


def walked(digits, of):
    """The frequencies of each digit, where the digits are known."""
    found = [next(digits)]
    found += [digits.send(digit) for digit in of[:-1]]
    return found


def test_tables_are_the_functions_that_they_stand_for():
    x = torch.linspace(-20, 20, 5001, dtype=torch.float64)
    smooth, exp = Smooth(), ExpTable()
    assert torch.allclose(smooth.logistic(x), torch.sigmoid(x), atol=1e-6)
    assert torch.allclose(smooth.normal(x), torch.special.ndtr(x), atol=2e-6)
    assert bool((smooth.logistic(x).diff() >= 0).all()) and bool((smooth.normal(x).diff() >= 0).all())
    assert torch.allclose(exp(x / 3), (x / 3).exp(), rtol=1e-3)
    for name, function in (("silu", nn.SiLU()), ("gelu", nn.GELU()), ("tanh", nn.Tanh())):
        assert torch.allclose(IntegerActivation(name, smooth)(to_grid(x)), function(to_grid(x)), atol=2 * UNIT)


def test_bins_have_the_masses_of_the_posterior():
    """The two digits of a bin multiply to its share of N(m, s^2), for wide, narrow and far posteriors."""
    tables = LatentTables(256, "discretized_logistic", 1)
    mean = to_grid(torch.tensor([0.0, 0.7, -1.3, 2.5]))
    log_std = to_grid(torch.tensor([0.0, -1.0, -3.0, -2.0]))
    edges = torch.special.ndtri(torch.arange(4097, dtype=torch.float64) / 4096)
    for k in range(4):
        bins = torch.arange(4096)
        m, s = mean[k].expand(4096), log_std[k].expand(4096)
        first, second = walked(tables.bins(m, s), [bins // 64, bins % 64])
        p = first.gather(1, bins[:, None] // 64) * second.gather(1, bins[:, None] % 64) / 4.0**PRECISION
        assert float(p.sum()) == pytest.approx(1.0, abs=1e-12)
        true = torch.special.ndtr((edges - mean[k]) / log_std[k].exp()).diff()
        excess = (true * (true / p[:, 0]).log()).nan_to_num().sum()  # nats
        assert 0.0 <= float(excess) < 2e-3
    assert torch.equal(first.sum(1), torch.full((4096,), 2.0**PRECISION, dtype=torch.float64))
    flat = walked(tables.uniform(3), [torch.zeros(3), torch.zeros(3)])
    assert all(bool((f == 2.0**PRECISION / 64).all()) for f in flat)


@pytest.mark.parametrize("levels", [5, 17, 37, 256])
@pytest.mark.parametrize("name", ["discretized_logistic", "discretized_logistic_mixture", "bernoulli", "categorical"])
def test_values_have_the_masses_of_the_likelihood(name, levels):
    levels = 2 if name == "bernoulli" else levels
    kind = {"bernoulli": "binary", "categorical": "discrete"}.get(name, "continuous")
    data = DataSpec(name="x", shape=(1, 2, 3), kind=kind, levels=levels)
    tables = ValueTables(levels, name, 3)
    raw = to_grid(Rng(0).normal("r", 1, (parameters(name, levels, 3), 1, 2, 3), torch.float64))
    p = torch.ones(levels, 6, dtype=torch.float64)
    for u in range(levels):
        digits = tables.split(torch.full((1, 6), u))
        assert torch.equal(tables.join(digits), torch.full((6,), u))
        for f, digit in zip(walked(tables.digits(raw), digits), digits, strict=True):
            p[u] *= f.gather(1, digit[:, None])[:, 0] / 2.0**PRECISION
    every = data.encode(torch.arange(levels)[:, None].expand(-1, 6), torch.float64).reshape(levels, 1, 2, 3)
    log_p = likelihood(name, raw, data, mixtures=3).log_prob_elements(every).reshape(levels, 6)
    assert bool((p.sum(0) <= 1.0 + 1e-12).all()) and bool((p.sum(0) > 1.0 - 1e-4).all())
    excess = (log_p.exp() * (log_p - p.log())).sum(0)
    assert bool((excess < 1e-3).all())


def test_a_likelihood_of_densities_codes_nothing():
    with pytest.raises(CapabilityError, match="no probabilities"):
        ValueTables(256, "gaussian", 1)
