"""What torchmetrics and prdc say of two arrays of features; runs in the environment "estimators".

    python -m benchmarks.peers.prdc FOLDER    # reads FOLDER/a.npy (generated) and FOLDER/b.npy (real), prints JSON

KID is torchmetrics' on one subset that holds all records, in float64. prdc takes the real features first.
"""

from __future__ import annotations

import contextlib
import json
import sys

import numpy as np
import prdc
import torch
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance


class Features(torch.nn.Module):
    """A "network" whose pictures are features already."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.num_features = dimensions

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def main() -> None:
    a, b = (torch.from_numpy(np.load(f"{sys.argv[1]}/{name}.npy")).double() for name in "ab")
    fid = FrechetInceptionDistance(feature=Features(a.shape[1]))
    kid = KernelInceptionDistance(feature=Features(a.shape[1]), subsets=1, subset_size=len(a))
    for metric in (fid, kid):
        metric.update(b, real=True)
        metric.update(a, real=False)
    with contextlib.redirect_stdout(sys.stderr):  # it prints what it got
        shares = prdc.compute_prdc(real_features=b.numpy(), fake_features=a.numpy(), nearest_k=5)
    found = {"frechet": float(fid.compute()), "kid": float(kid.compute()[0])}
    print(json.dumps(found | {name: float(share) for name, share in shares.items()}))


if __name__ == "__main__":
    main()
