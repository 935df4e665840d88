"""The frequencies of the codes of a table, and the correlations of their linear features, counted during training.

Sums over all records that training has seen,

    n,   n_k of each code,   s = sum f,   S = sum f f^T   (f (D,) the linear features of a record),

give the frequencies of codes, the mean and the standard deviation of f, and its correlation R. The frequencies are
those of N records, as many as there are, and of `prior` records that are given to the codes before any is seen, so that
a code that no record has is not impossible. R is shrunk towards the identity, (1 - w) R + w I: few records make
correlations of chance, and indicators may depend on each other. Processes add up their sums, which are buffers, so a
resumed run continues from them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from morphogen.nn.layers.running_moments import over_processes


class CodeMoments(nn.Module):
    """Moments of codes (B, C) and of features (B, D), of which there are `records` different ones.

    prior  the records (K,) that each code of each column is given
    """

    prior: Tensor
    count: Tensor
    first: Tensor
    codes: Tensor
    sums: Tensor
    products: Tensor

    def __init__(self, prior: Sequence[Tensor], dimensions: int, records: int, shrinkage: float) -> None:
        super().__init__()
        self.sizes, self.records, self.shrinkage = tuple(len(p) for p in prior), records, shrinkage
        self.register_buffer("prior", torch.cat(list(prior)).double(), persistent=False)
        self.register_buffer("first", torch.tensor([0, *self.sizes[:-1]]).cumsum(0), persistent=False)
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("codes", torch.zeros(sum(self.sizes), dtype=torch.float64))
        self.register_buffer("sums", torch.zeros(dimensions, dtype=torch.float64))
        self.register_buffer("products", torch.zeros(dimensions, dimensions, dtype=torch.float64))

    @torch.no_grad()
    def update(self, codes: Tensor, features: Tensor) -> None:
        """Add records; every process calls this with its share."""
        f = features.double()
        seen = torch.bincount((codes + self.first).flatten(), minlength=len(self.codes)).double()
        parts = (f.new_full((1,), len(f)), seen, f.sum(0), (f.T @ f).flatten())
        count, seen, sums, products = over_processes(torch.cat(parts)).split([len(p) for p in parts])
        self.count += count[0]
        self.codes += seen
        self.sums += sums
        self.products += products.view_as(self.products)

    def log_frequencies(self) -> tuple[Tensor, ...]:
        """For each column, the logarithm of the frequency of each code."""
        seen = self.codes * (self.records / self.count.clamp_min(self.records))
        return tuple(torch.log_softmax(n.log(), 0) for n in (seen + self.prior).split(self.sizes))

    @property
    def mean(self) -> Tensor:
        """(D,)."""
        return self.sums / self.count.clamp_min(1.0)

    @property
    def stddev(self) -> Tensor:
        """(D,), positive: 1 where nothing has been seen, or only one value."""
        var = self.products.diagonal() / self.count.clamp_min(1.0) - self.mean.square()
        return torch.where(var > 1e-6, var.clamp_min(1e-6).sqrt(), 1.0)

    @property
    def correlation(self) -> Tensor:
        """(D, D), shrunk, with ones on the diagonal."""
        mean, std = self.mean, self.stddev
        r = (self.products / self.count.clamp_min(1.0) - mean * mean[:, None]) / (std * std[:, None])
        r = (1.0 - self.shrinkage) * r
        return r - r.diagonal().diag() + torch.eye(len(r), dtype=r.dtype, device=r.device)
