"""Measure how fast the moments of a sampler converge, without sampling noise, on data with known moments.

A method of order p has |mean - m| + |cov - C| = O(steps^-p). The oracles give that error to many digits:

Gaussian data. Every sampler is affine in x_1 and its noise, x_0 = b + A x_1 + sum_i B_i z_i. One run on unit vectors
reads off b, A and B_i, so that the mean b + A m_1 and the covariance A C_1 A^T + sum_i B_i B_i^T are exact.

A mixture on the line. For a deterministic sampler, a fine trapezoidal rule over x_1 has an exponentially small error.
For a stochastic stepper, Kolmogorov's backward recursion: let E_i(x, d) be the expected f(x_0) from x at t_i if the
estimate before was d. Then

    E_i(x, d) = E_z E_(i+1)(step(x, d, z), D_i(x)),

by Gauss-Hermite quadrature over z and interpolation in x and d.

All start from the exact law of x_1, so only the integration causes errors. A `Run` may be a sampler of another package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from morphogen.core.errors import UsageError
from morphogen.sampling.denoiser import Conditioned, Denoiser
from morphogen.sampling.loop import StepNoise, sample
from morphogen.sampling.steppers.base import State, StepEstimate, Stepper
from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser

Run = Callable[[Tensor, int, StepNoise], Tensor]  # x_1 (B, *shape), steps, noise of step i -> x_0

_ONE = torch.ones((), dtype=torch.float64)
_ZERO = torch.zeros((), dtype=torch.float64)
_WIDTH, _POINTS, _PAST = 9.0, 200, 21  # deviations covered, points in x, and in the estimate before
_STENCIL = 6


def run_of(denoiser: Denoiser, stepper: Stepper, grid: Callable[[int], Tensor]) -> Run:
    """A `Run` of this package's sampler; `grid` gives the times for a number of steps."""
    return lambda x, steps, noise: sample(denoiser, stepper, x, grid(steps), noise)


def gaussian_error(run: Run, oracle: GaussianMixtureDenoiser, steps: int) -> float:
    """|mean - m| + |cov - C| (Frobenius) of x_0 after `steps` steps, for one Gaussian of shape (D,)."""
    return _distance(*affine_moments(run, *oracle.moments(_ONE), steps), oracle)


def affine_moments(run: Run, mean: Tensor, cov: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Mean (D,) and covariance (D, D) after an affine `run` from a start with mean (D,) and covariance (D, D)."""
    dims = len(mean)
    columns = dims * (1 + steps)
    units = torch.eye(columns, dtype=torch.float64).reshape(columns, 1 + steps, dims)
    inputs = torch.cat((torch.zeros_like(units[:1]), units))  # row 0 is the origin
    outputs = run(inputs[:, 0], steps, lambda i: inputs[:, 1 + i])
    offset, linear = outputs[0], (outputs[1:] - outputs[0]).reshape(1 + steps, dims, dims)  # (input, from, to)
    noise = torch.einsum("ifd,ife->de", linear[1:], linear[1:])
    return offset + mean @ linear[0], linear[0].T @ cov @ linear[0] + noise


def mixture_error(run: Run, oracle: GaussianMixtureDenoiser, steps: int) -> float:
    """|mean - m| + |cov - C| for a mixture of shape (1,) and a deterministic sampler."""
    x_1 = _places(oracle, _ONE, 4001)[:, None]
    weights = oracle.log_prob(x_1, _ONE).softmax(0)
    x_0 = run(x_1, steps, lambda i: torch.zeros_like(x_1))[:, 0]
    return _line_distance(weights @ x_0, weights @ x_0.square(), oracle)


def stochastic_mixture_error(stepper: Stepper, oracle: GaussianMixtureDenoiser, times: Tensor) -> float:
    """|mean - m| + |cov - C| for a mixture of shape (1,) and a stochastic stepper over the grid `times`."""
    denoiser, steps = Conditioned(oracle), len(times) - 1
    memory = _PAST if stepper.remembers else 1
    nodes, weights = (torch.from_numpy(v) for v in np.polynomial.hermite_e.hermegauss(9))
    weights = weights / weights.sum()
    centers, deviation = oracle.means[:, 0], oracle.moments(_ZERO)[1].sqrt().item()
    before = torch.linspace(float(centers.min()) - 4 * deviation, float(centers.max()) + 4 * deviation, memory).double()

    expected = torch.zeros(0)
    for i in reversed(range(steps)):
        t, s = times[i], times[i + 1]
        places = _places(oracle, t, _POINTS)
        x, d, z = (v.reshape(-1, 1) for v in torch.meshgrid(places, before, nodes, indexing="ij"))
        past = (StepEstimate(times[i - 1], x, d),) if memory > 1 and i > 0 else ()
        moved = stepper.step(denoiser, State(i, steps, t, x, past=past), s, partial(torch.clone, z))
        if s == 0:
            values = torch.stack((moved.x, moved.x.square()))
        else:  # the estimate depends on x alone, and is remembered next
            assert moved.x_0 is not None
            ends, estimates = (v.reshape(_POINTS, -1) for v in (moved.x, moved.x_0))
            values = _interpolated(expected, _places(oracle, s, _POINTS), before, ends, estimates[:, 0])
        expected = values.reshape(2, _POINTS, memory, len(nodes)) @ weights
    law = oracle.log_prob(_places(oracle, times[0], _POINTS)[:, None], times[0]).softmax(0)
    mean, square = (expected[:, :, 0] @ law).unbind()  # nothing came before the first step
    return _line_distance(mean, square, oracle)


def slope(steps: Sequence[int], errors: Sequence[float]) -> float:
    """Estimate the order p of errors proportional to steps^-p, by least squares of the logarithms."""
    x, y = (torch.tensor(v, dtype=torch.float64).log() for v in (steps, errors))
    x = x - x.mean()
    return -float((x * y).sum() / x.square().sum())


def _distance(mean: Tensor, cov: Tensor, oracle: GaussianMixtureDenoiser) -> float:
    mean_0, cov_0 = oracle.moments(_ZERO)
    return float((mean - mean_0).norm() + (cov - cov_0).norm())


def _line_distance(mean: Tensor, square: Tensor, oracle: GaussianMixtureDenoiser) -> float:
    return _distance(mean[None], (square - mean.square())[None, None], oracle)


def _places(oracle: GaussianMixtureDenoiser, t: Tensor, points: int) -> Tensor:
    """Evenly spaced values of x_t, (points,), that cover almost all of its probability."""
    if oracle.shape != (1,):
        raise UsageError(f"the mixture must be of shape (1,), not {oracle.shape}.")
    mean, cov = oracle.moments(t)
    return mean + cov.sqrt()[0] * torch.linspace(-_WIDTH, _WIDTH, points, dtype=torch.float64)


def _interpolated(table: Tensor, rows: Tensor, columns: Tensor, x: Tensor, d: Tensor) -> Tensor:
    """(F, P, Q) values of functions `table` (F, rows, columns) at x (P, Q) and d (P,), by local polynomials."""
    if len(columns) > 1:
        column, weights = _stencil(columns, d)
        table = torch.einsum("frpk,pk->fpr", table[:, :, column], weights)
    else:
        table = table[:, None, :, 0].expand(-1, len(x), -1)
    row, weights = _stencil(rows, x.flatten())
    picked = table[:, torch.arange(len(x))[:, None, None], row.reshape(*x.shape, -1)]
    return torch.einsum("fpqk,pqk->fpq", picked, weights.reshape(*x.shape, -1))


def _stencil(places: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """The six neighbors of each value among even `places`, and the weights of the polynomial through them."""
    step = places[1] - places[0]
    u = ((at - places[0]) / step).clamp(0.0, len(places) - 1.0)
    first = (u.floor().long() - 2).clamp(0, len(places) - _STENCIL)
    index = first[:, None] + torch.arange(_STENCIL)
    offset = (u - first)[:, None]
    nodes = torch.arange(_STENCIL, dtype=torch.float64)
    others = [torch.cat((nodes[:j], nodes[j + 1 :])) for j in range(_STENCIL)]
    weights = [((offset - o) / (j - o)).prod(1) for j, o in enumerate(others)]
    return index, torch.stack(weights, 1)
