"""Data whose denoiser is known exactly, shared by the tests of the sampling room."""

from __future__ import annotations

import torch
from torch import Tensor

from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser
from morphogen.theory.schedules import EDM, Schedule, VarianceExploding, schedule

MEAN = torch.tensor([0.5, -0.3], dtype=torch.float64)
COV = torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64)

# Noise levels in proportion to the data, so that a hundred steps are many.
PROCESSES: dict[str, Schedule] = {
    "linear-beta": schedule("linear-beta"),
    "cosine": schedule("cosine"),
    "rectified-flow": schedule("rectified-flow"),
    "edm": EDM(10.0),
    "ve": VarianceExploding(0.01, 10.0),
}


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def gaussian(process: Schedule) -> GaussianMixtureDenoiser:
    """Two elements that depend on each other."""
    return GaussianMixtureDenoiser.gaussian(process, MEAN, COV)


def line_mixture(process: Schedule) -> GaussianMixtureDenoiser:
    """Two modes on the line."""
    means, variances = torch.tensor([[-1.0], [0.8]]).double(), torch.tensor([0.3, 0.15]).double()
    return GaussianMixtureDenoiser(process, torch.tensor([0.35, 0.65]).double(), means, variances[:, None, None])


def plane_mixture(process: Schedule) -> GaussianMixtureDenoiser:
    """Two modes in the plane, with dependent elements in each."""
    means = torch.tensor([[-0.6, 0.2], [0.5, -0.3]]).double()
    covs = torch.tensor([[[0.4, 0.25], [0.25, 0.3]], [[0.2, -0.1], [-0.1, 0.3]]]).double()
    return GaussianMixtureDenoiser(process, torch.tensor([0.35, 0.65]).double(), means, covs, torch.tensor([0, 1]))
