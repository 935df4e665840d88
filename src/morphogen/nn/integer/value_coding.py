"""Integer frequencies of the values of elements, from the raw parameters of their likelihood.

The values have the digits of `nn/backbones/symbols.py`, and their masses are those of `theory/discretized.py`: with F
the logistic distribution function, value u ends at F(u + 1/2), and the values at both ends take the tails. Sums over
the components of a mixture are sums of products of integers.

Generators yield the frequencies (m, K) of one digit after the other and are sent that digit (m,).
"""

from __future__ import annotations

import math
from collections.abc import Generator

import torch
from torch import Tensor, nn

from morphogen.core.errors import CapabilityError
from morphogen.nn.backbones.symbols import Symbols
from morphogen.nn.integer.grid import UNIT
from morphogen.nn.integer.smooth import ONE, Smooth
from morphogen.nn.integer.tables import PRECISION, Frequencies, spread

START = -1.5  # log-scale at raw output 0, as in `theory/likelihoods.py`
CODED = ("bernoulli", "categorical", "discretized_logistic", "discretized_logistic_mixture")

Digits = Generator[Tensor, Tensor, None]


class ValueTables(nn.Module):
    """The integer tables of the likelihood called `likelihood`, of elements with so many `levels`.

    `smooth` are tables that another module stores; without them, it has those that it needs.
    """

    def __init__(self, levels: int, likelihood: str, mixtures: int, smooth: Smooth | None = None) -> None:
        super().__init__()
        if likelihood not in CODED:
            raise CapabilityError(
                f"the likelihood {likelihood!r} gives no probabilities of values, so nothing can be coded by it: train"
                f" with one of {', '.join(CODED)}."
            )
        self.likelihood, self.mixtures, self.symbols = likelihood, mixtures, Symbols(levels, 1)
        self.frequencies = Frequencies()
        self.own = Smooth() if smooth is None and likelihood.startswith("discretized") else None
        self._smooth = (smooth or self.own,)  # in a tuple: it is no submodule of this

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

    def digits(self, raw: Tensor) -> Digits:
        """The digits of the elements of records, (n D,), from what the decoder gives for them: (n, P, *shape)."""
        raw = raw.flatten(2)  # (n, P, D)
        if self.likelihood == "bernoulli":
            yield self.frequencies(torch.stack((torch.zeros_like(raw[:, 0]), raw[:, 0]), dim=-1).flatten(0, 1))
        elif self.likelihood == "categorical":
            yield self.frequencies(raw.transpose(1, 2).flatten(0, 1))
        else:
            yield from self.quantized(raw.transpose(1, 2).flatten(0, 1))

    def quantized(self, raw: Tensor) -> Digits:
        """Raw parameters (m, P): of logistics, or of mixtures of them, over values of so many levels."""
        levels, smooth = self.symbols.levels, self._smooth[0]
        assert smooth is not None
        logistic = smooth.logistic
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
        inverse = logistic(-(scale + start)) * steepest

        def cumulative(ends: Tensor) -> Tensor:
            """2^26 P(value < end) for ends (m, E) in 0 .. levels, as integers."""
            at = ((2 * ends - 1) * 2**20 // (levels - 1)).double() * 2.0**-20 - 1.0
            parts = logistic.integers((at[:, None] - location) * inverse)  # (m, K, E)
            mixed = ((weights * parts).sum(1) * 2.0**-PRECISION).floor()
            mixed = torch.where(ends <= 0, torch.zeros_like(mixed), mixed)
            return torch.where(ends >= levels, torch.full_like(mixed, float(ONE)), mixed)

        def masses(ends: Tensor) -> Tensor:
            return spread(torch.diff(cumulative(ends), dim=-1).long() + 1)

        sizes, base = self.symbols.sizes, self.symbols.base
        steps = torch.arange(sizes[0] + 1, device=raw.device).expand(len(raw), -1)
        first = yield masses(steps * base)
        if len(sizes) == 2:
            yield masses(first[:, None] * base + torch.arange(base + 1, device=raw.device))
