"""The possible outputs of a denoising network, and conversions between them.

Each output is a combination of the clean record and the noise, y = a x_0 + b eps:

    x0    (1, 0)                  the clean record
    eps   (0, 1)                  the noise (Ho et al., 2020)
    v     (-sigma, alpha)         the velocity on the circle (Salimans and Ho, 2022)
    flow  (alpha', sigma')        dx_t / dt, the velocity in time (Lipman et al., 2023; eps - x_0 for a rectified flow)

With x_t = alpha x_0 + sigma eps and the determinant d = alpha b - sigma a, two equations for two unknowns:

    x_0 = (b x_t - sigma y) / d,    eps = (alpha y - a x_t) / d,

where d is -sigma, alpha, alpha^2 + sigma^2 and alpha sigma' - sigma alpha'. So x0 loses the noise at t = 0, eps loses
the record where alpha = 0, and v (and the flow of a rectified flow, d = 1) is good at both ends. Given x_t, errors are
proportional, with the same factor for a posterior standard deviation:

    y - y' = -(d / sigma) (x_0 - x_0').
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from morphogen.core.errors import SpecError, unknown
from morphogen.theory.schedules import Schedule, broadcast

Parametrization = Literal["x0", "eps", "v", "flow"]
PARAMETRIZATIONS: tuple[str, ...] = get_args(Parametrization)


def coefficients(name: str, t: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
    """(a, b) of y = a x_0 + b eps, of the shape of t. Raises `SpecError` for an unknown name."""
    if name == "x0":
        return torch.ones_like(t), torch.zeros_like(t)
    if name == "eps":
        return torch.zeros_like(t), torch.ones_like(t)
    if name == "v":
        alpha, sigma = schedule(t)
        return -sigma, alpha
    if name == "flow":
        return schedule.derivatives(t)
    raise SpecError(unknown("parametrization", name, PARAMETRIZATIONS))


def determinant(name: str, t: Tensor, schedule: Schedule) -> Tensor:
    """d = alpha b - sigma a, of the shape of t."""
    (alpha, sigma), (a, b) = schedule(t), coefficients(name, t, schedule)
    return alpha * b - sigma * a


def output_of(name: str, x_0: Tensor, eps: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """y = a x_0 + b eps, the target of a network for x_0 and eps (B, *shape)."""
    if name in ("x0", "eps"):
        return x_0 if name == "x0" else eps
    a, b = (broadcast(c, x_0) for c in coefficients(name, t, schedule))
    return a * x_0 + b * eps


def x_0_of(name: str, output: Tensor, x_t: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """x_0 = (b x_t - sigma y) / d from an output (B, *shape); not finite for "eps" where alpha_t = 0."""
    if name == "x0":
        return output
    (_, sigma), (_, b), d = schedule(t), coefficients(name, t, schedule), determinant(name, t, schedule)
    return broadcast(b / d, x_t) * x_t - broadcast(sigma / d, x_t) * output


def eps_of(name: str, output: Tensor, x_t: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """eps = (alpha y - a x_t) / d from an output (B, *shape); not finite for "x0" at t = 0."""
    if name == "eps":
        return output
    (alpha, _), (a, _), d = schedule(t), coefficients(name, t, schedule), determinant(name, t, schedule)
    return broadcast(alpha / d, x_t) * output - broadcast(a / d, x_t) * x_t


def convert(output: Tensor, source: str, into: str, x_t: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """Convert an output of the parametrization `source` into one of `into`."""
    if source == into:
        return output
    if into == "x0":
        return x_0_of(source, output, x_t, t, schedule)
    eps = eps_of(source, output, x_t, t, schedule)
    return eps if into == "eps" else output_of(into, x_0_of(source, output, x_t, t, schedule), eps, t, schedule)
