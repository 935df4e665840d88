r"""What bits-back coding asks of a model: integer frequencies of the bin of a latent.

A latent in units of its prior, N(0, 1), lies in one of 2^12 bins of equal mass under the prior. So the prior of a bin
is uniform, and a bin stands for its middle quantile. The posterior N(m, s^2) gives a bin the mass

    Phi((b_{i+1} - m) / s) - Phi((b_i - m) / s),   b_i = Phi^-1(i / 2^12).

A bin has two digits in base 64, and each digit its own frequencies, so that 2 x 64 masses are computed and not 4,096.
"""

from __future__ import annotations

from statistics import NormalDist

import torch
from torch import Tensor, nn

from morphogen.nn.integer.grid import UNIT
from morphogen.nn.integer.smooth import ExpTable, Smooth
from morphogen.nn.integer.tables import PRECISION, spread
from morphogen.nn.integer.value_coding import Digits, ValueTables

BASE = 64  # of a digit of a bin
BINS = BASE * BASE


class LatentTables(nn.Module):
    """The integer tables of a model whose latents are coded; `likelihood` is the name of p(x | z)."""

    middles: Tensor
    edges: Tensor

    def __init__(self, levels: int, likelihood: str, mixtures: int) -> None:
        super().__init__()
        self.smooth = Smooth()  # activations share it
        self.values = ValueTables(levels, likelihood, mixtures, self.smooth)
        quantile = NormalDist().inv_cdf
        middles = [round(quantile((i + 0.5) / BINS) / UNIT) for i in range(BINS)]
        edges = [round(quantile(i / BINS) / UNIT * 256) for i in range(1, BINS)]
        self.register_buffer("middles", torch.tensor(middles, dtype=torch.int32))
        self.register_buffer("edges", torch.tensor([-(16 << 20), *edges, 16 << 20], dtype=torch.int32))
        self.exp = ExpTable()

    def middle(self, digits: list[Tensor]) -> Tensor:
        """The latents, in units of the prior and on the grid, of the bins that digits spell."""
        return self.middles[digits[0] * BASE + digits[1]].double() * UNIT

    def bins(self, mean: Tensor, log_std: Tensor) -> Digits:
        """The digits of the bins of latents with posteriors of `mean` and `log_std` (m,), in units of the prior."""
        inverse = self.exp(-log_std)[:, None]
        edges = self.edges.double() * (UNIT / 256.0)

        def masses(at: Tensor) -> Tensor:
            cumulative = self.smooth.normal.integers((at - mean[:, None]) * inverse)
            return spread(torch.diff(cumulative, dim=-1).long() + 1)

        first = yield masses(edges[::BASE].expand(len(mean), -1))
        places = first[:, None] * BASE + torch.arange(BASE + 1, device=first.device)
        yield masses(edges[places])

    def uniform(self, m: int) -> Digits:
        """The digits of bins under the prior."""
        flat = torch.full((m, BASE), float(2**PRECISION // BASE), dtype=torch.float64, device=self.middles.device)
        yield flat
        yield flat
