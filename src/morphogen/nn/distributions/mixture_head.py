"""Mixtures for the channels of a pixel, each given the earlier channels (PixelCNN++; Salimans et al., 2017).

Photographs are smooth: a weighted sum of the neighbors predicts most of a pixel. Lossless codecs use this, but a
network in low precision loses it. So b_k, such a sum with learned weights, is computed in full precision, and the
network models only the remainder r_k = x_k - b_k. The raw parameters of channel k's mixture (`theory/likelihoods.py`
turns them into a distribution) are functions of the pixel's features and of the remainders of its earlier channels.
These remainders also shift the locations directly, because colors are almost linearly related:

    location_i = b_k + m_i + sum_{j < k} c_j r_j.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.nn.layers.initialization import zeroed


class MixtureHead(nn.Module):
    """Features h (..., n_in), channels x (..., C) in [-1, 1] and their predictions b (..., C) -> raw parameters
    (..., C, 3 K): logits, locations, scales."""

    def __init__(self, n_in: int, channels: int, mixtures: int, hidden: int) -> None:
        super().__init__()
        self.mixtures, self.hidden = mixtures, hidden
        self.enter = nn.Linear(n_in, channels * hidden)
        self.tell = nn.ModuleList(nn.Linear(k, hidden, bias=False) for k in range(1, channels))
        self.outputs = nn.ModuleList(zeroed(nn.Linear(hidden, 3 * mixtures + k)) for k in range(channels))
        spread = (2.0 * torch.arange(mixtures) + 1.0) / mixtures - 1.0  # the spread of the components in the likelihood
        for layer in self.outputs:  # remainders are small: start near 0, and narrow
            layer.bias.data[mixtures : 2 * mixtures] = -0.9 * spread  # type: ignore[operator]
            layer.bias.data[2 * mixtures : 3 * mixtures] = -2.0  # type: ignore[operator]

    def forward(self, h: Tensor, x: Tensor, b: Tensor) -> Tensor:
        a = self.enter(h).split(self.hidden, dim=-1)
        return torch.stack([self._channel(k, a[k], x, b) for k in range(len(a))], dim=-2)

    def channel(self, k: int, h: Tensor, x: Tensor, b: Tensor) -> Tensor:
        """The parameters (..., 3 K) of channel k, from the earlier channels."""
        return self._channel(k, self.enter(h).split(self.hidden, dim=-1)[k], x, b)

    def _channel(self, k: int, a: Tensor, x: Tensor, b: Tensor) -> Tensor:
        remainders = (x - b)[..., :k]
        if k:
            a = a + self.tell[k - 1](_GAIN * remainders)
        out = self.outputs[k](F.relu(a))
        out = out.to(torch.promote_types(out.dtype, torch.float32))
        logits, locations, scales = out[..., : 3 * self.mixtures].chunk(3, dim=-1)
        moved = b[..., k : k + 1] + (out[..., 3 * self.mixtures :] * remainders).sum(-1, keepdim=True)
        return torch.cat((logits, locations + moved, scales), dim=-1)


_GAIN = 8.0  # remainders are small
