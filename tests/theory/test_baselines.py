"""Trivial baselines, against direct counting and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.naive_bayes import CategoricalNB

from morphogen.core.errors import DataError
from morphogen.core.rng import Rng
from morphogen.theory import baselines
from morphogen.theory.baselines import global_histogram, pixel_marginals, single_gaussian


def stored(seed: int, n: int, levels: int, shape: tuple[int, ...] = (1, 2, 3)) -> torch.Tensor:
    return Rng(seed).integers("u", n, levels, shape).to(torch.uint8)


def test_pixel_marginals_of_two_levels_are_smoothed_bernoullis() -> None:
    train, test = stored(0, 40, 2), stored(1, 9, 2)
    p = (train.double().sum(0) + 1) / (40 + 2)
    want = torch.distributions.Bernoulli(p).log_prob(test.double()).sum((1, 2, 3))
    got = pixel_marginals(train, test, 2)
    torch.testing.assert_close(got.log_prob, want, rtol=1e-12, atol=0)
    assert got.nats == pytest.approx(float(want.mean()), rel=1e-12)
    assert got.bits_per_dim == pytest.approx(-got.nats / math.log(2) / 6, rel=1e-12)


@pytest.mark.parametrize("levels", (3, 256))
def test_pixel_marginals_equal_an_independent_implementation(levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = stored(2, 50, levels), stored(3, 8, levels)
    reference = CategoricalNB(alpha=1.0, min_categories=levels).fit(train.flatten(1).numpy(), np.zeros(50))
    tables = reference.feature_log_prob_
    want = [sum(float(tables[d][0, u]) for d, u in enumerate(row)) for row in test.flatten(1).tolist()]
    np.testing.assert_allclose(pixel_marginals(train, test, levels).log_prob, want, rtol=1e-12)
    monkeypatch.setattr(baselines, "_CHUNK", 7)  # one record at a time
    np.testing.assert_allclose(pixel_marginals(train, test, levels).log_prob, want, rtol=1e-12)


def test_histograms_sum_to_one_even_over_values_never_seen() -> None:
    train = torch.zeros(5, 1, dtype=torch.uint8)
    everything = torch.arange(256, dtype=torch.uint8)[:, None]
    for model in (pixel_marginals, global_histogram):
        assert abs(float(model(train, everything, 256).log_prob.exp().sum()) - 1.0) < 1e-12


def test_global_histogram_pools_all_elements() -> None:
    train, test = stored(4, 30, 5), stored(5, 6, 5)
    p = (torch.bincount(train.flatten().long(), minlength=5) + 1.0).double() / (train.numel() + 5)
    want = p[test.long()].log().flatten(1).sum(1)
    torch.testing.assert_close(global_histogram(train, test, 5).log_prob, want, rtol=1e-12, atol=0)


@pytest.mark.parametrize("full", (True, False))
def test_single_gaussian_is_the_maximum_likelihood_fit(full: bool) -> None:
    train = Rng(0).normal("x", 200, (3,)) @ torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 0.3]])
    test = Rng(1).normal("x", 7, (3,))
    cov = np.cov(train.double().numpy().T, bias=True)
    reference = scipy.stats.multivariate_normal(train.double().mean(0).numpy(), cov if full else np.diag(np.diag(cov)))
    np.testing.assert_allclose(single_gaussian(train, test, full).log_prob, reference.logpdf(test.numpy()), rtol=1e-9)


def test_a_singular_covariance_is_refused() -> None:
    x = Rng(0).normal("x", 50, (2,))
    with pytest.raises(DataError, match="singular"):
        single_gaussian(torch.cat((x, x[:, :1] - x[:, 1:]), 1), x)
    with pytest.raises(DataError, match="singular"):
        single_gaussian(torch.cat((x, torch.ones(50, 1)), 1), x, full=False)


def test_values_outside_the_levels_are_refused() -> None:
    with pytest.raises(DataError, match=r"\[0, 9\], expected 0 to 3"):
        pixel_marginals(torch.tensor([[0], [9]]), torch.tensor([[0]]), 4)
    with pytest.raises(DataError, match="expected 0 to 3"):
        global_histogram(torch.tensor([[0]]), torch.tensor([[-1]]), 4)
    with pytest.raises(DataError, match="no records"):
        global_histogram(torch.tensor([[0]]), torch.zeros(0, 1, dtype=torch.uint8), 4)
