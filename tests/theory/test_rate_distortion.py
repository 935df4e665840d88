"""Relaxed rates beside quantizers, and the rate of a normal source; all by quadrature in float64."""

import math

import pytest
import torch

from morphogen.theory.rate_distortion import STEP, log_mass_of_cell, log_mass_of_mixture
from tests.oracles.rate_distortion import cells, gaussian_rate

f64 = torch.float64


def tensors(*values):
    return [torch.tensor(v, dtype=f64) for v in values]


@pytest.mark.parametrize(("location", "scale", "width"), [(0.3, 1.0, 0.5), (-2.0, 0.05, 1.0), (0.0, 3.0, 0.01)])
def test_masses_sum_to_one_and_the_density_integrates_to_one(location, scale, width):
    m, s, w = tensors(location, math.log(scale), math.log(width))
    mass = log_mass_of_cell(cells(width, 0.123, 45 * scale + 3), m, s, w).exp()
    assert float(mass.sum()) == pytest.approx(1.0, abs=1e-10)
    x = torch.linspace(-45 * scale - 5, 45 * scale + 5, 400_001, dtype=f64)
    density = log_mass_of_cell(x, m, s, w).exp() / width
    assert float(torch.trapezoid(density, x)) == pytest.approx(1.0, abs=1e-8)


def test_the_density_is_that_of_the_latent_and_its_noise():
    """p convolved with the box, by quadrature over the noise."""
    m, s, w = tensors(0.4, math.log(0.7), math.log(1.3))
    nodes = torch.linspace(-0.65, 0.65, 20_001, dtype=f64)
    for x in (-3.0, 0.0, 0.5, 4.0):
        z = (x - nodes - 0.4) / 0.7
        p = torch.sigmoid(z) * torch.sigmoid(-z) / 0.7
        convolved = float(torch.trapezoid(p, nodes) / 1.3)
        assert float(log_mass_of_cell(torch.tensor(x, dtype=f64), m, s, w).exp() / 1.3) == pytest.approx(
            convolved, rel=1e-7
        )


def test_masses_do_not_vanish_in_the_tail_and_have_gradients():
    x = torch.tensor([500.0, -500.0], requires_grad=True)
    found = log_mass_of_cell(x, torch.zeros(()), torch.tensor(-3.0), torch.zeros(()))
    found.sum().backward()
    assert torch.allclose(found, torch.full((2,), -499.5 * math.exp(3.0)), rtol=1e-4)
    assert torch.isfinite(x.grad).all() and x.grad.abs().min() > 1


def test_the_relaxed_rate_is_that_of_a_quantizer_with_dither():
    """The mean over offsets of the entropy of the cells is h(y + w u) - log w (Zamir and Feder, 1992)."""
    m, s = tensors(0.0, 0.0)
    for width in (0.3, 1.0, 4.0):
        (w,) = tensors(math.log(width))
        entropies = []
        for i in range(200):
            log_p = log_mass_of_cell(cells(width, (i + 0.5) / 200 * width, 40.0), m, s, w)
            entropies.append(float(-(log_p.exp() * log_p).sum()))
        x = torch.linspace(-45, 45, 200_001, dtype=f64)
        log_p = log_mass_of_cell(x, m, s, w)
        relaxed = float(-torch.trapezoid(log_p.exp() / width * log_p, x))
        assert sum(entropies) / 200 == pytest.approx(relaxed, abs=1e-6)


def test_a_wrong_prior_costs_more():
    """The rate is at least that under the true density: the bound is a bound."""
    m, s, w = tensors(0.0, 0.0, 0.0)
    x = torch.linspace(-45, 45, 100_001, dtype=f64)
    p = log_mass_of_cell(x, m, s, w).exp()
    true = torch.trapezoid(p * log_mass_of_cell(x, m, s, w), x)
    for location, scale in ((0.2, 0.0), (0.0, 0.3), (0.0, -0.5)):
        other = torch.trapezoid(p * log_mass_of_cell(x, *tensors(location, scale), w), x)
        assert other < true - 1e-3


def test_a_mixture_is_the_sum_of_its_components():
    logits, location, log_scale = tensors([0.3, -1.0], [0.0, 2.0], [0.0, -1.0])
    x, w = torch.linspace(-3, 3, 7, dtype=f64), torch.zeros((), dtype=f64)
    parts = [log_mass_of_cell(x, location[k], log_scale[k], w).exp() * logits.softmax(0)[k] for k in range(2)]
    found = log_mass_of_mixture(x, logits, location, log_scale, w.expand(7)).exp()
    assert torch.allclose(found, parts[0] + parts[1], rtol=1e-12)


def of_normal(step, deviation=1.0):
    """Rate in nats and squared error of a normal source in cells of this width, each rebuilt at its middle."""
    x = torch.linspace(-10 * deviation, 10 * deviation, 1_000_001, dtype=f64)
    p = (-0.5 * (x / deviation).square()).exp() / (deviation * math.sqrt(2 * math.pi))
    middles = cells(step, 0.0, 10 * deviation)
    edges = torch.special.ndtr((torch.cat((middles - step / 2, middles[-1:] + step / 2))) / deviation)
    mass = edges.diff()
    rate = float(-(mass * mass.clamp_min(1e-300).log()).sum())
    return rate, float(torch.trapezoid(p * (x - step * (x / step).round()).square(), x))


def test_a_quantizer_of_a_normal_source_is_near_its_rate():
    """Above R(D), and for small cells by log(pi e / 6) / 2 nats (Gish and Pierce, 1968)."""
    for step in (0.1, 0.5, 1.0, 2.0):
        rate, error = of_normal(step)
        gap = rate - gaussian_rate(torch.ones(1, dtype=f64), error)
        assert gap > 0
        if step <= 0.1:
            assert gap == pytest.approx(0.5 * math.log(math.pi * math.e / 6), abs=1e-3)


def test_the_best_step_is_that_of_the_ladder():
    """rate + error / (2 sigma^2) is least at sqrt(12) sigma, where cells are small."""
    sigma = 0.05
    found = {
        k: (lambda r, d: r + d / (2 * sigma**2))(*of_normal(k * STEP * sigma)) for k in (0.9, 0.97, 1.0, 1.03, 1.1)
    }
    assert min(found, key=found.get) == 1.0


def test_water_filling_is_the_closed_form():
    variances = torch.tensor([4.0, 1.0, 0.25], dtype=f64)
    assert gaussian_rate(variances, 0.3) == pytest.approx(0.5 * math.log(4 * 1 * 0.25 / 0.1**3), rel=1e-9)
    assert gaussian_rate(variances, 1.25) == pytest.approx(0.5 * math.log(4 * 1 / 0.5**2), rel=1e-9)
