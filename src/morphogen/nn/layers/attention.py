"""Attention (Vaswani et al., 2017): softmax(q k' / sqrt(d)) v, over a set of places, or from places to words.

A key that the mask hides gets the weight exp(-inf) = 0 exactly, so padding never changes a result. A mask of real
numbers m >= 0 gives the multiplicity of each key: the weights are m exp(q k' / sqrt(d)) / sum, as if the key were there
m times. So 1 is an ordinary key, and 0 a hidden one.

Heads are few and wide, because matrix products of 8 or 16 columns use only a fraction of the machine's speed. On a CPU
the code computes the formula step by step: in bf16 this takes a half to a quarter of the time of torch's fused kernel,
which also has no forward-mode derivative. Other devices use the fused kernel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

from morphogen.core.batch import Condition
from morphogen.core.tapping import expanded
from morphogen.nn.layers.initialization import zeroed

HEAD_WIDTH = 64
_WRITTEN_OUT = 1 << 20  # the most weights of one head that are kept in memory


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k' / sqrt(d)): q (B, heads, N, d), k (B, heads, L, d) -> (B, heads, N, L), rows sum to 1.

    `mask` (B, L) is false for keys to ignore, or the multiplicity of each key. Every record needs a key that counts.
    """
    scores = (q * q.shape[-1] ** -0.5) @ k.mT
    if mask is not None:
        bias = _bias(mask, scores.dtype)
        scores = scores.masked_fill(~bias, -torch.inf) if bias.dtype == torch.bool else scores + bias
    return scores.softmax(-1)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """`attention_weights` times v (B, heads, L, d) -> (B, heads, N, d)."""
    small = q.device.type == "cpu" and q.shape[-2] * k.shape[-2] <= _WRITTEN_OUT
    if small or _forward_mode(q):
        return attention_weights(q, k, mask) @ v
    return F.scaled_dot_product_attention(q, k, v, None if mask is None else _bias(mask, q.dtype))


def _bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The attention bias (B, 1, 1, L): a bool mask unchanged, or the logarithm of multiplicities."""
    mask = mask[:, None, None, :]
    return mask if mask.dtype == torch.bool else mask.log().to(dtype)


def _forward_mode(x: Tensor) -> bool:
    return not torch.compiler.is_compiling() and forward_ad.unpack_dual(x).tangent is not None


class SelfAttention(nn.Module):
    """(B, N, width) -> (B, N, width): every place attends to all places."""

    def __init__(self, width: int, head_width: int = HEAD_WIDTH) -> None:
        super().__init__()
        self.heads = _heads(width, head_width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = _split(self.qkv(x), 3, self.heads)
        return self.out(attention(q, k, v).transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """(B, N, width), tokens (B, L, dim) -> (B, N, width): every place attends to the words.

    One more key is learned. It is always there, so a place can attend to it if there is no word, or no relevant one.
    """

    def __init__(self, width: int, dim: int, head_width: int = HEAD_WIDTH) -> None:
        super().__init__()
        self.heads = _heads(width, head_width)
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(dim, 2 * width)
        self.null = nn.Parameter(torch.randn(2 * width))
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, tokens: Tensor | None, mask: Tensor | None = None) -> Tensor:
        """`mask` (B, L) is false on padding, or the multiplicity of each word."""
        q, k, v, mask = self._read(x, tokens, mask)
        return self.out(attention(q, k, v, mask).transpose(1, 2).flatten(2))

    def weights(self, x: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """The attention of each place to each word: (B, heads, N, 1 + L), the learned key first."""
        q, k, _, mask = self._read(x, tokens, mask)
        return attention_weights(q, k, mask)

    def _read(
        self, x: Tensor, tokens: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        (q,) = _split(self.q(x), 1, self.heads)
        kv = expanded(self.null, x.shape[0])[:, None].to(q.dtype)
        if tokens is not None:
            kv = torch.cat((kv, self.kv(tokens)), dim=1)
        k, v = _split(kv, 2, self.heads)
        return q, k, v, mask if tokens is None or mask is None else F.pad(mask, (1, 0), value=True)


class WordReader(nn.Module):
    """x (B, N, width) plus cross-attention from norm(x) to the condition's tokens of width `dim`; x at first."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.words = CrossAttention(width, dim)
        zeroed(self.words.out)

    def forward(self, x: Tensor, condition: Condition | None) -> Tensor:
        tokens, mask = (None, None) if condition is None else (condition.tokens, condition.mask)
        return x + self.words(self.norm(x), tokens, mask)


def _split(x: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """(B, N, parts * width) -> `parts` tensors (B, heads, N, width / heads)."""
    return x.unflatten(-1, (parts, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


def _heads(width: int, head_width: int) -> int:
    """The largest number of heads that divides `width` and leaves each at least `head_width` wide."""
    return next((h for h in range(width // head_width, 1, -1) if width % h == 0), 1)
