"""A small network that learns classes from synthetic pictures of 28 x 28 and is tested on real ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PASSES, BATCH = 4, 128


class Network(nn.Module):
    """The classifier of synthetic pictures (B, 1, 28, 28)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 16, 5, padding=2), nn.Conv2d(16, 32, 5, padding=2)
        self.hidden, self.out = nn.Linear(32 * 49, 128), nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = F.max_pool2d(self.first(x).relu(), 2)
        h = F.max_pool2d(self.second(h).relu(), 2)
        return self.out(F.dropout(self.hidden(h.flatten(1)).relu(), 0.3, self.training))


def moved(x: Tensor) -> Tensor:
    """x (B, 1, H, W) with every other picture turned, sheared, scaled and shifted a little, and with noise."""

    def around(middle: float, most: float) -> Tensor:
        return middle + most * (2.0 * torch.rand(len(x) // 2) - 1.0)

    turn, shear = around(0.0, 0.25), around(0.0, 0.2)
    across = torch.stack([turn.cos() * around(1.0, 0.15), shear - turn.sin(), around(0.0, 0.125)], 1)
    down = torch.stack([turn.sin(), turn.cos() * around(1.0, 0.15), around(0.0, 0.125)], 1)
    half = x[: len(x) // 2]
    grid = F.affine_grid(torch.stack([across, down], 1), list(half.shape), align_corners=False)
    x = torch.cat([F.grid_sample(half + 1.0, grid, align_corners=False) - 1.0, x[len(half) :]])
    return x + 0.3 * torch.randn_like(x)


def classify(x: Tensor, labels: Tensor, seed: int, passes: int = PASSES) -> Network:
    """The network after `passes` over x (N, 1, 28, 28) in [-1, 1]."""
    torch.manual_seed(seed)
    network = Network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    steps = passes * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=max(2, steps))
    for _ in range(passes):
        for rows in torch.randperm(len(x)).split(BATCH):
            if len(rows) < BATCH:
                continue
            optimizer.zero_grad()
            F.cross_entropy(network(moved(x[rows])), labels[rows], label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def right(network: Network, x: Tensor, labels: Tensor) -> int:
    """How many pictures it gets right."""
    return sum(int((network(a).argmax(1) == b).sum()) for a, b in zip(x.split(1000), labels.split(1000), strict=True))
