r"""Distill a denoiser with many steps into a network with few steps.

A teacher gives D(x_t, t) = E[x_0 | x_t], one small step of the way. A student f(x_t, t) gives a record at once.
**Distribution matching** (Yin et al., "One-step diffusion with distribution matching distillation", 2024; with several
steps, "Improved distribution matching distillation", 2024; Salimans et al., "Multistep distillation of diffusion models
via moment matching", 2024). Let an auxiliary denoiser D' know the student's records y as the teacher knows the data.
The gradient of KL(p'_s || p_s) of the two distributions, noised to s, is by Tweedie's formula

    alpha_s / sigma_s^2 E[D'(y_s, s) - D(y_s, s)]      with respect to y,

which vanishes where student and data have the same distribution. It is the direction that counts; its size is brought
to that of the error itself, as Yin et al. do.
"""

from __future__ import annotations

from torch import Tensor

SMALLEST_ERROR = 0.01  # mean absolute error of the teacher's estimate below which a direction is not magnified further


def direction(record: Tensor, of_student: Tensor, of_teacher: Tensor) -> Tensor:
    """The gradient D' - D for the student's `record` (B, *shape), divided by the teacher's mean absolute error.

    `of_student` = D'(y_s), `of_teacher` = D(y_s). Descent along it lowers KL(p'_s || p_s).
    """
    error = (record - of_teacher).abs().flatten(1).mean(1).clamp_min(SMALLEST_ERROR)
    return (of_student - of_teacher) / error.reshape(-1, *(1,) * (record.ndim - 1))
