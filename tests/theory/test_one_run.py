"""Lower bounds of epsilon from guesses: the closed forms, known mechanisms, and the rate at which they are wrong."""

from __future__ import annotations

import math
from fractions import Fraction
from statistics import NormalDist

import pytest
import torch

from morphogen.core.errors import UsageError
from morphogen.core.rng import Rng
from morphogen.theory.statistics import one_run
from morphogen.theory.statistics.intervals import binomial_tail
from morphogen.theory.statistics.one_run import Guesses

NORMAL = NormalDist()


@pytest.mark.parametrize(("n", "want"), [(100, 3.49), (500, 5.11)])
def test_perfect_guesses_give_the_closed_form(n: int, want: float) -> None:
    """q^n = 0.05 and epsilon = log(q / (1 - q))."""
    q = 0.05 ** (1.0 / n)
    found = one_run.epsilon_bound(Guesses(n, n, n))
    assert found == pytest.approx(math.log(q / (1.0 - q)), abs=2e-6)
    assert round(found, 2) == want


def test_half_right_gives_nothing() -> None:
    assert one_run.epsilon_bound(Guesses(100, 100, 50)) == 0.0
    assert one_run.gaussian_bound(Guesses(100, 100, 50), 1e-5) == 0.0


def test_the_p_value_is_the_sum_of_the_theorem() -> None:
    """In exact fractions: epsilon = log 3, so q = 3/4."""
    m, r, v, q, delta = 12, 8, 7, Fraction(3, 4), Fraction(1, 1000)
    mass = [math.comb(r, k) * q**k * (1 - q) ** (r - k) for k in range(r + 1)]
    alpha = max(Fraction(2 * m, i) * sum(mass[max(0, v - i) : v]) for i in range(1, m + 1))
    want = sum(mass[v:]) + delta * alpha
    assert one_run.p_value(Guesses(m, r, v), math.log(3.0), 1e-3) == pytest.approx(float(want), rel=1e-12)


def test_more_delta_and_fewer_right_guesses_give_less() -> None:
    bounds = [one_run.epsilon_bound(Guesses(200, 100, 95), delta) for delta in (0.0, 1e-6, 1e-4, 1e-2)]
    assert bounds == sorted(bounds, reverse=True) and bounds[-1] < bounds[0]
    right = [one_run.epsilon_bound(Guesses(200, 100, v), 1e-5) for v in range(50, 101, 5)]
    assert right == sorted(right) and right[-1] > 3.0


@pytest.mark.parametrize(("epsilon", "m", "v"), [(0.5, 40, 33), (2.0, 40, 40), (1.0, 200, 170)])
def test_a_trade_off_function_refutes_no_more_than_randomized_response_allows(epsilon: float, m: int, v: int) -> None:
    """Randomized response is epsilon-private, and its right guesses are binomial: no sound bound is below that tail."""
    q = 1.0 / (1.0 + math.exp(-epsilon))
    tail = binomial_tail(v, m, q)
    inverse = one_run._approximate(epsilon, 0.0)
    assert not one_run.refuted(Guesses(m, m, v), inverse, 1.0 - 0.999 * tail)
    assert one_run.refuted(Guesses(20, 20, 20), one_run._approximate(0.0, 0.0), 1.0 - 1.001 * 0.5**20)


def test_a_trade_off_function_is_exact_for_one_coin() -> None:
    """m = 1: P(right) = p obeys p <= g(1 - p); Gaussian noise reaches it with p = Phi(mu / 2)."""
    mu = 1.3
    best = NORMAL.cdf(mu / 2)
    inverse = one_run._gaussian(mu)
    assert not one_run.refuted(Guesses(1, 1, 1), inverse, 1.0 - best + 1e-9)
    assert one_run.refuted(Guesses(1, 1, 1), inverse, 1.0 - best - 1e-9)


@pytest.mark.parametrize("mu", [0.5, 1.0, 3.0])
def test_the_bound_holds_for_independent_gaussian_releases(mu: float) -> None:
    """Coins with Gaussian noise of their own, guessed by their sign: right guesses are binomial with Phi(mu / 2)."""
    m, p = 300, NORMAL.cdf(mu / 2)
    for v in range(int(p * m), m + 1, 7):
        tail = binomial_tail(v, m, p)
        assert not one_run.refuted(Guesses(m, m, v), one_run._gaussian(mu), 1.0 - 0.999 * tail)


def test_a_bound_is_wrong_at_most_at_its_rate_and_the_gaussian_one_is_tighter() -> None:
    """1,000 coins with Gaussian noise of mu = 1.5, the surest 100 guessed: 200 trials."""
    mu, delta, m, r, trials = 1.5, 1e-5, 1000, 100, 200
    truth = one_run.gaussian_epsilon(mu, delta)
    coins = Rng(0).integers("coin", trials, 2, (m,)).double()
    seen = mu * coins + Rng(0).normal("noise", trials, (m,), torch.float64) - 0.5 * mu
    wrong = torch.zeros(2)
    bounds = []
    known: dict[int, tuple[float, float]] = {}
    for s, coin in zip(seen, coins, strict=True):
        sure = s.abs().topk(r).indices
        v = int(((s[sure] > 0) == (coin[sure] > 0)).sum())
        if v not in known:
            guesses = Guesses(m, r, v)
            known[v] = one_run.epsilon_bound(guesses, delta), one_run.gaussian_bound(guesses, delta)
        bounds.append(known[v])
        wrong += torch.tensor([bound > truth for bound in known[v]])
    assert all(binomial_tail(int(w), trials, 0.05) > 1e-3 for w in wrong)
    plain, gaussian = (sum(column) / trials for column in zip(*bounds, strict=True))
    assert gaussian > 1.5 * plain > 0.0


def test_gaussian_epsilon_inverts_gaussian_delta_and_equals_quadrature() -> None:
    for mu in (0.3, 1.0, 4.0):
        epsilon = one_run.gaussian_epsilon(mu, 1e-5)
        assert one_run.gaussian_delta(mu, epsilon) == pytest.approx(1e-5, rel=1e-5)
        x = torch.linspace(-12.0, 12.0 + mu, 400_001, dtype=torch.float64)
        p, q = (torch.exp(-0.5 * (x - m) ** 2) / math.sqrt(2 * math.pi) for m in (mu, 0.0))
        excess = torch.trapezoid((p - math.exp(epsilon) * q).clamp_min(0.0), x)
        assert float(excess) == pytest.approx(1e-5, rel=1e-3)
    assert one_run.gaussian_epsilon(1e-7, 1e-5) == 0.0


@pytest.mark.parametrize("guesses", [(10, 11, 5), (10, 5, 6), (0, 0, 0), (10, 5, -1)])
def test_impossible_counts_are_refused(guesses: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="right guesses <= guesses <= canaries"):
        one_run.epsilon_bound(Guesses(*guesses))
    with pytest.raises(UsageError, match="above 0"):
        one_run.gaussian_bound(Guesses(10, 10, 10), 0.0)
