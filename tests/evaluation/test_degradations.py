"""Degradations do what their formula says, to each picture by itself, and more of it at each strength."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError, UsageError
from morphogen.core.rng import Rng
from morphogen.data import Records
from morphogen.evaluation.context.degradations import (
    Blur,
    Corruption,
    DroppedClasses,
    Jpeg,
    Noise,
    Truncation,
    as_bytes,
    available,
    blurred,
    drawn,
)
from morphogen.theory.statistics.pca import PrincipalComponents


def pictures(n: int = 40, channels: int = 1, height: int = 12, width: int = 9, seed: int = 0) -> Tensor:
    """Smooth and different from each other, so that every degradation has something to take away."""
    noise = Rng(seed).normal("pictures", n, (channels, height, width), torch.float64)
    x = blurred(noise, 0.7)
    return (127.5 + 60.0 * x / x.std()).round().clamp(0, 255).to(torch.uint8)


def records(
    stored: Tensor, labels: Tensor | None = None, kind: str = "continuous", levels: int | None = 256
) -> Records:
    spec = DataSpec(name="toy", shape=tuple(stored.shape[1:]), kind=kind, levels=levels)
    return Records(spec, stored, torch.arange(len(stored)), labels)


def squared_error(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).square().mean())


# ---------------------------------------------------------------- blur


def test_blur_is_the_heat_flow_on_pixels() -> None:
    """B(s) = exp(s^2 / 2 L), with L the second difference without flux across the border."""
    n, sigma = 9, 1.3
    laplacian = (
        torch.diag(torch.full((n,), -2.0)) + torch.diag(torch.ones(n - 1), 1) + torch.diag(torch.ones(n - 1), -1)
    )
    laplacian[0, 0] = laplacian[-1, -1] = -1.0
    expected = torch.linalg.matrix_exp(0.5 * sigma**2 * laplacian.double())
    column = torch.eye(n, dtype=torch.float64)[:, None, :, None]  # n pictures of one column each
    assert torch.allclose(blurred(column, sigma)[:, 0, :, 0].T, expected, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.25, 0.5, 1.0, 2.0, 50.0])
def test_blur_keeps_the_mean_and_the_range(sigma: float) -> None:
    x = Rng(0).uniform("x", 5, (3, 8, 11), torch.float64)
    y = blurred(x, sigma)
    assert torch.allclose(y.mean((2, 3)), x.mean((2, 3)), atol=1e-12)
    assert x.min() - 1e-12 <= y.min() and y.max() <= x.max() + 1e-12


def test_variances_of_blurs_add_and_none_is_the_identity() -> None:
    x = Rng(0).normal("x", 5, (2, 10, 7), torch.float64)
    assert torch.allclose(blurred(blurred(x, 0.6), 0.8), blurred(x, 1.0), atol=1e-12)
    assert torch.allclose(blurred(x, 0.0), x, atol=1e-12)
    stored = pictures()
    assert torch.equal(Blur().apply(stored, 0.01, Rng(0)), stored)


@pytest.mark.parametrize("sigma", [0.25, 0.5, 1.0, 2.0])
def test_a_blurred_point_has_the_stated_variance(sigma: float) -> None:
    point = torch.zeros(1, 1, 51, 51, dtype=torch.float64)
    point[0, 0, 25, 25] = 1.0
    at = torch.arange(51, dtype=torch.float64) - 25.0
    spread = blurred(point, sigma)[0, 0]
    assert float((spread.sum(1) * at**2).sum()) == pytest.approx(sigma**2, abs=1e-10)
    assert float((spread.sum(0) * at**2).sum()) == pytest.approx(sigma**2, abs=1e-10)


def test_a_wide_blur_is_that_of_scipy() -> None:
    """A Gaussian sampled at pixel centers is right where sigma is large: they then differ by O(1 / sigma^2)."""
    x = pictures(1, 1, 40, 40)[0, 0].double()
    expected = torch.from_numpy(gaussian_filter(x.numpy(), 3.0, mode="reflect", truncate=8.0))
    assert float((blurred(x[None, None], 3.0)[0, 0] - expected).abs().max()) < 0.02 * float(x.std())


# ---------------------------------------------------------------- noise


def test_noise_has_the_stated_deviation() -> None:
    """Mid-gray, so that nothing is clipped up to 4 sigma; rounding adds 1/12. False alarms: 1 in 10^6."""
    gray = torch.full((60, 1, 40, 40), 128, dtype=torch.uint8)
    share = 0.1
    error = Noise().apply(gray, share, Rng(1)).double() - 128.0
    n, variance = error.numel(), (255.0 * share) ** 2 + 1.0 / 12.0
    assert abs(float(error.mean())) < 4.9 * math.sqrt(variance / n)
    assert abs(float(error.square().mean()) / variance - 1.0) < 4.9 * math.sqrt(2.0 / n)


def test_stronger_noise_is_the_same_noise_scaled() -> None:
    gray = torch.full((4, 1, 8, 8), 128, dtype=torch.uint8)
    weak, strong = (Noise().apply(gray, s, Rng(0)).double() - 128.0 for s in (0.02, 0.08))
    assert float((strong - 4.0 * weak).abs().max()) <= 0.5 + 4 * 0.5


@pytest.mark.parametrize("degradation", [Blur(), Noise(), Jpeg(), Truncation(pictures(200), (20, 5))])
def test_a_picture_is_degraded_alike_in_any_batch(degradation: Corruption, monkeypatch: pytest.MonkeyPatch) -> None:
    x, rng = pictures(12), Rng(3)
    for strength in degradation.strengths[::3]:
        whole = degradation.apply(x, strength, rng)
        parts = [degradation.apply(x[i : i + 5], strength, rng.shifted(i)) for i in range(0, 12, 5)]
        assert torch.equal(whole, torch.cat(parts))
        monkeypatch.setattr("morphogen.evaluation.context.degradations._ELEMENTS", 2 * x[0].numel())
        assert torch.equal(whole, degradation.apply(x, strength, rng))


# ---------------------------------------------------------------- principal components


@pytest.mark.parametrize("n", [300, 40])  # more and fewer records than dimensions, so by covariance and by Gram matrix
def test_truncation_loses_the_discarded_variances(n: int) -> None:
    x = pictures(n)
    fit = PrincipalComponents(x)
    rank = len(fit.variances)
    assert rank <= min(n - 1, x[0].numel())
    assert torch.allclose(fit.axes @ fit.axes.T, torch.eye(rank), atol=1e-4)
    flat = x.flatten(1).float() / 255.0
    total = float(fit.variances.sum())
    assert total == pytest.approx(float((flat - flat.mean(0)).double().square().sum(1).mean()), rel=1e-5)
    for k in (1, 5, 20, rank):
        lost = float((fit.truncated(flat, k) - flat).double().square().sum(1).mean())
        assert lost == pytest.approx(float(fit.variances[k:].sum()), rel=1e-3, abs=1e-6 * total)


def test_all_components_are_the_identity_and_fewer_lose_more() -> None:
    x = pictures(300)
    fit = Truncation(x, (80, 40, 20, 5))
    assert torch.equal(fit.apply(x, len(fit.components.variances), Rng(0)), x)
    errors = [squared_error(fit.apply(x, k, Rng(0)), x) for k in fit.strengths]
    assert errors == sorted(errors) and errors[0] > 0.0


def test_wide_pictures_are_fitted_on_some_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their span holds what they share with the rest: here three patterns."""
    monkeypatch.setattr("morphogen.theory.statistics.pca._WIDEST", 100)
    monkeypatch.setattr("morphogen.theory.statistics.pca._MAX_OF_WIDE", 50)
    patterns = Rng(0).uniform("patterns", 3, (3, 10, 10))
    weights = Rng(0).uniform("weights", 500, (3,)) / 3.0
    x = (255.0 * torch.einsum("nk,kchw->nchw", weights, patterns)).round().to(torch.uint8)
    truncation = Truncation(x, (3,))
    assert len(truncation.components.variances) <= 49
    assert squared_error(truncation.apply(x, 3, Rng(0)), x) < 0.5  # the rounding of bytes
    assert torch.equal(truncation.components.axes, PrincipalComponents(x).axes), "always the same ones"


def test_components_that_do_not_exist_are_left_out() -> None:
    assert Truncation(pictures(30), (400, 100, 29, 28, 5)).strengths == (28, 5)
    with pytest.raises(DataError, match="at least 2 pictures"):
        PrincipalComponents(pictures(1))
    with pytest.raises(DataError, match="differ"):
        PrincipalComponents(pictures(1).repeat(5, 1, 1, 1))


# ---------------------------------------------------------------- JPEG


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_loses_more_at_lower_quality(channels: int) -> None:
    x = pictures(30, channels, 24, 16)
    errors = [squared_error(Jpeg().apply(x, q, Rng(0)), x) for q in Jpeg().strengths]
    assert errors == sorted(errors) and errors[0] < errors[-1] / 2.0  # colors at half resolution cost from the start


def test_jpeg_needs_gray_or_color() -> None:
    with pytest.raises(UsageError, match="4 channels"):
        Jpeg().apply(pictures(2, 4), 50, Rng(0))


# ---------------------------------------------------------------- dropped classes


def labeled(n: int = 200, classes: int = 5) -> tuple[Tensor, Tensor]:
    """The first pixel of a picture is its class, its second and third its number."""
    labels = torch.arange(n) % classes
    x = torch.zeros(n, 1, 4, 4, dtype=torch.uint8)
    x[:, 0, 0, 0], x[:, 0, 0, 1], x[:, 0, 0, 2] = labels, torch.arange(n) % 256, torch.arange(n) // 256
    return x, labels


def test_dropped_classes_are_absent_and_the_others_make_up_the_number() -> None:
    x, labels = labeled()
    dropped = DroppedClasses(x, labels)
    assert dropped.strengths == (1.0, 2.0, 3.0, 4.0)
    before: set[int] = set(range(5))
    for k in dropped.strengths:
        made = dropped.apply(x[:30], k, Rng(2))
        there = set(made[:, 0, 0, 0].tolist())
        assert made.shape == x[:30].shape
        assert len(there) == 5 - k and there < before, "one class fewer each time"
        assert len(made.flatten(1).unique(dim=0)) == 30, "none twice while there are enough"
        before = there
    assert DroppedClasses(x, labels).apply(x, 4, Rng(2)).flatten(1).unique(dim=0).shape[0] == 40, "then again"


def test_what_is_left_stays_the_draw_that_it_was() -> None:
    x, labels = labeled()
    rng = Rng(5)
    before = x[drawn(len(x), 30, rng)]
    made = DroppedClasses(x, labels).apply(before, 1, rng)
    gone = set(range(5)) - set(made[:, 0, 0, 0].tolist())
    stays = torch.tensor([int(v) not in gone for v in before[:, 0, 0, 0]])
    assert torch.equal(made[: int(stays.sum())], before[stays])


def test_pictures_without_a_class_are_not_drawn() -> None:
    x, labels = labeled()
    labels[labels == 3] = -1
    made = DroppedClasses(x, labels).apply(x, 1, Rng(0))
    assert 3 not in made[:, 0, 0, 0].tolist()
    with pytest.raises(DataError, match="at least 2 classes"):
        DroppedClasses(x, torch.zeros_like(labels))
    with pytest.raises(DataError, match="one label"):
        DroppedClasses(x, labels[1:])
    with pytest.raises(UsageError, match="nothing would be left"):
        DroppedClasses(x, labels).apply(x, 4, Rng(0))


@pytest.mark.parametrize(("classes", "most"), [(2, 1), (10, 8), (50, 49)])
def test_the_number_of_dropped_classes_spreads_over_what_there_is(classes: int, most: int) -> None:
    x, labels = labeled(200, classes)
    strengths = DroppedClasses(x, labels).strengths
    assert strengths[0] == 1 and strengths[-1] == most
    assert len(strengths) <= 8 and list(strengths) == sorted(set(strengths))


# ---------------------------------------------------------------- all of them


def test_what_is_available_depends_on_labels_and_channels() -> None:
    def names(r: Records) -> list[str]:
        return [d.name for d in available(r, r)]

    gray, labels = pictures(60), torch.arange(60) % 3
    assert names(records(gray, labels)) == ["blur", "noise", "PCA", "JPEG", "dropped"]
    assert names(records(gray)) == ["blur", "noise", "PCA", "JPEG"]
    assert names(records(pictures(60, 4), torch.full((60,), -1))) == ["blur", "noise", "PCA"]
    tiny = records(pictures(60, 1, 3, 3))  # at most nine components: fewer than any strength
    assert names(tiny) == ["blur", "noise", "JPEG"]
    points = DataSpec(name="points", shape=(2,), kind="continuous")
    with pytest.raises(DataError, match="no pictures"):
        available(*[Records(points, torch.zeros(9, 2), torch.arange(9))] * 2)


def test_every_degradation_grows_with_its_strength_and_has_a_label() -> None:
    x, labels = pictures(300, 3, 16, 16), torch.arange(300) % 4
    found = available(records(x, labels), records(x, labels))
    for degradation in found:
        named = [degradation.label(s) for s in degradation.strengths]
        assert len(set(named)) == len(named)
        if degradation.name == "dropped":
            continue
        made = [degradation.apply(x, s, Rng(0)) for s in degradation.strengths]
        assert all(m.shape == x.shape and m.dtype == torch.uint8 for m in made)
        errors = [squared_error(m, x) for m in made]
        assert errors == sorted(errors), degradation.name
    labels_of = {d.name: (d.label(s), d.short(s)) for d in found for s in d.strengths[1:2]}
    assert labels_of == {
        "blur": ("blur 0.5 px", "0.5 px"),
        "noise": ("noise 0.05", "0.05"),
        "PCA": ("PCA-150", "150"),
        "JPEG": ("JPEG 80", "80"),
        "dropped": ("2 classes dropped", "2 classes"),
    }


def test_stored_records_become_bytes_over_their_whole_range() -> None:
    binary = torch.tensor([0, 1, 1, 0], dtype=torch.uint8).reshape(1, 1, 2, 2)
    assert as_bytes(binary, records(binary, kind="binary", levels=2).spec).flatten().tolist() == [0, 255, 255, 0]
    gray = torch.tensor([0, 4, 8, 16], dtype=torch.uint8).reshape(1, 1, 2, 2)
    assert as_bytes(gray, records(gray, levels=17).spec).flatten().tolist() == [0, 64, 128, 255]
    spec = DataSpec(name="real", shape=(1, 2, 2), kind="continuous", shift=5.0, scale=2.0)
    assert as_bytes(torch.tensor([3.0, 5.0, 6.0, 7.0]).reshape(1, 1, 2, 2), spec).flatten().tolist() == [
        0,
        128,
        191,
        255,
    ]
    stored = pictures()
    assert as_bytes(stored, records(stored).spec) is stored


@pytest.mark.parametrize("degradation", [Blur(), Noise(), Jpeg()])
def test_what_is_no_byte_picture_is_refused(degradation: Corruption) -> None:
    for wrong in (torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4, dtype=torch.uint8)):
        with pytest.raises(DataError, match="uint8 pictures of shape"):
            degradation.apply(wrong, degradation.strengths[0], Rng(0))


def test_a_draw_is_without_repeats_and_fewer_are_the_first_of_more() -> None:
    rows = drawn(50, 30, Rng(0))
    assert len(rows.unique()) == 30 and rows.max() < 50
    assert torch.equal(drawn(50, 10, Rng(0)), rows[:10])
    assert not np.array_equal(drawn(50, 30, Rng(1)).numpy(), rows.numpy())
