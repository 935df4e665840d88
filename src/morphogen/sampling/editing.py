"""Pictures from pictures: start on the way instead of at noise (Meng et al., "SDEdit", 2022).

    x = noised(picture, strength, denoiser.schedule, rng, index)
    times = grid("karras", denoiser.schedule, steps, start=strength)
    edited = sample(denoiser, stepper, x, times, addressed(rng, index, x), cond)

The strength is the time t to start from: 1 forgets the picture, small ones keep all but its details. Inpainting and
measurements are wrappers of the denoiser (`sampling.inverse`) and go together with this.
"""

from __future__ import annotations

import torch
from torch import Tensor

from morphogen.core.errors import UsageError
from morphogen.core.rng import Index, Noise
from morphogen.theory.diffusion import q_marginal
from morphogen.theory.schedules import Schedule


def noised(x_0: Tensor, strength: float, schedule: Schedule, rng: Noise, index: Index) -> Tensor:
    """x_t ~ q(x_t | x_0) at t = `strength` in (0, 1], for records x_0 (B, *shape) at the addresses `index`."""
    if not 0.0 < strength <= 1.0:
        raise UsageError(f"the strength of an edit must lie in (0, 1] (got {strength}).")
    eps = rng.normal("x_T", index, x_0.shape[1:], x_0.dtype)
    return q_marginal(x_0, torch.tensor(strength, dtype=torch.float64), schedule).rsample(eps)
