"""Measure the error of a denoiser on held-out records, by the amount of noise."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from morphogen.core.batch import Batch
from morphogen.core.family import TELLING, Health
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
    between elements. A learned variance is compared with the squared error; the two should be equal.
    """
    part = batch[:HEALTH_RECORDS]
    n = len(part)
    x_0 = model.encoded(part.x, rng, n)
    prior_var = x_0.var(0, correction=0)
    found: dict[str, list[float]] = {"held_out_error": [], "independent_error": [], "variance_ratio": []}
    warnings = []  # without measured numbers, so that a lasting warning is given only once
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
        if error > 1.1 * independent:
            cure = "train longer, lower --lr, or take a larger network"
            if model.readout.parametrization == "x0" and low > 0:
                cure += "; or set --parametrization v, which keeps what x_t tells where there is little noise"
            warnings.append(f"{band} the estimates of the record are worse than those of independent Gaussians: {cure}")
        if model.readout.variance == "learned" and not 0.2 < ratio < 5.0:
            size = "more than five times" if ratio > 1.0 else "less than a fifth of"
            warnings.append(
                f"{band} the learned variance is {size} the squared error that it estimates: train longer, or raise"
                " --bound-weight"
            )
    if model.readout.variance != "learned":
        del found["variance_ratio"]
    shares = [error / independent for error, independent in zip(*list(found.values())[:2], strict=True)]
    told = warnings if len(part) >= TELLING else []
    return Health({"bands": list(BANDS), **found}, told, sum(shares) / len(shares))
