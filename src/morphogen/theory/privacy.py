r"""The Gaussian mechanism, its composition, and the noise that a promise needs.

A sum f(D) of vectors, one for each unit and each of norm at most C, changes by at most C if a unit is added or removed.
With noise N(0, (s C)^2 I) its release is (epsilon, delta)-private exactly for (Balle and Wang, 2018)

    delta(epsilon) = Phi(1 / (2 s) - epsilon s) - e^epsilon Phi(-1 / (2 s) - epsilon s).

k releases with the noises s_i are as private as one with 1 / s^2 = sum_i 1 / s_i^2 (Dong, Roth and Su, 2019).

In DP-SGD (Abadi et al., 2016) each unit takes part in a step with probability q, independently of the others. The
privacy loss of one step then has a known distribution, and that of T steps is its T-fold convolution. `dp-accounting`
computes it with a rounding that only overstates epsilon (Koskela et al., 2020; Doroshenko et al., 2022). The loss of a
release before the first step is convolved with it as well.

The exponential mechanism chooses i with probability proportional to exp(e score_i / (2 Delta)). With Gaussian releases
it composes as zero-concentrated privacy (Bun and Steinke, 2016): a Gaussian release costs rho = 1 / (2 s^2), a choice
e^2 / 8, costs add up, and (Canonne, Kamath and Steinke, 2020)

    delta = min_(a > 1) exp((a - 1)(a rho - epsilon)) / (a - 1) (1 - 1/a)^a.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from morphogen.core.errors import MorphogenError

_LARGEST_NOISE = 1e6
_MOST_EPSILON = 1e4
_CLOSE = 1e-3  # relative precision of planned noise
_LEAST_NOISE = 0.05
_MANY = 1000  # rounds


def gaussian_delta(epsilon: float, noise: float) -> float:
    """The smallest delta of the Gaussian mechanism with noise multiplier `noise` at `epsilon`, by the formula above."""
    ends = torch.tensor([0.5 / noise - epsilon * noise, -0.5 / noise - epsilon * noise], dtype=torch.float64)
    first, second = torch.special.log_ndtr(ends).tolist()
    return max(0.0, math.exp(first) - math.exp(min(0.0, epsilon + second)))


def gaussian_epsilon(noise: float, delta: float) -> float:
    """The smallest epsilon of the Gaussian mechanism with noise multiplier `noise` at `delta`."""
    if gaussian_delta(0.0, noise) <= delta:
        return 0.0
    return _first(lambda epsilon: gaussian_delta(epsilon, noise) <= delta, 0.0, _MOST_EPSILON)


def gaussian_noise(epsilon: float, delta: float) -> float:
    """The smallest noise multiplier with which one release of a sum is (epsilon, delta)-private."""
    return _first(lambda noise: gaussian_delta(epsilon, noise) <= delta, 1e-3, _LARGEST_NOISE)


def concentrated_epsilon(rho: float, delta: float) -> float:
    """The epsilon at `delta` of a mechanism that is `rho`-zero-concentrated private, by the formula above."""
    if rho == 0.0:
        return 0.0
    log_gap = torch.linspace(-9.0, 9.0, 20_001, dtype=torch.float64)
    a = 1.0 + log_gap.exp()
    found = a * rho + (-math.log(delta) - log_gap + a * torch.log1p(-1.0 / a)) / (a - 1.0)
    return max(0.0, float(found.min()))


def concentrated_rho(epsilon: float, delta: float) -> float:
    """The largest rho with which a mechanism is (epsilon, delta)-private."""
    low, high = 0.0, 1e4
    for _ in range(100):
        middle = (low + high) / 2.0
        low, high = (middle, high) if concentrated_epsilon(middle, delta) <= epsilon else (low, middle)
    return low


def subsampled_epsilon(noise: float, rate: float, rounds: int, delta: float, before: float | None = None) -> float:
    """The epsilon at `delta` of noisy sums over random units.

    Args:
        noise: the noise multiplier of each round.
        rate: the probability q with which a unit takes part in a round.
        rounds: how many.
        delta: of all rounds together.
        before: the noise multiplier of a Gaussian release over all units that came first; None: there was none.

    Returns:
        An upper bound that is tight to about 1e-3; the closed form where every unit always takes part.

    Raises:
        MorphogenError: `dp-accounting` is not installed, which rates below 1 need.
    """
    spent = 0.0 if before is None else 1.0 / before**2
    if rounds == 0 or rate == 1.0:
        together = spent + rounds / noise**2 if rounds else spent
        return gaussian_epsilon(1.0 / math.sqrt(together), delta) if together else 0.0
    _check_installed()
    return _epsilon(noise, rate, rounds, delta, before)


def subsampled_noise(epsilon: float, delta: float, rate: float, rounds: int, before: float | None = None) -> float:
    """The smallest noise multiplier, to one part in a thousand, with which `subsampled_epsilon` is at most `epsilon`.

    The noise is never too small for the promise. A release `before` has to leave something of it.
    """
    if rate == 1.0:
        left = 1.0 / gaussian_noise(epsilon, delta) ** 2 - (0.0 if before is None else 1.0 / before**2)
        return math.sqrt(rounds / left)
    _check_installed()
    high = 0.5
    while _epsilon(high, rate, rounds, delta, before) > epsilon:
        high *= 2.0
    low = high / 2.0
    while low > _LEAST_NOISE and _epsilon(low, rate, rounds, delta, before) <= epsilon:
        low, high = low / 2.0, low
    return _first(lambda s: _epsilon(s, rate, rounds, delta, before) <= epsilon, low, high, _CLOSE)


def clip_factors(norms: Tensor, clip: float) -> Tensor:
    """min(1, clip / norm) for norms (B,); 0 where a norm is not finite, so that such a unit counts for nothing."""
    factors = (clip / norms.clamp_min(1e-30)).clamp(max=1.0)
    return torch.where(torch.isfinite(norms), factors, 0.0)


def clipped(vectors: Tensor, clip: float) -> Tensor:
    """Vectors (B, K), each scaled down to a norm of at most `clip`; 0 where it is not finite."""
    factors = clip_factors(vectors.norm(dim=1), clip)
    return torch.where(factors[:, None] > 0, vectors * factors[:, None], 0.0)


def _first(holds: Callable[[float], bool], low: float, high: float, close: float = 1e-12) -> float:
    """The smallest number between `low` and `high` at which `holds`, if it then holds for all larger ones."""
    for _ in range(200):
        if high - low <= close * high:
            break
        middle = (low + high) / 2.0 if low <= 0.0 or high < 4.0 * low else math.sqrt(low * high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _epsilon(noise: float, rate: float, rounds: int, delta: float, before: float | None = None) -> float:
    """By privacy loss distributions on a grid, which is finer where many rounds add up its errors."""
    import dp_accounting as dp
    from dp_accounting.pld import PLDAccountant

    step = dp.PoissonSampledDpEvent(rate, dp.GaussianDpEvent(noise))
    accountant = PLDAccountant(value_discretization_interval=1e-3 if rounds <= _MANY else 1e-4)
    accountant.compose(dp.SelfComposedDpEvent(step, rounds))
    if before is not None:
        accountant.compose(dp.GaussianDpEvent(before))
    return float(accountant.get_epsilon(delta))


def _check_installed() -> None:
    from importlib.util import find_spec

    if find_spec("dp_accounting") is None:
        raise MorphogenError(
            "the epsilon of private training steps is computed by the package dp-accounting: pip install"
            " 'morphogen[privacy]'."
        )
