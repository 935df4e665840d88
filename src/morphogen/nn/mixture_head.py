"""Mixtures for the channels of a pixel, each given those before it (PixelCNN++; Salimans et al., 2017).

The raw parameters of channel k's mixture of K components (`theory/likelihoods.py` makes the distribution of them) are
functions of the pixel's features and of the values x_1 ... x_{k-1} of its earlier channels. Those move the locations
directly, too,

    location_i = m_i + sum_{j < k} c_j x_j,

as the colors of a photograph go together almost linearly.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.nn.initialization import zeroed


class MixtureHead(nn.Module):
    """Features (..., n_in), channels (..., C) in [-1, 1] -> raw parameters (..., C, 3 K): logits, locations, scales."""

    def __init__(self, n_in: int, channels: int, mixtures: int, hidden: int) -> None:
        super().__init__()
        self.mixtures, self.hidden = mixtures, hidden
        self.enter = nn.Linear(n_in, channels * hidden)
        self.tell = nn.ModuleList(nn.Linear(k, hidden, bias=False) for k in range(1, channels))
        self.outputs = nn.ModuleList(zeroed(nn.Linear(hidden, 3 * mixtures + k)) for k in range(channels))

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        a = self.enter(h).split(self.hidden, dim=-1)
        return torch.stack([self._channel(k, a[k], x) for k in range(len(a))], dim=-2)

    def channel(self, k: int, h: Tensor, x: Tensor) -> Tensor:
        """The parameters (..., 3 K) of channel k alone, from the channels before it."""
        return self._channel(k, self.enter(h).split(self.hidden, dim=-1)[k], x)

    def _channel(self, k: int, a: Tensor, x: Tensor) -> Tensor:
        if k:
            a = a + self.tell[k - 1](x[..., :k])
        out = self.outputs[k](F.relu(a))
        raw = out[..., : 3 * self.mixtures].to(torch.promote_types(out.dtype, torch.float32))
        if not k:
            return raw
        shift = (out[..., 3 * self.mixtures :].to(raw.dtype) * x[..., :k].to(raw.dtype)).sum(-1, keepdim=True)
        logits, locations, scales = raw.chunk(3, dim=-1)
        return torch.cat((logits, locations + shift, scales), dim=-1)
