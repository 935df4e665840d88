r"""One model for many qualities: a number from 1 to 100 sets the error that is allowed, and the step of each latent.

Quality q allows the error sigma(q), falling as a power from the coarsest to the finest. Between rungs, qualities at
equal distances, all that depends on quality is interpolated: with h(q) the two weights of the nearest rungs,

    c = h(q),    log step = h(q) log-steps of the rungs,

so steps are geometric means (Cui et al., "Asymmetric gained deep image compression with continuous rate adaptation",
2021). At first every step is in the same relation to sigma.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

QUALITIES = 100


class QualityLadder(nn.Module):
    """Qualities as numbers for networks, and the steps of `latents` channels.

    coarsest, finest   sigma at quality 1 and 100, in the units of pictures
    step               the first step, in units of sigma
    """

    def __init__(self, latents: int, rungs: int, coarsest: float, finest: float, step: float) -> None:
        super().__init__()
        self.rungs, self.coarsest, self.finest = rungs, coarsest, finest
        place = torch.linspace(0.0, 1.0, rungs)[:, None].expand(-1, latents)
        self.log_steps = nn.Parameter(self.log_error(place) + math.log(step))

    def log_error(self, t: Tensor) -> Tensor:
        """log sigma at t = (q - 1) / 99."""
        return math.log(self.coarsest) + t * math.log(self.finest / self.coarsest)

    def weights(self, t: Tensor) -> Tensor:
        """h (B, R) at t (B,)."""
        place = t[:, None] * (self.rungs - 1)
        return (1.0 - (place - torch.arange(self.rungs, device=t.device, dtype=t.dtype)).abs()).clamp_min(0.0)

    def log_step(self, t: Tensor) -> Tensor:
        """The logarithms of the steps (B, M) at t (B,)."""
        return self.weights(t).to(self.log_steps.dtype) @ self.log_steps


def place_of(quality: int) -> float:
    """t = (q - 1) / 99."""
    return (quality - 1) / (QUALITIES - 1)
