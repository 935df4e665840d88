r"""A Gaussian for each class, from a few sums over the records: a generator that small private data allow.

With c(x) the coefficients of a record in a public basis (cosines for pictures, the lowest frequencies first), scaled so
that a record has values in [0, 1], each class k has the mean m_k, in the first r coefficients the covariance S_k, and
beyond them independent noise in each element, whose variance is a smooth map. They are released one after the other,
each sum over the records of a class, with noise (Dwork et al., 2006):

    n_k = sum 1,         M = sum clip(c, 0.6 sqrt(D)) over all,     M_k = sum clip(c - M / n, R),
    C_k = sum d d^T,     V_k = sum (first q coefficients of the map t^2),

for d = clip(first r of c - m_k, R'), t = what clip(the others, R') shows and |clip(v, R)| <= R. A record is in one
class, so it changes one n_k by 1, M by 0.6 sqrt(D), one M_k by R, one C_k, in the Frobenius norm, by R'^2, and one V_k
by R'^2 at most, as |t^2| <= |t|^2.

What noise adds to the eigenvalues of a symmetric matrix ends at sqrt(2 r) deviations (Wigner, 1955). Eigenvalues below
that edge say nothing; larger ones are shrunk by what the noise has added. The mean covariance of all classes has less
noise than that of each, so a class is that mean plus its own difference, and both are shrunk so.

A Gaussian knows no ink and no paper: it draws gray where records have either. So pictures also release how often each
value occurs, in any element of any record of a channel,

    H = sum of the shares of a record's elements in each bin (0, thirty-two between, and 1),

which one record changes by at most 1 a channel, and samples pass through the monotone map that gives their values
these shares (histogram matching). The map needs samples alone, so it costs nothing more.

The independent noise makes the variance of each element right and the picture wrong: no digit is speckled. By default
(`rest_share` 0) it is neither released nor drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.capabilities import Releases, Samples
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError
from morphogen.core.family import Family, Player, Progress, Step
from morphogen.core.privacy import Mechanism
from morphogen.core.rng import Noise, Rng
from morphogen.core.spec import Spec
from morphogen.theory.cosine_basis import picture_basis
from morphogen.theory.privacy import clipped

SMOOTH = 64  # coefficients of a map of variances
BINS = 32  # of values between 0 and 1
KNOTS, FITTED = 512, 2048  # of the map of values; samples that it is fitted on
FARTHEST = 0.6  # of the largest norm that a record can have; few records are beyond
LARGEST = 4096  # elements of a record; the basis is a matrix of their square


class ClassGaussianSpec(Spec):
    """Options of the Gaussian of each class."""

    rank: int = Field(200, ge=1, le=1024, description="coefficients whose covariance is learned")
    radius: float | None = Field(
        None,
        gt=0,
        le=1,
        description="R, the radius around the mean, as a share of the largest norm; none: 0.36 for pictures, else 0.6",
    )
    spread: float | None = Field(
        None, gt=0, le=1, description="R', the radius around the class mean, alike; none: 0.25 for pictures, else 0.5"
    )
    count_share: float = Field(0.02, gt=0, lt=1, description="share of the privacy for the sizes of the classes")
    middle_share: float = Field(0.03, gt=0, lt=1, description="share for the mean of all records")
    mean_share: float = Field(0.25, gt=0, lt=1, description="share for their means")
    values_share: float = Field(
        0.03, ge=0, lt=1, description="share for how often each value occurs, which samples then follow; of pictures"
    )
    rest_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share for the variances of the rest, drawn as noise of pixels; what is left is for covariances",
    )


class ClassGaussian(Family):
    """A Gaussian of each class in a low-rank public basis; see the module's docstring."""

    name = "class_gaussian"
    summary = "a Gaussian for each class, from a few sums: a cheap generator that can be private"
    Spec = ClassGaussianSpec
    capabilities = frozenset({Samples, Releases})
    chooses = False
    spec: ClassGaussianSpec
    basis: Tensor
    counts: Tensor
    means: Tensor
    factors: Tensor
    rest: Tensor
    seen: Tensor
    shown: Tensor

    def __init__(self, spec: ClassGaussianSpec, data: DataSpec, parts: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__(spec, data, parts)
        if data.kind not in ("continuous", "binary") or data.dimensions > LARGEST:
            raise SpecError(
                f"a {self.name!r} model is of pictures or numbers with at most {LARGEST:,} elements, and"
                f" {data.name!r} has records of kind {data.kind!r} with {data.dimensions:,}."
            )
        self.values_share = spec.values_share if data.is_picture else 0.0
        self.channels = data.shape[0] if data.is_picture else 1
        self.others = spec.count_share + spec.middle_share + spec.mean_share + spec.rest_share + self.values_share
        if self.others >= 1.0:
            raise SpecError("the shares leave nothing for the covariances: their sum is below 1.")
        self.classes, self.rank = max(1, len(data.classes)), min(spec.rank, data.dimensions)
        with torch.device("cpu"):
            basis = picture_basis(data.shape)
        self.register_buffer("basis", basis, persistent=False)
        self.register_buffer("counts", torch.ones(self.classes, dtype=torch.float64))
        self.register_buffer("means", torch.zeros(self.classes, data.dimensions, dtype=torch.float64))
        self.register_buffer("rest", torch.zeros(self.classes, data.dimensions, dtype=torch.float64))  # deviations
        straight = torch.linspace(0.0, 1.0, KNOTS, dtype=torch.float64).repeat(self.channels, 1)
        self.register_buffer("seen", straight.clone())  # values of the Gaussians, and what each becomes
        self.register_buffer("shown", straight)
        self.register_buffer("factors", torch.zeros(self.classes, self.rank, self.rank, dtype=torch.float64))

    @property
    def conditional(self) -> bool:
        """Whether it has classes."""
        return bool(self.data.classes)

    def players(self) -> Mapping[str, Player]:
        return {}

    def networks(self) -> Mapping[str, nn.Module]:
        return {}

    def steps(self, batch: Batch, rng: Noise, at: Progress) -> Iterator[Step]:
        yield from ()

    @torch.no_grad()
    def release(self, passes: Callable[[], Iterator[Batch]], mechanism: Mechanism) -> None:
        """Learn the sizes, the means, the covariances, the variances of the rest and the values."""
        s, d, k, r = self.spec, self.data.dimensions, self.classes, self.rank
        usual = (0.36, 0.25) if self.data.is_picture else (0.6, 0.5)
        radius, spread = (
            math.sqrt(d) * (share or default) for share, default in zip((s.radius, s.spread), usual, strict=True)
        )
        counts, whole = torch.zeros(k, dtype=torch.float64), torch.zeros(d, dtype=torch.float64)
        bins = torch.zeros(self.channels, BINS + 2, dtype=torch.float64)
        for batch in passes():
            counts += torch.bincount(self._labels(batch), minlength=k)
            whole += clipped(self._coefficients(batch.x), FARTHEST * math.sqrt(d)).sum(0)
            if self.values_share:
                bins += _histogram(self._unit(batch.x))
        counts = mechanism.gaussian(counts, 1.0, s.count_share, "sizes of classes").clamp_min(1.0)
        middle = mechanism.gaussian(whole, FARTHEST * math.sqrt(d), s.middle_share, "mean of all") / counts.sum()
        sums = torch.zeros(k, d, dtype=torch.float64)
        for batch in passes():
            sums.index_add_(0, self._labels(batch), clipped(self._coefficients(batch.x) - middle, radius))
        means = middle + mechanism.gaussian(sums, radius, s.mean_share, "means of classes") / counts[:, None]
        smooth = self.basis[: min(SMOOTH, d)]
        squares, maps = torch.zeros(k, r, r, dtype=torch.float64), torch.zeros(k, len(smooth), dtype=torch.float64)
        for batch in passes():
            c, label = self._coefficients(batch.x), self._labels(batch)
            away = c - means[label]
            first, rest = clipped(away[:, :r], spread), clipped(away[:, r:], spread)
            for i in label.unique().tolist():
                squares[i] += first[label == i].T @ first[label == i]
            maps.index_add_(0, label, (rest @ self.basis[r:]).square() @ smooth.T)
        squares = mechanism.gaussian(self._triangle(squares), spread**2, 1.0 - self.others, "covariances of classes")
        if s.rest_share:
            maps = mechanism.gaussian(maps, spread**2, s.rest_share, "variances of the rest")
        else:
            maps.zero_()
        self._learn(counts, means, squares, maps @ smooth, mechanism.deviations.get("covariances of classes", 0.0))
        if self.values_share:
            bins = mechanism.gaussian(bins, math.sqrt(len(bins)), self.values_share, "values")
            self._match(bins, mechanism.deviations.get("values", 0.0))

    def _learn(self, counts: Tensor, means: Tensor, squares: Tensor, maps: Tensor, deviation: float) -> None:
        """From the noisy sums to the model."""
        self.counts.copy_(counts)
        self.means.copy_(means)
        self.rest.copy_((maps / counts[:, None]).clamp_min(0.0).sqrt())
        edge = deviation * math.sqrt(2.0 * self.rank)
        mean = _denoised(self._square(squares.sum(0)) / counts.sum(), edge * math.sqrt(self.classes) / counts.sum())
        for i in range(self.classes):
            own = self._square(squares[i]) / counts[i] - mean
            values, vectors = torch.linalg.eigh(mean + _denoised(own, edge / counts[i]))
            self.factors[i] = vectors * values.clamp_min(0.0).sqrt()

    def _match(self, bins: Tensor, deviation: float) -> None:
        """Learn the map that gives values of samples the shares in `bins`; what noise alone could make is none."""
        shares = torch.where(bins > 2.0 * deviation, bins, 0.0)
        shares[shares.sum(1) == 0.0] = 1.0
        unit = self._drawn(FITTED, None, Rng(0))
        for channel in range(len(bins)):
            values = unit[:, channel].flatten().sort().values
            places = torch.linspace(0.0, 1.0, KNOTS, dtype=torch.float64)
            self.seen[channel] = values[(places * (len(values) - 1)).long()]
            self.shown[channel] = _quantiles(shares[channel], places)

    @torch.no_grad()
    def sample(self, n: int, cond: RawCondition | None, rng: Noise) -> Tensor:
        """Draw records of the asked classes; of classes in proportion to their sizes where none is asked for."""
        drawn = self._drawn(n, cond, rng)
        maps = zip(drawn.unbind(1), self.seen, self.shown, strict=True)
        unit = torch.stack([_piecewise(x.contiguous(), seen, shown) for x, seen, shown in maps], 1)
        unit = unit.view(n, *self.data.shape)
        return unit.float() if self.data.kind == "binary" else (2.0 * unit - 1.0).float()

    def _drawn(self, n: int, cond: RawCondition | None, rng: Noise) -> Tensor:
        """Records (n, channels, elements) of the Gaussians, in units of [0, 1], which they may leave."""
        u = rng.uniform("class", n, dtype=torch.float64).to(self.counts)
        bounds = (self.counts / self.counts.sum()).cumsum(0)
        label = (u[:, None] > bounds[:-1]).sum(1)
        if cond is not None and cond.label is not None:
            label = torch.where(cond.label < 0, label, cond.label.to(label))
        z = rng.normal("x", n, (self.rank,), torch.float64).to(self.counts)
        c = self.means[label]
        c[:, : self.rank] += torch.einsum("nij,nj->ni", self.factors[label], z)
        rest = self.rest[label] * rng.normal("rest", n, (self.data.dimensions,), torch.float64).to(z)
        return (c @ self.basis + rest).view(n, self.channels, -1)

    def _coefficients(self, x: Tensor) -> Tensor:
        """The coefficients (B, D) in the basis of x, whose values become those of [0, 1]."""
        return self._unit(x).flatten(1) @ self.basis.T

    def _unit(self, x: Tensor) -> Tensor:
        """x with values of [0, 1]."""
        return x.double() if self.data.kind == "binary" else (x.double() + 1.0) / 2.0

    def _labels(self, batch: Batch) -> Tensor:
        """(B,) the class of each record; of records without one, 0."""
        label = None if batch.cond is None else batch.cond.label
        if label is None or not self.data.classes:
            return torch.zeros(len(batch), dtype=torch.int64, device=batch.x.device)
        return label.clamp_min(0)

    def _triangle(self, squares: Tensor) -> Tensor:
        """Symmetric matrices (K, r, r) as vectors of the same norm: each pair of equal elements once, times sqrt 2."""
        i, j = torch.triu_indices(self.rank, self.rank)
        return squares[:, i, j] * torch.where(i == j, 1.0, math.sqrt(2.0)).to(squares)

    def _square(self, vector: Tensor) -> Tensor:
        """The inverse of `_triangle`, of one matrix."""
        i, j = torch.triu_indices(self.rank, self.rank)
        found = vector.new_zeros(self.rank, self.rank)
        found[i, j] = vector / torch.where(i == j, 1.0, math.sqrt(2.0)).to(vector)
        return found + found.T - found.diag().diag()


def _denoised(seen: Tensor, edge: Tensor) -> Tensor:
    """The symmetric matrix without the noise with which it was seen, whose eigenvalues end at `edge`.

    A large eigenvalue t is seen as t + edge^2 / (4 t) (Benaych-Georges and Nadakuditi, 2011), which is inverted here.
    """
    values, vectors = torch.linalg.eigh(seen)
    root = (values.square() - edge**2).clamp_min(0.0).sqrt()
    values = torch.where(values.abs() > edge, (values + values.sign() * root) / 2.0, 0.0)
    return (vectors * values) @ vectors.T


def _histogram(unit: Tensor) -> Tensor:
    """(C, BINS + 2) for pictures (B, C, H, W): the sum over them of the share of 0, of each bin between, and of 1."""
    at = (unit * BINS).floor().clamp(0, BINS - 1).long() + 1
    at = torch.where(unit <= 0.0, 0, torch.where(unit >= 1.0, BINS + 1, at))
    counts = [torch.bincount(channel.flatten(), minlength=BINS + 2) for channel in at.transpose(0, 1)]
    return torch.stack(counts).double() / math.prod(unit.shape[2:])


def _quantiles(shares: Tensor, places: Tensor) -> Tensor:
    """The quantiles at `places` of values with these shares of 0, of each bin between, evenly inside it, and of 1."""
    below = torch.cat((shares.new_zeros(1), shares.cumsum(0))) / shares.sum()
    found = torch.searchsorted(below[1:-1].contiguous(), places)
    inside = (places - below[found]) / (below[found + 1] - below[found]).clamp_min(1e-12)
    return ((found - 1 + inside) / BINS).clamp(0.0, 1.0)


def _piecewise(x: Tensor, seen: Tensor, shown: Tensor) -> Tensor:
    """The piecewise linear function through the points (seen, shown); constant beyond the ends."""
    after = torch.searchsorted(seen, x).clamp(1, len(seen) - 1)
    low, high = seen[after - 1], seen[after]
    share = ((x - low) / (high - low).clamp_min(1e-12)).clamp(0.0, 1.0)
    return shown[after - 1] + share * (shown[after] - shown[after - 1])
