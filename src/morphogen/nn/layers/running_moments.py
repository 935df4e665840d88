"""The mean and the standard deviation of each channel of a network's output, measured during training.

Sums over records with weights that decay by a factor of e every N records,

    w <- w e^(-n/N) + n,   s_k <- s_k e^(-n/N) + sum_records mean_places v^k   (n records v at a time, k = 1, 2),

give mean = s_1 / w and var = s_2 / w - mean^2: the moments of about the last N records, without a bias from the start
values. Processes add up their sums, so the moments do not depend on how a batch is split. The sums are buffers, so they
are stored with the weights, and a resumed run continues from them.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn


class RunningMoments(nn.Module):
    """Moments of `channels` channels over about the last `records` records; 0 and 1 before the first."""

    weight: Tensor
    sums: Tensor

    def __init__(self, channels: int, records: int) -> None:
        super().__init__()
        self.records = records
        self.register_buffer("weight", torch.zeros(()))
        self.register_buffer("sums", torch.zeros(2, channels))

    @torch.no_grad()
    def update(self, v: Tensor) -> None:
        """Add records (B, channels, *places); every process calls this with its share."""
        v = v.float().flatten(2)
        added = over_processes(torch.cat((v.new_full((1,), len(v)), v.mean(2).sum(0), v.square().mean(2).sum(0))))
        keep = torch.exp(-added[0] / self.records)
        self.weight.mul_(keep).add_(added[0])
        self.sums.mul_(keep).add_(added[1:].view_as(self.sums))

    @property
    def mean(self) -> Tensor:
        """The mean of each channel, (channels,)."""
        return self.sums[0] / self.weight.clamp_min(1.0)

    @property
    def stddev(self) -> Tensor:
        """The standard deviation of each channel, (channels,), positive."""
        var = self.sums[1] / self.weight.clamp_min(1.0) - self.mean.square()
        return torch.where(self.weight > 0, var.clamp_min(1e-12).sqrt(), 1.0)


def over_processes(x: Tensor) -> Tensor:
    """Sum `x` over the processes that train together, in place."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(x)
    return x
