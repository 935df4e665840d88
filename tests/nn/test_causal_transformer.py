"""The causal transformer: causality by derivatives, a sum of one by enumeration, the walk against the whole pass."""

import itertools

import pytest
import torch
from scipy.stats import chi2

from morphogen.core.rng import Rng
from morphogen.nn.backbones import causal_transformer as module
from morphogen.nn.backbones.causal_transformer import CausalTransformer


def build(places=3, levels=2, size=3, cond=0, width=16, blocks=2):
    """A network whose every weight matters: those that start at zero are moved."""
    with Rng(0).forked():
        net = CausalTransformer(places, levels, size, 2, width=width, blocks=blocks, cond=cond).double().eval()
        for p in net.parameters():
            p.data.add_(0.3 * torch.randn_like(p))
    return net


def table(net):
    """What the symbols stand for."""
    return Rng(5).normal("table", net.levels * net.size, (2,), torch.float64).unflatten(0, (net.levels, net.size))


def every(places, levels, size):
    return torch.tensor(list(itertools.product(range(size), repeat=places * levels))).reshape(-1, places, levels)


def symbols(net, n=4):
    return Rng(0).integers("s", n, net.size, (net.places, net.levels))


def test_logits_depend_on_all_earlier_symbols_and_on_no_other(monkeypatch):
    """By derivatives with respect to the embedded inputs: zero at and after a symbol, not zero before it."""
    net, length = build(4, 2), 8
    weights = net._inputs(table(net)).detach().flatten(0, 1)
    embedded = weights[torch.arange(length - 1) % 6].expand(1, -1, -1)  # of the symbols at 0 .. T-2

    def of(x):
        monkeypatch.setattr(module.F, "embedding", lambda *_: x)
        return net.logits(torch.zeros(1, 4, 2, dtype=torch.int64), table(net)).flatten(1, 2).sum((0, 2))

    moved = torch.autograd.functional.jacobian(of, embedded)[:, 0].abs().amax(-1)  # (logits of t, symbol j)
    earlier = torch.arange(length)[:, None] > torch.arange(length - 1)
    assert (moved[earlier] > 0).all()
    assert (moved[~earlier] == 0).all()


@pytest.mark.parametrize("places, levels, size", [(3, 2, 3), (4, 1, 4), (1, 3, 5)])
def test_probabilities_of_all_sequences_sum_to_one(places, levels, size):
    net = build(places, levels, size)
    p = net(every(places, levels, size), table(net)).flatten(1).sum(1).exp()
    assert p.std() > 0.1 * p.mean()  # no uniform one
    assert float(p.sum().detach()) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("cond", [0, 5])
@torch.no_grad()
def test_the_walk_equals_the_whole_pass(cond):
    net = build(5, 2, 4, cond, width=128)
    assert net.blocks[0].attention.heads == 2
    s = symbols(net)
    c = Rng(0).normal("c", 4, (5,), torch.float64) if cond else None
    whole = net.logits(s, table(net), c).flatten(1, 2)
    walk = net.walk(4, table(net), c)
    logits = next(walk)
    for t in range(10):
        assert torch.allclose(logits, whole[:, t], rtol=0, atol=1e-12)
        if t < 9:
            logits = walk.send(s.flatten(1)[:, t])
    if c is not None:
        assert not torch.allclose(net.logits(s, table(net), 2.0 * c), net.logits(s, table(net), c), atol=1e-3)


def test_both_ways_to_compute_attention_agree(monkeypatch):
    net = build(width=128)
    written_out, s = net.logits(symbols(net), table(net)), symbols(net)
    monkeypatch.setattr(module, "_WRITTEN_OUT", 0)
    called, fused = [], module.F.scaled_dot_product_attention
    monkeypatch.setattr(module.F, "scaled_dot_product_attention", lambda *a, **k: called.append(1) or fused(*a, **k))
    assert torch.allclose(net.logits(s, table(net)), written_out, atol=1e-12) and called


@torch.no_grad()
def test_sampling_frequencies_are_the_probabilities():
    """A chi-squared test on all sequences, rare ones together; it alarms falsely once in a million runs."""
    net, n = build(2, 2, 3), 20_000
    s = every(2, 2, 3)
    p = net(s, table(net)).flatten(1).sum(1).exp()
    drawn = net.sample(Rng(7).uniform("u", n, (2, 2), torch.float64), table(net)).flatten(1)
    seen = torch.bincount(drawn @ torch.tensor([27, 9, 3, 1]), minlength=81).double()
    common = n * p >= 10
    expected = torch.cat((n * p[common], n * p[~common].sum()[None]))
    observed = torch.cat((seen[common], seen[~common].sum()[None]))
    assert common.sum() > 10
    keep = expected > 0
    statistic = ((observed - expected).square()[keep] / expected[keep]).sum()
    assert float(statistic) < chi2.isf(1e-6, int(keep.sum()) - 1)


@torch.no_grad()
def test_extreme_uniforms_draw_symbols_that_exist():
    net = build(2, 1, 3)
    for u in (2.0**-33, 1.0 - 2.0**-33):
        s = net.sample(torch.full((2, 2, 1), u, dtype=torch.float64), table(net))
        assert (s >= 0).all() and (s < 3).all()


def test_it_starts_from_equal_probabilities_and_dropout_acts_in_training_alone():
    with Rng(0).forked():
        net = CausalTransformer(3, 2, 4, 2, width=16, blocks=1, dropout=0.5)
    s, v = symbols(net), table(net).float()
    assert torch.allclose(net(s, v).exp(), torch.tensor(0.25))
    with Rng(0).forked():
        for p in net.parameters():
            p.data.add_(0.3 * torch.randn_like(p))
        assert not torch.allclose(net(s, v), net(s, v), atol=1e-3)
    net.eval()
    assert torch.equal(net(s, v), net(s, v))
