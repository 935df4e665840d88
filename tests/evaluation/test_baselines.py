"""Trivial models are what they say."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.core.rng import Rng
from morphogen.evaluation.context.baselines import (
    TRIVIAL,
    TRIVIAL_RECORDS,
    block,
    independent_elements,
    nearest_neighbor,
    one_gaussian,
    training_copies,
    training_mean,
)
from morphogen.evaluation.context.degradations import drawn


def pictures(n: int, purpose: str = "train") -> Tensor:
    """One strength a picture, so that pixels depend on each other; mid-range, so that nothing is clipped."""
    strength = Rng(0).normal(purpose, n, (1, 1, 1))
    pattern = 6.0 + 10.0 * Rng(0).uniform("pattern", 1, (2, 3, 4))
    detail = 4.0 * Rng(0).normal(purpose + " detail", n, (2, 3, 4))
    return (128.0 + strength * pattern + detail).round().clamp(0, 255).to(torch.uint8)


TRAIN, HELD_OUT = pictures(4000), pictures(300, "held out")


def flat(x: Tensor) -> Tensor:
    return x.flatten(1).double()


def rows(x: Tensor) -> list[bytes]:
    return [bytes(p) for p in x.flatten(1).tolist()]


@pytest.mark.parametrize("name", list(TRIVIAL))
def test_sets_are_of_the_kind_of_their_data_and_have_an_address(name: str) -> None:
    for train, held_out in ((TRAIN, HELD_OUT), (TRAIN.flatten(1).float() / 7.0, HELD_OUT.flatten(1).float() / 7.0)):
        make = TRIVIAL[name]
        made = make(train, held_out, 50, Rng(1))
        assert made.shape == (50, *train.shape[1:]) and made.dtype == train.dtype
        assert torch.equal(made, make(train, held_out, 50, Rng(1)))
        assert torch.equal(made[:20], make(train, held_out, 20, Rng(1))), "sample i is the same in any number"
        assert name == "training mean" or not torch.equal(made, make(train, held_out, 50, Rng(2)))
    assert list(TRIVIAL_RECORDS) == [n.replace("pixels", "columns") for n in TRIVIAL]


def test_the_training_mean_is_rounded_for_bytes_only() -> None:
    mean = flat(TRAIN).mean(0)
    assert float((flat(training_mean(TRAIN, HELD_OUT, 3, Rng(0))) - mean).abs().max()) <= 0.5
    real = TRAIN.float() / 7.0
    assert torch.allclose(flat(training_mean(real, real, 3, Rng(0))), mean / 7.0, atol=1e-5)


def test_independent_pixels_keep_each_histogram_and_no_relation() -> None:
    """Means, variances and correlations of 24 pixels, each to 5 standard errors. False alarms: below 1 in 5,000."""
    n = 8000
    x, y = flat(TRAIN), flat(independent_elements(TRAIN, HELD_OUT, n, Rng(0)))
    assert float(((y.mean(0) - x.mean(0)) / x.std(0)).abs().max()) < 5.0 / math.sqrt(n)
    fourth = ((x - x.mean(0)) / x.std(0)).pow(4).mean(0)
    assert float(((y.var(0) / x.var(0) - 1.0) / (fourth - 1.0).sqrt()).abs().max()) < 5.0 / math.sqrt(n)
    apart = torch.corrcoef(y.T)[~torch.eye(24, dtype=torch.bool)]
    assert float(apart.abs().max()) < 5.0 / math.sqrt(n)
    assert float(torch.corrcoef(x.T)[0, -1]) > 0.5, "which the data have"
    for d in range(24):
        assert set(y[:, d].tolist()) <= set(x[:, d].tolist())


@pytest.mark.parametrize("real", [False, True])
def test_one_gaussian_has_the_mean_and_covariance_of_the_data(real: bool) -> None:
    """Whitened, 24 means and 300 covariances to 5 standard errors, and rounding. False alarms: below 1 in 5,000."""
    train = TRAIN.double() / 7.0 if real else TRAIN
    n = 8000
    x, y = flat(train), flat(one_gaussian(train, HELD_OUT, n, Rng(0)))
    root = torch.linalg.cholesky(torch.cov(x.T))
    white = torch.linalg.solve_triangular(root, (y - x.mean(0)).T, upper=False)
    rounding = 0.0 if real else 1.0 / 12.0 / float(torch.linalg.eigvalsh(torch.cov(x.T))[0])
    assert float(white.mean(1).abs().max()) < 5.0 / math.sqrt(n)
    excess = torch.cov(white) - torch.eye(24, dtype=torch.float64)
    assert float(excess.abs().max()) < 5.0 * math.sqrt(2.0 / n) + rounding


def test_copies_are_different_training_pictures() -> None:
    made = training_copies(TRAIN, HELD_OUT, 500, Rng(0))
    assert set(rows(made)) <= set(rows(TRAIN))
    assert sorted(rows(training_copies(TRAIN[:40], HELD_OUT, 40, Rng(0)))) == sorted(rows(TRAIN[:40]))
    with pytest.raises(DataError, match="cannot draw 41 different training"):
        training_copies(TRAIN[:40], HELD_OUT, 41, Rng(0))


def test_nearest_neighbors_are_the_nearest() -> None:
    made = nearest_neighbor(TRAIN, HELD_OUT, 200, Rng(0))
    wanted = HELD_OUT[drawn(300, 200, Rng(0).child("nearest neighbor"))]
    distance = (flat(made) - flat(wanted)).square().sum(1).sqrt()
    assert torch.allclose(distance, torch.cdist(flat(wanted), flat(TRAIN)).min(1).values, rtol=1e-6)
    assert set(rows(made)) <= set(rows(TRAIN))
    own = nearest_neighbor(TRAIN, TRAIN[:20], 20, Rng(0))
    assert sorted(rows(own)) == sorted(rows(TRAIN[:20]))


def test_blocks_share_no_row_until_all_are_used() -> None:
    blocks = [block(100, 30, draw, Rng(0)) for draw in range(6)]
    for first in (0, 3):
        together = torch.cat(blocks[first : first + 3])
        assert len(together.unique()) == 90 and together.max() < 100
    assert not torch.equal(torch.cat(blocks[:3]), torch.cat(blocks[3:]))
