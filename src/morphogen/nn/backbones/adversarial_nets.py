r"""Generators and discriminators: residual convolutional pairs for pictures, perceptrons for everything else.

The convolutional pair is the plain residual network of R3GAN (Huang et al., "The GAN is dead; long live the GAN!",
2024): no normalization of activations, no style, no progressive growing. A residual branch is

    x + conv(act(conv(act x))),   act = leaky ReLU of slope 0.2,

with the last convolution zero at first and the first one scaled by 1/sqrt(blocks). So neither the output nor its rate
of change depends on the depth (Zhang, Dauphin and Ma, "Fixup initialization", 2019). Grids are resampled bilinearly, or
by means over 2 x 2, without aliasing. The generator begins with a linear map of z to the lowest grid; the discriminator
ends with a learned weighted sum over the places of each channel. Pictures are folded 2 x 2 into channels, so no
convolution works at full resolution.

The generator's last layer is linear. With a tanh, a few large early steps make its pictures black and white; there the
gradient vanishes, and every z gives the same picture. Without a tanh, the discriminator keeps the pictures in range.

The generator gets the condition's pooled vector together with z, and both scale and shift the channels of each stage
(FiLM; Perez et al., 2018). The discriminator's logit is

    l(x, c) = w . phi(x) + (V c) . phi(x) / sqrt(n),   phi(x) (n,)      (projection; Miyato and Koyama, 2018),

the form of log p(x, c) - log q(x, c) for exponential families. If the condition has words, each place of grids up to
16 x 16 in both networks attends to them before the blocks (cross-attention, as in AttnGAN; Xu et al., 2018). So a word
can affect a single place. A picture as a condition is folded, resized and added by a convolution at each resolution of
the generator; the discriminator gets it as further channels beside x.

A logit depends only on its own record: no layer normalizes or compares over the batch. So gradients with respect to
records are those of each record's own logit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from morphogen.core.batch import Condition
from morphogen.nn.backbones.conv import pyramid
from morphogen.nn.layers.attention import WordReader
from morphogen.nn.layers.initialization import zeroed
from morphogen.nn.layers.sizes import padded, resized

SLOPE = 0.2
READ = 16 * 16  # the most places of a grid that attends to words
Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def _act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


def _record(raw: Tensor, bounded: bool) -> Tensor:
    """The output of a generator, at least in float32."""
    raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
    return raw.tanh() if bounded else raw


def _he(layer: Layer, gain: float = 1.0, a: float = SLOPE) -> Layer:
    """Weights that keep the mean square of an activation of slope `a` (1: none; He et al., 2015), times `gain`.

    Biases stay random: in few dimensions, training would first have to move the kinks away from the origin.
    """
    nn.init.kaiming_normal_(layer.weight, a=a)
    with torch.no_grad():
        layer.weight.mul_(gain)
    return layer


def _bounded(layer: nn.Module, spectral: bool) -> nn.Module:
    """`layer`, its weight divided by its largest singular value if `spectral` (Miyato et al., 2018)."""
    return spectral_norm(layer) if spectral else layer


class _Block(nn.Module):
    """x + conv(act(conv(act x))) for x (B, width, H, W); `blocks` is their number in the network."""

    def __init__(self, width: int, blocks: int, spectral: bool = False) -> None:
        super().__init__()
        first, last = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.first = _bounded(_he(first, blocks**-0.5), spectral)
        # A layer that is divided by its singular value cannot start as zero.
        self.last = _bounded(_he(last), True) if spectral else zeroed(last)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.last(_act(self.first(_act(x))))


class _Blocks(nn.ModuleList):
    """`each` residual blocks, one after the other, of `blocks` in the network."""

    def __init__(self, width: int, each: int, blocks: int, spectral: bool = False) -> None:
        super().__init__(_Block(width, blocks, spectral) for _ in range(each))

    def forward(self, x: Tensor) -> Tensor:
        for block in self:
            x = block(x)
        return x


class _Resampled(nn.Module):
    """(B, C, *size) -> (B, C, *to), bilinear: a product with a fixed matrix from each side.

    `F.interpolate` gives the same result, but torch 2.13 compiles it to wrong gradients among convolutions on a CPU.
    """

    down: Tensor
    right: Tensor

    def __init__(self, size: Sequence[int], to: Sequence[int]) -> None:
        super().__init__()
        for name, n, m in zip(("down", "right"), size, to, strict=True):
            columns = F.interpolate(torch.eye(n)[None], size=m, mode="linear")[0]  # the image of each unit vector
            self.register_buffer(name, columns.T.contiguous(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.linear(x, self.right).mT, self.down).mT


class _Modulation(nn.Module):
    """h (B, width, H, W), z (B, n_in) -> h (1 + a(z)) + b(z), channel by channel; the result is h at first."""

    def __init__(self, n_in: int, width: int) -> None:
        super().__init__()
        self.map = zeroed(nn.Linear(n_in, 2 * width))

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        scale, shift = self.map(z)[..., None, None].chunk(2, dim=1)
        return h + h * scale + shift


class _Reading(nn.ModuleList):
    """Cross-attention of the places (B, width, H, W) of small grids in `sizes` to words of width `dim`."""

    def __init__(self, widths: Sequence[int], sizes: Sequence[Sequence[int]], dim: int) -> None:
        small = (dim and math.prod(size) <= READ for size in sizes)
        super().__init__(WordReader(w, dim) if s else nn.Identity() for w, s in zip(widths, small, strict=True))

    def at(self, i: int, h: Tensor, words: Condition | None) -> Tensor:
        """`h` of grid i after its attention to the words."""
        reader = self[i]
        if isinstance(reader, nn.Identity):
            return h
        return reader(h.flatten(2).mT, words).mT.unflatten(2, h.shape[2:])


class PictureGenerator(nn.Module):
    """Vectors (B, n_in), context (B, context, H, W), words -> pictures (B, *shape), in [-1, 1] if `bounded`.

    `widths` are the channels at 1/2, 1/4, ... resolution, with `blocks` residual blocks each. The vectors modulate each
    of these stages if `modulated`. `words` is the width of a condition's tokens, 0 for none.
    """

    def __init__(
        self,
        n_in: int,
        shape: Sequence[int],
        widths: Sequence[int],
        *,
        blocks: int = 1,
        context: int = 0,
        words: int = 0,
        modulated: bool = False,
        bounded: bool = False,
    ) -> None:
        super().__init__()
        self.bounded = bounded
        self.shape, self.sizes = tuple(shape), pyramid(shape, len(widths))[::-1]
        self.resampled = nn.ModuleList(_Resampled(a, b) for a, b in itertools.pairwise(self.sizes))
        widths = list(widths)[::-1]
        self.grid = (widths[0], *self.sizes[0])
        self.first = _he(nn.Linear(n_in, math.prod(self.grid)), a=1.0)
        total = blocks * len(widths)
        self.stages = nn.ModuleList(_Blocks(w, blocks, total) for w in widths)
        self.grow = nn.ModuleList(_he(nn.Conv2d(a, b, 1), a=1.0) for a, b in itertools.pairwise(widths))
        self.context = nn.ModuleList(nn.Conv2d(4 * context, w, 3, padding=1, bias=False) for w in widths if context)
        self.modulated = nn.ModuleList(_Modulation(n_in, w) for w in widths if modulated)
        self.reading = _Reading(widths, self.sizes, words)
        self.out = _he(nn.Conv2d(widths[-1], 4 * shape[0], 3, padding=1))  # at first samples vary as much as pictures

    def forward(self, z: Tensor, context: Tensor | None = None, words: Condition | None = None) -> Tensor:
        h = self.first(z).unflatten(1, self.grid)
        folded = None if context is None else F.pixel_unshuffle(padded(resized(context, self.shape[1:]), 2), 2)
        for i, stage in enumerate(self.stages):
            if i:  # a map of channels commutes with resampling, and is cheaper on the smaller grid
                h = self.resampled[i - 1](self.grow[i - 1](h))
            if folded is not None and len(self.context):
                h = h + self.context[i](resized(folded, self.sizes[i]))
            if len(self.modulated):
                h = self.modulated[i](h, z)
            h = stage(self.reading.at(i, h, words))
        raw = F.pixel_shuffle(self.out(_act(h)), 2)[..., : self.shape[1], : self.shape[2]]
        return _record(raw, self.bounded)

    def first_map(self) -> Tensor:
        """The weight (n, n_in) of the first layer."""
        return self.first.weight


class MLPGenerator(nn.Module):
    """Vectors (B, n_in) -> records (B, *shape), in [-1, 1] if `bounded`, through `hidden` layers, at least one."""

    def __init__(self, n_in: int, shape: Sequence[int], hidden: Sequence[int], *, bounded: bool = False) -> None:
        super().__init__()
        self.shape, self.bounded = tuple(shape), bounded
        sizes = (n_in, *hidden)
        self.layers = nn.ModuleList(_he(nn.Linear(a, b)) for a, b in itertools.pairwise(sizes))
        self.out = nn.Linear(sizes[-1], math.prod(shape))

    def forward(self, z: Tensor, context: Tensor | None = None, words: Condition | None = None) -> Tensor:
        for layer in self.layers:
            z = _act(layer(z))
        return _record(self.out(z), self.bounded).unflatten(1, self.shape)

    def first_map(self) -> Tensor:
        """The weight (n, n_in) of the first layer."""
        return cast(nn.Linear, self.layers[0]).weight


class _Head(nn.Module):
    """Features (B, n), condition (B, cond) -> logits (B,), with a bias if `level`."""

    def __init__(self, n: int, cond: int, level: bool, spectral: bool) -> None:
        super().__init__()
        self.out = _bounded(nn.Linear(n, 1, bias=level), spectral)
        self.project = _bounded(nn.Linear(cond, n, bias=False), spectral) if cond else None
        self.scale = n**-0.5

    def forward(self, h: Tensor, c: Tensor | None) -> Tensor:
        logits = self.out(h).squeeze(1)
        if self.project is not None and c is not None:
            logits = logits + self.scale * (self.project(c) * h).sum(1)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))


class _WeightedSum(nn.Module):
    """(B, channels, h, w) -> (B, channels): a weight for each channel and place."""

    def __init__(self, channels: int, size: Sequence[int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, *size) / math.prod(size) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weight).sum((2, 3))


class PictureDiscriminator(nn.Module):
    """Pictures (B, *shape), condition (B, cond), context (B, context, H, W), words -> logits (B,): the mirror.

    Without a `level` the logits have no bias. A game that only compares logits needs none.
    """

    def __init__(
        self,
        shape: Sequence[int],
        widths: Sequence[int],
        *,
        blocks: int = 1,
        cond: int = 0,
        context: int = 0,
        words: int = 0,
        level: bool = True,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        total = blocks * len(widths)
        self.stem = _bounded(nn.Conv2d(4 * (shape[0] + context), widths[0], 3, padding=1), spectral)
        self.stages = nn.ModuleList(_Blocks(w, blocks, total, spectral) for w in widths)
        narrow = (_he(nn.Conv2d(a, b, 1), a=1.0) for a, b in itertools.pairwise(widths))
        self.shrink = nn.ModuleList(_bounded(layer, spectral) for layer in narrow)
        sizes = pyramid(shape, len(widths))
        self.reading = _Reading(widths, sizes, words)
        self.pool = _bounded(_WeightedSum(widths[-1], sizes[-1]), spectral)
        self.head = _Head(widths[-1], cond, level, spectral)
        self.context = context

    def forward(
        self, x: Tensor, c: Tensor | None = None, context: Tensor | None = None, words: Condition | None = None
    ) -> Tensor:
        if self.context:
            given = x.new_zeros(x.shape[0], self.context, *x.shape[2:]) if context is None else context
            x = torch.cat((x, resized(given, x.shape[2:])), dim=1)
        h = self.stem(F.pixel_unshuffle(padded(x, 2), 2))
        for i, stage in enumerate(self.stages):
            if i:
                h = self.shrink[i - 1](F.avg_pool2d(h, 2, ceil_mode=True, count_include_pad=False))
            h = stage(self.reading.at(i, h, words))
        return self.head(self.pool(_act(h)), c)


class MLPDiscriminator(nn.Module):
    """Records (B, *shape), condition (B, cond) -> logits (B,), through `hidden` layers; `level` as above."""

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[int],
        *,
        cond: int = 0,
        level: bool = True,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        sizes = (math.prod(shape), *hidden)
        self.layers = nn.ModuleList(_bounded(_he(nn.Linear(a, b)), spectral) for a, b in itertools.pairwise(sizes))
        self.head = _Head(sizes[-1], cond, level, spectral)

    def forward(
        self, x: Tensor, c: Tensor | None = None, context: Tensor | None = None, words: Condition | None = None
    ) -> Tensor:
        h = x.flatten(1)
        for layer in self.layers:
            h = _act(layer(h))
        return self.head(h, c)


class Sloped(nn.Module):
    """A discriminator with its slope: logits (B,), and on request |grad_x l(x)|^2 (B,).

    `torch.func.grad` computes the slope inside the call, so the call can be compiled as a whole; a compiled network
    cannot be differentiated twice from outside. The parameters get gradients through both outputs.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        x: Tensor,
        c: Tensor | None = None,
        context: Tensor | None = None,
        words: Condition | None = None,
        slope: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        if not slope:
            return self.network(x, c, context, words), None

        def total(x: Tensor) -> tuple[Tensor, Tensor]:
            logits = self.network(x, c, context, words)
            return logits.sum(), logits  # each logit depends only on its own record

        gradient, logits = torch.func.grad(total, has_aux=True)(x)
        return logits, gradient.to(logits.dtype).square().flatten(1).sum(1)
