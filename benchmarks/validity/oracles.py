"""Exact denoisers on which steppers are measured, ours and, in its own environment, those of diffusers."""

from __future__ import annotations

import torch

from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser
from morphogen.theory.schedules import Schedule

FEW = (10, 20, 50)  # numbers of steps at which the error itself is reported


def gaussian(process: Schedule) -> GaussianMixtureDenoiser:
    """Two dependent Gaussian elements."""
    mean, cov = torch.tensor([0.5, -0.3]), torch.tensor([[0.5, 0.2], [0.2, 0.3]])
    return GaussianMixtureDenoiser.gaussian(process, mean.double(), cov.double())


def mixture(process: Schedule) -> GaussianMixtureDenoiser:
    """Two modes on the line."""
    weights, means, variances = torch.tensor([0.35, 0.65]), torch.tensor([[-1.0], [0.8]]), torch.tensor([0.3, 0.15])
    return GaussianMixtureDenoiser(process, weights.double(), means.double(), variances.double()[:, None, None])
