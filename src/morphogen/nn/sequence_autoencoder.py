r"""Texts as latents: q(z | x) reads a whole text, p(x | z) writes it token by token with z as its condition.

The encoder is a transformer in which each token sees all others; the mean of its features gives the moments of z. The
decoder is a causal transformer (`nn/sequences.py`), so log p(x | z) is exact.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from morphogen.core.distributions import Distribution
from morphogen.core.sequences import SequenceSchema, lengths
from morphogen.core.uncompiled import uncompiled
from morphogen.nn.backbones.sequence_transformer import SequenceTransformer
from morphogen.nn.sequences import CausalSequences


class SequenceEncoder(nn.Module):
    """Texts (B, L) -> (B, n_out): the mean of the features of their tokens and their end, through a linear layer."""

    def __init__(
        self, schema: SequenceSchema, n_out: int, *, width: int, blocks: int, cond: int = 0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.longest = schema.longest
        self.net = SequenceTransformer(
            schema.vocabulary, schema.longest, width=width, blocks=blocks, causal=False, cond=cond, dropout=dropout
        )
        self.out = nn.Linear(width, n_out)

    @uncompiled  # the lengths of each batch are shapes, and each would be compiled anew
    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        n = lengths(x).clamp_max(self.longest - 1) + 1  # with the end
        longest = int(n.max())
        keep = torch.arange(longest, device=x.device) < n[:, None]
        features, packing = self.net(x[:, :longest], keep, c)
        total = features.new_zeros(len(x), features.shape[-1]).index_add(0, packing.flat // longest, features)
        return self.out(total / n[:, None])


class SequenceDistribution(Distribution):
    """p(x | c) of texts x (L,) for conditions c (*batch, C)."""

    measure = "mass"
    event_dims = 1

    def __init__(self, net: CausalSequences, c: Tensor) -> None:
        self._net, self._c = net, c

    def log_prob(self, x: Tensor) -> Tensor:
        """(*batch,) for texts (B, L), where B is the last dimension of the batch."""
        batch = torch.broadcast_shapes(self._c.shape[:-1], x.shape[:-1])
        x, c = x.expand(*batch, -1), self._c.expand(*batch, -1)
        return self._net(x.reshape(-1, x.shape[-1]), c.reshape(-1, c.shape[-1])).unflatten(0, batch)

    def log_prob_elements(self, x: Tensor) -> Tensor:
        """(*batch, L): the log-probability of each token given those before it; 0 for padding."""
        batch = torch.broadcast_shapes(self._c.shape[:-1], x.shape[:-1])
        x, c = x.expand(*batch, -1), self._c.expand(*batch, -1)
        found = self._net.elements(x.reshape(-1, x.shape[-1]), c.reshape(-1, c.shape[-1]))
        return found.unflatten(0, batch)

    @property
    def mean(self) -> Tensor:
        """The text whose every token is the likeliest: texts have no mean."""
        return self._drawn(self._c.new_full(self.noise_shape, 0.5), 0.0)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (*self._c.shape[:-1], self._net.longest)

    def sample(self, noise: Tensor) -> Tensor:
        return self._drawn(noise, 1.0)

    def _drawn(self, noise: Tensor, temperature: float) -> Tensor:
        """In float64, as rounding must not decide a token."""
        net = copy.deepcopy(self._net).double().eval()
        u, c = noise.reshape(-1, self._net.longest).double(), self._c.reshape(-1, self._c.shape[-1]).double()
        with torch.no_grad():
            return net.sample(u, c, temperature).reshape(noise.shape)
