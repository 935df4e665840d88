"""The nearest training picture up to small movements, and the nearest average of two training pictures.

A copy that is shifted by a pixel, turned by a few degrees or cut a little closer is far from its original in pixels.
Both distances here are small for such copies, and for averages of two pictures. They are found in two stages.

**Moved.** A picture is reduced to at most 14 x 14 pixels and then to its 64 first principal components, which keeps
95 % of the variance of small pictures and is linear. It is warped in 30 ways (shifts, turns, zooms, mirrored), and the
nearest training record of each warp is a candidate. The eight nearest candidates y are aligned to the picture x by
Gauss-Newton steps (Lucas and Kanade, "An iterative image registration technique", 1981) on the four numbers of a
similarity,

    min over (u, v, angle, log zoom) of |x - y o warp|^2,   each within its limit,

at up to 32 x 32 pixels after a light blur, so that a copier's interpolation does not matter.

**Mixed.** If x = (y + y') / 2 with both in [0, 1], then max(0, 2 x - 1) <= y <= min(1, 2 x) in every pixel. The 32
training records that break these limits least are candidates for y, and y' is the training record nearest to 2 x - y.
This finds averages that lie far from either picture. Each pair has the distance of x to the segment between both. A
smooth picture is near to many averages, so what counts is the smallest distance as a share of the smallest of pairs
without either of the two: nearly 0 for an average of two, nearly 1 for new pictures, sharp or smooth.

A distance to the training set is all that `copying` needs: real records that were not trained on have the same search.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from morphogen.core.chunks import chunks

COMPONENTS = 64
_COARSE, _FINE = 14, 32  # the longest sides of the two stages
_ALIGNED, _STEPS = 8, 5  # candidates of a picture, and Gauss-Newton steps of each
_PARTNERS, _PAIRS = 32, 16  # candidates for one of the two, and pairs that are compared in full
_LIMITS = (0.11, 0.11, math.radians(12.0), 0.22)  # shares of the sides, angle, log zoom
_FIRST = 1000  # candidates for one of the two by a quarter of the pixels
_ROWS, _BLOCK, _QUERIES = 4096, 1024, 256  # training records reduced at a time; a block of distances that fits a cache
_BLUR = (0.25, 0.5, 0.25)


class DisguisedCopies:
    """The search among training pictures (N, C, H, W) uint8. All results are the same in any batch."""

    def __init__(self, train: Tensor) -> None:
        self.train = train.cpu()
        self.mean, self.axes = _components(torch.cat([self._pooled(p) for p in self.train.split(_ROWS)]))
        self.low = torch.cat([self.components(part) for part in self.train.split(_ROWS)])  # (N, R)

    def components(self, pictures: Tensor) -> Tensor:
        """The reduced form (n, R) of pictures (n, C, H, W), bytes or real numbers in [0, 1]."""
        return (self._pooled(pictures) - self.mean) @ self.axes

    def moved(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """The distance (n,) of each picture to the nearest moved training picture, and the number (n,) of that."""
        found = [self._moved(part) for part in pictures.cpu().split(64)]
        return torch.cat([d for d, _ in found]), torch.cat([i for _, i in found])

    def mixed(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest mixture of two: its distance (n,) as a share of the next one's, and their numbers (n, 2)."""
        found = [self._mixed(part) for part in pictures.cpu().split(64)]
        return torch.cat([d for d, _ in found]), torch.cat([i for _, i in found])

    def _moved(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        n, x, sharp = len(pictures), _fine(pictures), _reduced(_unit(pictures), _FINE)
        warped = torch.stack([_warped(sharp, p, flip) for p, flip in _MOVEMENTS], 1)  # (n, W, C, h, w)
        distance, index = self._nearest(self.components(warped.flatten(0, 1)))
        best = distance.reshape(n, -1).topk(_ALIGNED, largest=False).indices
        index = index.reshape(n, -1).gather(1, best)  # (n, A)
        mirrored = torch.tensor([flip for _, flip in _MOVEMENTS])[best]
        start = torch.stack([p for p, _ in _MOVEMENTS])[best]
        y = _fine(self.train[index.flatten()])
        y = torch.where(mirrored.flatten()[:, None, None, None], y.flip(-1), y)
        # x o warp is near y, so x is near y o the inverse of that warp
        found = _aligned(x.repeat_interleave(_ALIGNED, 0), y, -start.flatten(0, 1)).reshape(n, -1)
        which = found.argmin(1, keepdim=True)
        return found.gather(1, which)[:, 0], index.gather(1, which)[:, 0]

    def _mixed(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        n, x, z = len(pictures), _fine(pictures).flatten(1), self.components(pictures)
        one = self._partners(pictures)  # (n, P)
        other = self._nearest((2.0 * z[:, None] - self.low[one]).flatten(0, 1))[1].reshape(n, -1)
        middle = 0.5 * (self.low[one] + self.low[other])
        few = (middle - z[:, None]).square().sum(2).topk(min(_PAIRS, one.shape[1]), largest=False).indices
        pairs = torch.stack((one.gather(1, few), other.gather(1, few)), 2)  # (n, K, 2)
        ends = _fine(self.train[pairs.flatten()]).reshape(*pairs.shape, -1)
        found = _to_segment(x[:, None], ends[:, :, 0], ends[:, :, 1])
        rows, best = torch.arange(n), found.argmin(1)
        pair, distance = pairs[rows, best], found[rows, best]
        shared = (pairs[:, :, :, None] == pair[:, None, None, :]).flatten(2).any(2)
        rest = found.masked_fill(shared, torch.inf).min(1).values
        next_one = torch.where(rest.isfinite(), rest, found.max(1).values)
        return distance / next_one.clamp_min(1e-12), pair

    def _partners(self, pictures: Tensor) -> Tensor:
        """The training records (n, P) that may be one half of each: first at a quarter of the pixels, then at all."""
        pooled, quarters = self._pooled(pictures), _quartered(_pooled_picture(pictures))
        broken = torch.empty(len(pictures), len(self.train))
        for rows in chunks(len(self.train), _BLOCK):
            block = self._quarters[rows]
            for i, x in enumerate(quarters):
                broken[i, rows] = _outside(block, x)
        found = []
        for i, x in enumerate(pooled):
            few = broken[i].topk(min(_FIRST, len(self.train)), largest=False).indices
            closer = _outside(self._coarse[few].float() / 255.0, x)
            found.append(few[closer.topk(min(_PARTNERS, len(few)), largest=False).indices])
        return torch.stack(found)

    @cached_property
    def _coarse(self) -> Tensor:
        """The reduced training pictures (N, D) as bytes."""
        return torch.cat([(255.0 * self._pooled(p)).round().byte() for p in self.train.split(_ROWS)])

    @cached_property
    def _quarters(self) -> Tensor:
        return torch.cat([_quartered(_pooled_picture(p)) for p in self.train.split(_ROWS)])

    def _nearest(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The squared distance (n,) of each row of z (n, R) to the nearest training record, and its number."""
        lengths, distances, indices = self.low.square().sum(1), [], []
        for part in z.split(_QUERIES):
            best, index = torch.full((len(part),), torch.inf), torch.zeros(len(part), dtype=torch.int64)
            for rows in chunks(len(self.low), _BLOCK):
                d, i = torch.addmm(lengths[rows], part, self.low[rows].mT, alpha=-2.0).min(1)
                closer = d < best
                best, index = torch.where(closer, d, best), torch.where(closer, i + rows.start, index)
            distances.append(best + part.square().sum(1))
            indices.append(index)
        return torch.cat(distances), torch.cat(indices)

    def _pooled(self, pictures: Tensor) -> Tensor:
        return _pooled_picture(pictures).flatten(1)


def _unit(pictures: Tensor) -> Tensor:
    return pictures.float() / 255.0 if pictures.dtype == torch.uint8 else pictures.float()


def _reduced(x: Tensor, side: int) -> Tensor:
    """Means over areas, so that the longer side is at most `side`."""
    longest = max(x.shape[-2:])
    if longest <= side:
        return x
    height, width = (max(1, round(n * side / longest)) for n in x.shape[-2:])
    return F.adaptive_avg_pool2d(x, (height, width))


def _pooled_picture(pictures: Tensor) -> Tensor:
    return _reduced(_unit(pictures), _COARSE)


def _quartered(pooled: Tensor) -> Tensor:
    return _reduced(pooled, _COARSE // 2).flatten(1)


def _fine(pictures: Tensor) -> Tensor:
    """(n, C, h, w): at most 32 pixels a side, lightly blurred."""
    x = _reduced(_unit(pictures), _FINE)
    row = torch.tensor(_BLUR)
    kernel = torch.outer(row, row).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, groups=x.shape[1])


def _components(pooled: Tensor) -> tuple[Tensor, Tensor]:
    mean = pooled.mean(0)
    centered = pooled - mean
    vectors = torch.linalg.eigh(centered.mT.double() @ centered.double())[1]
    return mean, vectors[:, -COMPONENTS:].float().contiguous()


def _movements() -> Iterator[tuple[Tensor, bool]]:
    """The coarse movements: (u, v, angle, log zoom), with u and v as shares of the sides; and whether mirrored."""
    step, turn, zoom = 1.5 / 28.0, math.radians(6.0), 0.12
    for u in (-step, 0.0, step):
        for v in (-step, 0.0, step):
            for angle in (-turn, 0.0, turn):
                yield torch.tensor([u, v, angle, 0.0]), False
    yield torch.tensor([0.0, 0.0, 0.0, zoom]), False
    yield torch.tensor([0.0, 0.0, 0.0, -zoom]), False
    yield torch.zeros(4), True


_MOVEMENTS = tuple(_movements())


def _warped(x: Tensor, p: Tensor, mirrored: bool = False) -> Tensor:
    """x (n, C, h, w) read at the places that the similarity p, (4,) or (n, 4), sends each pixel to."""
    h, w = x.shape[-2:]
    u, v, angle, zoom = p.expand(len(x), 4).unbind(1)
    c, s = zoom.exp() * angle.cos(), zoom.exp() * angle.sin()
    rows = torch.stack((c, -s * (h / w), 2.0 * u, s * (w / h), c, 2.0 * v), 1).reshape(-1, 2, 3)
    grid = F.affine_grid(rows, list(x.shape), align_corners=False)
    return F.grid_sample(x.flip(-1) if mirrored else x, grid, padding_mode="border", align_corners=False)


def _aligned(x: Tensor, y: Tensor, start: Tensor) -> Tensor:
    """min over movements of |x - y o warp| (n,) for pairs of pictures (n, C, h, w), from the movements `start`."""
    h, w = x.shape[-2:]
    limits = torch.tensor(_LIMITS)
    across = (torch.arange(w) - 0.5 * (w - 1)).expand(h, w)
    down = (torch.arange(h) - 0.5 * (h - 1))[:, None].expand(h, w)
    p = start.clamp(-limits, limits)
    best = torch.full((len(x),), torch.inf)
    for _ in range(_STEPS):
        moved = _warped(y, p)
        error = x - moved
        best = torch.minimum(best, error.flatten(1).norm(dim=1))
        padded = F.pad(moved, (1, 1, 1, 1), mode="replicate")
        gx = 0.5 * (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2])
        gy = 0.5 * (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1])
        slopes = (gx * w, gy * h, gy * across - gx * down, gx * across + gy * down)
        slope = torch.stack([s.flatten(1) for s in slopes], 2)  # (n, CHW, 4)
        normal = slope.mT @ slope
        normal = normal + 1e-3 * normal.diagonal(dim1=1, dim2=2).diag_embed() + 1e-6 * torch.eye(4)
        step = torch.linalg.solve(normal, slope.mT @ error.flatten(1)[..., None])[..., 0]
        p = (p + step).clamp(-limits, limits)
    return torch.minimum(best, (x - _warped(y, p)).flatten(1).norm(dim=1))


def _outside(y: Tensor, x: Tensor) -> Tensor:
    """By how much each y (N, D) breaks the limits of one half of x (D,), squared."""
    return (y - torch.clamp(y, (2.0 * x - 1.0).clamp_min(0.0), (2.0 * x).clamp_max(1.0))).square().sum(1)


def _to_segment(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """The distance (..., ) of x (..., D) to the segments from y to w (..., D), without the fifths at both ends."""
    along = w - y
    share = ((x - y) * along).sum(-1) / along.square().sum(-1).clamp_min(1e-12)
    return (x - y - share.clamp(0.2, 0.8)[..., None] * along).norm(dim=-1)
