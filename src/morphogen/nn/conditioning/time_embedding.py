"""The embedding of the noise level and the pooled condition, an input of denoisers.

A number u becomes Fourier features

    phi(u) = (cos w_k u, sin w_k u)_k,     w_k = 2 pi / l_k,

with geometrically spaced wavelengths l_k (Vaswani et al., 2017; Song et al., 2021), and a perceptron turns these into a
vector. The wavelengths, 1 to 80, suit a log signal-to-noise ratio in [-20, 20]; multiply a time in [0, 1] by 40. The
shortest wavelength limits how fast the network can change with u, so derivatives with respect to u stay bounded.
Consistency and mean-flow training need these.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from morphogen.core.batch import Condition

_SHORTEST, _LONGEST = 1.0, 80.0


class TimeEmbedding(nn.Module):
    """(B,), or (B, K) for `inputs` = K numbers each, and the pooled condition (B, cond) -> (B, dim).

    It computes in full precision under autocast too. This costs almost nothing, and bf16 would round neighboring noise
    levels to the same number.
    """

    frequencies: Tensor

    def __init__(self, dim: int, *, cond: int = 0, inputs: int = 1, features: int = 32) -> None:
        super().__init__()
        lengths = torch.logspace(math.log10(_LONGEST), math.log10(_SHORTEST), features, dtype=torch.float64)
        self.register_buffer("frequencies", (2.0 * math.pi / lengths).float(), persistent=False)
        self.inputs = inputs
        self.enter = nn.Linear(2 * features * inputs, dim)
        self.act = nn.SiLU()
        self.leave = nn.Linear(dim, dim)
        self.pooled = nn.Linear(cond, dim) if cond else None

    def forward(self, u: Tensor, condition: Condition | None = None) -> Tensor:
        with torch.autocast(u.device.type, enabled=False):
            angle = u.reshape(-1, self.inputs, 1).to(self.frequencies.dtype) * self.frequencies  # (B, K, features)
            h = self.leave(self.act(self.enter(torch.cat((angle.cos(), angle.sin()), dim=-1).flatten(1))))
            if self.pooled is not None and condition is not None:
                h = h + self.pooled(condition.pooled.to(h.dtype))
            return self.act(h)
