"""Gaussians of classes: their moments, what one record can change, and what noise does to them."""

import math

import pytest
import torch
from torch import Tensor

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError
from morphogen.core.privacy import PrivacyTerms
from morphogen.core.rng import Rng
from morphogen.core.strong_noise import SeededSource
from morphogen.families.class_gaussian import ClassGaussian, ClassGaussianSpec
from morphogen.theory.cosine_basis import picture_basis
from morphogen.trainer.private.releasing import Exact, Shared

DATA = DataSpec(name="blobs", shape=(1, 4, 4), kind="continuous", levels=256, classes=("a", "b"))


def _records(n: int, seed: int = 0) -> Batch:
    """Smooth pictures of two classes whose norms stay within the radii."""
    rng, index = Rng(seed), torch.arange(n)
    label = (index % 3 == 0).long()
    z = rng.normal("z", index, (3,), torch.float64)
    unit = 0.2 + 0.1 * label[:, None] + 0.03 * z @ picture_basis((1, 4, 4))[:3]
    return Batch((2 * unit - 1).view(n, 1, 4, 4), index, RawCondition(label))


class Recorded:
    """A mechanism that keeps the exact values."""

    deviations: dict[str, float] = {}

    def __init__(self) -> None:
        self.values: list[Tensor] = []
        self.sensitivities: list[float] = []

    def gaussian(self, value: Tensor, sensitivity: float, share: float, what: str) -> Tensor:
        self.values.append(value.clone())
        self.sensitivities.append(sensitivity)
        return self.first[len(self.values) - 1] if hasattr(self, "first") else value

    def choose(self, scores: Tensor, sensitivity: float, share: float, what: str) -> int:
        raise AssertionError


def test_basis_is_orthonormal_and_begins_with_the_constant() -> None:
    basis = picture_basis((2, 5, 3))
    assert torch.allclose(basis @ basis.T, torch.eye(30, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(basis[0][basis[0] != 0], torch.full((15,), 15**-0.5, dtype=torch.float64))


@pytest.mark.parametrize("rest_share", [0.0, 0.05])
def test_without_noise_samples_have_the_moments_of_each_class(rest_share: float) -> None:
    batch = _records(3000)
    model = ClassGaussian(
        ClassGaussianSpec(rank=8, radius=1.0, spread=1.0, values_share=0.0, rest_share=rest_share), DATA
    )
    model.release(lambda: iter([batch[:1000], batch[1000:]]), Exact())
    n = 20_000
    for k in (0, 1):
        drawn = model.sample(n, RawCondition(torch.full((n,), k)), Rng(1)).flatten(1).double()
        real = batch.x[batch.cond.label == k].flatten(1)
        assert (drawn.mean(0) - real.mean(0)).abs().max() < 6 * float(real.std()) / math.sqrt(n)
        assert (torch.cov(drawn.T) - torch.cov(real.T)).abs().max() < 0.05 * float(torch.cov(real.T).abs().max()) + 1e-6
    share = float((model.sample(n, None, Rng(2)).mean((1, 2, 3)) > -0.55).double().mean())
    assert abs(share - 1 / 3) < 0.05  # classes come in proportion to their sizes


@pytest.mark.parametrize("scale", [0.3, 40.0])
def test_one_record_changes_no_sum_by_more_than_is_said(scale: float) -> None:
    batch = _records(30)
    batch.x[7] = scale * torch.randn(1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    spec = ClassGaussianSpec(rank=8, rest_share=0.05)
    with_it, without = Recorded(), Recorded()
    ClassGaussian(spec, DATA).release(lambda: iter([batch]), with_it)
    without.first = with_it.values  # later sums depend on what was released before, which is the same
    rest = batch[torch.arange(30) != 7]
    ClassGaussian(spec, DATA).release(lambda: iter([rest]), without)
    for a, b, most in zip(with_it.values, without.values, with_it.sensitivities, strict=True):
        assert float((a - b).norm()) <= most * (1 + 1e-9)


def test_noise_is_shrunk_away_where_it_hides_the_covariance() -> None:
    batch = _records(3000)
    model = ClassGaussian(ClassGaussianSpec(rank=8), DATA)
    mechanism = Shared(PrivacyTerms(epsilon=0.5, delta=1e-5), SeededSource(0), False)
    model.release(lambda: iter([batch]), mechanism)
    assert mechanism.epsilon == pytest.approx(0.5, rel=1e-6)
    assert {item.what for item in mechanism.spent} == {
        "sizes of classes",
        "mean of all",
        "means of classes",
        "covariances of classes",
        "values",
    }
    traces = model.factors.square().sum((1, 2))
    real = torch.stack([torch.cov((batch.x[batch.cond.label == k] / 2).flatten(1).T).trace() for k in (0, 1)])
    assert (traces < 5 * real + 0.05).all()
    assert model.sample(5, None, Rng(0)).shape == (5, 1, 4, 4)


def test_values_of_samples_come_as_often_as_those_of_records() -> None:
    ink = torch.rand(4000, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unit = torch.where(ink < 0.6, 0.0, torch.where(ink < 0.7, 0.5 + ink - 0.6, 1.0))
    batch = Batch(2 * unit - 1, torch.arange(4000), RawCondition(torch.arange(4000) % 2))
    model = ClassGaussian(ClassGaussianSpec(rank=16, radius=1.0, spread=1.0), DATA)
    model.release(lambda: iter([batch]), Exact())
    drawn = (model.sample(4000, None, Rng(1)).double() + 1) / 2
    for shown, asked in (((drawn < 0.02), 0.6), ((drawn > 0.98), 0.3), ((drawn > 0.45) & (drawn < 0.65), 0.1)):
        assert abs(float(shown.double().mean()) - asked) < 0.02
    assert drawn.min() >= 0 and drawn.max() <= 1


def test_records_that_it_cannot_model_are_refused() -> None:
    with pytest.raises(SpecError, match="pictures or numbers"):
        ClassGaussian(ClassGaussianSpec(), DataSpec(name="large", shape=(3, 64, 64), kind="continuous"))
    with pytest.raises(SpecError, match="nothing for the covariances"):
        ClassGaussian(ClassGaussianSpec(count_share=0.5, mean_share=0.5), DATA)
