r"""The score that a family itself gives a record: the simplest attack is to call records with a high score members.

    likelihood  log p(x), or its bound, in nats (`Scores`)
    denoising   minus the mean over noise levels of log |x_0 - E[x_0 | x_t]|^2 (`Denoises`): a network that has seen x_0
                removes noise from it better. The logarithm gives all levels equal weight
    realness    the logit of the discriminator (`Discriminates`)

For denoising models the bound would need hundreds of evaluations for each record, so they are attacked by few levels.
All noise is addressed by the record's place: two models are scored with the same noise, and their difference is sharp.

Yeom et al., "Privacy risk in machine learning", 2018 (loss); Carlini et al., "Extracting training data from diffusion
models", 2023, section 5.1 (denoising); Hayes et al., "LOGAN", 2019 (realness).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from morphogen.core.batch import RawCondition
from morphogen.core.capabilities import Denoises, Discriminates, Scores
from morphogen.core.chunks import chunks
from morphogen.core.family import Family, require
from morphogen.core.rng import Noise, Rng
from morphogen.data import Records
from morphogen.sampling.denoiser import Denoiser
from morphogen.theory.schedules import broadcast

CHUNK = 250
LOG_SNR = (4.0, 2.0, 0.0, -2.0)  # the noise levels: from little noise to much
DRAWS = 4  # of the noise of a bound, and of each level

Scorer = Callable[[Family, Tensor, RawCondition | None, Noise], Tensor]


@runtime_checkable
class EncodedDenoiser(Denoiser, Protocol):
    """A denoiser of records, or of their latents."""

    def encoded(self, x: Tensor, rng: Noise, index: int) -> Tensor:
        """Turn records (n, *data.shape) into x_0 (n, *shape)."""


def own_score(family: Family) -> tuple[str, Scorer] | None:
    """The name and the function of the family's score; None if it gives none."""
    if Denoises in family.capabilities and isinstance(family, EncodedDenoiser):
        return "denoising", _denoising
    if Scores in family.capabilities:
        return "likelihood", _likelihood
    if Discriminates in family.capabilities:
        return "realness", _realness
    return None


@torch.no_grad()
def scores(scorer: Scorer, family: Family, records: Records, seed: int) -> Tensor:
    """(N,) float64 on the CPU: the score of each record under its own condition; larger is more like a member."""
    rng, device = Rng(seed, family.device).child("audit"), family.device
    found = []
    for rows in chunks(len(records), CHUNK):
        batch = records.batch(rows).to(device)
        found.append(scorer(family, batch.x, batch.cond, rng.shifted(rows.start)).double().cpu())
    return torch.cat(found)


def _likelihood(family: Family, x: Tensor, cond: RawCondition | None, rng: Noise) -> Tensor:
    scorer = require(family, Scores, "score")
    first = scorer.score(x, cond, rng)
    draws = [first.value.double()]
    if first.kind != "exact":
        draws += [scorer.score(x, cond, rng.child(f"draw {i}")).value.double() for i in range(1, DRAWS)]
    return torch.stack(draws).mean(0)


def _denoising(family: Family, x: Tensor, cond: RawCondition | None, rng: Noise) -> Tensor:
    assert isinstance(family, EncodedDenoiser)
    x_0 = family.encoded(x, rng, len(x))
    total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for level in LOG_SNR:
        t = family.schedule.time(torch.full((len(x),), level, dtype=torch.float64, device=x.device)).to(x_0)
        alpha, sigma = (broadcast(part, x_0) for part in family.schedule(t))
        error = torch.zeros_like(total)
        for draw in range(DRAWS):
            eps = rng.child(f"level {level:g}, draw {draw}").normal("eps", len(x), x_0.shape[1:], x_0.dtype)
            estimate = family.posterior(alpha * x_0 + sigma * eps, t, cond).mean
            error += (x_0 - estimate).flatten(1).double().square().mean(1)
        total -= (error / DRAWS).clamp_min(1e-30).log()
    return total / len(LOG_SNR)


def _realness(family: Family, x: Tensor, cond: RawCondition | None, rng: Noise) -> Tensor:
    return require(family, Discriminates, "rate").realness(x, cond)
