r"""Differentiable augmentation of a discriminator's input (Zhao et al., "Differentiable augmentation", 2020).

With few records a discriminator memorizes them. If records and samples pass through the same random transforms T, the
discriminator compares the distributions of T(x) and T(y). These are equal only if those of x and y are equal, as long
as a share of the records stays unchanged (Karras et al., "Training generative adversarial networks with limited data",
2020). T is differentiable, so the generator learns through it.

Each transform is applied to a record with probability `strength`, independently, to pictures on [-1, 1]:

    brightness   x + b,                   b ~ U(-1/2, 1/2)
    contrast     m + (x - m) c,           c ~ U(1/2, 3/2), m the mean over the picture
    saturation   m + (x - m) s,           s ~ U(0, 2), m the mean over the channels of a pixel; colors alone
    translation  by whole pixels, up to 1/8 of each side; new pixels are 0
    cutout       a square of half of each side is 0, anywhere, also partly outside

The right strength depends on how far the discriminator has memorized its records. If it has, it takes most of them for
real. Let s be the sign of its verdict on a record (theory/adversarial.py). `AdaptiveStrength` rises while E[s] is above
its target, and falls while E[s] is below.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from morphogen.nn.layers.running_moments import over_processes

DRAWS = 12  # uniform numbers per picture
STRONGEST = 0.8  # above it, the transforms appear in the samples (Karras et al., 2020)


def augmented(x: Tensor, strength: Tensor, uniform: Tensor) -> Tensor:
    """Transform pictures x (B, C, H, W) on [-1, 1]; the rows of `uniform` (B, DRAWS) on (0, 1) choose the transforms.

    `strength` is a scalar in [0, 1]; at 0, every picture is unchanged bit for bit.
    """
    on = (uniform[:, :5] < strength).unbind(1)
    u = uniform[:, 5:].to(x.dtype).unbind(1)
    each = (-1, 1, 1, 1)
    x = torch.where(on[0].view(each), brightened(x, u[0] - 0.5), x)
    x = torch.where(on[1].view(each), contrasted(x, u[1] + 0.5), x)
    if x.shape[1] >= 3:
        x = torch.where(on[2].view(each), saturated(x, 2.0 * u[2]), x)
    h, w = x.shape[-2:]
    down, right = _whole(u[3], -(h // 8), h // 8), _whole(u[4], -(w // 8), w // 8)
    x = torch.where(on[3].view(each), translated(x, down, right), x)
    return torch.where(on[4].view(each), cut_out(x, _whole(u[5], 0, h - 1), _whole(u[6], 0, w - 1)), x)


def brightened(x: Tensor, amount: Tensor) -> Tensor:
    """x + b for amounts b (B,)."""
    return x + amount[:, None, None, None]


def contrasted(x: Tensor, factor: Tensor) -> Tensor:
    """m + (x - m) c for factors c (B,), with m the mean of each picture."""
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * factor[:, None, None, None]


def saturated(x: Tensor, factor: Tensor) -> Tensor:
    """m + (x - m) s for factors s (B,), with m the mean of each pixel's first three channels; others stay."""
    color = x[:, :3]
    mean = color.mean(1, keepdim=True)
    return torch.cat((mean + (color - mean) * factor[:, None, None, None], x[:, 3:]), dim=1)


def translated(x: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """y[i, j] = x[i - down, j - right], or 0 outside, for whole numbers `down` and `right` (B,)."""
    for dim, by in ((2, down), (3, right)):
        n = x.shape[dim]
        source = torch.arange(n, device=x.device) - by[:, None]  # (B, n)
        shape = (len(x), 1, n, 1) if dim == 2 else (len(x), 1, 1, n)
        inside = ((source >= 0) & (source < n)).view(shape)
        x = x.gather(dim, source.clamp(0, n - 1).view(shape).expand_as(x)) * inside
    return x


def cut_out(x: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """0 on ceil(H / 2) rows and ceil(W / 2) columns around the places (row, column), each (B,)."""
    hit = []
    for n, at in ((x.shape[2], row), (x.shape[3], column)):
        size = -(-n // 2)
        first = at[:, None] - size // 2
        place = torch.arange(n, device=x.device)
        hit.append((place >= first) & (place < first + size))  # (B, n)
    return x * ~(hit[0][:, None, :, None] & hit[1][:, None, None, :])


def _whole(uniform: Tensor, low: int, high: int) -> Tensor:
    """Whole numbers low .. high, all equally likely, from uniform numbers on (0, 1)."""
    return (low + uniform * (high - low + 1)).floor().long().clamp(low, high)


class AdaptiveStrength(nn.Module):
    """A strength that adapts to the signs s of the verdicts on records, over all parts of a batch and all processes.

        strength <- clamp(strength + sign(mean s - target) n / records, 0, STRONGEST),   after n records,

    so it rises from 0 to 1 over `records` records. It is a buffer, stored with the weights and restored with them.
    """

    strength: Tensor
    _seen: Tensor

    def __init__(self, target: float, records: int) -> None:
        super().__init__()
        self.target, self.records = target, records
        self.register_buffer("strength", torch.zeros(()))
        self.register_buffer("_seen", torch.zeros(2), persistent=False)  # sum of s, and n, of this step
        self._waiting = False

    @torch.no_grad()
    def observe(self, verdict: Tensor) -> None:
        """Add the verdicts (B,) on the records of one part of a batch."""
        if not self._waiting:
            self._seen.zero_()
        self._seen += torch.stack((verdict.float().sign().sum(), self._seen.new_tensor(float(len(verdict)))))
        self._waiting = True

    @torch.no_grad()
    def commit(self) -> None:
        """Update the strength after all parts are observed; a second call has no effect. Every process calls this."""
        if not self._waiting:
            return
        self._waiting = False
        signs, n = over_processes(self._seen.clone())
        step = torch.sign(signs / n - self.target) * n / self.records
        self.strength.add_(step).clamp_(0.0, STRONGEST)
