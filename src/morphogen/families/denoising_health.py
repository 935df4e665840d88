"""Measure the error of a denoiser on held-out records, by the amount of noise."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from morphogen.core.batch import Batch
from morphogen.core.family import Health
from morphogen.core.rng import Noise
from morphogen.theory.diffusion import broadcast

if TYPE_CHECKING:
    from morphogen.families.denoising import DenoisingFamily

EARLIEST = 1e-5  # the smallest training time; below it, x_t equals x_0 up to rounding
BANDS = (-10.0, -6.0, -2.0, 2.0, 6.0, 10.0)  # the bands of log-SNR of a health check
HEALTH_RECORDS = 256  # records in a health check


@torch.no_grad()
def judge_denoiser(model: DenoisingFamily, batch: Batch, rng: Noise) -> Health:
    """Measure the squared error per element of E[x_0 | x_t] on held-out records, in bands of log-SNR.

    The baseline is the error of independent Gaussians with the moments of the records, which ignore all relations
    between elements. A learned variance is compared with the squared error; the two should be equal. Neither makes a
    warning: a network that puts out x_0 is worse than that baseline where there is little noise, and draws well. What
    samples look like is judged from samples (`applications/sample_health.py`).
    """
    part = batch[:HEALTH_RECORDS]
    n = len(part)
    x_0 = model.encoded(part.x, rng, n)
    prior_var = x_0.var(0, correction=0)
    found: dict[str, list[float]] = {"held_out_error": [], "independent_error": [], "variance_ratio": []}
    for low, high in pairwise(BANDS):
        band = f"at log-SNR {low:g} to {high:g}"
        t = model.schedule.time(low + (high - low) * rng.uniform(f"time {band}", n, (), torch.float64))
        t = t.clamp_min(EARLIEST)
        x_t = model.readout.noised(x_0, rng.normal(f"noise {band}", n, model.shape, x_0.dtype), t)
        posterior = model.posterior(x_t, t, part.cond)
        snr = broadcast(model.schedule.log_snr(t).exp(), x_0)
        error = float((x_0 - posterior.mean).square().mean())
        independent = float((prior_var / (1.0 + snr * prior_var)).mean())
        ratio = float(posterior.var.mean()) / max(error, 1e-30)
        for name, value in zip(found, (error, independent, ratio), strict=True):
            found[name].append(value)
    if model.readout.variance != "learned":
        del found["variance_ratio"]
    errors, independents = found["held_out_error"], found["independent_error"]
    scales = independents if all(independents) else [1.0] * len(errors)  # a single record has no spread
    shares = [error / scale for error, scale in zip(errors, scales, strict=True)]
    return Health({"bands": list(BANDS), **found}, held_out=sum(shares) / len(shares))
