r"""A causal transformer over a short sequence of symbols (Vaswani et al., 2017; pre-norm, as Radford et al., 2019):

    P(s_1 ... s_T | c) = prod_t P(s_t | s_1 ... s_{t-1}, c).

The sequence is a grid of codes: N places in order with R symbols each, T = N R. The input at t is the symbol before it
(at t = 1 a learned start), plus a learned vector for t, plus the condition. Symbols represent vectors v_k, and similar
vectors occur in similar places. So the input for symbol k is a_k + A v_k and its logit is (b_k + B v_k) . h + const_k.
All symbols share A and B, so neighbors learn from each other, also while training of the encoder still moves the codes.

Sampling computes one symbol after the other. `sample` keeps the earlier keys and values, so a symbol costs only its
share of one pass. A symbol is the inverse of the cumulative distribution at a uniform number.
"""

from __future__ import annotations

from collections.abc import Generator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.nn.layers.attention import HEAD_WIDTH
from morphogen.nn.layers.initialization import zeroed

_WRITTEN_OUT = 1 << 20  # the most attention weights of one head that are kept in memory on a CPU


class CausalAttention(nn.Module):
    """(B, T, width) -> (B, T, width): each place attends to itself and the places before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(h for h in range(1, max(1, width // HEAD_WIDTH) + 1) if width % h == 0)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = zeroed(nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self._split(x)
        if x.device.type == "cpu" and x.shape[1] ** 2 <= _WRITTEN_OUT:  # faster than the fused kernel on a CPU
            later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
            scores = (q * q.shape[-1] ** -0.5) @ k.mT
            y = scores.masked_fill(later, -torch.inf).softmax(-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self._joined(y)

    def one(self, x: Tensor, t: int, kept: Tensor) -> Tensor:
        """The output at place `t` for its x (B, 1, width); stores its key and value in `kept` (2, B, heads, T, d)."""
        q, k, v = self._split(x)
        kept[0, :, :, t], kept[1, :, :, t] = k[:, :, 0], v[:, :, 0]
        k, v = kept[:, :, :, : t + 1]
        return self._joined(((q * q.shape[-1] ** -0.5) @ k.mT).softmax(-1) @ v)

    def room(self, n: int, length: int) -> Tensor:
        """Allocate the memory `kept` of `one`."""
        width = self.out.in_features
        return self.out.weight.new_empty(2, n, self.heads, length, width // self.heads)

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, T, width) -> q, k, v, each (B, heads, T, d)."""
        return self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def _joined(self, y: Tensor) -> Tensor:
        return self.out(y.transpose(1, 2).flatten(2))


class CausalTransformerBlock(nn.Module):
    """x + attention(norm x), then x + mlp(norm x); starts as the identity."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = CausalAttention(width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), zeroed(nn.Linear(4 * width, width)))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self._after(x, self.attention(self.norm1(x)))

    def one(self, x: Tensor, t: int, kept: Tensor) -> Tensor:
        """The output at place `t` alone, for x (B, 1, width), in evaluation mode."""
        return self._after(x, self.attention.one(self.norm1(x), t, kept))

    def _after(self, x: Tensor, y: Tensor) -> Tensor:
        x = x + self.dropout(y)
        return x + self.dropout(self.mlp(self.norm2(x)))


class CausalTransformer(nn.Module):
    """log P of each symbol of s (B, N, R) given the earlier symbols: (B, N, R).

    places, levels   N and R; symbols of all levels are in 0 .. `size` - 1
    dim              width of the symbols' vectors, a table (R, size, dim) of about unit scale
    cond             width of the condition's vector, 0 for none
    """

    def __init__(
        self,
        places: int,
        levels: int,
        size: int,
        dim: int,
        *,
        width: int = 128,
        blocks: int = 2,
        cond: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.places, self.levels, self.size = places, levels, size
        self.start = nn.Parameter(0.02 * torch.randn(width))
        self.place = nn.Parameter(0.02 * torch.randn(places * levels, width))
        self.inject = nn.Linear(cond, width, bias=False) if cond else None
        self.symbol_in = nn.Parameter(0.02 * torch.randn(levels, size, width))  # a
        self.vector_in = nn.Parameter(torch.randn(levels, dim, width) / dim**0.5)  # A
        self.blocks = nn.ModuleList(CausalTransformerBlock(width, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.symbol_out = nn.Parameter(torch.zeros(levels, size, width))  # b; probabilities are equal at first
        self.vector_out = nn.Parameter(torch.zeros(levels, dim, width))  # B
        self.constant = nn.Parameter(torch.zeros(levels, 1, size))

    def forward(self, s: Tensor, table: Tensor, c: Tensor | None = None) -> Tensor:
        log_p = self.logits(s, table, c).log_softmax(-1)
        return log_p.gather(-1, s[..., None]).squeeze(-1)

    def logits(self, s: Tensor, table: Tensor, c: Tensor | None = None) -> Tensor:
        """The logits (B, N, R, size); those of a symbol are a function of the earlier symbols and of c (B, cond)."""
        first = self.size * torch.arange(self.levels, device=s.device)  # the row of each level's symbol 0
        before = F.embedding((s + first).flatten(1)[:, :-1], self._inputs(table).flatten(0, 1))
        x = torch.cat((self.start.expand(len(s), 1, -1), before), dim=1) + self.place
        if self.inject is not None and c is not None:
            x = x + self.inject(c)[:, None]
        for block in self.blocks:
            x = block(x)
        h = self.norm(x).unflatten(1, (self.places, self.levels)).permute(2, 0, 1, 3).flatten(1, 2)  # (R, B N, width)
        logits = h @ self._outputs(table).mT + self.constant
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return logits.unflatten(1, (len(s), self.places)).permute(1, 2, 0, 3)

    def sample(self, uniform: Tensor, table: Tensor, c: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """The symbols (n, N, R) that `uniform` (n, N, R) on (0, 1) maps to; in evaluation mode.

        Logits are divided by `temperature`; 0 takes the likeliest symbol.
        """
        n, length = len(uniform), self.places * self.levels
        u = uniform.flatten(1)
        s = torch.empty(n, length, dtype=torch.int64, device=u.device)
        walk = self.walk(n, table, c)
        logits = next(walk)
        for t in range(length):
            cumulative = (logits / max(temperature, 1e-9)).softmax(-1).cumsum(-1)
            s[:, t] = (u[:, t : t + 1] * cumulative[:, -1:] > cumulative[:, :-1]).sum(-1)  # the sum may not round to 1
            if t + 1 < length:
                logits = walk.send(s[:, t])
        return s.unflatten(1, (self.places, self.levels))

    def walk(self, n: int, table: Tensor, c: Tensor | None = None) -> Generator[Tensor, Tensor, None]:
        """Yield the logits (n, size) of one symbol after the other; the caller sends that symbol (n,).

        The result equals `logits` up to rounding, in evaluation mode.
        """
        blocks: list[CausalTransformerBlock] = list(self.blocks)  # type: ignore[arg-type]
        kept = [block.attention.room(n, len(self.place)) for block in blocks]
        inputs, outputs = self._inputs(table), self._outputs(table)
        injected = 0.0 if self.inject is None or c is None else self.inject(c)[:, None]
        x = self.start.expand(n, 1, -1)
        for t in range(len(self.place)):
            x = x + self.place[t] + injected
            for block, memory in zip(blocks, kept, strict=True):
                x = block.one(x, t, memory)
            level = t % self.levels
            symbol = yield self.norm(x[:, 0]) @ outputs[level].T + self.constant[level]
            x = inputs[level, symbol][:, None]

    def _inputs(self, table: Tensor) -> Tensor:
        """a_k + A v_k, (R, size, width)."""
        return self.symbol_in + table @ self.vector_in

    def _outputs(self, table: Tensor) -> Tensor:
        """b_k + B v_k, (R, size, width)."""
        return self.symbol_out + table @ self.vector_out
