r"""A Gaussian for each class, from five sums over the records: a generator that small private data allow.

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
from morphogen.core.rng import Noise
from morphogen.core.spec import Spec
from morphogen.theory.cosine_basis import picture_basis
from morphogen.theory.privacy import clipped

SMOOTH = 64  # coefficients of a map of variances
FARTHEST = 0.6  # of the largest norm that a record can have; few records are beyond
LARGEST = 4096  # elements of a record; the basis is a matrix of their square


class ClassGaussianSpec(Spec):
    """Options of the Gaussian of each class."""

    rank: int = Field(64, ge=1, le=1024, description="coefficients whose covariance is learned")
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

    def __init__(self, spec: ClassGaussianSpec, data: DataSpec, parts: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__(spec, data, parts)
        if data.kind not in ("continuous", "binary") or data.dimensions > LARGEST:
            raise SpecError(
                f"a {self.name!r} model is of pictures or numbers with at most {LARGEST:,} elements, and"
                f" {data.name!r} has records of kind {data.kind!r} with {data.dimensions:,}."
            )
        if spec.count_share + spec.middle_share + spec.mean_share + spec.rest_share >= 1.0:
            raise SpecError("the shares leave nothing for the covariances: their sum is below 1.")
        self.classes, self.rank = max(1, len(data.classes)), min(spec.rank, data.dimensions)
        with torch.device("cpu"):
            basis = picture_basis(data.shape)
        self.register_buffer("basis", basis, persistent=False)
        self.register_buffer("counts", torch.ones(self.classes, dtype=torch.float64))
        self.register_buffer("means", torch.zeros(self.classes, data.dimensions, dtype=torch.float64))
        self.register_buffer("rest", torch.zeros(self.classes, data.dimensions, dtype=torch.float64))  # deviations
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
        """Learn the sizes, the means, the covariances and the variances of the rest."""
        s, d, k, r = self.spec, self.data.dimensions, self.classes, self.rank
        usual = (0.36, 0.25) if self.data.is_picture else (0.6, 0.5)
        radius, spread = (
            math.sqrt(d) * (share or default) for share, default in zip((s.radius, s.spread), usual, strict=True)
        )
        counts, whole = torch.zeros(k, dtype=torch.float64), torch.zeros(d, dtype=torch.float64)
        for batch in passes():
            counts += torch.bincount(self._labels(batch), minlength=k)
            whole += clipped(self._coefficients(batch.x), FARTHEST * math.sqrt(d)).sum(0)
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
        share = 1.0 - s.count_share - s.middle_share - s.mean_share - s.rest_share
        squares = mechanism.gaussian(self._triangle(squares), spread**2, share, "covariances of classes")
        if s.rest_share:
            maps = mechanism.gaussian(maps, spread**2, s.rest_share, "variances of the rest")
        else:
            maps.zero_()
        self._learn(counts, means, squares, maps @ smooth, mechanism.deviations.get("covariances of classes", 0.0))

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

    @torch.no_grad()
    def sample(self, n: int, cond: RawCondition | None, rng: Noise) -> Tensor:
        """Draw records of the asked classes; of classes in proportion to their sizes where none is asked for."""
        u = rng.uniform("class", n, dtype=torch.float64).to(self.counts)
        bounds = (self.counts / self.counts.sum()).cumsum(0)
        label = (u[:, None] > bounds[:-1]).sum(1)
        if cond is not None and cond.label is not None:
            label = torch.where(cond.label < 0, label, cond.label.to(label))
        z = rng.normal("x", n, (self.rank,), torch.float64).to(self.counts)
        c = self.means[label]
        c[:, : self.rank] += torch.einsum("nij,nj->ni", self.factors[label], z)
        rest = self.rest[label] * rng.normal("rest", n, (self.data.dimensions,), torch.float64).to(z)
        unit = (c @ self.basis + rest).clamp(0.0, 1.0).view(n, *self.data.shape)
        if self.data.kind == "binary":
            return unit.float()
        return (2.0 * unit - 1.0).float()

    def _coefficients(self, x: Tensor) -> Tensor:
        """The coefficients (B, D) in the basis of x, whose values become those of [0, 1]."""
        unit = x.double() if self.data.kind == "binary" else (x.double() + 1.0) / 2.0
        return unit.flatten(1) @ self.basis.T

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
