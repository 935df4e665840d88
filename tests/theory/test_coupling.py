"""Couplings of records and noise, against an independent solver and against what they must keep."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from morphogen.core.errors import UsageError
from morphogen.core.rng import Rng
from morphogen.theory.coupling import assignment, optimal_coupling


def normal(name: str, n: int, *shape: int) -> Tensor:
    return Rng(0).normal(name, n, shape, torch.float64)


def total(cost: Tensor, pi: Tensor) -> float:
    return float(cost[torch.arange(len(cost)), pi].sum())


@pytest.mark.parametrize("n", [1, 2, 7, 40, 120])
@pytest.mark.parametrize("kind", ["random", "distances", "whole numbers", "equal", "huge"])
def test_an_assignment_costs_as_little_as_that_of_another_solver(n: int, kind: str) -> None:
    cost = normal("cost", n, n)
    if kind == "distances":
        cost = torch.cdist(normal("a", n, 2), normal("b", n, 2)).square()
    elif kind == "whole numbers":  # ties everywhere
        cost = cost.mul(2).round()
    elif kind == "equal":
        cost = torch.ones_like(cost)
    elif kind == "huge":
        cost = 1e9 + 1e6 * cost
    pi = assignment(cost)
    assert pi.sort().values.tolist() == list(range(n))
    best = float(cost.numpy()[linear_sum_assignment(cost.numpy())].sum())
    assert total(cost, pi) == pytest.approx(best, rel=1e-12, abs=1e-9)


def test_impossible_costs_are_refused() -> None:
    assert assignment(torch.zeros(0, 0)).tolist() == []
    for cost in (torch.zeros(2, 3), torch.tensor([[math.nan]]), torch.zeros(4)):
        with pytest.raises(UsageError, match="square matrix of finite costs"):
            assignment(cost)


def test_a_coupling_lowers_the_cost_and_on_the_line_it_sorts() -> None:
    x, eps = normal("x", 50, 3, 2), normal("eps", 50, 3, 2)
    pi = optimal_coupling(x, eps)
    cost = lambda e: float((x - e).square().sum())  # noqa: E731
    assert pi.sort().values.tolist() == list(range(50))
    assert cost(eps[pi]) < cost(eps) - 1.0
    better = torch.cdist(x.flatten(1), eps.flatten(1)).square().numpy()
    assert cost(eps[pi]) == pytest.approx(float(better[linear_sum_assignment(better)].sum()))
    x, eps = normal("x", 30, 1), normal("eps", 30, 1)
    pairs = eps[optimal_coupling(x, eps)]
    assert torch.equal(pairs[x[:, 0].argsort()], eps.sort(0).values)


def test_within_groups_no_pair_crosses_and_none_does_better() -> None:
    x, eps = normal("x", 40, 2), normal("eps", 40, 2)
    groups = torch.arange(40) % 3 - 1
    pi = optimal_coupling(x, eps, groups)
    assert pi.sort().values.tolist() == list(range(40))
    assert torch.equal(groups[pi], groups)
    cost = torch.cdist(x, eps).square()
    allowed = cost.masked_fill(groups[:, None] != groups, 1e6)
    assert total(cost, pi) == pytest.approx(float(allowed.numpy()[linear_sum_assignment(allowed.numpy())].sum()))
    alone = optimal_coupling(x, eps, torch.arange(40))
    assert torch.equal(alone, torch.arange(40))


def test_noise_given_the_class_stays_normal_only_within_classes() -> None:
    """Two classes far apart on the line; batches of 16. The mean of the noise of one class is within five standard
    errors of 0 (false alarms: one in two million), or far from it."""
    n, batches = 16, 200
    classes = torch.arange(n) % 2
    x = (6.0 * classes - 3.0)[:, None].double()
    means = {"within": [], "across": []}
    for b in range(batches):
        eps = Rng(b).normal("eps", n, (1,), torch.float64)
        for name, groups in (("within", classes), ("across", None)):
            means[name].append(eps[optimal_coupling(x, eps, groups)][classes == 1].mean())
    error = 1.0 / math.sqrt(batches * n / 2)
    assert abs(float(torch.stack(means["within"]).mean())) < 5 * error
    assert float(torch.stack(means["across"]).mean()) > 0.5
