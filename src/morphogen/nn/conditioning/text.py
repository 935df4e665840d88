"""Turn captions into vectors: one for each token, and one for the whole text.

Token ids become vectors v_t. An encoder, trained with the model, adds a vector c_t for the context,

    tokens   v_t + c_t,     the whole text   sum_t (v_t + c_t) / sqrt(n),

which keeps its scale at every length n. c is zero at first, so a text starts as the bag of its words. Texts differ from
the first step on, and c cannot hide the words. (An encoder without this sum may learn one constant vector, because that
helps every decoder at first, and lose the words.) The encoders are

    transformer   each token attends to all tokens (Vaswani et al., 2017), with sines and cosines of its place
    recurrent     two gated recurrent units (Cho et al., 2014), one forwards and one backwards

A mask of real numbers gives the multiplicity of each token. With weights m_t and n = sum_t m_t,

    tokens   v_t + c_t, with the multiplicity m_t,     the whole text   sum_t m_t (v_t + c_t) / sqrt(n),

and the transformer also attends to each token m_t times (`nn/layers/attention.py`). So a weight of 1 changes nothing,
and a weight of 2 equals two copies of the token at the same place.

Padding follows the words and never counts. Attention gives it the weight exp(-inf) = 0. The forward unit reaches it
only after the last word, and the backward unit gets the words in reverse order with the padding last again. The sum
leaves it out.

An empty text is one special token, which is learned when training hides conditions.

With a pretrained encoder (`nn/conditioning/pretrained_text.py`), v_t = W norm(h_t) of its vectors h_t, and only W is
learned. The pretrained encoder reads each token once; weights count only after it.
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
_HEAD_WIDTH = 16  # for texts of a dozen tokens, many narrow heads cost nothing
_BLOCKS = 2


class TextEncoder(nn.Module):
    """ids (B, L) int64 in 0 .. vocabulary - 1, mask (B, L) (bool, true on words, or multiplicities) -> tokens (B, L,
    dim), mask (B, L), pooled (B, dim).

    In each row the hidden tokens come last; their vectors are zero. The returned mask has one token, the null text, in
    rows that had none.
    """

    def __init__(
        self, vocabulary: int, dim: int, name: EncoderName = "transformer", reader: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.read = None if reader is None else _Read(reader, dim)
        self.embedding = nn.Embedding((0 if self.read else vocabulary) + 1, dim)  # last row: null text
        self.context = TransformerText(dim) if name == "transformer" else RecurrentText(dim)
        self.out = zeroed(nn.Linear(dim, dim))

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first = torch.arange(ids.shape[1], device=ids.device) == 0
        null = first & ~mask.any(1, keepdim=True)
        mask = mask + null  # "or" for bools
        shown = mask.bool()
        known = torch.where(shown, ids, 0)  # ids in the padding do not matter
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
    """A reference to a module of another model: its weights are neither stored nor copied here."""

    def __init__(self, module: Callable[..., Tensor]) -> None:
        self.module = module

    def __deepcopy__(self, memo: dict[int, Any]) -> _Another:
        return _Another(memo.get(id(self.module), self.module))  # its copy, if it is copied too


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
    """x (B, L, dim), mask (B, L) -> (B, L, dim): one half depends on earlier tokens, the other half on later ones."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.forwards = nn.GRU(dim, dim - dim // 2, batch_first=True)
        self.backwards = nn.GRU(dim, dim // 2, batch_first=True)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        # Place t of the reversed words is place n - 1 - t of the words, and the same map leads back.
        mask = mask.bool()  # each word is read once, for every multiplicity
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
