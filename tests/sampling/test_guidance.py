"""Guidance against the product of Gaussians that it stands for, and its limits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from morphogen.core.batch import RawCondition
from morphogen.core.capabilities import Denoises
from morphogen.core.distributions import Gaussian
from morphogen.core.errors import SpecError
from morphogen.sampling.grids import grid
from morphogen.sampling.guidance import autoguidance, classifier_free
from morphogen.sampling.loop import sample
from morphogen.sampling.steppers import STEPPERS, stepper
from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser
from tests.oracles.denoisers import PROCESSES, gaussian, number, plane_mixture

X_T = torch.tensor([[0.4, -0.2], [1.0, 0.3], [-0.5, 0.8]], dtype=torch.float64)
T = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
ONE = RawCondition(label=torch.tensor([1, 1, 1]))
OTHER = RawCondition(label=torch.tensor([0, 0, 0]))


def score(oracle: Denoises, mean: Tensor) -> Tensor:
    alpha, sigma = (c[:, None] for c in oracle.schedule(T))  # type: ignore[attr-defined]
    return (alpha * mean - X_T) / sigma.square()


def class_score(oracle: GaussianMixtureDenoiser, k: int) -> Tensor:
    """Of N(alpha m_k, alpha^2 C_k + sigma^2), by a solve."""
    alpha, sigma = oracle.schedule(T)
    cov = oracle.vectors[k] @ oracle.values[k].diag() @ oracle.vectors[k].T
    rows = [
        -torch.linalg.solve(a**2 * cov + s**2 * torch.eye(2).double(), x - a * oracle.means[k])
        for a, s, x in zip(alpha, sigma, X_T, strict=True)
    ]
    return torch.stack(rows)


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0])
def test_the_guided_score_is_that_of_the_product_of_gaussians(process: str, scale: float) -> None:
    """grad log p_1^scale p_0^(1 - scale) for the two classes, one of them to avoid."""
    oracle = plane_mixture(PROCESSES[process])
    guided = classifier_free(oracle, scale, negative=OTHER).posterior(X_T, T, ONE)
    want = scale * class_score(oracle, 1) + (1 - scale) * class_score(oracle, 0)
    torch.testing.assert_close(score(oracle, guided.mean), want, rtol=1e-9, atol=1e-9)


def test_without_a_negative_it_leaves_the_unconditional_model() -> None:
    oracle = plane_mixture(PROCESSES["cosine"])
    guided = classifier_free(oracle, 2.0).posterior(X_T, T, ONE).mean
    torch.testing.assert_close(guided, 2 * oracle.posterior(X_T, T, ONE).mean - oracle.posterior(X_T, T).mean)


def test_autoguidance_leaves_the_weak_model_under_the_same_condition() -> None:
    oracle, weak = plane_mixture(PROCESSES["cosine"]), plane_mixture(PROCESSES["cosine"])
    weak.values = 2.0 * weak.values
    guided = autoguidance(oracle, weak, 1.7).posterior(X_T, T, ONE)
    good, bad = oracle.posterior(X_T, T, ONE), weak.posterior(X_T, T, ONE)
    torch.testing.assert_close(guided.mean, bad.mean + 1.7 * (good.mean - bad.mean))
    assert torch.equal(guided.log_var, good.log_var)


class Unasked:
    """A denoiser that must not be asked."""

    schedule = PROCESSES["cosine"]

    def posterior(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Gaussian:
        raise AssertionError("asked")


@pytest.mark.parametrize("name", STEPPERS)
def test_scale_one_is_unguided_bit_for_bit_and_asks_nobody(name: str) -> None:
    oracle, times = plane_mixture(PROCESSES["cosine"]), grid("uniform", PROCESSES["cosine"], 5)
    plain = sample(oracle, stepper(name), X_T, times, lambda i: X_T, ONE)
    guided = sample(autoguidance(oracle, Unasked(), 1.0), stepper(name), X_T, times, lambda i: X_T, ONE)
    assert torch.equal(plain, guided)


def test_guidance_acts_in_its_interval_alone_record_by_record() -> None:
    oracle = plane_mixture(PROCESSES["cosine"])
    full, limited = classifier_free(oracle, 3.0), classifier_free(oracle, 3.0, interval=(0.4, 0.6))
    found, plain = limited.posterior(X_T, T, ONE).mean, oracle.posterior(X_T, T, ONE).mean
    assert torch.equal(found[[0, 2]], plain[[0, 2]])
    assert torch.equal(found[1], full.posterior(X_T, T, ONE).mean[1])
    outside = autoguidance(oracle, Unasked(), 3.0, interval=(0.9, 1.0))
    assert torch.equal(outside.posterior(X_T, T, ONE).mean, plain)


def test_a_guided_sampler_draws_from_the_product_of_gaussians_where_that_is_what_it_follows() -> None:
    """Two Gaussians of one covariance: guidance moves the mean to m_0 + scale (m_1 - m_0), exactly, for any stepper."""
    process = PROCESSES["rectified-flow"]
    cov = torch.tensor([[0.5, 0.2], [0.2, 0.3]]).double()
    means = torch.tensor([[0.5, -0.3], [-0.2, 0.4]]).double()
    oracle = GaussianMixtureDenoiser(process, torch.ones(2).double(), means, cov.expand(2, 2, 2), torch.tensor([0, 1]))
    guided = classifier_free(oracle, 2.5, negative=OTHER)
    moved = GaussianMixtureDenoiser.gaussian(process, means[0] + 2.5 * (means[1] - means[0]), cov)
    for name in ("ddim", "heun", "unipc"):
        times = grid("quadratic", process, 12)
        found = sample(guided, stepper(name), X_T, times, lambda i: X_T, ONE)
        torch.testing.assert_close(found, sample(moved, stepper(name), X_T, times, lambda i: X_T))
    torch.testing.assert_close(
        sample(guided, stepper("heun"), X_T, grid("quadratic", process, 200), lambda i: X_T, ONE),
        moved.flow(X_T, number(1.0), number(0.0)),
        rtol=0,
        atol=1e-3,
    )


def test_wrappers_denoise_and_impossible_intervals_are_errors() -> None:
    assert isinstance(classifier_free(gaussian(PROCESSES["edm"]), 2.0), Denoises)
    with pytest.raises(SpecError, match="interval of guidance"):
        classifier_free(gaussian(PROCESSES["edm"]), 2.0, interval=(0.8, 0.2))
