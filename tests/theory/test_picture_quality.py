"""PSNR and MS-SSIM beside their formulas, written as sums over windows."""

import math

import pytest
import torch

from morphogen.core.rng import Rng
from morphogen.theory.picture_quality import WEIGHTS, ms_ssim, psnr, scales_of

f64 = torch.float64


def pictures(side, channels=2):
    a = Rng(0).uniform("a", 3, (channels, side, side), f64)
    return a, (a + 0.1 * Rng(0).normal("b", 3, (channels, side, side), f64)).clamp(0, 1)


def test_psnr_is_that_of_a_known_error():
    a = torch.zeros(3, 1, 4, 4)
    assert torch.allclose(
        psnr(a, a + torch.tensor([25.5, 2.55, 0.0]).reshape(3, 1, 1, 1), 255.0), torch.tensor([20.0, 40.0, 100.0])
    )


def plain_ssim(a, b, peak):
    """SSIM and its second factor of one channel (H, W), window by window."""
    place = torch.arange(11, dtype=f64) - 5
    w = torch.exp(-(place[:, None].square() + place.square()) / (2 * 1.5**2))
    w, c1, c2 = w / w.sum(), (0.01 * peak) ** 2, (0.03 * peak) ** 2
    whole, second = [], []
    for i in range(a.shape[0] - 10):
        for j in range(a.shape[1] - 10):
            x, y = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
            mx, my = (w * x).sum(), (w * y).sum()
            vx, vy, cov = ((w * p * q).sum() for p, q in ((x - mx, x - mx), (y - my, y - my), (x - mx, y - my)))
            second.append((2 * cov + c2) / (vx + vy + c2))
            whole.append(second[-1] * (2 * mx * my + c1) / (mx**2 + my**2 + c1))
    return torch.stack(whole).mean(), torch.stack(second).mean()


def test_ms_ssim_is_its_formula():
    a, b = pictures(25)
    first, second = WEIGHTS[0] / sum(WEIGHTS[:2]), WEIGHTS[1] / sum(WEIGHTS[:2])
    for i in range(2):
        found = []
        for c in range(2):
            x, y = a[i, c], b[i, c]
            halves = [v[:24, :24].reshape(12, 2, 12, 2).mean((1, 3)) for v in (x, y)]
            found.append(plain_ssim(x, y, 1.0)[1] ** first * plain_ssim(*halves, 1.0)[0] ** second)
        assert float(ms_ssim(a, b, 1.0)[i]) == pytest.approx(float(torch.stack(found).mean()), rel=1e-9)


def test_ms_ssim_is_one_for_equal_pictures_and_falls_with_noise():
    a, b = pictures(40)
    assert torch.allclose(ms_ssim(a, a, 1.0), torch.ones(3, dtype=f64), atol=1e-9)
    worse = (a + 0.3 * Rng(1).normal("c", 3, (2, 40, 40), f64)).clamp(0, 1)
    assert bool((ms_ssim(a, worse, 1.0) < ms_ssim(a, b, 1.0)).all()) and bool((ms_ssim(a, b, 1.0) < 1).all())
    assert torch.allclose(ms_ssim(255 * a, 255 * b, 255.0), ms_ssim(a, b, 1.0), atol=1e-12)


def test_small_pictures_have_fewer_scales():
    assert [scales_of(s, 500) for s in (4, 21, 22, 43, 44, 128, 175, 176, 4000)] == [1, 1, 2, 2, 3, 4, 4, 5, 5]
    assert math.isfinite(float(ms_ssim(*pictures(4), 1.0).mean()))
