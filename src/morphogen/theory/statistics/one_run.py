r"""A lower bound on epsilon from one training: planted records, guesses, and how many of them are right.

Each of m canaries is put into the training set by a fair coin, of which the mechanism knows nothing else. From the
result r of the m coins are guessed, and W guesses are right. How often may W be large if the training is private?

**(epsilon, delta)**  (Steinke, Nasr and Jagielski, "Privacy auditing with one (1) training run", 2023, theorem 5.2.)
With B ~ Binomial(r, q) and q = e^epsilon / (1 + e^epsilon),

    P(W >= v) <= P(B >= v) + delta alpha,   alpha = max_{i = 1..v} 2 m / i P(v > B >= v - i).

With delta = 0 randomized response on each coin reaches it. 100 right guesses of 100 give epsilon >= 3.49 at 95 %:
q^100 = 0.05.

**Any trade-off function** f (Mahloujifar, Melis and Chaudhuri, "Auditing f-differential privacy in one run", 2024).
Let g(x) = 1 - f(x): under privacy P(S | coin = b) <= g(P(S | coin = 1 - b)), and g rises and is concave. Take for S
"the guess of coin i is b, and j - 1 of the others are right", sum over j >= t, and average over coins and values. With
p_j = P(W = j), Jensen's inequality gives

    R_t <= g(H_{t-1}),   R_t = 1/m sum_{j >= t} j p_j,   H_t = 1/m sum_{j >= t} (r - j) p_j.

Suppose P(W >= v) = tau. Then R_v >= tau v / m with the least H_v = tau (r - v) / m beside it, and for t = v .. 1

    H_{t-1} >= g^{-1}(R_t),   R_{t-1} = R_t + (t - 1) / (r - t + 1) (H_{t-1} - H_t).

By parts, R_{t-1} is a sum of all H_j with weights that are not negative, so lower bounds stay lower bounds. All
probabilities add up to 1, that is R_0 + H_0 = r / m. If the lower bounds exceed that, P(W >= v) < tau.

An (epsilon, delta) is tested by g(x) = min(e^epsilon x + delta, 1 - e^-epsilon (1 - delta - x)), too. Both are bounds
of one probability, so the better one counts. For the Gaussian mechanism, g(x) = Phi(Phi^-1(x) + mu) is much tighter;
it then bounds mu, and epsilon at delta follows from Balle and Wang (2018),

    delta(epsilon) = Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import torch

from morphogen.core.errors import UsageError
from morphogen.theory.statistics.intervals import LEVEL, binomial_tail

Inverse = Callable[[float], float]  # g^-1: the least x with g(x) >= y; infinite where there is none
MOST = 64.0  # epsilons above this are not told apart
_NORMAL = NormalDist()


class Guesses(NamedTuple):
    """m canaries, of which r were guessed, v of them right."""

    m: int
    r: int
    v: int


def check(guesses: Guesses, delta: float) -> None:
    """Raise `UsageError` unless 0 <= v <= r <= m, m >= 1 and 0 <= delta < 1."""
    m, r, v = guesses
    if not (0 <= v <= r <= m and m >= 1 and 0.0 <= delta < 1.0):
        raise UsageError(
            f"expected right guesses <= guesses <= canaries and delta in [0, 1); got {v}, {r}, {m} and {delta:g}."
        )


def p_value(guesses: Guesses, epsilon: float, delta: float = 0.0) -> float:
    """An upper bound of P(at least so many right guesses) under (epsilon, delta) privacy, by the first theorem."""
    check(guesses, delta)
    m, r, v = guesses
    q = 1.0 / (1.0 + math.exp(-epsilon))
    tail = binomial_tail(v, r, q)
    if delta == 0.0 or v == 0 or tail >= 1.0:
        return min(1.0, tail)
    k = torch.arange(v, dtype=torch.float64)  # 0 .. v - 1
    log_mass = (
        math.lgamma(r + 1) - torch.lgamma(k + 1) - torch.lgamma(r - k + 1) + k * math.log(q) + (r - k) * math.log1p(-q)
        if q < 1.0
        else torch.full_like(k, -torch.inf)
    )
    below = log_mass.exp().flip(0).cumsum(0)  # P(v > B >= v - i), i = 1 .. v
    alpha = float((below / torch.arange(1, v + 1, dtype=torch.float64)).max())
    return min(1.0, tail + 2.0 * m * delta * alpha)


def refuted(guesses: Guesses, inverse: Inverse, level: float = LEVEL) -> bool:
    """Whether P(at least so many right guesses) < 1 - level under privacy by the trade-off function of g^-1."""
    check(guesses, 0.0)
    m, r, v = guesses
    tau = 1.0 - level
    right, wrong = tau * v / m, tau * (r - v) / m  # R_t and H_t
    for t in range(v, 0, -1):
        least = inverse(right)
        if math.isinf(least):
            return True
        right += (t - 1) / (r - t + 1) * (least - wrong)
        wrong = least
    return right + wrong > r / m


def epsilon_bound(guesses: Guesses, delta: float = 0.0, level: float = LEVEL) -> float:
    """The largest epsilon that the guesses refute at `level`, whatever the mechanism; 0 where they refute none.

    With probability `level` at least, a mechanism that is (epsilon, delta)-private gets a bound of at most epsilon.
    """
    check(guesses, delta)

    def refutes(epsilon: float) -> bool:
        known = p_value(guesses, epsilon, delta) < 1.0 - level
        return known or refuted(guesses, _approximate(epsilon, delta), level)

    return _largest(refutes)


def gaussian_bound(guesses: Guesses, delta: float, level: float = LEVEL) -> float:
    """The epsilon at `delta` of the largest mu that the guesses refute, for a mechanism that adds Gaussian noise."""
    check(guesses, delta)
    if delta <= 0.0:
        raise UsageError("Gaussian noise has an epsilon for each delta above 0; give one, such as 1e-5.")
    mu = _largest(lambda mu: refuted(guesses, _gaussian(mu), level))
    return gaussian_epsilon(mu, delta)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The epsilon at `delta` of mu-Gaussian privacy, to 1e-9; 0 where delta alone covers it."""
    if mu <= 0.0 or gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while gaussian_delta(mu, high) > delta:
        high *= 2.0
    while high - low > 1e-9 * max(1.0, high):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if gaussian_delta(mu, middle) > delta else (low, middle)
    return high


def gaussian_delta(mu: float, epsilon: float) -> float:
    """The delta at epsilon of mu-Gaussian privacy, Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu)."""
    a, b = 0.5 * mu - epsilon / mu, -0.5 * mu - epsilon / mu
    log_b = float(torch.special.log_ndtr(torch.tensor(b, dtype=torch.float64)))
    return max(0.0, _phi(a) - math.exp(min(epsilon + log_b, 0.0)))


def _approximate(epsilon: float, delta: float) -> Inverse:
    grow, shrink = math.exp(epsilon), math.exp(-epsilon)

    def inverse(y: float) -> float:
        return math.inf if y > 1.0 else max(0.0, shrink * (y - delta), 1.0 - delta - grow * (1.0 - y))

    return inverse


def _gaussian(mu: float) -> Inverse:
    def inverse(y: float) -> float:
        if y >= 1.0:
            return math.inf if y > 1.0 else 1.0
        return 0.0 if y <= 0.0 else _phi(_NORMAL.inv_cdf(y) - mu)

    return inverse


def _phi(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def _largest(refutes: Callable[[float], bool]) -> float:
    """The largest parameter up to MOST that is refuted, to 1e-6; whoever keeps a smaller one keeps a larger one."""
    if not refutes(0.0):
        return 0.0
    if refutes(MOST):
        return MOST
    low, high = 0.0, MOST
    while high - low > 1e-6:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if refutes(middle) else (low, middle)
    return low
