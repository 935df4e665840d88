"""The log-likelihood of records under a denoiser: the variational bound, and the probability flow.

The bound is the sum of three terms of `theory.diffusion`. For each time of a grid it draws one x_t from q(x_t | x_0),
so it takes one evaluation per time.

The flow. On the circle x_hat = x_t / sqrt(alpha^2 + sigma^2), theta = arctan(sigma / alpha), every schedule has the
same probability flow. It is smooth up to theta = pi / 2, also if alpha_1 = 0:

    dx_hat / dtheta = (cos theta x_hat - D) / sin theta,   D = E[x_0 | x_t],
    log p(x_hat at theta_0) = log p(x_hat at theta_1) + int (dim cos theta - tr dD/dx_hat) / sin theta dtheta

(Song et al., 2021). It cannot begin at theta = 0, so the first step is a variational one (after Zheng et al., "Improved
techniques for maximum likelihood estimation for diffusion ODEs", 2023): with x_t ~ q(x_t | x_0) at the grid's smallest
time,

    log p(x_0) >= E_q[log p(x_0 | x_t) + log p(x_t) - log q(x_t | x_0)],

an equality if p(x_0 | x_t) is exact. p(x_0 | x_t) is the denoiser's Gaussian, or its mass in the bins of `levels`
values. The trace is Hutchinson's, e^T J e with one random sign vector e for each draw, which is unbiased; or it is
exact, with one product per dimension.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from morphogen.core.batch import RawCondition
from morphogen.core.capabilities import Score
from morphogen.core.distributions import Gaussian
from morphogen.core.errors import UsageError
from morphogen.core.rng import Index, Noise
from morphogen.sampling.denoiser import Conditioned, Denoiser
from morphogen.theory.diffusion import diffusion_term, prior, prior_term, q_marginal, reconstruction_term

Trace = Literal["hutchinson", "exact"]


class Likelihood(NamedTuple):
    """An estimate of a lower bound of log p(x) in nats.

    draws  (B, K), K unbiased estimates of each record
    score  their mean (B,), with the terms that add up to it
    """

    draws: Tensor
    score: Score

    def interval(self, confidence: float = 0.95) -> tuple[Tensor, Tensor]:
        """A confidence interval of the bound of each record: (low, high), (B,) each, from the normal approximation.

        Raises `UsageError` for a single draw.
        """
        k = self.draws.shape[1]
        if k < 2:
            raise UsageError("an interval for one record needs at least 2 draws.")
        z = math.sqrt(2.0) * float(torch.erfinv(torch.tensor(confidence, dtype=torch.float64)))
        error = z * self.draws.std(1) / math.sqrt(k)
        return self.score.value - error, self.score.value + error


def variational_bound(
    denoiser: Denoiser,
    x_0: Tensor,
    times: Tensor,
    rng: Noise,
    index: Index,
    cond: RawCondition | None = None,
    levels: int | None = None,
    draws: int = 1,
    reconstruction: Callable[[Gaussian], Tensor] | None = None,
) -> Likelihood:
    """The variational bound of log p(x_0). It costs one evaluation of `draws` x B records per step.

    Args:
        denoiser: the model.
        x_0: records (B, *shape).
        times: (steps + 1,), falling from exactly 1 to exactly 0.
        rng: the noise.
        index: the addresses of the records' noise, B of them.
        cond: the conditions, B rows, or None.
        levels: number of values of an element in [-1, 1], for a bound of the probability mass; None for a density.
        draws: number of independent estimates per record.
        reconstruction: -log p(record | x_t) (B draws,) of the last step, from the posterior there, for a mass of the
            caller's own; None: that of `levels`.

    Returns:
        The estimate in nats, with the terms "prior", "diffusion" and "reconstruction".

    Raises:
        UsageError: `times` is not such a grid.
    """
    times, schedule = _checked(times), denoiser.schedule
    asked, x_0 = Conditioned(denoiser, None if cond is None else cond.repeated(draws)), _repeated(x_0, draws)
    zero = torch.zeros(len(x_0)).to(x_0)
    terms = {"prior": -prior_term(x_0, schedule), "diffusion": zero, "reconstruction": zero}
    for i, (t, s) in enumerate(pairwise(times)):
        x_t = q_marginal(x_0, t, schedule).rsample(_noise(rng, f"bound {i}", index, draws, x_0))
        with torch.no_grad():
            posterior = asked.posterior(x_t, t)
        if s > 0:
            terms["diffusion"] = terms["diffusion"] - diffusion_term(x_0, x_t, t, s, posterior, schedule)
        elif reconstruction is not None:
            terms["reconstruction"] = -reconstruction(posterior)
        else:
            terms["reconstruction"] = -reconstruction_term(x_0, posterior, levels)
    return _estimate(terms, draws, levels is not None or reconstruction is not None)


def flow_log_likelihood(
    denoiser: Denoiser,
    x_0: Tensor,
    times: Tensor,
    rng: Noise,
    index: Index,
    cond: RawCondition | None = None,
    levels: int | None = None,
    draws: int = 1,
    trace: Trace = "hutchinson",
) -> Likelihood:
    """log p(x_0) of the probability flow, by Runge-Kutta steps of order 4.

    The flow begins at the last time above 0. With `levels`, sigma / alpha there should be about the distance
    2 / (levels - 1) of two values, or more: finer noise gains nothing, unless the model knows the values themselves.
    The cost is 4 steps - 3 evaluations of `draws` x B records. Each needs one gradient, or one per dimension for the
    exact trace.

    Args:
        denoiser: the model.
        x_0: records (B, *shape).
        times: (steps + 1,), falling from exactly 1 to exactly 0, as for sampling.
        rng: the noise.
        index: the addresses of the records' noise, B of them.
        cond: the conditions, B rows, or None.
        levels: number of values of an element in [-1, 1], for the probability mass; None for a density.
        draws: number of independent estimates per record.
        trace: "hutchinson" or "exact".

    Returns:
        The estimate in nats, with the terms "prior", "flow", "reconstruction" and "noise".

    Raises:
        UsageError: `times` is not such a grid.
    """
    times, schedule = _checked(times), denoiser.schedule
    asked, x_0 = Conditioned(denoiser, None if cond is None else cond.repeated(draws)), _repeated(x_0, draws)
    dims, first = x_0[0].numel(), times[-2]
    if trace == "exact":
        probes = torch.eye(dims).to(x_0).reshape(dims, 1, *x_0.shape[1:]).expand(dims, *x_0.shape)
    else:
        probes = _noise(rng, "probe", index, draws, x_0).sign()[None]

    q = q_marginal(x_0, first, schedule)
    x_t = q.rsample(_noise(rng, "start", index, draws, x_0))
    with torch.no_grad():
        reconstruction = -reconstruction_term(x_0, asked.posterior(x_t, first), levels)

    nodes = torch.atan(torch.exp(-0.5 * schedule.log_snr(times[:-1].flip(0))))
    angles = torch.stack((nodes[:-1], 0.5 * (nodes[:-1] + nodes[1:]), nodes[1:]), 1)  # of each step
    places = schedule.time(-2.0 * torch.tan(angles).log())
    sizes = torch.hypot(*schedule(places))
    x_hat, gained = x_t / torch.hypot(*schedule(first)), torch.zeros(len(x_0)).to(x_0)
    for theta, t, size in zip(angles, places, sizes, strict=True):

        def field(x: Tensor, j: int, at: tuple[Tensor, Tensor, Tensor] = (theta, t, size)) -> tuple[Tensor, Tensor]:
            return _field(asked, x, at[0][j], at[1][j], at[2][j], probes)

        h = theta[2] - theta[0]
        v_1, d_1 = field(x_hat, 0)
        v_2, d_2 = field(x_hat + 0.5 * h * v_1, 1)
        v_3, d_3 = field(x_hat + 0.5 * h * v_2, 1)
        v_4, d_4 = field(x_hat + h * v_3, 2)
        x_hat = x_hat + h / 6.0 * (v_1 + 2.0 * (v_2 + v_3) + v_4)
        gained = gained + h / 6.0 * (d_1 + 2.0 * (d_2 + d_3) + d_4)
    start, end = (torch.hypot(*schedule(t)) for t in (first, times[0]))
    terms = {
        "prior": prior(x_0, schedule).log_prob(x_hat * end),
        "flow": gained + dims * (end / start).log(),
        "reconstruction": reconstruction,
        "noise": -q.log_prob(x_t),
    }
    return _estimate(terms, draws, levels is not None)


def _field(
    asked: Conditioned, x_hat: Tensor, theta: Tensor, t: Tensor, size: Tensor, probes: Tensor
) -> tuple[Tensor, Tensor]:
    """dx_hat / dtheta, and its divergence (B,), the sum of e^T J e over the probes e."""
    with torch.enable_grad():
        x_hat = x_hat.detach().requires_grad_()
        mean = asked.posterior(size * x_hat, t).mean
    traced = torch.zeros(len(x_hat)).to(x_hat)
    for e in probes:
        (product,) = torch.autograd.grad(mean, x_hat, e, retain_graph=True)
        traced = traced + (product * e).flatten(1).sum(1)
    cos, sin = torch.cos(theta), torch.sin(theta)
    return (cos * x_hat - mean).detach() / sin, (x_hat[0].numel() * cos - traced) / sin


def _repeated(x: Tensor, draws: int) -> Tensor:
    return x.repeat_interleave(draws, dim=0)


def _noise(rng: Noise, purpose: str, index: Index, draws: int, x: Tensor) -> Tensor:
    """Standard normal noise (B draws, *shape): `draws` rows per record."""
    each = [rng.child(f"{purpose} {k}").normal("noise", index, x.shape[1:], x.dtype) for k in range(draws)]
    return torch.stack(each, 1).flatten(0, 1)


def _checked(times: Tensor) -> Tensor:
    times = times.detach().to("cpu", torch.float64)
    if len(times) < 2 or times[0] != 1 or times[-1] != 0 or not (times.diff() < 0).all():
        raise UsageError("a likelihood needs a grid of times that falls strictly from exactly 1 to exactly 0.")
    return times


def _estimate(terms: dict[str, Tensor], draws: int, mass: bool) -> Likelihood:
    values = torch.stack(list(terms.values())).sum(0).reshape(-1, draws)
    means = {name: value.reshape(-1, draws).mean(1) for name, value in terms.items()}
    return Likelihood(values, Score(values.mean(1), "lower_bound", "mass" if mass else "density", means))
