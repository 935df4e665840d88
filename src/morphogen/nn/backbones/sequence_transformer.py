r"""A transformer over sequences of different lengths, with rotary positions (Su et al., 2021; pre-norm).

A query at place s and a key at place t are turned by angles that are proportional to s and t, so their product depends
on s - t alone:

    <R_s q, R_t k> = <q, R_{t-s} k>.

So the network has no table of places, and what it learns of one place it knows of all.

Causal, place t sees the places up to t; else each place sees all places that are kept. Linear layers read the places
that are kept alone, packed into one matrix: texts of a batch differ in length, and padding costs nothing but attention.
Nothing depends on what stands in places that are not kept.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.nn.layers.initialization import zeroed

HEAD_WIDTH = 32
_BASE = 10_000.0  # the longest wave length, in places, is 2 pi times this
_HIDDEN = -1e30  # the logit of a key that is not seen; finite, for places that see nothing


class Packing(NamedTuple):
    """Which places of (B, T) are kept: their places in the flattened (B * T,) as `flat` (M,).

    `mask` (B or 1, 1, T, T) is what attention adds to its logits. `cos` and `sin` (M, 2, 1, d / 2) turn the queries,
    which they also scale by 1 / sqrt(d), and the keys.
    """

    flat: Tensor
    shape: tuple[int, int]
    mask: Tensor
    cos: Tensor
    sin: Tensor

    def spread(self, packed: Tensor) -> Tensor:
        """(M, *) -> (B, T, *), zero where nothing is kept."""
        zeros = packed.new_zeros(self.shape[0] * self.shape[1], *packed.shape[1:])
        return zeros.index_copy(0, self.flat, packed).unflatten(0, self.shape)

    def gather(self, spread: Tensor) -> Tensor:
        """(B, T, *) -> (M, *)."""
        return spread.flatten(0, 1).index_select(0, self.flat)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn x (*, d) by the angles whose cosines and sines are (*, d / 2), pair by pair of its halves."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


class RotaryAttention(nn.Module):
    """(M, width) -> (M, width) over the kept places of a `Packing`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = max(1, width // HEAD_WIDTH)
        self.heads = max(h for h in range(1, wide + 1) if width % h == 0)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = zeroed(nn.Linear(width, width))

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # (M, 3, heads, d)
        turned = rotated(qkv[:, :2], packing.cos.to(qkv.dtype), packing.sin.to(qkv.dtype))
        q, k = packing.spread(turned).permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, T, d)
        v = packing.spread(qkv[:, 2]).transpose(1, 2)
        if x.device.type == "cpu":  # step by step it takes less time there than torch's fused kernel
            y = (q @ k.mT + packing.mask.to(q.dtype)).softmax(-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=packing.mask.to(q.dtype), scale=1.0)
        return self.out(packing.gather(y.transpose(1, 2).flatten(2)))

    def one(self, x: Tensor, t: int, kept: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """The output at place `t` for its x (n, width); stores its key and value in `kept` (2, n, heads, T, d)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(1)  # (n, heads, d)
        q, k = rotated(q * q.shape[-1] ** -0.5, cos[t], sin[t]), rotated(k, cos[t], sin[t])
        kept[0, :, :, t], kept[1, :, :, t] = k, v
        keys, values = kept[:, :, :, : t + 1]
        weights = (keys @ q[..., None]).squeeze(-1).softmax(-1)
        return self.out((weights[:, :, None] @ values).flatten(1))


class SequenceBlock(nn.Module):
    """x + attention(norm x), then x + mlp(norm x), with the condition added before each norm."""

    def __init__(self, width: int, cond: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = RotaryAttention(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), zeroed(nn.Linear(4 * width, width)))
        self.inject = zeroed(nn.Linear(cond, width)) if cond else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, packing: Packing, c: Tensor | None) -> Tensor:
        return self._after(x, self.attention(self.norm1(self._given(x, c)), packing), c)

    def one(self, x: Tensor, t: int, kept: Tensor, cos: Tensor, sin: Tensor, c: Tensor | None) -> Tensor:
        """The output at place `t` alone, for x (n, width), in evaluation mode."""
        return self._after(x, self.attention.one(self.norm1(self._given(x, c)), t, kept, cos, sin), c)

    def _after(self, x: Tensor, y: Tensor, c: Tensor | None) -> Tensor:
        x = x + self.dropout(y)
        return x + self.dropout(self.mlp(self.norm2(self._given(x, c))))

    def _given(self, x: Tensor, c: Tensor | None) -> Tensor:
        return x if self.inject is None or c is None else x + self.inject(c)


class SequenceTransformer(nn.Module):
    """The features (M, width) of the kept places of token ids (B, T); its vectors of tokens are learned.

    longest   the most places T
    cond      width of the condition's vector c (B, cond), 0 for none
    """

    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        vocabulary: int,
        longest: int,
        *,
        width: int,
        blocks: int,
        causal: bool,
        cond: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.causal, self.width, self.longest = causal, width, longest
        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.enter = (
            nn.Linear(cond, width, bias=False) if cond else None
        )  # not zero at first: it is heard from the start
        self.blocks = nn.ModuleList(SequenceBlock(width, cond, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        heads = max(h for h in range(1, max(1, width // HEAD_WIDTH) + 1) if width % h == 0)
        if (width // heads) % 2:
            raise ValueError(f"rotary positions turn pairs: the width of a head is even (got {width // heads})")
        half = width // heads // 2
        frequency = _BASE ** (-torch.arange(half, dtype=torch.float64) / half)
        angle = torch.arange(longest, dtype=torch.float64)[:, None] * frequency
        self.register_buffer("cos", angle.cos().float(), persistent=False)
        self.register_buffer("sin", angle.sin().float(), persistent=False)

    def forward(
        self,
        ids: Tensor,
        keep: Tensor,
        c: Tensor | None = None,
        place: Tensor | None = None,
        added: Tensor | None = None,
        unseen: Tensor | None = None,
    ) -> tuple[Tensor, Packing]:
        """`place` (T, width) and `added` (B, T, width) are added to the vectors of the tokens: what a place means, and
        what is known of it beside its token. The vectors of tokens that are `unseen` (B, T) are 0.
        """
        packing = self.packing(keep)
        x = self.embedding(ids.flatten().index_select(0, packing.flat)) * self.width**0.5
        if unseen is not None:
            x = x.masked_fill(packing.gather(unseen[..., None]), 0.0)
        if place is not None:
            x = x + place.index_select(0, packing.flat % ids.shape[1])
        if added is not None:
            x = x + packing.gather(added)
        if c is not None:
            c = c.index_select(0, packing.flat // ids.shape[1])
            x = x if self.enter is None else x + self.enter(c)
        for block in self.blocks:
            x = block(x, packing, c)
        return self.norm(x), packing

    def matrices(self) -> list[nn.Parameter]:
        """The weights of the linear layers in its blocks."""
        return [p for p in self.blocks.parameters() if p.ndim == 2]

    def packing(self, keep: Tensor) -> Packing:
        """The packing of the places (B, T) where `keep` is true."""
        n, length = keep.shape
        seen = keep[:, None, None, :]
        if self.causal:  # what stands before a kept place is kept
            seen = torch.ones(length, length, dtype=torch.bool, device=keep.device).tril()[None, None]
        mask, flat = torch.where(seen, 0.0, _HIDDEN), keep.flatten().nonzero()[:, 0]
        size = 2 * self.cos.shape[1]
        scale = torch.tensor((size**-0.5, 1.0), device=keep.device)[:, None, None]
        cos, sin = (angles.index_select(0, flat % length)[:, None, None] * scale for angles in (self.cos, self.sin))
        return Packing(flat, (n, length), mask, cos, sin)

    def room(self, n: int) -> list[Tensor]:
        """The memory of `one`, a tensor (2, n, heads, longest, d) for each block."""
        first: SequenceBlock = self.blocks[0]  # type: ignore[assignment]
        heads = first.attention.heads
        shape = (2, n, heads, self.longest, self.width // heads)
        return [self.embedding.weight.new_empty(shape) for _ in self.blocks]

    def one(
        self, ids: Tensor, t: int, kept: list[Tensor], c: Tensor | None = None, added: Tensor | None = None
    ) -> Tensor:
        """The features (n, width) at place `t` of a causal network, given the ids (n,) there and the memory before."""
        x = self.embedding(ids) * self.width**0.5
        x = x if added is None else x + added
        x = x if self.enter is None or c is None else x + self.enter(c)
        for block, memory in zip(self.blocks, kept, strict=True):
            x = block.one(x, t, memory, self.cos, self.sin, c)  # type: ignore[operator]
        return self.norm(x)
