"""The values of a pixel as symbols with few values, each given the symbols before it.

A softmax over 256 values costs about as much as the small network before it. In base b = ceil(sqrt(K)), a value u in
0 .. K-1 has two digits,

    u = b s_1 + s_2,    P(u) = P(s_1) P(s_2 | s_1),

which takes 2 b outputs instead of K and excludes no distribution. Up to 32 values are one symbol. The channels of a
pixel follow each other in the same way, P(red) P(green | red) P(blue | red, green), so that a pixel is one row of S
symbols s_1 ... s_S, and its probability the product of their conditionals. Where K is no multiple of b, the digits
that would make a value of K and more have probability 0.

Pictures repeat some values: each scanned digit has its own palette of a few dozen grays. A network with numbers as its
input cannot express "the same value as before". So the head also gets the counts of each value in the picture so far (a
cache; Grave, Joulin and Usunier, 2017): with c_v the count of value v,

    logit_v += g log(1 + c_v) + g' [c_v > 0],

where g and g' are learned functions of the features. A first digit gets the sum of the counts of its values; a second
digit gets the counts of the values that begin with the first digit.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Generator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ONE_SYMBOL = 32  # the most values that one softmax takes


class Symbols:
    """The digits of values in 0 .. `levels` - 1 in `channels` channels; `sizes` is how many kinds each of the S has."""

    def __init__(self, levels: int, channels: int) -> None:
        self.levels, self.channels = levels, channels
        self.base = 1 if levels <= _ONE_SYMBOL else math.isqrt(levels - 1) + 1  # ceil(sqrt(levels))
        digits = (levels,) if self.base == 1 else (-(-levels // self.base), self.base)
        self.digits = len(digits)
        self.sizes = digits * channels

    def split(self, u: Tensor) -> Tensor:
        """Values (..., C) to symbols (..., S)."""
        if self.digits == 1:
            return u
        return torch.stack((u // self.base, u % self.base), dim=-1).flatten(-2)

    def join(self, s: Tensor) -> Tensor:
        """Symbols (..., S) to values (..., C)."""
        if self.digits == 1:
            return s
        first, second = s.unflatten(-1, (self.channels, 2)).unbind(-1)
        return first * self.base + second

    def one_hot(self, u: Tensor) -> Tensor:
        """Values (..., C) to the indicators (..., sum(sizes)) of their digits, float32."""
        parts = [F.one_hot(s, size) for s, size in zip(self.split(u).unbind(-1), self.sizes, strict=True)]
        return torch.cat(parts, dim=-1).float()

    def marked(self, u: Tensor) -> Tensor:
        """Values (..., C) to the indicators (..., C, V) of each, int32; V = K, or the next multiple of the base."""
        kinds = self.levels if self.digits == 1 else self.sizes[0] * self.base
        return torch.zeros(*u.shape, kinds, dtype=torch.int32, device=u.device).scatter_(-1, u[..., None], 1)

    def seen(self, u: Tensor) -> Tensor:
        """Count each value in the earlier pixels of a channel: (B, H, W, C) -> (B, H, W, C, V), int32."""
        marked = self.marked(u).flatten(1, 2)
        return marked.cumsum(1, dtype=torch.int32).sub_(marked).unflatten(1, u.shape[1:3])

    def counts(self, seen: Tensor, k: int, s: Tensor) -> Tensor:
        """Of the counts `seen` (..., C, V) those of symbol k's values, (..., sizes[k]): its digit may be any.

        `s` (..., S) are the symbols, of which those before k are read.
        """
        if self.digits == 1:
            return seen[..., k, :]
        pairs = seen[..., k // 2, :].unflatten(-1, (self.sizes[0], self.base))
        if k % 2 == 0:
            return pairs.sum(-1)
        first = s[..., k - 1, None, None].expand(*s.shape[:-1], 1, self.base)
        return pairs.gather(-2, first).squeeze(-2)

    def allowed(self) -> Tensor | None:
        """(sizes[0], base) bool: which second digits may follow a first; None where all may."""
        if self.digits == 1 or self.levels % self.base == 0:
            return None
        return torch.arange(self.sizes[0] * self.base).unflatten(0, (-1, self.base)) < self.levels


class Counts:
    """The counts of `Symbols.seen` while a picture is walked through, pixel by pixel."""

    def __init__(self, symbols: Symbols, n: int, device: torch.device) -> None:
        self.symbols, c = symbols, symbols.channels
        self.pairs = symbols.marked(torch.zeros(n, c, dtype=torch.int64, device=device)).zero_()  # (n, C, V)
        self.firsts = self.pairs[..., :0] if symbols.digits == 1 else self.pairs[..., : symbols.sizes[0]].clone()

    def add(self, u: Tensor) -> None:
        """Count the values (n, C) of a pixel."""
        one = torch.ones_like(u, dtype=torch.int32)[..., None]
        self.pairs.scatter_add_(-1, u[..., None], one)
        if self.symbols.digits == 2:
            self.firsts.scatter_add_(-1, u[..., None] // self.symbols.base, one)

    def of(self, k: int, s: Tensor) -> Tensor:
        """`Symbols.counts` for symbol k, from the symbols s (n, S) before it."""
        if self.symbols.digits == 2 and k % 2 == 0:
            return self.firsts[:, k // 2]
        return self.symbols.counts(self.pairs, k, s)


class Log1p(nn.Module):
    """log(1 + n)."""

    def forward(self, n: Tensor) -> Tensor:
        return torch.log1p(n)


class SymbolHead(nn.Module):
    """Logits of symbol k = W_k y + (gains_k y)' (log(1 + c), [c > 0]), y = act(A_k h + sum_{t < k} E_tk[s_t]).

    h (..., n_in) are the features of the pixel and c the counts of the symbol's values in the pixels before it, which
    a head without `counts` does not look at; `hidden` is the width of y.
    """

    forbidden: Tensor | None

    def __init__(self, n_in: int, symbols: Symbols, hidden: int, *, counts: bool = True) -> None:
        super().__init__()
        self.symbols, self.hidden = symbols, hidden
        self.log1p = Log1p()
        self.log_masses: Callable[[Tensor], Tensor] = functools.partial(torch.log_softmax, dim=-1)
        count = len(symbols.sizes)
        self.enter = nn.Linear(n_in, count * hidden)
        # The table of symbol t holds what it says to each later one, side by side.
        self.tables = nn.ModuleList(
            nn.Embedding(size, (count - 1 - t) * hidden) for t, size in enumerate(symbols.sizes[:-1])
        )
        self.outputs = nn.ModuleList(nn.Linear(hidden, size) for size in symbols.sizes)
        self.gains = nn.ModuleList(nn.Linear(hidden, 2) for _ in symbols.sizes if counts)
        for layer in (*self.outputs, *self.gains):  # training starts from equal probabilities
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        allowed = symbols.allowed()
        forbidden = None if allowed is None else torch.zeros(allowed.shape).masked_fill(~allowed, -math.inf)
        self.register_buffer("forbidden", forbidden, persistent=False)

    def forward(self, h: Tensor, s: Tensor, seen: Tensor | None) -> Tensor:
        """log P(s_k | s_1 ... s_{k-1}, h, seen), (..., S): h (..., n_in), symbols (..., S), counts (..., C, V)."""
        a = list(self.enter(h).split(self.hidden, dim=-1))
        parts = []
        for k in range(len(a)):
            counts = None if seen is None else self.symbols.counts(seen, k, s)
            log_p = self.log_masses(self._logits(a, k, s, counts))
            parts.append(log_p.gather(-1, s[..., k : k + 1]))
            self._tell(a, k, s[..., k])
        return torch.cat(parts, dim=-1)

    def sample(self, h: Tensor, uniform: Tensor, seen: Counts | None, temperature: float = 1.0) -> Tensor:
        """The symbols (n, S) that `uniform` (n, S) on (0, 1) maps to: the inverse of each cumulative distribution.

        Logits are divided by `temperature`, or at 0 by almost nothing, which leaves the largest one only.
        """
        s = torch.zeros(uniform.shape, dtype=torch.int64, device=h.device)
        walk = self.walk(h, seen)
        logits = next(walk)
        for k in range(s.shape[1]):
            cumulative = torch.softmax(logits / max(temperature, 1e-9), dim=-1).cumsum(-1)
            # Rounding may leave the sum below 1, and then a value that is forbidden must not be taken.
            cumulative = cumulative / cumulative[..., -1:]
            s[:, k] = (uniform[:, k : k + 1] > cumulative[..., :-1]).sum(-1)
            if k + 1 < s.shape[1]:
                logits = walk.send(s[:, k])
        return s

    def walk(self, h: Tensor, seen: Counts | None) -> Generator[Tensor, Tensor, None]:
        """Yield the logits (n, sizes[k]) of one symbol after the other; the caller sends that symbol (n,)."""
        a = list(self.enter(h).split(self.hidden, dim=-1))
        s = torch.zeros(len(h), len(a), dtype=torch.int64, device=h.device)
        for k in range(len(a)):
            s[:, k] = yield self._logits(a, k, s, None if seen is None else seen.of(k, s))
            self._tell(a, k, s[:, k])

    def _logits(self, a: list[Tensor], k: int, s: Tensor, counts: Tensor | None) -> Tensor:
        y = F.relu(a[k])
        logits = self.outputs[k](y)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if counts is not None:
            often, ever = self.gains[k](y).to(logits.dtype).split(1, dim=-1)
            counts = counts.to(logits.dtype)
            logits = logits + often * self.log1p(counts) + ever * counts.clamp_max(1.0)
        second = self.symbols.digits == 2 and k % 2 == 1
        return logits + self.forbidden[s[..., k - 1]] if second and self.forbidden is not None else logits

    def _tell(self, a: list[Tensor], k: int, symbol: Tensor) -> None:
        """Add what symbol k says to the layers of the later ones."""
        if k < len(self.tables):
            for later, given in enumerate(self.tables[k](symbol).split(self.hidden, dim=-1), start=k + 1):
                a[later] = a[later] + given
