"""Restore pictures from degraded copies, by samples from the posterior, with an uncertainty.

y = A x + s n (`data/context.py`) is a smaller, blurred, noisy or gray copy of a picture x. Samples of p(x | y) come
from a model that was trained with such copies as its condition (`by_condition`), or from a model of pictures alone, by
Bayes' rule along the chain (`by_measurement`; `sampling/inverse.py`).

The mean of K samples x_1 .. x_K is the best estimate in squared error. The standard deviation of each element,

    s^2 = sum_k (x_k - mean)^2 / (K - 1),

is the uncertainty; s^2 is unbiased for any K. If the model is right, the truth is one more sample of the same
distribution. If that is about normal, (truth - mean) / (s sqrt(1 + 1 / K)) follows Student's t with K - 1 degrees of
freedom, and mean -+ `half_width` covers the truth in 95 % of elements, from K = 7 on. Draws of a pixel are seldom
normal: many are black or white. So `half_width` is calibrated by the draws themselves, each left out in turn. Elements
without any doubt are covered always. An overconfident model covers less; measure this on held-out pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from morphogen.core.batch import RawCondition
from morphogen.core.distributions import Gaussian
from morphogen.core.errors import UsageError
from morphogen.core.rng import Noise
from morphogen.data.context import Degradation
from morphogen.sampling import loop
from morphogen.sampling.denoiser import Denoiser
from morphogen.sampling.inverse import Measured
from morphogen.sampling.operators import LinearOperator
from morphogen.sampling.steppers import Ancestral, Stepper
from morphogen.theory.schedules import Schedule
from morphogen.theory.statistics.intervals import Z, student_quantile

_CERTAIN = 1.0 / 127.5  # a deviation of a gray level: elements with less are certain
_MIN_DRAWS, _MIN_ELEMENTS = 8, 100  # of draws and of elements that vary, to correct the width of intervals


@final
@dataclass(frozen=True)
class Restoration:
    """K >= 2 samples (K, C, H, W) from the posterior of one picture."""

    samples: Tensor

    def __post_init__(self) -> None:
        if len(self.samples) < 2:
            raise UsageError(f"an uncertainty needs at least 2 samples (got {len(self.samples)}).")

    @property
    def mean(self) -> Tensor:
        """The mean (C, H, W), the best estimate in squared error."""
        return self.samples.mean(0)

    @property
    def stddev(self) -> Tensor:
        """The standard deviation s of each element, (C, H, W)."""
        return self.samples.std(0)

    @property
    def uncertainty(self) -> Tensor:
        """The standard deviation of each pixel (H, W): the root of the mean of s^2 over channels."""
        return self.samples.var(0).mean(0).sqrt()

    def half_width(self, z: float = Z) -> Tensor:
        """Half the width (C, H, W) of the interval with the coverage of mean -+ z standard deviations of a normal.

        It is c (1 + 1 / K)^1/2 s, with Student's quantile c corrected by the draws themselves: each draw is one more
        beside the others, so the share of them that intervals of the others cover is known, and c is what covers the
        wanted share of all elements that vary. For normal draws this is Student's quantile.
        """
        k = len(self.samples)
        return self._corrected(student_quantile(k - 1, z), z) * math.sqrt(1.0 + 1.0 / k) * self.stddev

    def _corrected(self, quantile: float, z: float) -> float:
        """The quantile times that of the draws left out in turn over Student's for one draw less."""
        k = len(self.samples)
        varies = self.stddev > _CERTAIN
        if k < _MIN_DRAWS or int(varies.sum()) < _MIN_ELEMENTS:
            return quantile
        away = (self.samples - self.mean)[:, varies].double() * (k / (k - 1.0))
        rest = (k - 1.0) * self.stddev[varies].double().square() - away.square() * ((k - 1.0) / k)
        others = (rest.clamp_min(0.0) / (k - 2.0)).sqrt()  # the deviation of the other draws
        seen = others > _CERTAIN
        left_out = away.abs()[seen] / (others[seen] * math.sqrt(k / (k - 1.0)))
        wanted = math.erf(z / math.sqrt(2.0))
        found = float(left_out.flatten().kthvalue(math.ceil(wanted * left_out.numel())).values)
        return quantile * found / student_quantile(k - 2, z)


@final
@dataclass(frozen=True)
class Consistent:
    """`denoiser` with its estimate moved to the nearest picture that degrades to `y` (B, C, h, w), for y without noise.

    The estimates of a model that reads y may contradict y a little. With this correction, sampling ends on pictures
    that degrade to y: it corrects the range of A^T, and the null space is the model's (Wang, Yu and Zhang, "Zero-shot
    image restoration using denoising diffusion null-space model", 2023).
    """

    denoiser: Denoiser
    degradation: Degradation
    y: Tensor

    @property
    def schedule(self) -> Schedule:
        """The schedule of the denoiser."""
        return self.denoiser.schedule

    def posterior(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Gaussian:
        """The posterior of the denoiser with a corrected mean."""
        found = self.denoiser.posterior(x_t, t, cond)
        return Gaussian(self.degradation.nearest(found.mean, self.y.to(found.mean)), found.log_var, found.event_dims)


@final
@dataclass(frozen=True)
class Degrading(LinearOperator):
    """The linear part of a degradation, as a linear operator."""

    degradation: Degradation

    def forward(self, x: Tensor) -> Tensor:
        return self.degradation.linear(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.degradation.adjoint(y)


def by_condition(
    denoiser: Denoiser,
    stepper: Stepper,
    times: Tensor,
    shape: tuple[int, ...],
    n: int,
    rng: Noise,
    cond: RawCondition,
    degradation: Degradation,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Sample `n` pictures (n, *shape) with a denoiser that reads the degraded copy in `cond` (n rows).

    Sample i depends on (seed, i). `times` fall from 1 to 0, as in `sampling.grids`. Raises `UsageError` for a condition
    without a degraded copy.
    """
    if cond.context is None:
        raise UsageError("a condition without a degraded copy says nothing of a picture to restore: give its context.")
    denoiser = Consistent(denoiser, degradation, cond.context)
    x = loop.starting_noise(denoiser.schedule, rng, n, shape, dtype)
    return loop.sample(denoiser, stepper, x, times, loop.addressed(rng, n, x), cond, from_noise=True)


def by_measurement(
    denoiser: Denoiser,
    stepper: Stepper,
    times: Tensor,
    shape: tuple[int, ...],
    n: int,
    rng: Noise,
    y: Tensor,
    degradation: Degradation,
    levels: int,
    cond: RawCondition | None = None,
    iterations: int | None = None,
) -> Tensor:
    """Sample `n` pictures (n, *shape) given the degraded copy `y` (C, h, w), with a denoiser of pictures alone.

    The error of y is its noise and its rounding to `levels` values. The rounding error is treated as normal: a uniform
    error within half a step 2 / (levels - 1) has the variance step^2 / 12. The rest is as in `by_condition`.

    iterations  number of iterations of the linear solver in each evaluation; each takes a derivative of the network.
                None:
                5, but 20 for a blur. A blur weakens details by very different factors, and few iterations do not
                determine the fine ones
    """
    iterations = iterations or (20 if degradation.kind == "blur" else 5)
    noise_std = math.hypot(degradation.noise_std, 2.0 / (levels - 1) / math.sqrt(12.0))
    measured = Measured(denoiser, Degrading(degradation), y.expand(n, *y.shape), noise_std, iterations=iterations)
    x = loop.starting_noise(denoiser.schedule, rng, n, shape, y.dtype)
    return loop.sample(measured, of_means(stepper), x, times, loop.addressed(rng, n, x), cond, from_noise=True)


def of_means(stepper: Stepper) -> Stepper:
    """The stepper without the learned variance, which is too large under a measurement."""
    return Ancestral("beta_tilde") if isinstance(stepper, Ancestral) and stepper.variance == "learned" else stepper
