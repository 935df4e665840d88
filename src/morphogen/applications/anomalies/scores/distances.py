"""How far a record lies from normal ones: rules that are fitted to vectors of normal records.

    neighbors    mean distance to the k nearest normal records (k = 1: the nearest)
    local        the same mean, divided by the root of what is usual there: the mean of it at the 20 nearest normal
                 records (between the plain distance and the local outlier factor of Breunig et al., 2000)
    mahalanobis  ((v - m)^T S^-1 (v - m))^1/2, with S shrunk towards a multiple of the identity (Ledoit and Wolf, 2004)
    residual     |v - P v|, P the projection on the principal components of 90 % of the variance
    principal    the mean distance to the k nearest on the first principal components, each at variance 1
    tails        the sum over columns of -log of the smaller share of normal values, those below or those above (Li et
                 al., "ECOD", 2022)
    forest       how few random cuts isolate v (Liu, Ting and Zhou, "Isolation forest", 2008), by scikit-learn

Distances are in the units of the vectors. `Scaled` brings columns to one scale first: "range" to [0, 1] by the smallest
and largest normal value, "quartiles" to an interquartile range of 1.35, as that of the standard normal has, "ranks" to
the normal quantile of their rank.
"""

from __future__ import annotations

from typing import Literal, Protocol, final

import torch
from torch import Tensor

from morphogen.core.chunks import chunks
from morphogen.core.rng import Rng

_AT_ONCE = 1 << 24  # distances held together
_KEPT_VARIANCE = 0.9
Scale = Literal["range", "quartiles", "ranks"]
_AROUND, _MOST_LOCAL = 20, 10_000
TREES = 100


class Rule(Protocol):
    """Fitted to vectors of normal records, it scores others; larger is more anomalous."""

    def fit(self, v: Tensor) -> None:
        """Learn from the vectors (N, D) of normal records."""

    def score(self, v: Tensor) -> Tensor:
        """(M,) of vectors (M, D)."""


@final
class Neighbors:
    """The mean distance to the k nearest normal records."""

    def __init__(self, k: int) -> None:
        self.k = k

    def fit(self, v: Tensor) -> None:
        """Keep the vectors."""
        self.center = v.mean(0)  # distances stay, and lose fewer digits
        self.known = v - self.center
        self.lengths = self.known.square().sum(1)

    def score(self, v: Tensor) -> Tensor:
        """The mean distance."""
        k, found = min(self.k, len(self.known)), []
        for rows in chunks(len(v), max(1, _AT_ONCE // len(self.known))):
            some = v[rows] - self.center
            d = torch.addmm(self.lengths, some, self.known.mT, alpha=-2.0)
            least = d.topk(k, dim=1, largest=False).values + some.square().sum(1, keepdim=True)
            found.append(least.clamp_min(0.0).sqrt().mean(1))
        return torch.cat(found) if found else v.new_zeros(0)


@final
class LocalNeighbors:
    """The mean distance to the k nearest normal records, in units between one and what is usual around them.

    Absolute distances are sums over columns of |v - w| (`absolute`), in float32, which loses nothing there; else
    Euclidean, by products in the precision of the vectors.
    """

    def __init__(self, k: int = 5, power: float = 0.5, absolute: bool = False) -> None:
        self.k, self.power, self.norm = k, power, 1.0 if absolute else 2.0

    def fit(self, v: Tensor) -> None:
        """Keep the vectors (at most 10,000 of them), and what is usual around each."""
        self.known = self._read(v[Rng(0).permutation("local", 0, len(v))[:_MOST_LOCAL]])
        own = self._nearest(self.known, own=True)[0][:, : self.k].mean(1)
        floor = 1e-9 * float(own.mean()) or 1.0  # records that are all equal
        self.usual = own + floor

    def score(self, v: Tensor) -> Tensor:
        """The mean distance, divided by what is usual around to the power of 1/2."""
        distances, around = self._nearest(v)
        return distances[:, : self.k].mean(1) / self.usual[around].mean(1).pow(self.power)

    def _read(self, v: Tensor) -> Tensor:
        return (v.float() if self.norm == 1.0 else v).contiguous()

    def _nearest(self, v: Tensor, own: bool = False) -> tuple[Tensor, Tensor]:
        """The distances to the 20 nearest normal records, and which they are; without itself if it is its `own`."""
        count = min(_AROUND, len(self.known) - own) or 1
        values, places = [], []
        for rows in chunks(len(v), max(1, _AT_ONCE // len(self.known))):
            d = torch.cdist(self._read(v[rows]), self.known, p=self.norm)
            if own and len(self.known) > 1:
                d[:, rows.start : rows.start + len(d)].fill_diagonal_(torch.inf)
            least = d.topk(count, dim=1, largest=False)
            values.append(least.values)
            places.append(least.indices)
        return torch.cat(values), torch.cat(places)


@final
class Mahalanobis:
    """The Mahalanobis distance to the mean of the normal records."""

    def fit(self, v: Tensor) -> None:
        """Mean and shrunk covariance."""
        self.mean = v.double().mean(0)
        values, vectors = torch.linalg.eigh(shrunk_covariance(v.double() - self.mean))
        self.whitening = vectors / values.clamp_min(1e-12 * float(values[-1]) or 1.0).sqrt()

    def whitened(self, v: Tensor) -> Tensor:
        """(M, D) in coordinates in which the distance is Euclidean."""
        return (v.double() - self.mean) @ self.whitening

    def score(self, v: Tensor) -> Tensor:
        """The distance."""
        return self.whitened(v).square().sum(1).sqrt()


def shrunk_covariance(centered: Tensor) -> Tensor:
    """(1 - s) S + s m I of centered vectors (N, D), with the share s that Ledoit and Wolf (2004) estimate.

    m = tr S / D, d^2 = |S - m I|^2 / D, b^2 = min(d^2, (1/N^2) sum_n |x_n x_n^T - S|^2 / D), s = b^2 / d^2.
    """
    n, dim = centered.shape
    covariance = centered.T @ centered / n
    mean = covariance.trace() / dim
    spread = covariance.square().sum() / dim - mean.square()
    fourth = centered.square().sum(1).square().sum() / n
    noise = (fourth - covariance.square().sum()) / (n * dim)
    share = float((noise / spread).clamp(0.0, 1.0)) if float(spread) > 0.0 else 0.0
    shrunk = (1.0 - share) * covariance
    shrunk.diagonal().add_(share * mean)
    return shrunk


@final
class WhitenedNeighbors:
    """The mean distance to the k nearest normal records, in coordinates in which their covariance is the identity."""

    def __init__(self, k: int) -> None:
        self.metric, self.neighbors = Mahalanobis(), Neighbors(k)

    def fit(self, v: Tensor) -> None:
        """Coordinates, and the vectors in them."""
        self.metric.fit(v)
        self.neighbors.fit(self.metric.whitened(v).float())

    def score(self, v: Tensor) -> Tensor:
        """The mean distance."""
        return self.neighbors.score(self.metric.whitened(v).float())


@final
class PrincipalNeighbors:
    """The mean distance to the k nearest normal records on the first principal components, each at variance 1.

    A twentieth of the mean variance is added to each, so that directions that hardly vary count for little.
    """

    def __init__(self, k: int, axes: int = 120) -> None:
        self.neighbors, self.axes = Neighbors(k), axes

    def fit(self, v: Tensor) -> None:
        """Components, and the vectors on them."""
        self.mean = v.mean(0)
        centered = (v - self.mean).double()
        values, vectors = torch.linalg.eigh(centered.T @ centered / len(centered))
        values, vectors = values[-self.axes :].clamp_min(0.0), vectors[:, -self.axes :]
        usual = float(values.mean()) or 1.0
        self.whitening = (vectors / (values + 0.05 * usual).sqrt()).to(v.dtype)
        self.neighbors.fit((v - self.mean) @ self.whitening)

    def score(self, v: Tensor) -> Tensor:
        """The mean distance."""
        return self.neighbors.score((v - self.mean) @ self.whitening)


@final
class Residual:
    """The distance to the plane of the principal components that hold 90 % of the variance."""

    def fit(self, v: Tensor) -> None:
        """Mean and components."""
        self.mean = v.double().mean(0)
        centered = v.double() - self.mean
        wide = centered.shape[1] > len(centered)
        values, vectors = torch.linalg.eigh(centered @ centered.T if wide else centered.T @ centered)
        values, vectors = values.flip(0).clamp_min(0.0), vectors.flip(1)
        total = float(values.sum())
        kept = 1 + int((values.cumsum(0) < _KEPT_VARIANCE * total).sum()) if total > 0.0 else 0
        axes = centered.T @ vectors[:, :kept] if wide else vectors[:, :kept]
        self.axes = axes / axes.norm(dim=0).clamp_min(1e-300)

    def score(self, v: Tensor) -> Tensor:
        """The distance."""
        return self.left_out(v).norm(dim=1)

    def left_out(self, v: Tensor) -> Tensor:
        """(M, D) what the plane leaves out."""
        centered = v.double() - self.mean
        return centered - centered @ self.axes @ self.axes.T


@final
class Tails:
    """How far out a record lies in each column, added: sum_j -log min(share below, share above)."""

    def fit(self, v: Tensor) -> None:
        """Keep the values of each column in order."""
        self.ordered = v.double().T.sort().values.contiguous()  # (D, N)

    def score(self, v: Tensor) -> Tensor:
        """The sum; the value itself counts on both sides."""
        columns, n = v.double().T.contiguous(), self.ordered.shape[1]
        below = torch.searchsorted(self.ordered, columns, right=True).double()
        above = n - torch.searchsorted(self.ordered, columns).double()
        least = (torch.minimum(below, above) + 0.5) / (n + 1.0)
        return -least.clamp_max(0.5).log().sum(0)


@final
class Forest:
    """The isolation forest of scikit-learn."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, v: Tensor) -> None:
        """Grow the trees."""
        from sklearn.ensemble import IsolationForest  # a second to import

        self.forest = IsolationForest(n_estimators=TREES, random_state=self.seed).fit(v.numpy())

    def score(self, v: Tensor) -> Tensor:
        """How few cuts isolate a record."""
        return torch.from_numpy(-self.forest.score_samples(v.numpy()))


@final
class Scaled:
    """A rule on columns that are brought to one scale; constant columns stay."""

    def __init__(self, rule: Rule, by: Scale = "range") -> None:
        self.rule, self.by = rule, by

    def fit(self, v: Tensor) -> None:
        """Learn the scale, and the rule in it."""
        v = v.double()
        self.ordered = v.T.sort().values.contiguous()  # (D, N)
        low, high = v.amin(0), v.amax(0)
        spread = high - low
        if self.by == "quartiles":
            last = self.ordered.shape[1] - 1
            quarter, three = self.ordered[:, round(0.25 * last)], self.ordered[:, round(0.75 * last)]
            spread = torch.where(three > quarter, (three - quarter) / 1.35, v.std(0, correction=0))
            low = v.median(0).values
        self.low, self.spread = low, torch.where(spread > 0.0, spread, torch.ones_like(spread))
        self.rule.fit(self._scaled(v))

    def score(self, v: Tensor) -> Tensor:
        """The score of the rule."""
        return self.rule.score(self._scaled(v.double()))

    def _scaled(self, v: Tensor) -> Tensor:
        if self.by != "ranks":
            return (v - self.low) / self.spread
        columns, n = v.T.contiguous(), self.ordered.shape[1]
        both = torch.searchsorted(self.ordered, columns) + torch.searchsorted(self.ordered, columns, right=True)
        return torch.special.ndtri((0.5 * both.double() + 0.5) / (n + 1.0)).T.contiguous()
