"""The diffusion transformer (Peebles and Xie, "Scalable diffusion models with transformers", 2023).

A picture is cut into patches, and each patch is a place in a sequence. With e the embedding of noise level and
condition, and (s, b, g) linear in e, a block adds

    g_1 attention(norm(x) (1 + s_1) + b_1),     words attention (as in PixArt; Chen et al., 2024),
    g_2 perceptron(norm(x) (1 + s_2) + b_2),

where the gates g start as zero ("adaLN-zero"), so that each block starts as the identity. Positions are sines and
cosines of row and column, so any size of picture works.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.core.batch import Condition
from morphogen.core.errors import SpecError
from morphogen.nn.conditioning.time_embedding import TimeEmbedding
from morphogen.nn.layers.attention import SelfAttention, WordReader
from morphogen.nn.layers.initialization import zeroed
from morphogen.nn.layers.sizes import padded, resized


def positions(rows: int, columns: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """(rows * columns, width): for row and column each sin and cos of place / 10000^(k / n), k < n = width / 4."""
    n = width // 4
    frequencies = torch.exp(-math.log(1e4) / n * torch.arange(n, device=device))

    def encoded(count: int) -> Tensor:
        angle = torch.arange(count, device=device)[:, None] * frequencies
        return torch.cat((angle.sin(), angle.cos()), dim=-1)  # (count, width / 2)

    row, column = encoded(rows)[:, None].expand(-1, columns, -1), encoded(columns).expand(rows, -1, -1)
    return torch.cat((row, column), dim=-1).flatten(0, 1)


class DiTBlock(nn.Module):
    """x (B, N, width), e (B, embedding) -> like x."""

    def __init__(self, width: int, embedding: int, tokens: int, dropout: float) -> None:
        super().__init__()
        self.modulate = zeroed(nn.Linear(embedding, 6 * width))
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.itself = SelfAttention(width)
        self.words = WordReader(width, tokens) if tokens else None
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 4 * width), nn.SiLU(), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, e: Tensor, condition: Condition | None) -> Tensor:
        scale1, shift1, gate1, scale2, shift2, gate2 = self.modulate(e)[:, None].chunk(6, dim=-1)
        x = x + gate1 * self.itself(torch.addcmul(shift1, self.norm1(x), 1 + scale1))
        if self.words is not None:
            x = self.words(x, condition)
        return x + gate2 * self.perceptron(torch.addcmul(shift2, self.norm2(x), 1 + scale2))


class DiT(nn.Module):
    """x_t (B, channels, H, W), u (B,), condition -> (B, out_channels, H, W) in the precision of x_t; starts as zero.

    patch    side of a patch in pixels; width, depth: of the transformer
    cond     width of the condition's pooled vector, and of its tokens; 0: no condition
    tokens   attend to the tokens too
    context  channels of the picture in the condition, which is resized to x_t; 0: none
    inputs   numbers u per record, (B, inputs) if more than one

    A picture of any size: it is padded on the right and below to whole patches, and cropped again.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        patch: int = 2,
        width: int = 256,
        depth: int = 8,
        dropout: float = 0.0,
        cond: int = 0,
        tokens: bool = False,
        context: int = 0,
        inputs: int = 1,
    ) -> None:
        super().__init__()
        if width % 4:
            raise SpecError(f"the width of a DiT is a multiple of 4, for its positions (got {width}).")
        self.patch = self.multiple = patch
        self.embedding = TimeEmbedding(width, cond=cond, inputs=inputs)
        self.enter = nn.Linear(channels * patch**2, width)
        self.context = nn.Linear(context * patch**2, width, bias=False) if context else None
        self.blocks = nn.ModuleList(DiTBlock(width, width, cond if tokens else 0, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = zeroed(nn.Linear(width, 2 * width))
        self.out = zeroed(nn.Linear(width, out_channels * patch**2))

    def forward(self, x_t: Tensor, u: Tensor, condition: Condition | None = None) -> Tensor:
        size = x_t.shape[-2:]
        rows, columns = (-(-side // self.patch) for side in size)
        e = self.embedding(u, condition)
        x = self.enter(self._patches(x_t))
        x = x + positions(rows, columns, x.shape[-1], x.device).to(x.dtype)
        if self.context is not None and condition is not None and condition.context is not None:
            x = x + self.context(self._patches(resized(condition.context, size)))
        for block in self.blocks:
            x = block(x, e, condition)
        scale, shift = self.modulate(e)[:, None].chunk(2, dim=-1)
        x = self.out(torch.addcmul(shift, self.norm(x), 1 + scale))
        x = F.pixel_shuffle(x.mT.unflatten(-1, (rows, columns)), self.patch)
        return x[..., : size[0], : size[1]].to(x_t.dtype)

    def _patches(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, places, C * patch^2)."""
        return F.pixel_unshuffle(padded(x, self.patch), self.patch).flatten(2).mT
