"""The U-Net of diffusion models (Ronneberger et al., 2015; Ho et al., 2020; Dhariwal and Nichol, 2021).

Residual blocks at falling resolutions, then the same in reverse. Each block on the way up also reads the output of the
matching block on the way down. With e the embedding of noise level and condition, a block is

    y = conv(silu(norm x)) + conv(skip),      x + conv(silu((1 + scale(e)) norm y + shift(e))),

which for the skip equals a convolution of both laid side by side, without the copy. What else keeps the step close
to the speed of its convolutions: channels-last memory; groups of 16 channels, as torch normalizes narrower ones in
that layout four to nine times as slowly; attention in wide heads, at the lowest resolutions alone; resampling without a
3 x 3 convolution at the high resolution.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.core.batch import Condition
from morphogen.core.errors import SpecError
from morphogen.nn.conditioning.time_embedding import TimeEmbedding
from morphogen.nn.layers.attention import SelfAttention, WordReader
from morphogen.nn.layers.initialization import zeroed
from morphogen.nn.layers.norm import GroupNorm
from morphogen.nn.layers.sizes import padded, resized

_GROUP = 16  # channels that are normalized together


def _norm(channels: int) -> GroupNorm:
    return GroupNorm(channels, max(1, channels // _GROUP))


class TimedResidualBlock(nn.Module):
    """x (B, width, H, W), e (B, embedding), skip like x or None -> like x. It starts as the identity."""

    def __init__(self, width: int, embedding: int, skip: bool, dropout: float) -> None:
        super().__init__()
        self.norm1 = _norm(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.skip = nn.Conv2d(width, width, 3, padding=1, bias=False) if skip else None
        self.modulate = nn.Linear(embedding, 2 * width)
        self.norm2 = _norm(width)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zeroed(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor, e: Tensor, skip: Tensor | None = None) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        if self.skip is not None:
            h = h + self.skip(skip)
        scale, shift = self.modulate(e)[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.norm2(h), 1 + scale)
        return x + self.conv2(self.dropout(F.silu(h)))


class AttentionBlock(nn.Module):
    """x (B, width, H, W) plus self-attention, then, if `tokens` > 0, attention to tokens of that width; starts as x."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.itself = SelfAttention(width)
        zeroed(self.itself.out)
        self.words = WordReader(width, tokens) if tokens else None

    def forward(self, x: Tensor, condition: Condition | None) -> Tensor:
        h = _places(x) + self.itself(_places(self.norm(x)))
        if self.words is not None:
            h = self.words(h, condition)
        return h.mT.unflatten(-1, x.shape[-2:])


def _places(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H W, C), no copy if x is channels-last."""
    return x.flatten(2).mT


class Block(nn.Module):
    """A residual block, and attention after it or not."""

    def __init__(self, residual: TimedResidualBlock, attention: AttentionBlock | None) -> None:
        super().__init__()
        self.residual, self.attention = residual, attention

    def forward(self, x: Tensor, e: Tensor, condition: Condition | None, skip: Tensor | None = None) -> Tensor:
        x = self.residual(x, e, skip)
        return x if self.attention is None else self.attention(x, condition)


class UNet(nn.Module):
    """x_t (B, channels, H, W), u (B,), condition -> (B, out_channels, H, W) in the precision of x_t; starts as zero.

    widths     channels per resolution: full (after `fold`), 1/2, 1/4, ...
    blocks     residual blocks per resolution, on the way down and again on the way up; the lowest is passed once
    attention  how many of the lowest resolutions have attention after each block
    fold       pictures are folded by this factor into channels first, and unfolded last
    cond       width of the condition's pooled vector, and of its tokens; 0: no condition
    tokens     attend to the tokens too
    context    channels of the picture in the condition, which is resized to x_t; 0: none
    inputs     numbers u per record, (B, inputs) if more than one

    A picture of any size: it is padded on the right and below to what the halvings need, and cropped again.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        widths: Sequence[int] = (32, 64, 128),
        blocks: Sequence[int] = (2, 2, 4),
        attention: int = 1,
        fold: int = 1,
        dropout: float = 0.0,
        cond: int = 0,
        tokens: bool = False,
        context: int = 0,
        inputs: int = 1,
    ) -> None:
        super().__init__()
        if len(blocks) != len(widths):
            raise SpecError(f"a U-Net needs as many blocks as widths, got blocks {blocks} for widths {widths}.")
        embedding, lowest = 4 * widths[0], len(widths) - 1

        def stage(i: int, skip: bool) -> nn.ModuleList:
            attend = i > lowest - attention
            return nn.ModuleList(
                Block(
                    TimedResidualBlock(widths[i], embedding, skip, dropout),
                    AttentionBlock(widths[i], cond if tokens else 0) if attend else None,
                )
                for _ in range(blocks[i])
            )

        self.fold, self.multiple = fold, fold * 2**lowest
        self.embedding = TimeEmbedding(embedding, cond=cond, inputs=inputs)
        self.stem = nn.Conv2d(channels * fold**2, widths[0], 3, padding=1)
        self.context = nn.Conv2d(context * fold**2, widths[0], 3, padding=1, bias=False) if context else None
        self.down = nn.ModuleList(stage(i, skip=False) for i in range(lowest))
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in itertools.pairwise(widths))
        self.middle = stage(lowest, skip=False)
        self.grow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(stage(i, skip=True) for i in range(lowest))
        self.norm = _norm(widths[0])
        self.out = zeroed(nn.Conv2d(widths[0], out_channels * fold**2, 3, padding=1))
        # The first convolution passes its weight's memory format on to all that follows.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x_t: Tensor, u: Tensor, condition: Condition | None = None) -> Tensor:
        size = x_t.shape[-2:]
        e = self.embedding(u, condition)
        x = self.stem(self._enter(x_t))
        if self.context is not None and condition is not None and condition.context is not None:
            x = x + self.context(self._enter(resized(condition.context, size)))
        skips = []
        for stage, shrink in zip(self.down, self.shrink, strict=True):
            for block in stage:  # type: ignore[attr-defined]
                x = block(x, e, condition)
                skips.append(x)
            x = shrink(x)
        for block in self.middle:
            x = block(x, e, condition)
        for stage, grow in zip(reversed(self.up), reversed(self.grow), strict=True):
            x = F.interpolate(grow(x), scale_factor=2.0, mode="nearest")
            for block in stage:  # type: ignore[attr-defined]
                x = block(x, e, condition, skips.pop())
        x = F.pixel_shuffle(self.out(F.silu(self.norm(x))), self.fold)
        return x[..., : size[0], : size[1]].to(x_t.dtype)

    def _enter(self, x: Tensor) -> Tensor:
        """Padded and folded."""
        return F.pixel_unshuffle(padded(x, self.multiple), self.fold)
