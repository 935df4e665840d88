"""Principal components of pictures: the directions of most variance, by an exact eigendecomposition.

With centered records X (N, D), the covariance X^T X / N = V diag(lambda) V^T. Where records are fewer than
dimensions, its non-zero part comes from the smaller Gram matrix X X^T / N = U diag(lambda) U^T by
V = X^T U / sqrt(N lambda). Keeping the first k directions loses the mean squared error sum_{i > k} lambda_i of the
records that were fitted, the least that any k-dimensional plane loses (Pearson 1901).
"""

from __future__ import annotations

import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.core.rng import Rng

_WIDEST = 2500  # dimensions of the largest covariance matrix that is decomposed
_MAX_OF_WIDE = 2000  # records of wider pictures that are fitted: seconds instead of minutes
_ROWS = 2000
_NEGLIGIBLE = 1e-7  # share of the largest variance below which a direction is rounding error


class PrincipalComponents:
    """Fitted on pictures (N, C, H, W), uint8; all values below are of bytes divided by 255.

    mean       (D,) float32
    axes       (R, D) float32, orthonormal, in falling order of variance; R is the rank
    variances  (R,) float64

    Of pictures with more than 2,500 elements, 2,000 are drawn to be fitted, always the same ones. Raises
    `DataError` for fewer than two pictures, or if all are equal.
    """

    def __init__(self, pictures: Tensor) -> None:
        rows = pictures.flatten(1).cpu()
        if len(rows) < 2:
            raise DataError(f"principal components need at least 2 pictures; got {len(rows)}.")
        if rows.shape[1] > _WIDEST and len(rows) > _MAX_OF_WIDE:
            rows = rows[Rng(0).permutation("principal components", 0, len(rows))[:_MAX_OF_WIDE]]
        total = torch.stack([part.sum(0, dtype=torch.float64) for part in rows.split(_ROWS)]).sum(0)
        self.mean = (total / (255.0 * len(rows))).float()
        narrow = rows.shape[1] <= len(rows)
        matrix = self._covariance(rows) if narrow else self._gram(rows)
        values, vectors = torch.linalg.eigh(matrix)
        values, vectors = values.flip(0), vectors.flip(1)
        rank = int((values > _NEGLIGIBLE * values[0]).sum()) if values[0] > 1e-12 else 0
        if not rank:
            raise DataError("principal components need pictures that differ; all of these are equal.")
        self.variances = values[:rank]
        if narrow:
            self.axes = vectors[:, :rank].T.float().contiguous()
        else:
            scaled = vectors[:, :rank] / (len(rows) * self.variances).sqrt()  # (N, R)
            self.axes = (scaled.T @ self._centered(rows).double()).float()

    def truncated(self, x: Tensor, k: int) -> Tensor:
        """The nearest points to x (N, D) on the plane through the mean along the first `k` directions."""
        mean, axes = self.mean.to(x), self.axes[:k].to(x)
        return torch.addmm(mean, torch.mm(x - mean, axes.T), axes)

    def _centered(self, rows: Tensor) -> Tensor:
        return rows.float() / 255.0 - self.mean

    def _covariance(self, rows: Tensor) -> Tensor:
        total = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
        for part in rows.split(_ROWS):
            x = self._centered(part)
            total += x.T @ x
        return total / len(rows)

    def _gram(self, rows: Tensor) -> Tensor:
        x = self._centered(rows).double()
        return x @ x.T / len(rows)
