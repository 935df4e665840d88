r"""What bits-back coding asks of a model, as integer frequencies: of the bin of a latent, of the value of an element.

A latent in units of its prior, N(0, 1), lies in one of 2^12 bins of equal mass under the prior. So the prior of a bin
is uniform, and a bin stands for its middle quantile. The posterior N(m, s^2) gives a bin the mass

    Phi((b_{i+1} - m) / s) - Phi((b_i - m) / s),   b_i = Phi^-1(i / 2^12).

A bin has two digits in base 64, and each digit its own frequencies, so that 2 x 64 masses are computed and not 4,096.
An element's value has the digits of `nn/backbones/symbols.py`, and its masses are those of `theory/discretized.py`:
with F the logistic distribution function, value u ends at F(u + 1/2), and the values at both ends take the tails. Sums
over the components of a mixture are sums of products of integers.

Generators yield the frequencies (m, K) of one digit after the other and are sent that digit (m,).
"""

from __future__ import annotations

import math
from collections.abc import Generator
from statistics import NormalDist

import torch
from torch import Tensor, nn

from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import CapabilityError
from morphogen.nn.backbones.symbols import Symbols
from morphogen.nn.integer.grid import UNIT
from morphogen.nn.integer.smooth import ONE, ExpTable, Smooth
from morphogen.nn.integer.tables import PRECISION, Frequencies, spread

BASE = 64  # of a digit of a bin
BINS = BASE * BASE
START = -1.5  # log-scale at raw output 0, as in `theory/likelihoods.py`
CODED = ("bernoulli", "categorical", "discretized_logistic", "discretized_logistic_mixture")

Digits = Generator[Tensor, Tensor, None]


class LatentTables(nn.Module):
    """The integer tables of a model whose latents are coded; `likelihood` is the name of p(x | z)."""

    middles: Tensor
    edges: Tensor

    def __init__(self, data: DataSpec, likelihood: str, mixtures: int) -> None:
        super().__init__()
        if likelihood not in CODED:
            raise CapabilityError(
                f"the likelihood {likelihood!r} gives no probabilities of values, so nothing can be coded by it: train"
                f" with one of {', '.join(CODED)}."
            )
        self.data, self.likelihood, self.mixtures = data, likelihood, mixtures
        quantile = NormalDist().inv_cdf
        middles = [round(quantile((i + 0.5) / BINS) / UNIT) for i in range(BINS)]
        edges = [round(quantile(i / BINS) / UNIT * 256) for i in range(1, BINS)]
        self.register_buffer("middles", torch.tensor(middles, dtype=torch.int32))
        self.register_buffer("edges", torch.tensor([-(16 << 20), *edges, 16 << 20], dtype=torch.int32))
        self.smooth, self.exp, self.frequencies = Smooth(), ExpTable(), Frequencies()
        self.symbols = Symbols(data.levels or 2, 1)

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

    def split(self, values: Tensor) -> list[Tensor]:
        """Values (n, D) as digits, each (n D,)."""
        if self.likelihood == "categorical":
            return [values.flatten().long()]
        return list(self.symbols.split(values.flatten()[:, None].long()).unbind(-1))

    def join(self, digits: list[Tensor]) -> Tensor:
        """The values (n D,) of digits."""
        if self.likelihood == "categorical":
            return digits[0]
        return self.symbols.join(torch.stack(digits, dim=-1))[:, 0]

    def values(self, raw: Tensor) -> Digits:
        """The digits of the elements of records, (n D,), from what the decoder gives for them: (n, P, *shape)."""
        raw = raw.flatten(2)  # (n, P, D)
        if self.likelihood == "bernoulli":
            yield self.frequencies(torch.stack((torch.zeros_like(raw[:, 0]), raw[:, 0]), dim=-1).flatten(0, 1))
        elif self.likelihood == "categorical":
            yield self.frequencies(raw.transpose(1, 2).flatten(0, 1))
        else:
            yield from self._quantized(raw.transpose(1, 2).flatten(0, 1))

    def _quantized(self, raw: Tensor) -> Digits:
        """Raw parameters (m, P): of logistics, or of mixtures of them, over values of so many levels."""
        levels = self.symbols.levels
        if self.likelihood == "discretized_logistic":
            location, scale = (v[:, :, None] for v in raw.chunk(2, dim=1))
            weights = torch.full_like(location, float(2**PRECISION))
        else:
            logits, location, scale = (v[:, :, None] for v in raw.chunk(3, dim=1))
            k = self.mixtures
            location = location + ((2.0 * torch.arange(k, device=raw.device).double() + 1.0) / k - 1.0)[:, None]
            weights = self.frequencies(logits[..., 0])[..., None]
        floor = -math.log(levels - 1) - 2.5
        start = round((max(START, floor) - floor) / UNIT) * UNIT
        # 1 / scale = exp(-floor - softplus(v)) = exp(-floor) sigmoid(-v), v = raw + start
        steepest = round(math.exp(-floor) * 2**20) * 2.0**-20
        inverse = self.smooth.logistic(-(scale + start)) * steepest

        def cumulative(ends: Tensor) -> Tensor:
            """2^26 P(value < end) for ends (m, E) in 0 .. levels, as integers."""
            at = (2.0 * ends - 1.0) / (levels - 1) - 1.0
            parts = self.smooth.logistic.integers((at[:, None] - location) * inverse)  # (m, K, E)
            mixed = ((weights * parts).sum(1) * 2.0**-PRECISION).floor()
            mixed = torch.where(ends <= 0.0, torch.zeros_like(mixed), mixed)
            return torch.where(ends >= levels, torch.full_like(mixed, float(ONE)), mixed)

        def masses(ends: Tensor) -> Tensor:
            return spread(torch.diff(cumulative(ends.double()), dim=-1).long() + 1)

        sizes, base = self.symbols.sizes, self.symbols.base
        steps = torch.arange(sizes[0] + 1, device=raw.device).expand(len(raw), -1)
        first = yield masses(steps * base)
        if len(sizes) == 2:
            yield masses(first[:, None] * base + torch.arange(base + 1, device=raw.device))
