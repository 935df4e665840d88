"""Running moments against moments written out, in any cut of the stream."""

import math

import torch

from morphogen.core.rng import Rng
from morphogen.nn.layers.running_moments import RunningMoments


def draws(n, seed=0, mean=(1.0, -2.0, 0.0), std=(0.5, 2.0, 1.0)):
    v = Rng(seed).normal("v", n, (3, 4, 5))
    return torch.tensor(mean)[:, None, None] + torch.tensor(std)[:, None, None] * v


def exact(v):
    return v.mean((0, 2, 3)), v.var((0, 2, 3), correction=0).sqrt()


def test_before_any_record_they_change_nothing():
    moments = RunningMoments(3, 100)
    assert torch.equal(moments.mean, torch.zeros(3)) and torch.equal(moments.stddev, torch.ones(3))


def test_the_first_records_count_in_full():
    """No bias towards where the sums began."""
    moments, v = RunningMoments(3, 10_000), draws(7)
    moments.update(v)
    mean, std = exact(v)
    assert torch.allclose(moments.mean, mean, atol=1e-5) and torch.allclose(moments.stddev, std, atol=1e-5)


def test_records_are_weighted_by_their_age():
    moments, v = RunningMoments(3, 50), draws(60)
    for part in v.split(10):
        moments.update(part)
    weight = torch.exp(-(5 - torch.arange(60) // 10) * 10 / 50.0)[:, None, None, None].expand_as(v).double()
    mean = (weight * v).sum((0, 2, 3)) / weight.sum((0, 2, 3))
    square = (weight * v.square()).sum((0, 2, 3)) / weight.sum((0, 2, 3))
    assert torch.allclose(moments.mean.double(), mean, atol=1e-5)
    assert torch.allclose(moments.stddev.double(), (square - mean.square()).sqrt(), atol=1e-5)


def test_parts_of_a_batch_count_like_the_batch():
    whole, parts, v = RunningMoments(3, 2000), RunningMoments(3, 2000), draws(640)
    for batch in v.split(64):
        whole.update(batch)
        for part in batch.split(16):
            parts.update(part)
    assert torch.allclose(parts.mean, whole.mean, atol=0.02) and torch.allclose(parts.stddev, whole.stddev, atol=0.02)


def test_the_past_is_forgotten():
    """After k N records what came before weighs e^-k."""
    moments = RunningMoments(3, 100)
    moments.update(draws(1000, mean=(9.0, 9.0, 9.0)))
    for part in draws(1000, seed=1).split(20):
        moments.update(part)
    bound = 5 * 2.0 / math.sqrt(20 * 150)  # five standard errors of the widest channel: one alarm in a million
    assert torch.allclose(moments.mean, torch.tensor([1.0, -2.0, 0.0]), atol=bound + 10 * math.exp(-10))


def test_they_are_stored():
    one, other = RunningMoments(3, 100), RunningMoments(3, 100)
    one.update(draws(5))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.mean, other.mean) and torch.equal(one.stddev, other.stddev)
