r"""What networks know of latents: each channel alone, or given hyper-latents and the latents of lower frequency.

`FactorizedPrior` knows each channel alone: a mixture of logistics (Balle, Laparra and Simoncelli, 2017).

`Hyperprior` sends hyper-latents z first, a coarse picture of how wide the latents y are (Balle et al., 2018). Then y
follows in groups of channels, from low to high frequency, each with locations and scales that a network gives from z
and from the groups before it (Minnen and Singh, "Channel-wise autoregressive entropy models", 2020). Every group is one
pass over all places, so decoding takes as many passes as there are groups.

Networks read latents in steps, held to [-4, 4], as what matters is how many steps a latent is away from 0; and those of
the first group also as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.nn.layers.grid_point import GridPoint
from morphogen.nn.layers.initialization import zeroed

_GAIN, _SCALE_GAIN = 16.0, 4.0  # of z; of log-scales: Adam moves a weight by about lr a step, and they have far to go
_HELD = 4.0  # steps: as far as networks see
_SHARES = (1, 3, 4, 8, 16, 32)  # of the channels of a group, in relation to the first
SHRINK = 4  # places of a hyper-latent in each direction


class FactorizedPrior(nn.Module):
    """A mixture of `mixtures` logistics for each of n channels, at first around 0 with scales `first` (n,)."""

    def __init__(self, first: Tensor, mixtures: int) -> None:
        super().__init__()
        n = len(first)
        spread = torch.linspace(-1.0, 1.0, mixtures) if mixtures > 1 else torch.zeros(1)
        self.logits = nn.Parameter(torch.zeros(n, mixtures))
        self.location = nn.Parameter(torch.zeros(n, mixtures))
        self.log_scale = nn.Parameter(first.log()[:, None] + spread)


class _Group(nn.Module):
    """Features (B, n_in, h, w) -> locations and log-scales (B, n_out, h, w), both 0 at first."""

    def __init__(self, n_in: int, width: int, n_out: int, cond: int) -> None:
        super().__init__()
        self.first, self.quality = nn.Conv2d(n_in, width, 3, padding=1), nn.Linear(cond, width)
        self.second, self.out = nn.Conv2d(width, width, 1), zeroed(nn.Conv2d(width, 2 * n_out, 1))

    def forward(self, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.relu(self.first(h) + self.quality(c)[:, :, None, None])
        location, log_scale = self.out(torch.relu(self.second(h))).chunk(2, dim=1)
        return location, log_scale


class Hyperprior(nn.Module):
    """The networks around z and y; `typical` (M,) are powers of two, about how wide each latent is."""

    typical: Tensor

    def __init__(self, typical: Tensor, width: int, hyper: int, groups: int, cond: int) -> None:
        super().__init__()
        self.sizes = group_sizes(len(typical), groups)
        self.register_buffer("typical", typical.clone())
        seen = len(typical) + self.sizes[0]
        last = nn.Conv2d(width, hyper, 1)
        last.weight.data.mul_(_GAIN)  # so that z is not all 0 once it is rounded
        self.squeeze = nn.ModuleList(
            (
                nn.Conv2d(seen, width, 3, padding=1),
                nn.Conv2d(width, width, 2, stride=2),
                nn.Conv2d(width, width, 2, stride=2),
                last,
            )
        )
        self.of_quality = nn.Linear(cond, width)
        self.spread = nn.ModuleList(
            (
                nn.Conv2d(hyper, width, 3, padding=1),
                nn.Conv2d(width, 4 * width, 1),
                nn.Conv2d(width, 4 * width, 1),
            )
        )
        ends = [sum(self.sizes[:k]) for k in range(len(self.sizes))]
        self.groups = nn.ModuleList(
            _Group(width + end + (self.sizes[0] if end else 0), width, size, cond)
            for end, size in zip(ends, self.sizes, strict=True)
        )
        self.round = GridPoint()

    def hyper_latents(self, y: Tensor, step: Tensor, c: Tensor) -> Tensor:
        """z (B, Z, ceil(h / 4), ceil(w / 4)) of latents y (B, M, h, w), with steps (B, M)."""
        h = self.read(y, step)
        h = F.pad(h, (0, -h.shape[-1] % SHRINK, 0, -h.shape[-2] % SHRINK))
        first, second, third, out = self.squeeze
        h = torch.relu(first(h) + self.of_quality(c)[:, :, None, None])
        z: Tensor = out(torch.relu(third(torch.relu(second(h)))))
        return z

    def features(self, z: Tensor, size: Sequence[int]) -> Tensor:
        """What z says at each place of y, (B, width, *size)."""
        first, second, third = self.spread
        h = torch.relu(first(self.round(z)))
        h = torch.relu(F.pixel_shuffle(second(h), 2))
        h = torch.relu(F.pixel_shuffle(third(h), 2))
        return h[..., : size[0], : size[1]]

    def group(self, k: int, h: Tensor, seen: Tensor | None, step: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The location of group k, and log(scale / `typical`), from the features and the groups before it."""
        if seen is not None:
            h = torch.cat((h, self.read(seen, step[:, : seen.shape[1]]).to(h.dtype)), dim=1)
        location, log_scale = self.groups[k](h, c)
        begin = sum(self.sizes[:k])
        typical = self.typical[begin : begin + self.sizes[k], None, None]
        wide = torch.promote_types(location.dtype, torch.float32)
        return self.round(typical * location.to(wide)), _SCALE_GAIN * log_scale.to(wide)

    def read(self, y: Tensor, step: Tensor) -> Tensor:
        """Latents as networks see them."""
        in_steps = (y / step[:, :, None, None]).clamp(-_HELD, _HELD)
        return self.round(torch.cat((in_steps, y[:, : self.sizes[0]]), dim=1))


def group_sizes(latents: int, groups: int) -> list[int]:
    """The channels of each group, fewer of them at low frequencies."""
    shares = _SHARES[:groups]
    ends = [math.ceil(latents * sum(shares[: k + 1]) / sum(shares)) for k in range(groups)]
    return [b - a for a, b in zip([0, *ends[:-1]], ends, strict=True) if b > a]
