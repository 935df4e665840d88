"""Captions as networks read them: a vector for each token, and one for the whole text.

Token ids become vectors v_t, and an encoder, trained with the model, adds what their context says,

    tokens   v_t + c_t,     the whole text   sum_t (v_t + c_t) / sqrt(n),

which keeps its scale whatever the length n is. c starts as zero, so that a text starts as the bag of its words: these
differ from the first step on, and nothing that the context learns can hide it. (An encoder whose output alone counts
may learn one constant vector, which helps any decoder at first, and lose the words in it.) Encoders are

    transformer   each token looks at all of them (Vaswani et al., 2017), with sines and cosines of its place
    recurrent     two gated recurrent units (Cho et al., 2014), one that reads forwards and one backwards

A mask of real numbers says how often each token counts, 1 being once. With weights m_t and n = sum_t m_t,

    tokens   v_t + c_t, to be attended to m_t times,     the whole text   sum_t m_t (v_t + c_t) / sqrt(n),

and the transformer, too, looks at each token m_t times (`nn/attention.py`). So a weight of 1 changes nothing, and one
of 2 says the same as the token standing twice in its place.

Padding, which follows the words, never counts: attention gives it the weight exp(-inf) = 0; who reads forwards comes
to it only after the last word; who reads backwards is given the words in reverse and the padding last again; and the
sum leaves it out.

No text at all is a text of one token of its own, which is learned where conditions are hidden in training.

With a pretrained encoder (`nn/pretrained_text.py`), v_t = W norm(h_t) of its vectors h_t, and only W is learned; it
reads each token once, and weights count in what follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from morphogen.nn.layers.attention import attention
from morphogen.nn.layers.initialization import zeroed

EncoderName = Literal["transformer", "recurrent"]
_HEAD_WIDTH = 16  # of texts of a dozen tokens, many narrow heads cost nothing
_BLOCKS = 2


class TextEncoder(nn.Module):
    """ids (B, L) int64 in 0 .. vocabulary - 1, mask (B, L) bool true on words, or how often each counts -> tokens
    (B, L, dim), pooled (B, dim).

    In each row, what the mask hides comes last. Tokens that it hides are zero. Also returned is the mask with one token
    for a row that had none, (B, L): the null text.
    """

    def __init__(
        self, vocabulary: int, dim: int, name: EncoderName = "transformer", reader: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.read = None if reader is None else _Read(reader, dim)
        self.embedding = nn.Embedding((0 if self.read else vocabulary) + 1, dim)  # the last row is the null text
        self.context = TransformerText(dim) if name == "transformer" else RecurrentText(dim)
        self.out = zeroed(nn.Linear(dim, dim))

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first = torch.arange(ids.shape[1], device=ids.device) == 0
        null = first & ~mask.any(1, keepdim=True)
        mask = mask + null  # of bools this is "or"
        shown = mask.bool()
        known = torch.where(shown, ids, 0)  # whatever stands in the padding
        if self.read is None:
            v = self.embedding(torch.where(null, self.embedding.num_embeddings - 1, known))
        else:
            v = torch.where(null[..., None], self.embedding.weight[0], self.read(known, shown))
        tokens = (v + self.out(self.context(v, mask))).masked_fill(~shown[..., None], 0.0)
        counted = tokens if mask.dtype == torch.bool else tokens * mask[..., None]
        return tokens, mask, counted.sum(1) / mask.sum(1, keepdim=True) ** 0.5


class _Read(nn.Module):
    """ids (B, L), mask (B, L) bool -> v (B, L, dim) by a frozen `reader` of (B, L, reader.dim)."""

    def __init__(self, reader: Any, dim: int) -> None:
        super().__init__()
        self.reader = _Another(reader)
        self.norm = nn.LayerNorm(reader.dim, elementwise_affine=False)
        self.map = nn.Linear(reader.dim, dim)

    def forward(self, ids: Tensor, shown: Tensor) -> Tensor:
        h = self.norm(self.reader.module(ids, shown))
        return self.map(h.to(self.map.weight.dtype))


class _Another:
    """A module that belongs to another: its weights are not stored here, nor copied along."""

    def __init__(self, module: Callable[..., Tensor]) -> None:
        self.module = module

    def __deepcopy__(self, memo: dict[int, Any]) -> _Another:
        return _Another(memo.get(id(self.module), self.module))  # its copy, where that is copied as well


class TransformerText(nn.Module):
    """x (B, L, dim), mask (B, L) -> (B, L, dim)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_TextBlock(dim) for _ in range(_BLOCKS))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + places(x.shape[1], x.shape[2], x.device).to(x.dtype)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)


class _TextBlock(nn.Module):
    """x + attention(norm x), then x + perceptron(norm x)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.heads = math.gcd(dim, dim // _HEAD_WIDTH or 1)
        self.norm1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.perceptron = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.out(attention(q, k, v, mask).transpose(1, 2).flatten(2))
        return x + self.perceptron(self.norm2(x))


class RecurrentText(nn.Module):
    """x (B, L, dim), mask (B, L) -> (B, L, dim): half of it knows what comes before, half what comes after."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.forwards = nn.GRU(dim, dim - dim // 2, batch_first=True)
        self.backwards = nn.GRU(dim, dim // 2, batch_first=True)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        # Place t of the reversed words is place n - 1 - t of the words, and the same leads back.
        mask = mask.bool()  # each word is read once, however often it counts
        n, t = mask.sum(1, keepdim=True), torch.arange(x.shape[1], device=x.device)
        reverse = torch.where(mask, n - 1 - t, t)[..., None]
        after, _ = self.backwards(x.gather(1, reverse.expand_as(x)))
        before, _ = self.forwards(x)
        return torch.cat((before, after.gather(1, reverse.expand_as(after))), dim=-1)


def places(length: int, dim: int, device: torch.device | str = "cpu") -> Tensor:
    """(length, dim): sin and cos of place / 10000^(2 k / dim), k < dim / 2."""
    n = -(-dim // 2)
    angle = torch.arange(length, device=device)[:, None] * 1e4 ** (-torch.arange(n, device=device) / n)
    return torch.cat((angle.sin(), angle.cos()), dim=-1)[:, :dim]
