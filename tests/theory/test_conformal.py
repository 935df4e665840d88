"""Conformal p-values, the rates of alarms, false discoveries and areas under curves, against closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from morphogen.core.errors import DataError
from morphogen.core.rng import Rng
from morphogen.theory.statistics import conformal, discoveries, ranking
from morphogen.theory.statistics.drift import drift, kolmogorov
from morphogen.theory.statistics.surprise import Surprise

TRIALS = 1000


def normals(purpose: str, *shape: int) -> torch.Tensor:
    return Rng(0).normal(purpose, shape[0], shape[1:], dtype=torch.float64)


def test_p_values_are_uniform_by_every_order_of_few_records() -> None:
    """Exchangeable records without ties: each p-value k / (n + 1) is equally likely, counted over all orders."""
    counts: dict[float, int] = {}
    for order in itertools.permutations(range(5)):
        x = torch.tensor(order, dtype=torch.float64)
        p = float(conformal.p_values(x[:4], x[4:])[0])
        counts[p] = counts.get(p, 0) + 1
    assert counts == {k / 5: math.factorial(4) for k in range(1, 6)}


@pytest.mark.parametrize("values", (1, 2, 7), ids=("constant", "two values", "seven values"))
def test_p_values_with_ties_are_exactly_uniform_by_noise_and_never_too_small_without(values: int) -> None:
    x = Rng(1).integers("x", TRIALS, values, (20,)).double()
    u = Rng(1).uniform("u", TRIALS, dtype=torch.float64)
    broken = torch.cat([conformal.p_values(row[1:], row[:1], u[i : i + 1]) for i, row in enumerate(x)])
    assert scipy.stats.kstest(broken.numpy(), "uniform").pvalue > 1e-3
    kept = torch.cat([conformal.p_values(row[1:], row[:1]) for row in x])
    assert bool((kept >= broken).all())
    for alpha in (0.01, 0.05, 0.1):
        assert int((kept <= alpha).sum()) <= scipy.stats.binom.ppf(0.9995, TRIALS, alpha)


@pytest.mark.parametrize("alpha", (0.01, 0.05, 0.1))
def test_alarms_come_at_their_rate(alpha: float) -> None:
    n = 199
    scores = normals("alarms", TRIALS, n + 1)
    p = torch.cat([conformal.p_values(row[1:], row[:1]) for row in scores])
    at = conformal.level(n, alpha)
    assert at == alpha  # 200 alpha is whole
    low, high = scipy.stats.binom.ppf((5e-4, 1 - 5e-4), TRIALS, alpha)
    assert low <= int((p <= at).sum()) <= high


@pytest.mark.parametrize(("n", "m", "at"), ((19, 30, 0.05), (99, 50, 0.1), (200, 7, 20 / 201)))
def test_alarms_of_one_calibration_are_beta_binomial(n: int, m: int, at: float) -> None:
    k = round(at * (n + 1))
    masses = conformal.alarm_masses(n, m, at)
    want = scipy.stats.betabinom(m, k, n + 1 - k)
    np.testing.assert_allclose(masses, want.pmf(np.arange(m + 1)), rtol=1e-9)
    low, high = conformal.alarm_interval(n, m, at)
    assert masses[low : high + 1].sum() >= 0.95
    assert masses[:low].sum() <= 0.025 and masses[high + 1 :].sum() <= 0.025


def test_alarms_counted_over_calibrations_follow_their_masses() -> None:
    n, m, at = 19, 20, 0.1
    scores = normals("counted", TRIALS, n + m)
    alarms = [int((conformal.p_values(row[:n], row[n:]) <= at).sum()) for row in scores]
    masses = conformal.alarm_masses(n, m, at).numpy() * TRIALS
    few = int((masses >= 5).sum())  # the rest in one
    seen = np.bincount(alarms, minlength=m + 1)
    observed = [*seen[:few], seen[few:].sum()]
    assert scipy.stats.chisquare(observed, [*masses[:few], masses[few:].sum()]).pvalue > 1e-3


@pytest.mark.parametrize(("alpha", "confidence"), ((0.05, 0.9), (0.1, 0.95), (0.01, 0.99)))
def test_a_level_with_confidence_is_the_largest_whose_rate_is_kept(alpha: float, confidence: float) -> None:
    fewest = conformal.fewest(alpha, confidence)
    assert conformal.level(fewest - 1, alpha, confidence) == 0.0 < conformal.level(fewest, alpha, confidence)
    for n in (fewest, 500, 1111):
        k = round(conformal.level(n, alpha, confidence) * (n + 1))
        assert scipy.stats.beta(k, n + 1 - k).cdf(alpha) >= confidence
        assert scipy.stats.beta(k + 1, n - k).cdf(alpha) < confidence


def test_the_fewest_records_of_a_plain_level() -> None:
    for alpha in (0.01, 0.05, 0.1, 0.3):
        n = conformal.fewest(alpha)
        assert conformal.level(n, alpha) > 0 == conformal.level(n - 1, alpha)


def test_what_has_no_rank_is_refused() -> None:
    with pytest.raises(DataError, match="calibration records"):
        conformal.p_values(torch.empty(0), torch.zeros(1))
    with pytest.raises(DataError, match="NaN"):
        conformal.p_values(torch.zeros(3), torch.tensor([math.nan]))


def test_adjusted_p_values_equal_an_independent_implementation() -> None:
    for seed in range(5):
        p = Rng(seed).uniform("p", 50, dtype=torch.float64).square()
        np.testing.assert_allclose(discoveries.adjusted(p), scipy.stats.false_discovery_control(p.numpy()), rtol=1e-12)
    assert discoveries.adjusted(torch.empty(0)).shape == (0,)


@pytest.mark.parametrize("share", (0.0, 0.1, 0.4))
def test_the_share_of_false_alarms_is_kept_on_planted_mixtures(share: float) -> None:
    """Conformal p-values of one calibration set: the mean share over trials is at most alpha times the normal share."""
    n, m, alpha, trials = 200, 100, 0.1, 400
    planted = torch.arange(m) < share * m
    scores = normals(f"mixtures {share}", trials, n + m)
    scores[:, n:] += 3.0 * planted
    found = []
    for row in scores:
        alarm = discoveries.adjusted(conformal.p_values(row[:n], row[n:])) <= alpha
        found.append(float((alarm & ~planted).sum()) / max(1, int(alarm.sum())))
    error = np.std(found) / math.sqrt(trials)
    assert np.mean(found) <= alpha * (1 - share) + 3.3 * error
    assert share == 0.0 or np.mean(found) > 0.3 * alpha * (1 - share)  # and it is no procedure that never alarms


@pytest.mark.parametrize("shift", (0.0, 0.5, 2.0))
def test_densities_of_known_ratio_give_the_known_area(shift: float) -> None:
    """Two unit normals: AUROC = Phi(shift / sqrt 2). The interval covers it at its stated rate."""
    want, covered = scipy.stats.norm.cdf(shift / math.sqrt(2.0)), 0
    x = normals(f"area {shift}", 400, 120)
    x[:, :40] += shift
    anomalous = torch.arange(120) < 40
    for row in x:
        low, high = ranking.separation(row, anomalous).auroc.interval or (1.0, 0.0)
        covered += low <= want <= high
    assert scipy.stats.binom.cdf(covered, 400, 0.95) > 1e-3
    big = normals("big", 200_000)
    big[::2] += shift
    assert ranking.separation(big, torch.arange(200_000) % 2 == 0).auroc.value == pytest.approx(want, abs=0.005)


def test_areas_equal_an_independent_implementation_with_ties() -> None:
    for seed in range(5):
        scores = Rng(seed).integers("s", 80, 6).double()
        anomalous = Rng(seed).integers("a", 80, 3) == 0
        found = ranking.separation(scores, anomalous)
        assert found.auroc.value == pytest.approx(roc_auc_score(anomalous, scores), abs=1e-12)
        assert found.aupr == pytest.approx(average_precision_score(anomalous, scores), abs=1e-12)


def test_a_constant_score_separates_nothing() -> None:
    anomalous = torch.arange(40) < 10
    found = ranking.separation(torch.zeros(40), anomalous)
    assert (found.auroc.value, found.aupr, found.found) == (0.5, 0.25, 0.0)


def test_the_rate_of_found_anomalies() -> None:
    scores = torch.tensor([9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0])
    anomalous = torch.tensor([1, 1, 0, 1, 0, 0, 0, 1, 0, 0], dtype=torch.bool)
    assert ranking.found_at(scores, anomalous, 0.0) == 0.5
    assert ranking.found_at(scores, anomalous, 0.2) == 0.75
    assert ranking.found_at(scores, anomalous, 1.0) == 1.0


def test_a_difference_of_areas_is_paired() -> None:
    """Scores that share their noise: the paired interval is narrow, and covers the known difference at its rate."""
    trials, covered = 300, 0
    anomalous = torch.arange(150) < 50
    shared, own = normals("shared", trials, 150), 0.3 * normals("own", trials, 150)
    want = scipy.stats.norm.cdf(1.2 / math.sqrt(2.0)) - scipy.stats.norm.cdf(1.0 / math.sqrt(2.18))
    for one, noise in zip(shared, own, strict=True):
        a, b = one + 1.2 * anomalous, one + noise + 1.0 * anomalous
        low, high = ranking.auroc_difference(a, b, anomalous).interval or (1.0, 0.0)
        covered += low <= want <= high
    assert scipy.stats.binom.cdf(covered, trials, 0.95) > 1e-3


def test_areas_need_both_kinds() -> None:
    with pytest.raises(DataError, match="0 are anomalies"):
        ranking.separation(torch.zeros(3), torch.zeros(3, dtype=torch.bool))


# ------------------------------------------------------------------ several scores as one, and drift


def test_the_surprise_of_a_normal_record_is_exponential_and_keeps_every_order() -> None:
    known, new = normals("known", 20_000), normals("new", 20_000)
    surprise = Surprise(known)
    assert scipy.stats.kstest(surprise(new).numpy(), "expon").statistic < 0.02
    far = torch.linspace(-6.0, 60.0, 500, dtype=torch.float64)
    steps = surprise(far).diff()
    assert bool((steps >= 0.0).all()) and bool((steps[-300:] > 0.0).all())  # far anomalies stay apart
    assert float(surprise(torch.tensor([2.0]))[0]) == pytest.approx(-scipy.stats.norm.logsf(2.0), rel=0.05)


@pytest.mark.parametrize("correlation", (-0.9, 0.0, 0.9, 1.0))
def test_a_combination_keeps_its_level_under_any_dependence(correlation: float) -> None:
    """Scores of two kinds and any correlation: one p-value of their sum of surprises, over draws of all records."""
    trials, known, n = 600, 40, 99
    z = normals(f"dependent {correlation}", trials, known + n + 1, 2)
    second = correlation * z[..., 0] + math.sqrt(1.0 - correlation**2) * z[..., 1]
    scores = torch.stack((z[..., 0].exp(), second), -1)
    p = []
    for row in scores:
        one = sum((Surprise(row[:known, k])(row[known:, k]) for k in range(2)), torch.zeros(n + 1))
        p.append(float(conformal.p_values(one[1:], one[:1])[0]))
    found = torch.tensor(p)
    for alpha in (0.05, 0.1):
        low, high = scipy.stats.binom.ppf((5e-4, 1 - 5e-4), trials, alpha)
        assert low <= int((found <= alpha + 1e-9).sum()) <= high


def test_one_scale_needs_some_records() -> None:
    with pytest.raises(DataError, match="at least 10"):
        Surprise(torch.zeros(9))
    assert float(Surprise(torch.zeros(10))(torch.zeros(1))[0]) < 0.1  # a constant score surprises nobody


def test_drift_is_noticed_and_anomalies_are_not_taken_for_it() -> None:
    trials = 300
    quiet, moved = 0, 0
    for row in normals("drift", trials, 600):
        batch = torch.cat((row[300:570], row[570:] + 8.0))  # a tenth are anomalies
        quiet += (drift(row[:300], batch).p_value or 0.0) < 0.05
        moved += (drift(row[:300], batch + 0.6).p_value or 0.0) < 0.05
    assert quiet <= scipy.stats.binom.ppf(0.9995, trials, 0.05)
    assert moved > 0.8 * trials
    assert drift(torch.arange(50.0), torch.full((30,), 1e3)).p_value is None


@pytest.mark.parametrize(("n", "m", "d"), ((200, 300, 0.05), (200, 300, 0.1), (500, 500, 0.08)))
def test_the_law_of_the_statistic(n: int, m: int, d: float) -> None:
    exact = (
        scipy.stats.kstwo(n * m / (n + m)).sf(d)
        if n * m / (n + m) % 1 == 0
        else scipy.stats.kstwobign.sf(d * math.sqrt(n * m / (n + m)))
    )
    assert kolmogorov(d, n, m) == pytest.approx(exact, rel=0.1)
