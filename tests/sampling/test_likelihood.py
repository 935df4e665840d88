"""The bound and the probability flow against exact log-likelihoods.

Monte-Carlo assertions use fixed seeds and were given room for z = 5 standard errors: a correct implementation fails
once in about two million choices of the seed.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from morphogen.core.errors import UsageError
from morphogen.core.rng import Rng
from morphogen.sampling.grids import angle, grid, karras
from morphogen.sampling.ode_likelihood import Likelihood, flow_log_likelihood, variational_bound
from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser
from morphogen.theory.schedules import Schedule
from tests.oracles.denoisers import PROCESSES, gaussian, line_mixture, number

Z = 5.0
X = torch.tensor([[0.1, 0.2], [1.0, -1.0], [0.5, -0.4]], dtype=torch.float64)
SILENT = ("cosine", "rectified-flow")  # no signal at t = 1, so the prior is exact


def independent(process: Schedule) -> GaussianMixtureDenoiser:
    var = torch.tensor([0.5, 0.3], dtype=torch.float64)
    return GaussianMixtureDenoiser.gaussian(process, torch.tensor([0.5, -0.3]).double(), var.diag())


def assert_mean(found: Likelihood, want: Tensor) -> None:
    error = found.draws.std(1) / math.sqrt(found.draws.shape[1])
    assert ((found.score.value - want).abs() < Z * error + 1e-9).all()


@pytest.mark.parametrize("process", SILENT)
@pytest.mark.parametrize("steps", [1, 10])
def test_for_independent_gaussians_the_bound_is_the_likelihood(process: str, steps: int) -> None:
    oracle = independent(PROCESSES[process])
    found = variational_bound(oracle, X, grid("quadratic", oracle.schedule, steps), Rng(0), 3, draws=400)
    assert_mean(found, oracle.log_prob(X, number(0.0)))
    assert found.score.kind == "lower_bound" and found.score.measure == "density"
    torch.testing.assert_close(torch.stack(list(found.score.terms.values())).sum(0), found.score.value)


def test_for_a_mixture_the_bound_lies_below_and_rises_with_steps() -> None:
    oracle = line_mixture(PROCESSES["cosine"])
    line = torch.linspace(-3.0, 2.5, 23, dtype=torch.float64)[:, None]
    truth = oracle.log_prob(line, number(0.0))
    weights = truth.softmax(0)  # in the mean over the data; single records may gain
    gaps, errors = [], []
    for steps in (1, 12):
        found = variational_bound(oracle, line, grid("quadratic", oracle.schedule, steps), Rng(1), 23, draws=400)
        gap = weights @ (truth[:, None] - found.draws)  # (draws,)
        gaps.append(float(gap.mean()))
        errors.append(float(gap.std() / math.sqrt(len(gap))))
    assert all(gap > -Z * error for gap, error in zip(gaps, errors, strict=True))
    assert gaps[0] > gaps[1] + Z * math.hypot(errors[0], errors[1])
    assert abs(gaps[1]) < 0.02 + Z * errors[1]


@pytest.mark.parametrize("process", SILENT)
def test_the_flow_has_the_exact_likelihood_of_independent_gaussians_draw_by_draw(process: str) -> None:
    """Its first, variational step loses nothing there, so every draw is exact but for the integration."""
    oracle = independent(PROCESSES[process])
    truth, errors = oracle.log_prob(X, number(0.0)), []
    for steps in (8, 16):
        found = flow_log_likelihood(oracle, X, angle(oracle.schedule, steps), Rng(0), 3, trace="exact", draws=2)
        errors.append(float((found.draws - truth[:, None]).abs().max()))
    assert errors[1] < errors[0] / 8 and errors[1] < 2e-3


@pytest.mark.parametrize("process", SILENT)
def test_the_flow_has_the_likelihood_of_dependent_gaussians_and_of_mixtures(process: str) -> None:
    """Up to the divergence of the first step's independent p(x_0 | x_t), of the order of its variance."""
    oracle = gaussian(PROCESSES[process])
    found = flow_log_likelihood(oracle, X, angle(oracle.schedule, 40), Rng(0), 3, trace="exact").score.value
    torch.testing.assert_close(found, oracle.log_prob(X, number(0.0)), rtol=0, atol=2e-4)
    mixture = line_mixture(PROCESSES[process])
    line = torch.linspace(-1.5, 1.3, 7, dtype=torch.float64)[:, None]
    found = flow_log_likelihood(mixture, line, angle(mixture.schedule, 60), Rng(0), 7, trace="exact").score.value
    torch.testing.assert_close(found, mixture.log_prob(line, number(0.0)), rtol=0, atol=2e-3)


def test_a_schedule_that_keeps_some_signal_answers_for_its_prior() -> None:
    """log p of the model, whose prior is N(0, sigma_1^2), not of the data: exact by the change of variables."""
    oracle = independent(PROCESSES["edm"])
    found = flow_log_likelihood(oracle, X, angle(oracle.schedule, 40), Rng(0), 3, trace="exact").score.value
    x_1 = oracle.flow(X, number(0.0), number(1.0))
    growth = (oracle.values[0] + 100.0).div(oracle.values[0]).sqrt().log().sum()
    prior = -0.5 * (x_1.square() / 100.0 + math.log(2 * math.pi * 100.0)).sum(1)
    torch.testing.assert_close(found, prior + growth, rtol=0, atol=1e-3)


def test_the_stochastic_trace_is_unbiased() -> None:
    oracle = gaussian(PROCESSES["cosine"])
    times = angle(oracle.schedule, 6)
    exact = flow_log_likelihood(oracle, X, times, Rng(2), 3, trace="exact", draws=300)
    drawn = flow_log_likelihood(oracle, X, times, Rng(2), 3, draws=300)
    difference = drawn.draws - exact.draws  # the same noise, so that only the trace differs
    assert difference.std(1).min() > 0.01
    assert (difference.mean(1).abs() < Z * difference.std(1) / math.sqrt(300)).all()


def test_quantized_data_get_a_mass_close_to_density_times_bin() -> None:
    oracle = independent(PROCESSES["cosine"])
    levels = 64
    x = ((X.clamp(-1, 1) + 1) * 31.5).round() / 31.5 - 1
    inside = x[[0, 2]]
    times = karras(oracle.schedule, 20, smallest=2 / (levels - 1))
    want = oracle.log_prob(inside, number(0.0)) + 2 * math.log(2 / (levels - 1))
    flow = flow_log_likelihood(oracle, inside, times, Rng(0), 2, levels=levels, trace="exact", draws=50)
    bound = variational_bound(oracle, inside, times, Rng(0), 2, levels=levels, draws=100)
    assert flow.score.measure == bound.score.measure == "mass"
    torch.testing.assert_close(flow.score.value, want, rtol=0, atol=0.02)
    assert ((bound.score.value - want).abs() < Z * bound.draws.std(1) / 10 + 0.02).all()


@pytest.mark.parametrize("function", [variational_bound, flow_log_likelihood])
def test_a_record_does_not_depend_on_its_batch(function: type) -> None:
    oracle, times = gaussian(PROCESSES["cosine"]), angle(PROCESSES["cosine"], 5)
    whole = function(oracle, X, times, Rng(5), 3).draws
    torch.testing.assert_close(function(oracle, X[1:], times, Rng(5), torch.tensor([1, 2])).draws, whole[1:])


def test_intervals_cover_and_need_two_draws() -> None:
    """95 % intervals of 400 records: at least 90 % cover; a right rate fails that less than once in 10,000."""
    oracle = independent(PROCESSES["cosine"])
    x = X[:1].expand(400, 2)
    found = variational_bound(oracle, x, grid("quadratic", oracle.schedule, 3), Rng(7), 400, draws=60)
    low, high = found.interval()
    truth = oracle.log_prob(X[:1], number(0.0))
    assert float(((low < truth) & (truth < high)).double().mean()) > 0.9
    assert ((high - low) > 0).all()
    with pytest.raises(UsageError, match="at least 2 draws"):
        variational_bound(oracle, X, angle(oracle.schedule, 2), Rng(0), 3).interval()
    with pytest.raises(UsageError, match="exactly 1 to exactly 0"):
        flow_log_likelihood(oracle, X, torch.tensor([0.9, 0.5, 0.0]), Rng(0), 3)
