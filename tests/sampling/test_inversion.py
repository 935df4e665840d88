"""Inversion: the noise of Gaussian data in closed form, and the way back."""

from __future__ import annotations

import pytest
import torch

from morphogen.sampling import loop
from morphogen.sampling.inversion import inverted
from morphogen.sampling.plan import planned
from morphogen.sampling.steppers import stepper
from tests.oracles.denoisers import COV, MEAN, PROCESSES, gaussian, plane_mixture

METHOD = stepper("unipc")


@pytest.mark.parametrize("name", PROCESSES)
def test_the_noise_of_gaussian_data_is_known(name: str) -> None:
    """The flow of a Gaussian scales each principal axis by the deviation that x_t has there."""
    schedule = PROCESSES[name]
    x_0 = MEAN + torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).double() @ torch.linalg.cholesky(COV).T
    times = planned(METHOD, "auto", schedule, 200)
    found = inverted(gaussian(schedule), x_0, times, torch.zeros_like(x_0))
    variances, axes = torch.linalg.eigh(COV)
    alpha, sigma = schedule(times[0])
    begun = torch.stack(schedule(times[-2]))  # there the record has no noise
    spread = (alpha**2 * variances + sigma**2).sqrt() / (begun[0] ** 2 * variances + begun[1] ** 2).sqrt()
    exact = alpha * MEAN + (begun[0] * (x_0 - MEAN) @ axes * spread) @ axes.T
    assert torch.allclose(found, exact, atol=2e-3 * float(exact.abs().max()))


@pytest.mark.parametrize("name", PROCESSES)
def test_the_flow_leads_back_to_the_record(name: str) -> None:
    schedule = PROCESSES[name]
    denoiser = plane_mixture(schedule)
    x_0 = torch.tensor([[-0.5, 0.3], [0.4, -0.2], [-0.9, -0.4]]).double()
    errors = []
    for steps in (25, 100):
        times = planned(METHOD, "auto", schedule, steps)
        x = inverted(denoiser, x_0, times, torch.zeros_like(x_0))
        again = loop.sample(denoiser, METHOD, x, times, loop.addressed(None, 3, x))  # type: ignore[arg-type]
        errors.append(float((again - x_0).abs().max()))
    assert errors[1] < 0.02 and errors[1] < errors[0]
