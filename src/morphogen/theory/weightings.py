"""Loss weightings and distributions of training times.

Every denoising loss is E_t[w(t) |x_0 - x_0'|^2], whatever the network puts out, for a plain squared error of an output
y = a x_0 + b eps with determinant d (`theory.parametrizations`) is |y - y'|^2 = (d / sigma)^2 |x_0 - x_0'|^2. So:

    x0, eps, v, flow   w = (d / sigma)^2: 1, SNR, (alpha^2 + sigma^2)^2 / sigma^2, ...
    min-snr            w = min(SNR, gamma)                                        (Hang et al., 2023)
    edm                w = SNR + 1 / sigma_data^2                                 (Karras et al., 2022)
    posterior-mean     w = gain^2, the squared distance of the posterior means of a stride t -> s: the mean of
                       q(x_s | x_t, x_0) is carry x_t + gain x_0, so means differ by gain (x_0 - x_0')
    bound              w = gain^2 / (2 beta_tilde) = (SNR(s) - SNR(t)) / 2, the KL of that stride when both variances
                       are beta_tilde (Ho et al., 2020; Kingma et al., 2021)

A network is trained on its own output, |y - y'|^2 times w sigma^2 / d^2. The code computes w sigma^2, which is finite
also where w is not.

Times: uniform, or with log(sigma / alpha) normal (EDM; on a rectified flow that is the logit-normal law of Esser et
al., 2024). Both map a uniform number, and that may be stratified: record n of the training stream gets

    u_n = frac(u + n (sqrt 5 - 1) / 2),

the golden-ratio sequence. Any run of consecutive records covers (0, 1) evenly, as the shifted grid of Kingma et al.
(2021) does within one batch, yet u_n depends on the seed and n alone, never on the batch or on how it is split.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from morphogen.core.errors import SpecError, UsageError, unknown
from morphogen.core.rng import Index, Noise, Rng
from morphogen.theory.diffusion import stride
from morphogen.theory.parametrizations import PARAMETRIZATIONS, determinant
from morphogen.theory.schedules import Schedule

Weighting = Literal["x0", "eps", "v", "flow", "min-snr", "edm", "posterior-mean", "bound"]
WEIGHTINGS: tuple[str, ...] = get_args(Weighting)
TIME_LAWS = ("uniform", "log-normal")


def weight(
    name: str,
    parametrization: str,
    t: Tensor,
    schedule: Schedule,
    *,
    s: Tensor | None = None,
    gamma: float = 5.0,
    sigma_data: float = 0.5,
) -> Tensor:
    """The factor of |y - y'|^2, of the shape of t, for the loss w(t) |x_0 - x_0'|^2.

    `s` < t is the end of the stride of "posterior-mean" and "bound" (which is infinite at s = 0), `gamma` is that of
    "min-snr" and `sigma_data` that of "edm". Raises `SpecError` for an unknown name, `UsageError` where s is missing.
    """
    if name == parametrization:
        return torch.ones_like(t)
    return (
        _times_sigma_squared(name, t, schedule, s, gamma, sigma_data)
        / determinant(parametrization, t, schedule).square()
    )


def _times_sigma_squared(
    name: str, t: Tensor, schedule: Schedule, s: Tensor | None, gamma: float, sigma_data: float
) -> Tensor:
    """w sigma^2."""
    if name in PARAMETRIZATIONS:
        return determinant(name, t, schedule).square()
    alpha, sigma = schedule(t)
    if name == "min-snr":
        return torch.minimum(alpha.square(), gamma * sigma.square())
    if name == "edm":
        return alpha.square() + (sigma / sigma_data).square()
    if name not in WEIGHTINGS:
        raise SpecError(unknown("weighting", name, WEIGHTINGS))
    if s is None:
        raise UsageError(f"the weighting {name!r} belongs to a stride: give `s`, the time that it leads to.")
    _, gain, beta_tilde, _ = stride(t, s, schedule)
    per_variance = 1.0 if name == "posterior-mean" else 2.0 * beta_tilde
    return (gain * sigma).square() / per_variance


def uniforms(rng: Noise, index: Index, stratified: bool = True) -> Tensor:
    """(n,) float64 on (0, 1), one for each address in the stream of training samples."""
    if not stratified:
        return rng.uniform("time", index, (), torch.float64)
    at = torch.arange(index) if isinstance(index, int) else torch.as_tensor(index)
    offset = Rng(rng.seed).uniform("time offset", 1, (), torch.float64)
    moved = (at + rng.offset).double() * (0.5 * (math.sqrt(5.0) - 1.0)) + offset
    return moved.frac().clamp(1e-12, 1.0 - 1e-12).to(rng.device)


def times(law: str, u: Tensor, schedule: Schedule, mean: float = -1.2, std: float = 1.2) -> Tensor:
    """The times, of the shape of `u`, that uniform numbers on (0, 1) map to.

    "uniform" is t = u; "log-normal" has log(sigma_t / alpha_t) ~ N(mean, std^2), cut off at t = 1. The defaults are
    EDM's, for data of deviation 0.5. Raises `SpecError` for an unknown law.
    """
    if law == "uniform":
        return u
    if law == "log-normal":
        return schedule.time(-2.0 * (mean + std * torch.special.ndtri(u)))
    raise SpecError(unknown("law of times", law, TIME_LAWS))
