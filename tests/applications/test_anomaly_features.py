"""Features and distances against independent implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.feature import hog
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from morphogen import data
from morphogen.applications.anomalies import detectors
from morphogen.applications.anomalies.features import bands, gradients, upright, views
from morphogen.applications.anomalies.scores import distances, trimmed
from morphogen.core.rng import Rng
from morphogen.data import Records
from tests.applications.anomaly_toys import VECTORS, pictures, records, vectors

# ------------------------------------------------------------------ rules


@pytest.mark.parametrize(("channels", "cell", "block"), ((1, 4, 2), (3, 4, 1), (1, 5, 3)))
def test_histograms_of_gradients_equal_an_independent_implementation(channels: int, cell: int, block: int) -> None:
    x = pictures(0, 4, channels, 20).double() / 255.0
    found = gradients.histograms(x, cell, block=block)
    for one, want in zip(found, x, strict=True):
        shape = {"pixels_per_cell": (cell, cell), "cells_per_block": (block, block)}
        theirs = hog(want.permute(1, 2, 0).squeeze(-1).numpy(), channel_axis=-1 if channels > 1 else None, **shape)
        np.testing.assert_allclose(one, theirs, atol=1e-6)  # theirs sums in single precision


def test_distances_equal_independent_implementations() -> None:
    known, new = vectors(0, 60, 7), vectors(1, 25, 7)
    rule = distances.Neighbors(3)
    rule.fit(known)
    theirs = NearestNeighbors(n_neighbors=3).fit(known.numpy()).kneighbors(new.numpy())[0].mean(1)
    np.testing.assert_allclose(rule.score(new), theirs, rtol=1e-9)
    centered = known - known.mean(0)
    wolf = LedoitWolf().fit(known.numpy())
    np.testing.assert_allclose(distances.shrunk_covariance(centered), wolf.covariance_, rtol=1e-9)
    metric = distances.Mahalanobis()
    metric.fit(known)
    np.testing.assert_allclose(metric.score(new).square(), wolf.mahalanobis(new.numpy()), rtol=1e-9)


@pytest.mark.parametrize("signed", (False, True))
def test_soft_votes_add_up_and_turn_with_the_picture(signed: bool) -> None:
    """The votes of a cell add up to its mean magnitude; a negative has the same votes, signed ones the opposite."""
    x = pictures(0, 3, 1, 12).double()
    down, right = gradients.gradients(x)
    want = torch.nn.functional.avg_pool2d((down.square() + right.square()).sqrt(), 4)
    found = gradients.votes(x, 4, 4, 12, soft=True, signed=signed)
    torch.testing.assert_close(found.sum(1), want)
    negative = gradients.votes(255.0 - x, 4, 4, 12, soft=True, signed=signed)
    torch.testing.assert_close(negative, found.roll(6, 1) if signed else found)


@pytest.mark.parametrize("absolute", (False, True))
def test_local_distances_equal_an_independent_implementation(absolute: bool) -> None:
    known, new = vectors(0, 80, 4), vectors(1, 25, 4)
    rule = distances.LocalNeighbors(3, 0.5, absolute)
    rule.fit(known)
    search = NearestNeighbors(n_neighbors=20, metric="manhattan" if absolute else "euclidean").fit(known.numpy())
    own = search.kneighbors(n_neighbors=3)[0].mean(1)
    found, around = search.kneighbors(new.numpy())
    np.testing.assert_allclose(rule.score(new), found[:, :3].mean(1) / own[around].mean(1) ** 0.5, rtol=1e-6)
    same = distances.LocalNeighbors()
    same.fit(torch.zeros(30, 2))
    assert float(same.score(torch.zeros(1, 2))) == 0.0 < float(same.score(torch.ones(1, 2)))


def test_scales_of_columns_forget_units() -> None:
    known, new = vectors(0, 200, 3), vectors(1, 20, 3)
    units = torch.tensor([1.0, 1e4, 1e-3], dtype=torch.float64)
    for by in ("range", "quartiles", "ranks"):
        one, other = (distances.Scaled(distances.Neighbors(3), by) for _ in range(2))  # type: ignore[arg-type]
        one.fit(known)
        other.fit(known * units + 7.0)
        torch.testing.assert_close(one.score(new), other.score(new * units + 7.0), rtol=1e-6, atol=1e-6)
    ranks, curved = (distances.Scaled(distances.Neighbors(3), "ranks") for _ in range(2))
    ranks.fit(known)
    curved.fit(known.exp())
    torch.testing.assert_close(ranks.score(new), curved.score(new.exp()))


@pytest.mark.parametrize("n", (60, 5), ids=("more records", "fewer records than columns"))
def test_the_residual_is_what_principal_components_leave_out(n: int) -> None:
    known, new = vectors(0, n, 7) * torch.arange(1.0, 8.0), vectors(1, 25, 7)
    rule = distances.Residual()
    rule.fit(known)
    pca = PCA(0.9, svd_solver="full").fit(known.numpy())
    left = new.numpy() - pca.inverse_transform(pca.transform(new.numpy()))
    np.testing.assert_allclose(rule.score(new), np.linalg.norm(left, axis=1), rtol=1e-7)


def test_a_blur_keeps_constants_and_spreads_a_point_like_a_gaussian() -> None:
    x = torch.zeros(1, 1, 31, 31, dtype=torch.float64)
    x[0, 0, 15, 15] = 1.0
    found = bands.blurred(x, 1.5)[0, 0]
    at = torch.arange(31.0, dtype=torch.float64) - 15.0
    assert float(found.sum()) == pytest.approx(1.0)
    assert float((found.sum(0) * at.square()).sum()) == pytest.approx(1.5**2, rel=0.05)
    assert torch.allclose(bands.blurred(torch.full((1, 2, 9, 9), 0.3), 2.0), torch.tensor(0.3))


def test_a_slant_and_a_shift_leave_no_trace_in_upright_pictures() -> None:
    """After it the center is in the middle and the coordinates do not covary; an upright picture stays."""
    at = torch.arange(33.0, dtype=torch.float64) - 16.0
    y, x = at[:, None] - 2.0, at - 1.0
    slanted = torch.exp(-((x - 0.5 * y) / 2.0).square() - (y / 6.0).square())[None, None]
    straight = torch.exp(-(at / 2.0).square() - (at[:, None] / 6.0).square())[None, None]
    found = upright.upright(slanted)
    mass = found[0, 0] / found.sum()
    assert abs(float((mass * at).sum())) < 0.05 and abs(float((mass * at[:, None]).sum())) < 0.05
    assert abs(float((mass * at * at[:, None]).sum())) < 0.05
    assert float((found - straight).abs().max()) < 0.2 * float((slanted - straight).abs().max())
    torch.testing.assert_close(upright.upright(straight), straight, atol=1e-6, rtol=0.0)
    assert torch.equal(upright.upright(torch.zeros(1, 1, 9, 9)), torch.zeros(1, 1, 9, 9))


def test_bands_add_up_contrast_and_lose_the_finest_to_a_blur() -> None:
    x = pictures(0, 3, side=28).double() / 255.0
    found = bands.band_energies(x, 1.0, 7)
    assert found.shape == (3, 3, 4, 4)
    torch.testing.assert_close(bands.band_energies(0.5 * x, 1.0, 7), found - math.log(4.0), atol=1e-2, rtol=0.0)
    torch.testing.assert_close(bands.band_energies(0.5 * x + 0.2, 1.0, 7), bands.band_energies(0.5 * x, 1.0, 7))
    lost = found - bands.band_energies(bands.blurred(x, 1.0), 1.0, 7)
    assert bool((lost[:, 0] > lost[:, 1]).all()) and bool((lost[:, 1] > lost[:, 2]).all())


def test_relative_votes_forget_contrast() -> None:
    x = pictures(0, 3, side=20).double() / 255.0
    found = gradients.relative_votes(x, 4, 2)
    torch.testing.assert_close(gradients.relative_votes(0.5 * x, 4, 2), found, atol=1e-3, rtol=0.0)
    assert bool((found >= 0.0).all()) and float(found.max()) == pytest.approx(0.2)


def test_column_tails_count_what_lies_beyond() -> None:
    known, new = vectors(0, 60, 3), vectors(1, 25, 3)
    rule = distances.Tails()
    rule.fit(known)
    sides = torch.stack([(known <= new[:, None]).sum(1), (known >= new[:, None]).sum(1)]).amin(0).double()
    theirs = -((sides + 0.5) / 61.0).clamp_max(0.5).log().sum(1)
    torch.testing.assert_close(rule.score(new), theirs)


def test_rows_with_anomalies_among_them_are_cleaned() -> None:
    """A group of anomalies hides among its own kind from neighbors, and less from the robust score."""
    usual, odd = vectors(0, 450), 0.5 * vectors(1, 80) + 5.0
    known = records(torch.cat((usual, odd[:40])), VECTORS)
    kept = trimmed.cleaned(known, 0)
    assert len(kept) == 343 and int((kept.ids >= 450).sum()) <= 10
    assert len(trimmed.cleaned(known.select(slice(0, 5)), 0)) == 5
    judged = records(torch.cat((vectors(2, 200), odd[40:])), VECTORS)
    found = {}
    for name in ("robust", "neighbors"):
        detector = detectors.detector(name, VECTORS, None)
        detector.fit(known)
        found[name] = roc_auc_score([0] * 200 + [1] * 40, detector.score(judged, Rng(0)))
    assert found["robust"] > 0.95 > 0.6 > found["neighbors"]


def test_rows_of_a_table_measure_a_different_category_as_one() -> None:
    frame = data.load("breast_cancer")
    table = frame.spec.table
    assert table is not None
    target = table.names.index("diagnosis")
    pair = frame.train.select(slice(0, 1)).stored.repeat(2, 1)
    pair[1, target] = 1.0 - pair[0, target]
    rows = views.Rows()
    v = rows.fit(Records(frame.spec, pair, torch.arange(2)))
    assert float((v[0] - v[1]).norm()) == pytest.approx(1.0)
    holes = pair.clone()
    holes[:, 0] = torch.nan
    assert bool(rows(Records(frame.spec, holes, torch.arange(2))).isfinite().all())
