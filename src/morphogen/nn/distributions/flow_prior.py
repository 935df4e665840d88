"""A learned prior: an affine-coupling flow (Dinh et al., "Density estimation using Real NVP", 2017).

Layer l splits z into two halves. z_a stays, and functions of z_a scale and shift z_b,

    u_b = z_b exp(s(z_a)) + t(z_a),      log |du / dz| = sum s(z_a),

with s bounded to (-2, 2). Halves swap from layer to layer, after a fixed reversal of the order. With u the last
layer's output, log p(z) = log N(u; 0, I) + sum_l log |du_l / dz_l|, and samples are the exact inverse of u ~ N(0, I).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from morphogen.core.distributions import LOG_2PI
from morphogen.nn.backbones.mlp import MLP


class FlowPrior(nn.Module):
    """p(z) over vectors (..., dim), dim >= 2; it starts as the standard normal."""

    def __init__(self, dim: int, layers: int = 6, hidden: int = 128) -> None:
        super().__init__()
        self.dim, self.kept = dim, dim // 2
        moved = dim - self.kept
        self.couplings = nn.ModuleList(MLP(self.kept, (hidden, hidden), 2 * moved, act="silu") for _ in range(layers))
        for coupling in self.couplings:
            nn.init.normal_(coupling.out.weight, std=1e-3)  # type: ignore[union-attr, arg-type]
            nn.init.zeros_(coupling.out.bias)  # type: ignore[union-attr, arg-type]

    def log_prob(self, z: Tensor) -> Tensor:
        """(..., dim) -> (...) in nats."""
        log_det = torch.zeros_like(z[..., 0])
        for coupling in self.couplings:
            a, b = z[..., : self.kept], z[..., self.kept :]
            s, t = self._scale_shift(coupling, a)
            log_det = log_det + s.sum(-1)
            z = torch.cat((a, b * s.exp() + t), dim=-1).flip(-1)
        return log_det - 0.5 * (z.square() + LOG_2PI).sum(-1)

    def transform(self, u: Tensor) -> Tensor:
        """Standard normal noise (..., dim) to z: the inverse of the map in `log_prob`."""
        for coupling in reversed(self.couplings):
            u = u.flip(-1)
            a, b = u[..., : self.kept], u[..., self.kept :]
            s, t = self._scale_shift(coupling, a)
            u = torch.cat((a, (b - t) * (-s).exp()), dim=-1)
        return u

    @staticmethod
    def _scale_shift(coupling: nn.Module, a: Tensor) -> tuple[Tensor, Tensor]:
        # In full precision also under autocast: errors multiply from layer to layer, and the networks are small.
        with torch.autocast(a.device.type, enabled=False):
            s, t = coupling(a).chunk(2, dim=-1)
        return 2.0 * torch.tanh(0.5 * s), t

    def forward(self, z: Tensor) -> Tensor:
        return self.log_prob(z)
