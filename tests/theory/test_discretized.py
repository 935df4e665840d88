"""Discretized likelihoods: true masses, stable for any parameters, in float64 against independent arithmetic."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from morphogen.core.data_spec import DataSpec
from morphogen.core.distributions import Distribution
from morphogen.core.errors import SpecError
from morphogen.core.rng import Rng
from morphogen.theory.discretized import (
    DiscretizedGaussian,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    log_ndtr,
    quantize,
)

LEVELS = (2, 3, 17, 256)
SINGLE = (DiscretizedLogistic, DiscretizedGaussian)
# From far inside the range to far outside it, from scales that hold one level to scales that hold none.
MEANS = (-1e4, -30.0, -1.5, -1.0, -0.3, 0.0, 0.001, 0.7, 1.0, 3.0, 1e4)
LOG_SCALES = (-30.0, -15.0, -9.0, -6.0, -4.0, -2.0, -0.5, 0.0, 1.0, 3.0, 8.0, 25.0)


def values(levels: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.arange(levels, dtype=dtype) * (2.0 / (levels - 1)) - 1.0


def grid(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    mean, log_scale = torch.meshgrid(
        torch.tensor(MEANS, dtype=dtype), torch.tensor(LOG_SCALES, dtype=dtype), indexing="ij"
    )
    return mean.flatten().requires_grad_(), log_scale.flatten().requires_grad_()


def mixture(levels: int, seed: int = 0, k: int = 4, n: int = 6) -> DiscretizedLogisticMixture:
    g = torch.Generator().manual_seed(seed)
    logits, means, log_scales = torch.randn(3, n, k, generator=g, dtype=torch.float64)
    return DiscretizedLogisticMixture(2 * logits, means, 2 * log_scales - 3, levels, event_dims=0)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("family", SINGLE)
def test_masses_sum_to_one_at_any_parameters(family: type[Distribution], levels: int) -> None:
    masses = family(*grid(), levels, 0).log_prob(values(levels)[:, None]).exp()
    assert (masses.sum(0) - 1.0).abs().max() < 1e-10


@pytest.mark.parametrize("levels", LEVELS)
def test_mixture_masses_sum_to_one(levels: int) -> None:
    masses = mixture(levels).log_prob(values(levels)[:, None]).exp()
    assert (masses.sum(0) - 1.0).abs().max() < 1e-10
    mean, log_scale = grid()
    extreme = DiscretizedLogisticMixture(mean.clamp(-50, 50), mean, log_scale, levels, event_dims=0)  # one of 132 modes
    assert (extreme.log_prob(values(levels)).exp().sum() - 1.0).abs() < 1e-10


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("family", SINGLE)
def test_log_masses_and_gradients_are_finite_everywhere(
    family: type[Distribution], levels: int, dtype: torch.dtype
) -> None:
    mean, log_scale = grid(dtype)
    log_prob = family(mean, log_scale, levels, 0).log_prob(values(levels, dtype)[:, None])
    assert torch.isfinite(log_prob).all()
    for gradient in torch.autograd.grad(log_prob.sum(), (mean, log_scale)):
        assert torch.isfinite(gradient).all()


def exact_log_mass(cdf: Callable, x: int, levels: int, mean: float, scale: float) -> float:
    """log of F(upper) - F(lower) with 60 digits, from the smaller tails so that they do not cancel."""
    with mpmath.workdps(60):
        # Both densities are even, so 1 - cdf(u) = cdf(-u).
        lower = (mpmath.mpf(2 * x - 1) / (levels - 1) - 1 - mpmath.mpf(mean)) / mpmath.mpf(scale)
        upper = (mpmath.mpf(2 * x + 1) / (levels - 1) - 1 - mpmath.mpf(mean)) / mpmath.mpf(scale)
        if x == 0:
            return float(mpmath.log(cdf(upper)))
        if x == levels - 1:
            return float(mpmath.log(cdf(-lower)))
        return float(mpmath.log(cdf(-lower) - cdf(-upper) if lower > 0 else cdf(upper) - cdf(lower)))


@pytest.mark.parametrize("levels", (3, 256))
@pytest.mark.parametrize(
    ("family", "cdf"),
    [
        (DiscretizedLogistic, lambda u: 1 / (1 + mpmath.exp(-u))),
        (DiscretizedGaussian, lambda u: mpmath.erfc(-u / mpmath.sqrt(2)) / 2),
    ],
)
def test_log_masses_equal_many_digit_arithmetic(family: type[Distribution], cdf: Callable, levels: int) -> None:
    means, scales = (-2.1, -1.0, -0.31, 0.002, 0.9, 40.0), (0.003, 0.05, 0.4, 2.0, 60.0)
    for mean in means:
        for scale in scales:
            d = family(
                torch.tensor(mean, dtype=torch.float64), torch.tensor(scale, dtype=torch.float64).log(), levels, 0
            )
            for k in (0, 1, levels // 2, levels - 2, levels - 1):
                want = exact_log_mass(cdf, k, levels, mean, scale)
                got = float(d.log_prob(values(levels)[k]))
                assert got == pytest.approx(want, rel=1e-10, abs=1e-10), (mean, scale, k)


def test_log_masses_equal_scipy() -> None:
    levels, mean, scale = 17, 0.13, 0.21
    x = values(levels)
    edges = np.concatenate(([-np.inf], (x[:-1].numpy() + 1.0 / (levels - 1)), [np.inf]))
    parameters = torch.tensor(mean, dtype=torch.float64), torch.tensor(scale, dtype=torch.float64).log()
    for family, reference in ((DiscretizedLogistic, scipy.stats.logistic), (DiscretizedGaussian, scipy.stats.norm)):
        want = np.diff(reference.cdf(edges, loc=mean, scale=scale))
        got = family(*parameters, levels, 0).log_prob(x).exp().numpy()
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("family", SINGLE)
def test_float32_follows_float64(family: type[Distribution]) -> None:
    """A difference of two float32 distribution functions would be wrong by half at these scales."""
    mean, log_scale = torch.meshgrid(torch.linspace(-1.5, 1.5, 13), torch.linspace(-7.0, 5.0, 25), indexing="ij")
    wide = family(mean.double(), log_scale.double(), 256, 0).log_prob(values(256)[:, None, None])
    narrow = family(mean, log_scale, 256, 0).log_prob(values(256, torch.float32)[:, None, None])
    # A float32 coordinate is off by 1e-7, hence a log mass by that times its slope, |x - mean| / scale^2 or 1 / scale.
    bound = 2e-6 * (1.0 + wide.abs()) + 4e-7 * (1.0 + 2.0 * wide.abs().sqrt()) * torch.exp(-log_scale.double())
    assert ((narrow - wide).abs() <= bound).all()


@pytest.mark.parametrize("levels", (2, 17, 256))
@pytest.mark.parametrize("family", SINGLE)
def test_gradients_equal_finite_differences(family: type[Distribution], levels: int) -> None:
    mean, log_scale = torch.meshgrid(
        torch.tensor([-1.3, -0.71, 0.02, 0.9]).double(), torch.tensor([-4.0, -1.1, 0.6, 3.0]).double(), indexing="ij"
    )
    x = values(levels)[:: max(1, (levels - 1) // 4)][:, None]
    inputs = mean.flatten().requires_grad_(), log_scale.flatten().requires_grad_()
    assert torch.autograd.gradcheck(lambda m, s: family(m, s, levels, 0).log_prob(x), inputs, rtol=1e-5, atol=1e-7)


def test_mixture_gradients_equal_finite_differences() -> None:
    d, x = mixture(17), values(17)[::4][:, None]
    inputs = tuple(t.detach().requires_grad_() for t in (d.logits, d.location, d.log_scale))
    assert torch.autograd.gradcheck(
        lambda a, m, s: DiscretizedLogisticMixture(a, m, s, 17, 0).log_prob(x), inputs, rtol=1e-5, atol=1e-7
    )


def test_log_ndtr_equals_scipy_with_the_right_gradient() -> None:
    x = torch.tensor([-1e6, -1e3, -40.0, -5.0, -1.0, 0.0, 0.99, 1.01, 3.0, 8.0, 40.0]).double().requires_grad_()
    y = log_ndtr(x)
    np.testing.assert_allclose(y.detach().numpy(), scipy.stats.norm.logcdf(x.detach().numpy()), rtol=1e-13, atol=0)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    log_hazard = scipy.stats.norm.logpdf(x.detach().numpy()) - scipy.stats.norm.logcdf(x.detach().numpy())
    np.testing.assert_allclose(gradient.numpy()[1:], np.exp(log_hazard)[1:], rtol=1e-9, atol=0)
    assert float(gradient[0]) == pytest.approx(1e6, rel=1e-9)  # phi / Phi tends to -x


def test_mixture_is_the_weighted_sum_of_its_components() -> None:
    d, x = mixture(17), values(17)[:, None]
    parts = DiscretizedLogistic(d.location, d.log_scale, 17, 0).log_prob(x[..., None]).exp()
    want = (torch.softmax(d.logits, -1) * parts).sum(-1)
    torch.testing.assert_close(d.log_prob(x).exp(), want, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("levels", (2, 17, 256))
def test_mean_is_the_expectation(levels: int) -> None:
    x = values(levels)
    for d in (DiscretizedLogistic(*grid(), levels, 0), DiscretizedGaussian(*grid(), levels, 0), mixture(levels)):
        want = (d.log_prob(x[:, None]).exp() * x[:, None]).sum(0)
        torch.testing.assert_close(d.mean, want, rtol=0, atol=1e-11)


@pytest.mark.parametrize("levels", (2, 17))
@pytest.mark.parametrize("family", (*SINGLE, DiscretizedLogisticMixture))
def test_samples_have_the_masses(family: type[Distribution], levels: int) -> None:
    """Chi-square over all levels with 40,000 draws; a correct sampler fails once in 10^6 fixed seeds."""
    one = torch.ones(1).double()
    if family is DiscretizedLogisticMixture:
        logits, means, scales = torch.tensor([[0.3, -1.0, 0.5], [-0.8, 0.1, 0.6], [-2.0, -1.0, -3.0]]).double()
        d: Distribution = DiscretizedLogisticMixture(logits[None], means[None], scales[None], levels, 0)
    else:
        d = family(0.2 * one, -1.0 * one, levels, 0)
    n = 40_000
    noise = Rng(3).uniform("x", n, d.noise_shape, torch.float64)
    draws = torch.stack([d.sample(u) for u in noise[:8]])  # one noise at a time ...
    many = type(d)(*(t.expand(n, *t.shape[1:]) for t in parameters_of(d)), levels, 0).sample(noise[:, 0])
    assert torch.equal(draws[:, 0], many[:8])  # ... or many at once
    x = values(levels)
    index = torch.bucketize(many, x - 1e-6) - 1
    assert (many - x[index]).abs().max() < 1e-12  # every draw is a level
    expected = n * d.log_prob(x).exp()
    counts = torch.bincount(index, minlength=levels).double()
    kept = expected >= 5
    statistic = ((counts - expected).square() / expected)[kept].sum()
    assert statistic < scipy.stats.chi2.isf(1e-6, int(kept.sum()) - 1)


def parameters_of(d: Distribution) -> tuple[Tensor, ...]:
    assert isinstance(d, DiscretizedLogistic | DiscretizedGaussian | DiscretizedLogisticMixture)
    return (
        (d.logits, d.location, d.log_scale) if isinstance(d, DiscretizedLogisticMixture) else (d.location, d.log_scale)
    )


@pytest.mark.parametrize("levels", LEVELS)
def test_quantize_gives_the_levels_of_the_data_spec(levels: int) -> None:
    spec = DataSpec(name="x", shape=(1,), kind="continuous", levels=levels)
    x = spec.encode(torch.arange(levels))
    assert torch.equal(quantize(x, levels), x)
    nudged = x + 0.9 / (levels - 1) * (2 * Rng(0).uniform("nudge", levels) - 1)
    assert torch.equal(quantize(nudged, levels), x)


def test_shapes_broadcast_over_samples_of_the_latent() -> None:
    g = torch.Generator().manual_seed(0)
    raw = torch.randn(5, 4, 3, 2, 3, 3, generator=g, dtype=torch.float64)  # (S, B, K, C, H, W)
    x = quantize(torch.randn(4, 2, 3, 3, generator=g, dtype=torch.float64), 256)
    d = DiscretizedLogisticMixture(raw, raw + 0.1, raw - 2, 256, event_dims=3)
    got = d.log_prob(x)
    assert got.shape == (5, 4) and d.mean.shape == (5, 4, 2, 3, 3) and d.noise_shape == (5, 4, 2, 2, 3, 3)
    one = DiscretizedLogisticMixture(raw[2], raw[2] + 0.1, raw[2] - 2, 256)  # event_dims by default
    torch.testing.assert_close(got[2], one.log_prob(x), rtol=1e-12, atol=0)
    assert DiscretizedLogistic(raw[0, :, 0], raw[0, :, 1], 256).log_prob(x).shape == (4,)


def test_low_precision_parameters_are_widened() -> None:
    """Under bf16 autocast a network puts out bf16; the sums must not be taken in it."""
    raw = torch.randn(3, 2, 5, 50, generator=torch.Generator().manual_seed(0)).bfloat16()
    x = values(256, torch.float32)[torch.arange(50) * 5]
    with torch.autocast("cpu", torch.bfloat16):
        for d in (
            DiscretizedLogisticMixture(*raw, 256),
            DiscretizedLogistic(raw[0, :, 0], raw[1, :, 0], 256),
            DiscretizedGaussian(raw[0, :, 0], raw[1, :, 0], 256),
        ):
            got = d.log_prob(x)
            parameters = [p.float() for p in parameters_of(d)]
            assert got.dtype == torch.float32
            assert torch.equal(got, type(d)(*parameters, 256).log_prob(x))


@pytest.mark.parametrize("family", SINGLE)
def test_one_level_is_refused(family: type[Distribution]) -> None:
    with pytest.raises(SpecError, match="at least 2 levels"):
        family(torch.zeros(1), torch.zeros(1), 1)
