r"""The noise from which a denoiser draws a given record: its probability flow, run backwards.

Diffusers call it DDIM inversion (Song et al., "Denoising diffusion implicit models", 2021). On the circle
x_hat = x_t / sqrt(alpha^2 + sigma^2), theta = arctan(sigma / alpha), the flow of every schedule is

    d(x_hat / sin theta) = D d(cot theta),   D = E[x_0 | x_t],

here by steps of order 2 that are exact for a D linear in theta, whose value at the end is first estimated with a
constant D (`sampling/ode_likelihood.py` has the likelihood). It cannot begin at theta = 0, so it begins with a little
noise: x_t ~ q(x_t | x_0). Where a network knows little of the finest detail, the flow takes that
for noise and enlarges it by 1 / sin theta, so the noise is not too little.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from morphogen.core.batch import RawCondition
from morphogen.sampling.denoiser import Conditioned, Denoiser
from morphogen.theory.diffusion import q_marginal

NOISE = 0.02  # sigma / alpha at the start: 2.5 of 255 gray levels


@torch.no_grad()
def inverted(
    denoiser: Denoiser,
    x_0: Tensor,
    times: Tensor,
    noise: Tensor,
    cond: RawCondition | None = None,
    start: float = NOISE,
) -> Tensor:
    """The state at times[0] from which the flow leads to x_0, up to the noise of the start.

    Args:
        denoiser: the model, without guidance.
        x_0: (B, *shape) in the units of the chain.
        times: (steps + 1,), falling to exactly 0, as for sampling.
        noise: standard normal, (B, *shape).
        cond: the conditions, B rows, or None.
        start: sigma / alpha of the first state, at least that of the smallest time above 0.

    Returns:
        x (B, *shape) at times[0]. It takes at most 2 (steps - 1) evaluations.
    """
    schedule, asked = denoiser.schedule, Conditioned(denoiser, cond)
    rising = times.detach().to("cpu", torch.float64)[:-1].flip(0)
    first = schedule.time(torch.tensor(-2.0 * math.log(start), dtype=torch.float64)).clamp_max(rising[-1])
    rising = torch.cat((first[None], rising[rising > first])) if first > rising[0] else rising
    theta = torch.atan(torch.exp(-0.5 * schedule.log_snr(rising)))
    sizes = torch.hypot(*schedule(rising))

    def estimate(u: Tensor, i: int) -> Tensor:
        return asked.posterior(sizes[i] * torch.sin(theta[i]) * u, rising[i]).mean

    u = q_marginal(x_0, rising[0], schedule).rsample(noise) / (sizes[0] * torch.sin(theta[0]))
    for i in range(len(theta) - 1):
        cot, next_cot = 1.0 / torch.tan(theta[i : i + 2])
        within = (torch.sin(theta[i + 1]) / torch.sin(theta[i])).log() / (theta[i + 1] - theta[i])
        here = estimate(u, i)
        there = estimate(u + (next_cot - cot) * here, i + 1)
        u = u + (next_cot - within) * there - (cot - within) * here
    return u * sizes[-1] * torch.sin(theta[-1])
