"""Pictures from their degraded copies, as draws from the posterior, with the uncertainty that these show.

Of a picture x one has y = A x + s n (`data/context.py`): a smaller, blurred, noisy or gray copy of it. Draws from
p(x | y) come from a model that was trained with such copies as its condition (`by_condition`), or from one that knows
no copies, by Bayes' rule along the chain (`by_measurement`; `sampling/inverse.py`).

Of K draws x_1 .. x_K their mean is the best guess in squared error; the standard deviation of each element,

    s^2 = sum_k (x_k - mean)^2 / (K - 1),

unbiased in s^2 for any K, is the uncertainty. If the model is right, the truth is one more draw from the same
distribution. Then, where that is about normal, (truth - mean) / (s sqrt(1 + 1 / K)) follows Student's t with K - 1
degrees of freedom, and mean -+ `half_width` covers the truth in 95 % of elements, for K from 7 on. A model that is
surer than it should be covers less: measure it on held-out pictures.
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


@final
@dataclass(frozen=True)
class Restoration:
    """Draws (K, C, H, W), K of at least 2, from the posterior of one picture."""

    samples: Tensor

    def __post_init__(self) -> None:
        if len(self.samples) < 2:
            raise UsageError(f"an uncertainty needs at least 2 samples (got {len(self.samples)}).")

    @property
    def mean(self) -> Tensor:
        """(C, H, W), nearest to the truth in expected squared error."""
        return self.samples.mean(0)

    @property
    def stddev(self) -> Tensor:
        """s, (C, H, W)."""
        return self.samples.std(0)

    @property
    def uncertainty(self) -> Tensor:
        """(H, W): s of a pixel, the root of the mean of s^2 over its channels."""
        return self.samples.var(0).mean(0).sqrt()

    def half_width(self, z: float = Z) -> Tensor:
        """(C, H, W): half the interval that covers the truth as often as mean -+ z standard deviations do a normal."""
        k = len(self.samples)
        return student_quantile(k - 1, z) * math.sqrt(1.0 + 1.0 / k) * self.stddev


@final
@dataclass(frozen=True)
class Consistent:
    """`denoiser`, its estimate moved to the nearest picture that degrades to `y` (B, C, h, w), if that is certain.

    A model that reads y may still contradict it, a little, in each estimate; a stepper that follows this one ends on
    pictures that do not (the range of A^T is corrected, its null space is the model's; Wang, Yu and Zhang, "Zero-shot
    image restoration using denoising diffusion null-space model", 2023).
    """

    denoiser: Denoiser
    degradation: Degradation
    y: Tensor

    @property
    def schedule(self) -> Schedule:
        """The denoiser's."""
        return self.denoiser.schedule

    def posterior(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Gaussian:
        """The denoiser's, its mean moved."""
        found = self.denoiser.posterior(x_t, t, cond)
        return Gaussian(self.degradation.nearest(found.mean, self.y.to(found.mean)), found.log_var, found.event_dims)


@final
@dataclass(frozen=True)
class Degrading(LinearOperator):
    """The linear part of a degradation, as sampling reads it."""

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
    """`n` draws (n, *shape) of a denoiser that reads the degraded copy in `cond` (n rows). Draw i depends on (seed, i).

    times  from 1 to 0, as of `sampling.grids`
    Raises `UsageError` for a condition without a degraded copy.
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
    """`n` draws (n, *shape) of a denoiser that knows pictures alone, given the degraded copy `y` (C, h, w).

    y has its noise and the error of its rounding to `levels` values, as if that were normal too: a uniform error within
    half a step 2 / (levels - 1) has the variance step^2 / 12. The rest is as in `by_condition`.

    iterations  of the linear solver in each evaluation, each a derivative of the network. None: 5, but 20 for a blur,
                which weakens details by very different factors, so that few iterations leave the fine ones undecided
    """
    iterations = iterations or (20 if degradation.kind == "blur" else 5)
    noise_std = math.hypot(degradation.noise_std, 2.0 / (levels - 1) / math.sqrt(12.0))
    measured = Measured(denoiser, Degrading(degradation), y.expand(n, *y.shape), noise_std, iterations=iterations)
    x = loop.starting_noise(denoiser.schedule, rng, n, shape, y.dtype)
    return loop.sample(measured, of_means(stepper), x, times, loop.addressed(rng, n, x), cond, from_noise=True)


def of_means(stepper: Stepper) -> Stepper:
    """The stepper, without the learned variance: given a measurement there is less of it than a denoiser says."""
    return Ancestral("beta_tilde") if isinstance(stepper, Ancestral) and stepper.variance == "learned" else stepper
