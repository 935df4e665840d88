"""Planted anomalies are found, normal records alarm at the rate, and scores follow capabilities."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import scipy.stats
import torch

import morphogen as mg
from morphogen import data
from morphogen.applications.anomalies import detectors
from morphogen.applications.anomalies.detection import Asked, detect
from morphogen.applications.anomalies.judging import Promise
from morphogen.applications.anomalies.material import bare, normal_records, parted
from morphogen.applications.anomalies.scores.model_scores import _crossing, of_model
from morphogen.applications.anomalies.windows import Windowed, places
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import CapabilityError, DataError, UsageError
from morphogen.core.rng import Rng
from morphogen.data import Records
from tests.applications.anomaly_toys import PICTURES, VECTORS, pictures, records, vectors
from tests.toys import Toys


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
