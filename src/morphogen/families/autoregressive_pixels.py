r"""The network of an autoregressive model of pictures: log P(x_i | x_1, ..., x_{i-1}, c) of every element at once.

A causal network (`nn/backbones/causal.py`) computes the features of each pixel from the pixels before it. A small
network for each symbol (`nn/backbones/symbols.py`) computes the softmax of that symbol from the features, the pixel's
earlier symbols, and the counts of the values so far. For photographs each channel may take a mixture of discretized
logistics instead (`nn/distributions/mixture_head.py`), because their values are quantities. Every factor sums to one
over its values.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from morphogen.core.data_spec import DataSpec
from morphogen.core.spec import Spec
from morphogen.nn.backbones.causal import CausalConv, CausalNet, Seen
from morphogen.nn.backbones.symbols import Counts, SymbolHead, Symbols
from morphogen.nn.distributions.mixture_head import MixtureHead
from morphogen.nn.integer.grid import to_grid
from morphogen.nn.integer.value_coding import ValueTables
from morphogen.theory.discretized import DiscretizedLogisticMixture
from morphogen.theory.likelihoods import likelihood

AtLeastOne = Annotated[int, Field(ge=1)]


class PixelsSpec(Spec):
    """Options of the network of pictures."""

    width: int = Field(64, ge=1, description="channels of the features of a pixel")
    inner: int = Field(32, ge=1, description="channels inside a residual block")
    blocks: int = Field(4, ge=1, description="residual blocks")
    reach: tuple[AtLeastOne, AtLeastOne] = Field(
        (2, 2), description="window of a block: rows above, columns to either side"
    )
    stem: tuple[AtLeastOne, AtLeastOne] = Field(
        (7, 7), description="window of the first layer, which sees the pixels themselves"
    )
    near: tuple[AtLeastOne, AtLeastOne] = Field(
        (2, 2), description="window of the first layer that sees the pixels' exact values"
    )
    hidden: int = Field(64, ge=1, description="width of the layer that predicts one symbol")
    likelihood: Literal["categorical", "discretized_logistic_mixture"] = Field(
        "categorical", description="P(value): a softmax of its digits, or for photographs a mixture"
    )
    mixtures: int = Field(5, ge=1, description="components of the mixture")
    places: Literal["each", "axes"] = Field(
        "each", description="a learned vector for each place, or (fewer numbers) for each row and column"
    )
    counts: bool = Field(True, description="categorical: tell it how often each value came before in the picture")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in the residual blocks")
    integer: bool = Field(False, description="the integer form, which `morphogen quantize` makes of a trained model")


class Pixels(nn.Module):
    """log P(x_i | x_1 ... x_{i-1}, c) of each element i: values (B, H, W, C) in 0 .. K-1 -> (B, H, W, C)."""

    def __init__(self, spec: PixelsSpec, levels: int, data: DataSpec, cond: int) -> None:
        super().__init__()
        channels, rows, columns = data.shape
        self.spec, self.levels, self.symbols = spec, levels, Symbols(levels, channels)
        self.channel = data.model_copy(update={"shape": (1,)})  # the values of one mixture
        self.net = CausalNet(
            (rows, columns),
            channels,
            sum(self.symbols.sizes),
            spec.width,
            spec.inner,
            spec.blocks,
            stem=spec.stem,
            near=spec.near,
            reach=spec.reach,
            cond=cond,
            dropout=spec.dropout,
            axes=spec.places == "axes",
        )
        self.head: SymbolHead | MixtureHead
        if spec.likelihood != "categorical":
            self.head = MixtureHead(spec.width, channels, spec.mixtures, spec.hidden)
            self.predict = _plane(channels)
        else:
            self.head = SymbolHead(spec.width, self.symbols, spec.hidden, counts=spec.counts)

    @property
    def uniforms(self) -> int:
        """Number of uniform numbers per pixel."""
        return len(self.symbols.sizes) if isinstance(self.head, SymbolHead) else 2 * self.symbols.channels

    def forward(self, u: Tensor, c: Tensor | None = None) -> Tensor:
        x, digits = self._read(u)
        h = torch.relu(self.net(x, digits, c))
        if isinstance(self.head, MixtureHead):
            with torch.autocast(x.device.type, enabled=False):  # bf16 rounds to half a level of 8-bit pictures
                predicted = self.predict(x)
            return self._mixture(self.head(h, x, predicted)).log_prob_elements(x[..., None]).squeeze(-1)
        log_p = self.head(h, self.symbols.split(u), self._seen(u))  # (B, H, W, S)
        return log_p.unflatten(-1, (-1, self.symbols.digits)).sum(-1)

    def sample(self, uniform: Tensor, c: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """The values (n, H, W, C) that `uniform` (n, H, W, `uniforms`) on (0, 1) maps to."""
        n, rows, columns, _ = uniform.shape
        u = torch.zeros(n, rows, columns, self.symbols.channels, dtype=torch.int64, device=uniform.device)
        seen = self._none_seen(n)
        near = Seen(self.predict, uniform.new_zeros, n, columns) if isinstance(self.head, MixtureHead) else None
        walk = self.net.walk(n, c)
        h = next(walk)
        for i in range(rows):
            for j in range(columns):
                if isinstance(self.head, SymbolHead):
                    u[:, i, j] = self.symbols.join(self.head.sample(h.relu(), uniform[:, i, j], seen, temperature))
                else:
                    predicted = near.convolved(i, j)  # type: ignore[union-attr]
                    u[:, i, j] = self._draw(self.head, h.relu(), predicted, uniform[:, i, j], temperature)
                if (i, j) != (rows - 1, columns - 1):
                    x, digits = self._read(u[:, i, j])
                    if seen is not None:
                        seen.add(u[:, i, j])
                    if near is not None:
                        near.put(i, j, x)
                    h = walk.send((x, digits))
        return u

    def conditionals(self, n: int, tables: ValueTables) -> Generator[Tensor, Tensor, None]:
        """Yield the integer frequencies (n, K) of one symbol after the other; the caller sends that symbol (n,)."""
        rows, columns = self.net.shape
        seen, walk = self._none_seen(n), self.net.walk(n)
        zeros = partial(torch.zeros, dtype=torch.float64, device=self.net.place.device)
        near = Seen(self.predict, zeros, n, columns) if isinstance(self.head, MixtureHead) else None
        h = next(walk)
        for i in range(rows):
            for j in range(columns):
                if isinstance(self.head, SymbolHead):
                    u = yield from self._by_softmax(self.head, h.relu(), seen, tables)
                else:
                    predicted = near.convolved(i, j)  # type: ignore[union-attr]
                    u = yield from self._by_mixtures(self.head, h.relu(), predicted, tables)
                if (i, j) != (rows - 1, columns - 1):
                    x, digits = self._read(u)
                    if seen is not None:
                        seen.add(u)
                    if near is not None:
                        near.put(i, j, x)
                    h = walk.send((x, digits))

    def _by_softmax(
        self, head: SymbolHead, h: Tensor, seen: Counts | None, tables: ValueTables
    ) -> Generator[Tensor, Tensor, Tensor]:
        """The symbols of a pixel, each by a softmax; returns its values (n, C)."""
        symbols, walk = list[Tensor](), head.walk(h, seen)
        logits = next(walk)
        for k in range(len(self.symbols.sizes)):
            if k:
                logits = walk.send(symbols[-1])
            symbols.append((yield tables.frequencies(logits)))
        return self.symbols.join(torch.stack(symbols, dim=-1))

    def _by_mixtures(
        self, head: MixtureHead, h: Tensor, predicted: Tensor, tables: ValueTables
    ) -> Generator[Tensor, Tensor, Tensor]:
        """The symbols of a pixel, those of each channel by a mixture of logistics; returns its values (n, C)."""
        u = torch.zeros(len(h), self.symbols.channels, dtype=torch.int64, device=h.device)
        for k in range(u.shape[1]):
            raw = head.channel(k, h, self._read(u)[0], predicted)
            symbols, walk = list[Tensor](), tables.quantized(raw.double())
            frequencies = next(walk)
            for digit in range(self.symbols.digits):
                if digit:
                    frequencies = walk.send(symbols[-1])
                symbols.append((yield frequencies))
            u[:, k] = tables.join(symbols)
        return u

    def _none_seen(self, n: int) -> Counts | None:
        """The counts before the first pixel."""
        return Counts(self.symbols, n, self.net.place.device) if self.spec.counts else None

    def _draw(self, head: MixtureHead, h: Tensor, predicted: Tensor, uniform: Tensor, temperature: float) -> Tensor:
        """Sample one pixel (n, C) from mixtures, given its features (n, width)."""
        cool = max(temperature, 1e-9)
        x = h.new_zeros(len(h), self.symbols.channels)
        for k in range(x.shape[1]):
            p = self._mixture(head.channel(k, h, x, predicted))
            p = DiscretizedLogisticMixture(p.logits / cool, p.location, p.log_scale + math.log(cool), self.levels)
            x[:, k] = p.sample(uniform[:, 2 * k : 2 * k + 2, None]).squeeze(-1)
        return ((x + 1.0) * (0.5 * (self.levels - 1))).round().long()

    def _mixture(self, raw: Tensor) -> DiscretizedLogisticMixture:
        """The distributions (*, 1) with the raw parameters (*, 3 K)."""
        made = likelihood("discretized_logistic_mixture", raw[..., None], self.channel, mixtures=self.spec.mixtures)
        assert isinstance(made, DiscretizedLogisticMixture)
        return made

    def _seen(self, u: Tensor) -> Tensor | None:
        return self.symbols.seen(u) if self.spec.counts else None

    def _read(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Values (..., C) as numbers in [-1, 1], and as indicators of their digits (..., D)."""
        dtype = torch.float64 if self.spec.integer else self.net.place.dtype
        x = u.to(dtype) * (2.0 / (self.levels - 1)) - 1.0
        return to_grid(x) if self.spec.integer else x, self.symbols.one_hot(u).to(dtype)


def _plane(channels: int) -> CausalConv:
    """A prediction from the four nearest pixels: at first (3 left + 3 above - 2 above left) / 4 of the same channel."""
    predict = CausalConv(channels, channels, 1, 1, strict=True)
    window = torch.tensor([[-0.5, 0.75, 0.0], [0.75, 0.0, 0.0]])
    predict.weight.data = torch.eye(channels)[:, :, None, None] * window
    return predict
