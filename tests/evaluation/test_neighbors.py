"""Precision, recall, density and coverage against the papers' dense formulas; what their intervals cover."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from morphogen.core.errors import DataError, UsageError
from morphogen.core.rng import Rng
from morphogen.theory.statistics import neighbors
from morphogen.theory.statistics.intervals import binomial_tail
from morphogen.theory.statistics.neighbors import nearest, neighborhoods, radii


def normal(seed: int, n: int, d: int = 6, shift: float = 0.0) -> Tensor:
    return Rng(seed).normal("x", n, (d,)) + shift


def distances(x: Tensor, y: Tensor) -> Tensor:
    return (x.double()[:, None] - y.double()).norm(dim=-1)


def dense(generated: Tensor, real: Tensor, k: int) -> dict[str, float]:
    """The definitions on whole matrices; a radius is the (k + 1)-th smallest distance, that to itself included."""
    r, s = (distances(x, x).sort(1).values[:, k] for x in (real, generated))
    d = distances(real, generated)
    inside_real, inside_generated = d < r[:, None], d < s
    return {
        "precision": float(inside_real.any(0).double().mean()),
        "recall": float(inside_generated.any(1).double().mean()),
        "density": float(inside_real.double().sum(0).mean()) / k,
        "coverage": float((d.min(1).values < r).double().mean()),
    }


@pytest.mark.parametrize(("n", "m", "k", "shift"), [(120, 90, 5, 0.0), (80, 150, 3, 0.7), (60, 60, 1, 5.0)])
def test_shares_equal_the_definitions(n: int, m: int, k: int, shift: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "_CHUNK", 1000)  # several chunks
    generated, real = normal(0, n, shift=shift), normal(1, m)
    found, want = neighborhoods(generated, real, k), dense(generated, real, k)
    for name, value in want.items():
        assert getattr(found, name).value == pytest.approx(value, abs=1e-12), name
    assert shift == 5.0 or 0.0 < want["precision"] < 1.0


def test_far_from_the_origin_near_duplicates_keep_their_distances() -> None:
    """|x|^2 + |y|^2 - 2 x.y of features about 1000 with gaps of 1e-3 would have no correct digit in float32."""
    real = normal(0, 100) * 1e-3 + 1000.0
    generated = normal(1, 100) * 1e-3 + 1000.0
    assert torch.allclose(radii(real.double(), 5), distances(real, real).sort(1).values[:, 5], rtol=1e-9)
    found, want = neighborhoods(generated, real), dense(generated, real, 5)
    assert found.precision.value == want["precision"] and found.density.value == pytest.approx(want["density"])


def test_the_nearest_of_a_copy_is_at_distance_zero() -> None:
    train = normal(0, 500) + 30.0
    x = torch.cat((train[[7, 123]], normal(1, 50) + 30.0))
    found, index = nearest(x, train)
    assert index[:2].tolist() == [7, 123] and found[:2].tolist() == [0.0, 0.0]
    assert torch.allclose(found, distances(x, train).min(1).values, rtol=1e-6)


def test_copies_have_radius_zero_and_hold_nothing() -> None:
    x = normal(0, 60).repeat(1, 1)
    repeated = torch.cat((x, x, x))
    assert radii(repeated.double(), 2).tolist() == [0.0] * 180
    assert neighborhoods(repeated, repeated, 2).density.value == 0.0


def test_a_sample_of_the_same_distribution_has_density_one_and_a_far_one_nothing() -> None:
    """Naeem et al. (2020): E density = 1, E coverage = 1 - 2^-k about; here at n = 600, within 4 standard errors."""
    same = neighborhoods(normal(0, 600), normal(1, 600))
    assert same.density.value == pytest.approx(1.0, abs=0.2)
    assert same.coverage.value == pytest.approx(1.0 - 2.0**-5, abs=4 * 0.01)
    far = neighborhoods(normal(0, 600, shift=50.0), normal(1, 600))
    assert [getattr(far, s).value for s in ("precision", "recall", "density", "coverage")] == [0.0] * 4
    assert far.precision.interval is not None and far.precision.interval[1] > 0.0


def test_one_mode_of_two_keeps_precision_and_loses_coverage() -> None:
    real = torch.cat((normal(0, 300), normal(1, 300, shift=10.0)))
    found = neighborhoods(normal(2, 600), real)
    assert found.precision.value > 0.8 and found.coverage.interval[1] < 0.56 and found.recall.interval[1] < 0.6


def test_intervals_cover_for_new_judged_records() -> None:
    """150 trials of 200 records against a fixed other sample; coverage 95 % gives fewer than 131 hits once in 10^3."""
    fixed = normal(10**6, 200, 4)
    found = [neighborhoods(normal(i, 200, 4, 0.3), fixed) for i in range(150)]
    for share in ("precision", "density"):
        estimates = [getattr(f, share) for f in found]
        truth = sum(e.value for e in estimates) / 150
        hits = sum(e.interval[0] <= truth <= e.interval[1] for e in estimates)
        assert 1.0 - binomial_tail(hits + 1, 150, 0.95) > 1e-3, share


def test_too_few_records_are_refused() -> None:
    with pytest.raises(DataError, match="at least 50 of each are needed: neighborhoods of 5"):
        neighborhoods(normal(0, 49), normal(1, 100))
    with pytest.raises(UsageError, match="k of at least 1"):
        neighborhoods(normal(0, 49), normal(1, 100), 0)
