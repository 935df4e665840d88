"""Causal convolutional networks over pictures (PixelCNN; van den Oord, Kalchbrenner and Kavukcuoglu, 2016).

Pixels are in raster order: row by row, each from left to right. The output of a causal network at a pixel is a function
of the pixels before it. One pass over a whole picture gives the outputs of all pixels, which are the parameters of

    p(x) = prod_i p(x_i | x_1, ..., x_{i-1}).

The window of `CausalConv` reaches `up` rows up and `side` columns to either side; in the pixel's own row it reaches
only to the left. A stack of such layers of any depth never reaches the pixels on the right of that cone in the rows
above: the blind spot of masked convolutions. So one of the first layers is as wide as the picture and one row high.
Every pixel then depends on its row so far and the whole row above; through the features there it depends on the next
row above, and each further layer adds a row or more.

Sampling computes one pixel after the other. `CausalNet.walk` keeps the results of each layer, so a pixel costs only its
share of one pass.

Pictures are (B, H, W, C) in this file: the channels of a pixel lie together, and 1 x 1 convolutions are linear layers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.nn.integer.grid import UNIT


class CausalConv(nn.Module):
    """(B, H, W, n_in) -> (B, H, W, n_out), each pixel from the window described above; zeros lie outside the picture.

    strict   leave out the pixel itself; the first layer of a network needs this
    """

    mask: Tensor

    def __init__(self, n_in: int, n_out: int, up: int, side: int, *, strict: bool = False) -> None:
        super().__init__()
        self.n_in, self.up, self.side = n_in, up, side
        self.here = side + (not strict)  # pixels that it sees in the pixel's own row
        mask = torch.ones(up + 1, 2 * side + 1)
        mask[-1, self.here :] = 0.0
        self.register_buffer("mask", mask, persistent=False)
        self.weight = nn.Parameter(torch.randn(n_out, n_in, *mask.shape) / (n_in * mask.sum()).sqrt())
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor) -> Tensor:
        y = F.conv2d(self.padded(x).permute(0, 3, 1, 2), self.weight * self.mask, self.bias)
        return y.permute(0, 2, 3, 1)

    def padded(self, x: Tensor) -> Tensor:
        """Pad `x` with zeros: (B, up + H, W + 2 side, n_in); window (i, j) is that of pixel (i, j)."""
        return F.pad(x, (0, 0, self.side, self.side, self.up, 0))

    def visible(self) -> Tensor:
        """The weights (n_out, taps * n_in) of the pixels that it sees: the rows above, then the pixel's own row."""
        w = self.weight.permute(0, 2, 3, 1)
        return torch.cat((w[:, :-1].flatten(1), w[:, -1, : self.here].flatten(1)), dim=1)

    def of_windows(self) -> Callable[[Tensor], Tensor]:
        """The map of flattened windows (2 side + 1, up + 1, n_in), zeros where nothing is seen, to outputs."""
        matrix = (self.weight * self.mask).permute(0, 3, 2, 1).flatten(1)
        return lambda windows: F.linear(windows, matrix, self.bias)


class CausalBlock(nn.Module):
    """h + V act(conv(y)), y = act(W act(h) + U c): h (B, H, W, width), y (B, H, W, inner), condition c (B, cond)."""

    def __init__(self, width: int, inner: int, up: int, side: int, *, cond: int, dropout: float) -> None:
        super().__init__()
        self.enter = nn.Linear(width, inner)
        self.inject = nn.Linear(cond, inner, bias=False) if cond else None
        self.conv = CausalConv(inner, inner, up, side)
        self.leave = nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, c: Tensor | None) -> Tensor:
        y = self.before(h, None if c is None else c[:, None, None])
        return self.after(h, self.conv(y))

    def before(self, h: Tensor, c: Tensor | None) -> Tensor:
        """y; `c` has as many dimensions as `h`."""
        y = self.enter(F.relu(h))
        return F.relu(y if self.inject is None or c is None else y + self.inject(c))

    def after(self, h: Tensor, z: Tensor) -> Tensor:
        """The output, from z = conv(y)."""
        return h + self.leave(self.dropout(F.relu(z)))


class CausalNet(nn.Module):
    """Pixels (B, H, W, C) and their digits (B, H, W, D) -> features (B, H, W, width), each a function of the earlier
    pixels and of c.

    The pixels as numbers enter by two strict convolutions, one with the wide window `stem` and one over whole rows.
    Wide windows cost little there, and a pixel depends mostly on them. The exact values enter as indicators of their
    digits, in the window `near`. A learned vector for each place is added (with `axes` the sum of one for its row and
    one for its column), and `blocks` residual blocks with the window `reach` follow.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        channels: int,
        digits: int,
        width: int,
        inner: int,
        blocks: int,
        *,
        stem: tuple[int, int] = (7, 7),
        near: tuple[int, int] = (2, 2),
        reach: tuple[int, int] = (1, 1),
        cond: int = 0,
        dropout: float = 0.0,
        axes: bool = False,
    ) -> None:
        super().__init__()
        self.shape, self.axes = shape, axes
        self.stem = CausalConv(channels, width, *stem, strict=True)
        self.row = CausalConv(channels, width, 1, shape[1] - 1, strict=True)
        self.near = CausalConv(digits, width, *near, strict=True)
        self.place = nn.Parameter(0.02 * torch.randn(*((sum(shape),) if axes else shape), width))
        self.blocks = nn.ModuleList(
            CausalBlock(width, inner, *reach, cond=cond, dropout=dropout) for _ in range(blocks)
        )

    def forward(self, x: Tensor, digits: Tensor, c: Tensor | None = None) -> Tensor:
        h = self.stem(x) + self.row(x) + self.near(digits)
        h = h + self.places().to(h.dtype)  # keeps the residual stream in autocast's precision
        for block in self.blocks:
            h = block(h, c)
        return h

    def places(self) -> Tensor:
        """The vector of each place, (rows, columns, width)."""
        place = self.place if self.place.is_floating_point() else self.place.double() * UNIT
        if not self.axes:
            return place
        rows = self.shape[0]
        return place[:rows, None] + place[rows:]

    def walk(self, n: int, c: Tensor | None = None) -> Generator[Tensor, tuple[Tensor, Tensor], None]:
        """Yield the features (n, width) of one pixel after the other; the caller sends that pixel (n, C) and its digits
        (n, D).

        The network must be in evaluation mode. The result equals `forward` up to rounding.
        """
        rows, columns = self.shape
        places = self.places()
        blocks: list[CausalBlock] = list(self.blocks)  # type: ignore[arg-type]
        stem, row, near, *inner = (
            Seen(conv, places.new_zeros, n, columns)
            for conv in (self.stem, self.row, self.near, *(b.conv for b in blocks))
        )
        for i in range(rows):
            for j in range(columns):
                h = stem.convolved(i, j) + row.convolved(i, j) + near.convolved(i, j) + places[i, j]
                for block, seen in zip(blocks, inner, strict=True):
                    seen.put(i, j, block.before(h, c))
                    h = block.after(h, seen.convolved(i, j))
                x, digits = yield h
                stem.put(i, j, x)
                row.put(i, j, x)
                near.put(i, j, digits)


class Seen:
    """The known part of the input of a causal convolution, and its output at one pixel; row by row in raster order.

    Only the rows that the window reaches are kept, (n, columns, rows, n_in), so that a window is one piece of memory.
    """

    def __init__(self, conv: CausalConv, zeros: Callable[..., Tensor], n: int, columns: int) -> None:
        self.side, self.map, self.row = conv.side, conv.of_windows(), 0
        self.x = zeros(n, columns + 2 * conv.side, conv.up + 1, conv.n_in)
        self.size = (2 * conv.side + 1) * (conv.up + 1) * conv.n_in
        self.stride = (conv.up + 1) * conv.n_in

    def put(self, i: int, j: int, x: Tensor) -> None:
        """Set the input (n, n_in) of pixel (i, j)."""
        self._reach(i)
        self.x[:, j + self.side, -1] = x

    def convolved(self, i: int, j: int) -> Tensor:
        """The output (n, n_out) at pixel (i, j)."""
        self._reach(i)
        return self.map(self.x.flatten(1)[:, j * self.stride : j * self.stride + self.size])

    def _reach(self, i: int) -> None:
        if i != self.row:
            self.row = i
            self.x[:, :, :-1] = self.x[:, :, 1:].clone()
            self.x[:, :, -1] = 0.0
