"""Scores against independent implementations; planted anomalies are found; normal records alarm at the rate."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import scipy.stats
import torch
from skimage.feature import hog
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

import morphogen as mg
from morphogen import data
from morphogen.applications.anomalies import detectors
from morphogen.applications.anomalies.detection import Asked, detect
from morphogen.applications.anomalies.features import bands, gradients, upright, views
from morphogen.applications.anomalies.judging import Promise
from morphogen.applications.anomalies.material import bare, normal_records, parted
from morphogen.applications.anomalies.scores import distances, trimmed
from morphogen.applications.anomalies.scores.model_scores import _crossing, of_model
from morphogen.applications.anomalies.windows import Windowed, places
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import CapabilityError, DataError, UsageError
from morphogen.core.rng import Rng
from morphogen.data import Records
from tests.toys import Toys

VECTORS = DataSpec(name="x", shape=(3,), kind="continuous")
PICTURES = DataSpec(name="p", shape=(1, 8, 8), kind="continuous", levels=256)


def vectors(seed: int, n: int, dim: int = 3) -> torch.Tensor:
    return Rng(seed).normal("v", n, (dim,), dtype=torch.float64)


def pictures(seed: int, n: int, channels: int = 1, side: int = 8) -> torch.Tensor:
    return Rng(seed).integers("p", n, 256, (channels, side, side)).to(torch.uint8)


def records(stored: torch.Tensor, spec: DataSpec) -> Records:
    return Records(spec.replace(shape=tuple(stored.shape[1:])), stored, torch.arange(len(stored)))


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


def test_where_the_noise_level_crosses() -> None:
    at = torch.linspace(-3.0, 3.0, 13, dtype=torch.float64)
    want = torch.tensor([-2.2, 0.0, 1.7, -5.0, 4.5], dtype=torch.float64)
    assert torch.allclose(_crossing(at, want[:, None] - at), want)


# ------------------------------------------------------------------ ensembles and windows


def test_an_ensemble_finds_what_either_of_its_scores_finds() -> None:
    """Far in one direction, or between the clusters: the sum of surprises sees both."""
    normal = vectors(0, 600)
    odd = torch.cat((vectors(1, 40) + torch.tensor([6.0, 0.0, 0.0]), vectors(2, 40)))
    found = detectors.detector("neighbors + mahalanobis", VECTORS, None)
    found.fit(records(normal, VECTORS))
    scores = found.score(records(odd, VECTORS), Rng(0))
    assert float(scores[:40].min()) > float(scores[40:].median())
    assert found.name == "neighbors + mahalanobis" and not found.is_baseline


def test_windows_cover_a_picture_and_their_score_is_the_largest() -> None:
    assert places(10, 4) == [0, 2, 4, 6] and places(11, 4) == [0, 2, 4, 6, 7] and places(4, 4) == [0]
    inner = detectors.detector("principal components", PICTURES, None)
    inner.fit(records(pictures(0, 80), PICTURES))
    large = pictures(1, 3, side=20)
    whole = Windowed(inner, 8)
    scores = whole.score(records(large, PICTURES), Rng(0))
    each = [
        inner.score(records(large[:, :, y : y + 8, x : x + 8], PICTURES), Rng(0))
        for y in places(20, 8)
        for x in places(20, 8)
    ]
    assert torch.allclose(scores, torch.stack(each).amax(0))
    same = records(pictures(2, 4), PICTURES)
    assert torch.equal(whole.score(same, Rng(0)), inner.score(same, Rng(0)))
    maps, own = whole.maps(same, Rng(0)), inner.maps(same, Rng(0))
    assert maps is not None and own is not None and torch.allclose(maps, own)
    found = whole.maps(records(large, PICTURES), Rng(0))
    assert found is not None and found.shape == (3, 20, 20) and bool((found > 0).all())
    with pytest.raises(DataError, match="windows of 8 pixels"):
        whole.score(records(pictures(0, 2, side=6), PICTURES), Rng(0))


def test_a_window_points_at_a_planted_spot() -> None:
    normal = (100.0 + 5.0 * Rng(0).normal("n", 60, (1, 32, 32))).to(torch.uint8)
    spot = normal[:1].clone()
    spot[0, 0, 21:24, 9:12] = 200
    found = Windowed(detectors.detector("principal components", PICTURES, None), 8)
    found.fit(records(normal[10:], PICTURES))
    assert float(found.score(records(spot, PICTURES), Rng(0))) > float(
        found.score(records(normal[:10], PICTURES), Rng(0)).max()
    )
    maps = found.maps(records(spot, PICTURES), Rng(0))
    assert maps is not None
    y, x = divmod(int(maps[0].argmax()), 32)
    assert 21 <= y < 24 and 9 <= x < 12


# ------------------------------------------------------------------ records


def test_what_was_trained_on_or_is_judged_never_calibrates() -> None:
    usual = normal_records(None, np.asarray(vectors(0, 400)), None)
    judged = usual.records.select(slice(0, 5))
    material = parted(dataclasses.replace(usual, source="v"), judged, True, 19, 0, "v")
    assert material.reference is not None and material.further is not None
    groups = [
        {tuple(row) for row in part.stored.tolist()} for part in (judged, material.calibration, material.reference)
    ]
    groups.append({tuple(row) for row in material.further.stored.tolist()})
    assert sum(map(len, groups)) == len(set.union(*groups)) == 400
    assert any("5 of 400" in note for note in material.notes)
    kept = parted(usual, judged, True, 19, 0)
    assert any("5 of 400 normal records equal some" in note for note in kept.notes), "equal by nature, perhaps"
    with pytest.raises(DataError, match="all 5 normal records are among"):
        parted(normal_records(None, {"x": judged.stored.numpy()}, None), judged, False, 1, 0)


def test_normal_records_are_needed(toy: Toys) -> None:
    spec = mg.load(toy("vae")).data
    with pytest.raises(UsageError, match=r"digits:calibration=0\.1"):
        normal_records(spec, None, None)
    with pytest.raises(UsageError, match="--normal SOURCE"):
        normal_records(None, None, None)
    usual = normal_records(spec, "digits", None)
    test = data.load("digits", like=spec).split("test")
    assert set(usual.records.ids.tolist()) == set(test.ids.tolist()), "the others were trained on, or chose the model"


def test_names_of_scores(toy: Toys) -> None:
    family = mg.load(toy("vae")).module
    with pytest.raises(UsageError, match="did you mean 'reconstruction'"):
        detectors.detector("recontruction", family.data, family)
    with pytest.raises(UsageError, match="counts once"):
        detectors.detector("likelihood+likelihood", family.data, family)
    texts = DataSpec(name="t", shape=(5,), kind="discrete", levels=4)
    with pytest.raises(CapabilityError, match="no score"):
        detectors.detector("default", texts, None)


# ------------------------------------------------------------------ models


@pytest.mark.parametrize(
    ("name", "wanted"),
    (
        ("vae", {"likelihood", "typicality", "complexity", "reconstruction", "latents"}),
        ("gan", {"realness", "reconstruction", "latents"}),
        ("unet", {"denoising", "partial noise", "diffusion time", "likelihood", "typicality", "complexity"}),
        ("pixels", {"likelihood", "typicality", "complexity"}),
        ("rows", {"likelihood", "typicality", "reconstruction", "latents"}),
        ("diffusion of points", {"denoising", "partial noise", "diffusion time", "likelihood", "typicality"}),
    ),
)
def test_scores_follow_capabilities(toy: Toys, name: str, wanted: set[str]) -> None:
    """Each is finite, has one value a record, maps of the records' size, and no memory of the batch."""
    family = mg.load(toy(name), "cpu").module
    found = {score.name: score for score in of_model(family)}
    assert found.keys() == wanted
    source = family.data.source if family.data.source in ("digits", "breast_cancer") else None
    if source is None:
        some = Records(bare(family.data), vectors(0, 24, 2).float(), torch.arange(24))
    else:
        some = data.load(source, like=family.data).split("test").select(slice(0, 6 if name in ("gan", "unet") else 24))
    for score in found.values():
        score.fit(some)
        scores = score.score(some, Rng(0))
        assert scores.shape == (len(some),) and bool(scores.isfinite().all()), score.name
        few = score.score(some.select(slice(0, 3)), Rng(0))
        assert torch.allclose(few, scores[:3], rtol=1e-3, atol=1e-3), score.name
        maps = score.maps(some, Rng(0))
        pixels = family.data.is_picture and score.name in ("denoising", "partial noise", "reconstruction")
        assert (maps is not None) == pixels
        if maps is not None:
            assert maps.shape == (len(some), *family.data.shape[1:])
            assert torch.allclose(maps.mean((1, 2)) / family.data.shape[0], scores.float(), rtol=1e-3, atol=1e-6)


def test_the_likelihood_of_simple_pictures_is_corrected(toy: Toys) -> None:
    """White pictures are likely under a model of digits; their plain code is shorter still."""
    family = mg.load(toy("pixels"), "cpu").module
    digits = data.load("digits", like=family.data).split("test").select(slice(0, 20))
    blank = Records(digits.spec, torch.zeros_like(digits.stored), digits.ids)
    by = {score.name: score for score in of_model(family)}
    assert float(by["likelihood"].score(blank, Rng(0)).max()) < float(by["likelihood"].score(digits, Rng(0)).min())
    plain, corrected = (
        float(by[name].score(blank, Rng(0)).mean() - by[name].score(digits, Rng(0)).mean())
        for name in ("likelihood", "complexity")
    )
    assert corrected > plain / math.log(2.0), "in bits, the correction brings them nearer, or beyond"


# ------------------------------------------------------------------ detection


def usual_and(odd: float, seed: int, score: str = "default", promise: Promise | None = None) -> tuple[int, int, int]:
    """Alarms among 100 normal and 20 shifted vectors, and false ones among further normal ones."""
    usual = normal_records(None, {"x": np.asarray(vectors(seed, 500))}, None)
    batch = vectors(1000 + seed, 120)
    batch[100:] += odd
    found = detect(parted(usual, records(batch, usual.spec), True, 19, seed), None, Asked(promise or Promise(), score))
    alarms, checked = found.judged.alarms, found.realized
    assert checked is not None
    return int(alarms[:100].sum()), int(alarms[100:].sum()), checked.alarms


@pytest.mark.parametrize("score", ("default", "isolation forest", "neighbors + mahalanobis"))
def test_planted_anomalies_are_found_and_false_alarms_come_at_their_rate(score: str) -> None:
    trials = {"isolation forest": 4, "default": 8}.get(score, 20)
    found = [usual_and(6.0, seed, score) for seed in range(trials)]
    false, hits, further = (sum(column) for column in zip(*found, strict=True))
    assert hits == 20 * trials
    spread = scipy.stats.betabinom(100 * trials, 10, 190)  # wider than that of many calibrations
    assert false <= spread.ppf(0.999) and further <= scipy.stats.betabinom(50 * trials, 10, 190).ppf(0.999)
    assert false > 0


def test_a_share_among_alarms_is_kept() -> None:
    kept = Promise(0.2, discoveries=True)
    found = [usual_and(6.0, seed, "neighbors", kept) for seed in range(20)]
    shares = [false / max(1, false + hits) for false, hits, _ in found]
    assert np.mean(shares) < 0.2 and all(hits == 20 for _, hits, _ in found)


def test_too_few_calibration_records_say_how_many() -> None:
    with pytest.raises(UsageError, match="needs at least 99"):
        Promise(0.01).level(98)
    with pytest.raises(UsageError, match="needs at least 59"):
        Promise(0.05, confidence=0.95).level(58)
    for wrong in ({"alpha": 0.0}, {"alpha": 1.5}, {"confidence": 1.0}, {"confidence": 0.9, "discoveries": True}):
        with pytest.raises(UsageError, match=r"--(alpha|confidence)"):
            Promise(**wrong)  # type: ignore[arg-type]


def test_a_drift_is_said() -> None:
    usual = normal_records(None, {"x": np.asarray(vectors(3, 800))}, None)
    moved = records(2.0 * vectors(4, 300), usual.spec)
    asked = Asked(score="local neighbors")
    found = detect(parted(usual, moved, True, 19, 0), None, asked)
    assert any(note.startswith("drift") for note in found.notes)
    still = records(vectors(5, 300), usual.spec)
    assert not any(note.startswith("drift") for note in detect(parted(usual, still, True, 19, 0), None, asked).notes)
