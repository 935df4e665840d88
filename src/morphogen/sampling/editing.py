"""Edit pictures: sampling starts from a noised picture instead of noise alone (Meng et al., "SDEdit", 2022).

    x = noised(picture, strength, denoiser.schedule, rng, index)
    times = grid("karras", denoiser.schedule, steps, start=strength)
    edited = sample(denoiser, stepper, x, times, addressed(rng, index, x), cond)

The strength is the time t of the start: 1 keeps nothing of the picture, and small values change only its details. This
works together with inpainting and measurements, which wrap the denoiser (`sampling.inverse`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from morphogen.core.errors import UsageError
from morphogen.core.rng import Index, Noise
from morphogen.theory.diffusion import q_marginal
from morphogen.theory.schedules import Schedule


def noised(x_0: Tensor, strength: float, schedule: Schedule, rng: Noise, index: Index) -> Tensor:
    """Sample x_t ~ q(x_t | x_0) at t = `strength`.

    Args:
        x_0: records (B, *shape).
        strength: the time t in (0, 1].
        schedule: the schedule of the denoiser.
        rng: the noise.
        index: the addresses of the records' noise, B of them.

    Returns:
        x_t (B, *shape).

    Raises:
        UsageError: `strength` lies outside (0, 1].
    """
    if not 0.0 < strength <= 1.0:
        raise UsageError(f"the strength of an edit must lie in (0, 1] (got {strength}).")
    eps = rng.normal("x_T", index, x_0.shape[1:], x_0.dtype)
    return q_marginal(x_0, torch.tensor(strength, dtype=torch.float64), schedule).rsample(eps)
