"""How likely records are under a denoiser: the variational bound, and the probability flow.

The bound is the sum of three terms of `theory.diffusion`, with x_t drawn once from q(x_t | x_0) for every time of a
grid, hence one evaluation a time.

The flow. On the circle x_hat = x_t / sqrt(alpha^2 + sigma^2), theta = arctan(sigma / alpha), every schedule has the
same probability flow, smooth up to theta = pi / 2 even where alpha_1 = 0:

    dx_hat / dtheta = (cos theta x_hat - D) / sin theta,   D = E[x_0 | x_t],
    log p(x_hat at theta_0) = log p(x_hat at theta_1) + int (dim cos theta - tr dD/dx_hat) / sin theta dtheta

(Song et al., 2021). It cannot begin at theta = 0, so the first step is a variational one (after Zheng et al., "Improved
techniques for maximum likelihood estimation for diffusion ODEs", 2023): with x_t ~ q(x_t | x_0) at the grid's smallest
time,

    log p(x_0) >= E_q[log p(x_0 | x_t) + log p(x_t) - log q(x_t | x_0)],

an equality if p(x_0 | x_t) is exact. p(x_0 | x_t) is the denoiser's Gaussian, or its mass in the bins of `levels`
values. The trace is Hutchinson's, e^T J e with one random sign vector e for each draw, so that each draw is unbiased; or
exact, by one product a dimension.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from morphogen.core.batch import RawCondition
from morphogen.core.capabilities import Score
from morphogen.core.errors import UsageError
from morphogen.core.rng import Index, Rng
from morphogen.sampling.denoiser import Conditioned, Denoiser
from morphogen.theory.diffusion import diffusion_term, prior, prior_term, q_marginal, reconstruction_term
from morphogen.theory.schedules import broadcast

Trace = Literal["hutchinson", "exact"]


class Likelihood(NamedTuple):
    """An estimate of a lower bound of log p(x) in nats.

    draws  (K, B), each unbiased; score their mean, with the terms that add up to it
    """

    draws: Tensor
    score: Score

    def interval(self, confidence: float = 0.95) -> tuple[Tensor, Tensor]:
        """(low, high), (B,) each: where the bound of each record lies, by the normal law of the mean of many draws.

        Raises `UsageError` for a single draw.
        """
        k = len(self.draws)
        if k < 2:
            raise UsageError("an interval for one record needs at least 2 draws.")
        z = math.sqrt(2.0) * float(torch.erfinv(torch.tensor(confidence, dtype=torch.float64)))
        error = z * self.draws.std(0) / math.sqrt(k)
        return self.score.value - error, self.score.value + error


def variational_bound(
    denoiser: Denoiser,
    x_0: Tensor,
    times: Tensor,
    rng: Rng,
    index: Index,
    cond: RawCondition | None = None,
    levels: int | None = None,
    draws: int = 1,
) -> Likelihood:
    """The bound for records x_0 (B, *shape) over `times` (steps + 1,), falling from 1 to 0.

    With `levels`, records take that many values in [-1, 1] and the bound is one of their probability mass. Costs
    `draws` x steps evaluations.
    """
    asked, schedule = Conditioned(denoiser, cond), denoiser.schedule
    times = _checked(times)
    terms = {name: torch.zeros(draws, len(x_0)).to(x_0) for name in ("prior", "diffusion", "reconstruction")}
    terms["prior"] -= prior_term(x_0, schedule)
    for k in range(draws):
        for i, (t, s) in enumerate(pairwise(times)):
            eps = rng.child(f"bound {k} {i}").normal("noise", index, x_0.shape[1:], x_0.dtype)
            x_t = q_marginal(x_0, t, schedule).rsample(eps)
            with torch.no_grad():
                posterior = asked.posterior(x_t, t)
            if s > 0:
                terms["diffusion"][k] -= diffusion_term(x_0, x_t, t, s, posterior, schedule)
            else:
                terms["reconstruction"][k] -= reconstruction_term(x_0, posterior, levels)
    return _estimate(terms, levels)


def flow_log_likelihood(
    denoiser: Denoiser,
    x_0: Tensor,
    times: Tensor,
    rng: Rng,
    index: Index,
    cond: RawCondition | None = None,
    levels: int | None = None,
    draws: int = 1,
    trace: Trace = "hutchinson",
) -> Likelihood:
    """log p(x_0) of the probability flow, for records x_0 (B, *shape), by Runge-Kutta steps of order 4 over `times`.

    `times` (steps + 1,) fall from 1 to 0 as for sampling; the last one above 0 is where the flow begins. Costs
    `draws` x (4 steps - 3) evaluations, each with one gradient, or with one a dimension for the exact trace.
    """
    asked, schedule = Conditioned(denoiser, cond), denoiser.schedule
    first, last = (t for t in (_checked(times)[-2], _checked(times)[0]))
    angles = torch.atan(torch.exp(-0.5 * schedule.log_snr(_checked(times)[:-1].flip(0))))
    dims = x_0[0].numel()

    def size(t: Tensor) -> Tensor:
        return torch.hypot(*schedule(t))

    def field(x_hat: Tensor, theta: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
        """dx_hat / dtheta, and its divergence (B,)."""
        t = schedule.time(-2.0 * torch.tan(theta).log())
        with torch.enable_grad():
            x_hat = x_hat.detach().requires_grad_()
            mean = asked.posterior(broadcast(size(t), x_hat) * x_hat, t).mean
        products = [torch.autograd.grad(mean, x_hat, e, retain_graph=True)[0] * e for e in probes]
        traced = torch.stack(products).flatten(2).sum((0, 2))
        cos, sin = torch.cos(theta), torch.sin(theta)
        return (cos * x_hat - mean).detach() / sin, (dims * cos - traced) / sin

    terms = {name: torch.zeros(draws, len(x_0)).to(x_0) for name in ("prior", "flow", "reconstruction", "noise")}
    for k in range(draws):
        own = rng.child(f"flow {k}")
        q = q_marginal(x_0, first, schedule)
        x_t = q.rsample(own.normal("noise", index, x_0.shape[1:], x_0.dtype))
        terms["noise"][k] = -q.log_prob(x_t)
        with torch.no_grad():
            terms["reconstruction"][k] = -reconstruction_term(x_0, asked.posterior(x_t, first), levels)
        if trace == "exact":
            probes = torch.eye(dims).to(x_0).reshape(dims, 1, *x_0.shape[1:]).expand(dims, *x_0.shape)
        else:
            probes = (own.uniform("probe", index, x_0.shape[1:]) < 0.5).to(x_0)[None] * 2.0 - 1.0
        x_hat, gained = x_t / size(first), torch.zeros(len(x_0)).to(x_0)
        for theta, after in pairwise(angles):
            h = after - theta
            v_1, d_1 = field(x_hat, theta, probes)
            v_2, d_2 = field(x_hat + 0.5 * h * v_1, theta + 0.5 * h, probes)
            v_3, d_3 = field(x_hat + 0.5 * h * v_2, theta + 0.5 * h, probes)
            v_4, d_4 = field(x_hat + h * v_3, after, probes)
            x_hat = x_hat + h / 6.0 * (v_1 + 2.0 * (v_2 + v_3) + v_4)
            gained = gained + h / 6.0 * (d_1 + 2.0 * (d_2 + d_3) + d_4)
        terms["flow"][k] = gained + dims * (size(last) / size(first)).log()
        terms["prior"][k] = prior(x_0, schedule).log_prob(x_hat * size(last))
    return _estimate(terms, levels)


def _checked(times: Tensor) -> Tensor:
    times = times.detach().to("cpu", torch.float64)
    if len(times) < 2 or times[0] != 1 or times[-1] != 0 or not (times.diff() < 0).all():
        raise UsageError("a likelihood needs a grid of times that falls strictly from exactly 1 to exactly 0.")
    return times


def _estimate(terms: dict[str, Tensor], levels: int | None) -> Likelihood:
    draws = torch.stack(list(terms.values())).sum(0)
    means = {name: values.mean(0) for name, values in terms.items()}
    return Likelihood(draws, Score(draws.mean(0), "lower_bound", "density" if levels is None else "mass", means))
