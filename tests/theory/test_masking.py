"""The bound of masked diffusion by enumeration: tight for one distribution, a bound for any conditionals."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from morphogen.theory.masking import bound_weight, hidden_count, ranks, revealed_between


def random_law(n: int, k: int, seed: int = 0) -> torch.Tensor:
    """A distribution over k^n records, (k, ..., k)."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(k**n, generator=g, dtype=torch.float64).mul(1.5).softmax(0).reshape([k] * n)


def exact_conditional(p: torch.Tensor, x: tuple[int, ...], hidden: frozenset[int], i: int) -> float:
    """p(x_i | x_seen) of a distribution."""
    others = tuple(sorted(hidden - {i}))
    both = p.sum(dim=others, keepdim=True) if others else p
    index = tuple(0 if j in others else x[j] for j in range(p.ndim))
    joint = both[index]
    total = both.sum(dim=i, keepdim=True)
    return float(joint / total[tuple(0 if j == i else v for j, v in enumerate(index))])


def arbitrary_conditional(x: tuple[int, ...], hidden: frozenset[int], i: int, k: int) -> float:
    """Of no single distribution: logits that depend on all that is seen."""
    seen = tuple((j, x[j]) for j in range(len(x)) if j not in hidden)
    logits = torch.tensor([math.sin(1.7 * v + 2.3 * i + sum((a + 1) * (b + 2) for a, b in seen)) for v in range(k)])
    return float(logits.double().softmax(0)[x[i]])


def bound(x: tuple[int, ...], conditional) -> float:
    """The expectation over m and over sets of m hidden places, by enumeration."""
    n, total = len(x), 0.0
    for m in range(1, n + 1):
        sets = list(itertools.combinations(range(n), m))
        weight = float(bound_weight(torch.tensor([n]), torch.tensor([m])))
        for chosen in sets:
            hidden = frozenset(chosen)
            total += weight / n / len(sets) * -sum(math.log(conditional(x, hidden, i)) for i in hidden)
    return total


@pytest.mark.parametrize(("n", "k"), [(1, 3), (2, 3), (3, 2), (4, 2)])
def test_the_bound_of_one_distribution_is_its_log_likelihood(n, k):
    p = random_law(n, k)
    for x in itertools.product(range(k), repeat=n):
        value = bound(x, lambda x, hidden, i: exact_conditional(p, x, hidden, i))
        assert value == pytest.approx(-math.log(float(p[x])), abs=1e-10)


def test_the_bound_is_above_what_a_random_order_draws():
    n, k = 3, 2
    mass = 0.0
    for x in itertools.product(range(k), repeat=n):
        orders = []
        for order in itertools.permutations(range(n)):
            product = 1.0
            for t, i in enumerate(order):
                product *= arbitrary_conditional(x, frozenset(order[t:]), i, k)
            orders.append(product)
        p = sum(orders) / len(orders)
        mass += p
        value = bound(x, lambda x, hidden, i: arbitrary_conditional(x, hidden, i, k))
        assert value >= -math.log(p) - 1e-12
        assert value == pytest.approx(-sum(math.log(q) for q in orders) / len(orders), abs=1e-10)
    assert mass == pytest.approx(1.0, abs=1e-12)


def test_the_weights_are_those_of_the_integral_over_time():
    t = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    for n in (1, 3, 6):
        for m in range(1, n + 1):
            integral = float((t ** (m - 1) * (1 - t) ** (n - m)).mean())
            weight = float(bound_weight(torch.tensor([n]), torch.tensor([m]))) / n / math.comb(n, m)
            assert weight == pytest.approx(integral, rel=1e-6)


def test_counts_are_uniform_and_sets_have_them():
    u = (torch.arange(6000).double() + 0.5) / 6000
    n = torch.full((6000,), 6)
    m = hidden_count(u, n)
    assert torch.bincount(m, minlength=7).tolist() == [0, *[1000] * 6]
    assert hidden_count(torch.tensor([0.5]), torch.tensor([0])).tolist() == [0]
    assert float(bound_weight(torch.tensor([0]), torch.tensor([0]))) == 0.0
    keep = torch.arange(8).expand(6000, 8) < 6
    rank = ranks(torch.rand(6000, 8, generator=torch.Generator().manual_seed(0)), keep)
    hidden = rank < m[:, None]
    assert torch.equal(hidden.sum(-1), m) and not hidden[:, 6:].any()
    share = hidden[:, :6].double().mean(0)
    assert ((share - 7 / 12).abs() < 4.5 * math.sqrt(0.25 / 6000)).all()


def test_steps_reveal_each_place_once_in_order():
    keep = torch.tensor([[True] * 7, [True] * 3 + [False] * 4, [False] * 7])
    rank, n = ranks(torch.rand(3, 7), keep), keep.sum(-1)
    for steps in (1, 3, 7, 20):
        parts = torch.stack([revealed_between(rank, n, s, steps) for s in range(steps)])
        assert torch.equal(parts.sum(0), keep.long())
        first = parts.long().argmax(0)
        for row in range(2):
            order = rank[row][keep[row]].argsort()
            assert (first[row][keep[row]][order].diff() >= 0).all()
