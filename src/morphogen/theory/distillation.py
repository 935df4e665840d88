r"""Few steps from many: what a trained denoiser can teach a network that jumps.

A teacher gives D(x_t, t) = E[x_0 | x_t], one small step of the way; a student f(x_t, t) answers with a record at once.
**Consistency** (Song et al., "Consistency models", 2023). The solution of the probability flow from x_t ends at one
record, and so it does from any x_r further down the same path: f(x_t, t) = f(x_r, r), with f(x, 0) = x. The path from
t to r is the teacher's step (DDIM's, exact for a constant estimate),

    x_r = alpha_r D + sigma_r eps,   eps = (x_t - alpha_t D) / sigma_t.

**Distribution matching** (Yin et al., "One-step diffusion with distribution matching distillation", 2024; with several
steps, "Improved distribution matching distillation", 2024; Salimans et al., "Multistep distillation of diffusion models
via moment matching", 2024). Let an auxiliary denoiser D' know the student's records y as the teacher knows the data.
The gradient of KL(p'_s || p_s) of the two distributions, noised to s, is by Tweedie's formula

    alpha_s / sigma_s^2 E[D'(y_s, s) - D(y_s, s)]      with respect to y,

which vanishes where student and data have the same distribution. It is the direction that counts; its size is brought
to that of the error itself, as Yin et al. do.
"""

from __future__ import annotations

import torch
from torch import Tensor

from morphogen.theory.schedules import Schedule, broadcast

SMALLEST_ERROR = 0.01  # mean absolute error of the teacher's estimate below which a direction is not magnified further


def along_the_flow(x_t: Tensor, estimate: Tensor, t: Tensor, r: Tensor, schedule: Schedule) -> Tensor:
    """x_r of the probability flow through x_t, if E[x_0 | x_t] = `estimate` stays what it is; 0 <= r < t (B,)."""
    alpha_t, sigma_t = schedule(t)
    alpha_r, sigma_r = schedule(r)
    eps = (x_t - broadcast(alpha_t, x_t) * estimate) / broadcast(sigma_t, x_t)
    return broadcast(alpha_r, x_t) * estimate + broadcast(sigma_r, x_t) * eps


def closer(t: Tensor, fraction: float, schedule: Schedule) -> Tensor:
    """The r < t for pairs of a consistency loss: the angle arctan(sigma / alpha) times a ratio that tends to 1.

    ratio = 1 - 4^-k (1 + 8 / (1 + e^(2 sigma_t / alpha_t))), at least 0, k = 1, 2, 3, 4 by quarters of `fraction`:
    first far away, or at the end where there is little noise, then nearer and nearer (after Geng et al., "Consistency
    models made easy", 2024, who do so with sigma; in angles a jump from pure noise reaches as far as the teacher's
    estimate stays what it is).
    """
    noise = torch.exp(-0.5 * schedule.log_snr(t))
    k = min(1 + int(4.0 * fraction), 4)
    ratio = (1.0 - 4.0**-k * (1.0 + 8.0 * torch.sigmoid(-2.0 * noise))).clamp_min(0.0)
    return schedule.time(-2.0 * torch.tan(ratio * torch.atan(noise)).log())


def direction(record: Tensor, of_student: Tensor, of_teacher: Tensor) -> Tensor:
    """Where to move the student's `record` (B, *shape) from: D' - D, per record over the teacher's mean absolute error.

    `of_student` = D'(y_s), `of_teacher` = D(y_s). Descent along it lowers KL(p'_s || p_s).
    """
    error = (record - of_teacher).abs().flatten(1).mean(1).clamp_min(SMALLEST_ERROR)
    return (of_student - of_teacher) / error.reshape(-1, *(1,) * (record.ndim - 1))
