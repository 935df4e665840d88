"""Scores of a trained model, by what it can do and never by what it is called.

`Scores`         likelihood    -log p(x) or its bound: large where the model gives little probability
                 typicality    |log p(x) - its median on normal records|: far from the typical set on either side
                               (Nalisnick et al., 2019)
                 complexity    -log2 p(x) less the bits that a plain codec needs: simple pictures are likely under every
                               model (Serra et al., 2020)
`Encodes`        reconstruction   |x - E[x | z]|^2 at the mean of q(z | x)
                 latents          distance of that mean to its nearest ones of normal records
`Denoises`       denoising        sum over t of |x_0 - E[x_0 | x_t]|^2 / its median on normal records
                 partial noise    |x - y|^2, y drawn from x_t at t = 1/4 (Wyatt et al., AnoDDPM, 2022)
                 diffusion time   the noise level that the denoiser finds in x itself, as a log-SNR: the t at which
                                  |x - alpha_t E[x_0 | x_t = x]|^2 falls to what noise of sigma_t would be (after the
                                  idea of Livernoche et al., DTE, 2024)
`Discriminates`  realness         -(the discriminator's logit)
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from morphogen.applications.anomalies.detector import Detector, checked
from morphogen.applications.anomalies.scores.distances import Neighbors
from morphogen.applications.compression import plain
from morphogen.applications.denoising_models import denoising_model, stepper_of, time_grid
from morphogen.core.capabilities import Denoises, Discriminates, Encodes, Scores
from morphogen.core.chunks import chunks
from morphogen.core.family import Family, require
from morphogen.core.rng import Noise
from morphogen.data import Records
from morphogen.sampling import loop
from morphogen.sampling.editing import noised

CHUNK = 250  # records that a model scores together
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5)  # times at which a denoiser estimates
PARTIAL, PARTIAL_STEPS = 0.25, 8
TIMES = 12  # places of the noise level in the scale of log-SNR
WEAK, STRONG = 8.0, -6.0  # its ends


class ModelScore(Detector):
    """A score of a model, chunk by chunk."""

    learns = False

    def __init__(self, family: Family) -> None:
        self.family = family

    def fit(self, reference: Records) -> None:
        pass

    @abstractmethod
    def values(self, x: Tensor, rng: Noise) -> Tensor:
        """(B, *) of records x (B, *shape), whose noise has the addresses 0 .. B - 1 of `rng`."""

    @torch.no_grad()
    def collected(self, records: Records, rng: Noise) -> Tensor:
        """`values` of all records."""
        return torch.cat([self.values(x, own).cpu() for x, own in self._chunks(records, rng)])

    def score(self, records: Records, rng: Noise) -> Tensor:
        return checked(self.collected(records, rng), self.name, records)

    def _chunks(self, records: Records, rng: Noise) -> Iterator[tuple[Tensor, Noise]]:
        for rows in chunks(len(records), CHUNK):
            yield records.spec.encode(records.stored[rows]).to(self.family.device), rng.shifted(rows.start)


class _Errors(ModelScore):
    """A score that is the mean of squared errors of elements."""

    @abstractmethod
    def errors(self, x: Tensor, rng: Noise) -> Tensor:
        """(B, *) squared errors of elements."""

    def values(self, x: Tensor, rng: Noise) -> Tensor:
        return self.errors(x, rng).flatten(1).mean(1)

    @torch.no_grad()
    def maps(self, records: Records, rng: Noise) -> Tensor | None:
        """The error of each pixel; None if there are none."""
        if not records.spec.is_picture:
            return None
        found = torch.cat([self.errors(x, own).cpu() for x, own in self._chunks(records, rng)])
        return found.sum(1) if found.shape[1:] == records.spec.shape else None


@final
class Likelihood(ModelScore):
    """-log p(x), or its bound."""

    name = "likelihood"

    def values(self, x: Tensor, rng: Noise) -> Tensor:
        return -require(self.family, Scores, "detect anomalies").score(x, None, rng).value


@final
class Typicality(ModelScore):
    """The distance of log p(x) from its median on normal records."""

    name, learns = "typicality", True

    def fit(self, reference: Records) -> None:
        self.usual = float(self.collected(reference, _own(self.family)).median())

    def values(self, x: Tensor, rng: Noise) -> Tensor:
        return Likelihood(self.family).values(x, rng).double()

    def score(self, records: Records, rng: Noise) -> Tensor:
        return checked((self.collected(records, rng) - self.usual).abs(), self.name, records)


@final
class Complexity(ModelScore):
    """Bits under the model less bits under a plain codec."""

    name = "complexity"

    def values(self, x: Tensor, rng: Noise) -> Tensor:
        data, found = self.family.data, require(self.family, Scores, "detect anomalies").score(x, None, rng)
        jacobian = data.log_jacobian if found.measure == "density" else 0.0
        bits = -(found.value.double().cpu() + jacobian) / math.log(2.0)
        stored = data.decode(x.cpu()).to(torch.uint8).numpy()
        lengths = [8.0 * len(plain.encode(one[None], data.levels or 256)) for one in stored]
        return bits - torch.tensor(lengths, dtype=torch.float64)


@final
class Reconstruction(_Errors):
    """The error of decoding the mean of q(z | x)."""

    name = "reconstruction"

    def errors(self, x: Tensor, rng: Noise) -> Tensor:
        model = require(self.family, Encodes, "detect anomalies")
        return (x - model.decode(model.encode(x).mean).mean).square()


@final
class LatentNeighbors(ModelScore):
    """The distance of the mean of q(z | x) to the nearest ones of normal records."""

    name, learns = "latents", True

    def fit(self, reference: Records) -> None:
        self.neighbors = Neighbors(5)
        self.neighbors.fit(self.collected(reference, _own(self.family)))

    def values(self, x: Tensor, rng: Noise) -> Tensor:
        return require(self.family, Encodes, "detect anomalies").encode(x).mean.flatten(1).float()

    def score(self, records: Records, rng: Noise) -> Tensor:
        return checked(self.neighbors.score(self.collected(records, rng)), self.name, records)


@final
class Denoising(_Errors):
    """The errors of estimates of x_0 at five noise levels, each in units of its median on normal records."""

    name, learns = "denoising", True
    weights: Tensor | None = None

    def fit(self, reference: Records) -> None:
        self.weights = None
        found = self.collected(reference, _own(self.family))  # (N, levels)
        self.weights = 1.0 / found.median(0).values.clamp_min(1e-12)

    def errors(self, x: Tensor, rng: Noise) -> Tensor:
        if self.weights is None:
            return self._each(x, rng)
        weights = self.weights.to(x.device).reshape(1, -1, *(1 for _ in x.shape[1:]))
        return (self._each(x, rng) * weights).mean(1)

    def values(self, x: Tensor, rng: Noise) -> Tensor:
        found = self.errors(x, rng)
        return found.flatten(2).mean(2) if self.weights is None else found.flatten(1).mean(1)

    def _each(self, x: Tensor, rng: Noise) -> Tensor:
        """(B, levels, *)."""
        model, n = denoising_model(self.family, "detect anomalies"), len(x)
        x_0, found = model.encoded(x, rng, n), []
        for t in LEVELS:
            x_t = noised(x_0, t, model.schedule, rng.child(f"t {t}"), n)
            found.append((x_0 - model.posterior(x_t, torch.full((n,), t, device=x.device)).mean).square())
        return torch.stack(found, 1)


@final
class PartialNoise(_Errors):
    """The difference to what the model draws from the noised record."""

    name = "partial noise"

    def errors(self, x: Tensor, rng: Noise) -> Tensor:
        model, n = denoising_model(self.family, "detect anomalies"), len(x)
        stepper = stepper_of(model, None)
        times = time_grid(model, stepper, None, PARTIAL_STEPS, PARTIAL)
        x_0 = model.encoded(x, rng, n)
        x_t = noised(x_0, PARTIAL, model.schedule, rng, n)
        return (x_0 - loop.sample(model, stepper, x_t, times, loop.addressed(rng, n, x_t))).square()


@final
class DiffusionTime(ModelScore):
    """The noise level that the denoiser finds in the record."""

    name = "diffusion time"

    def values(self, x: Tensor, rng: Noise) -> Tensor:
        model, n = denoising_model(self.family, "detect anomalies"), len(x)
        x_0 = model.encoded(x, rng, n)
        log_snr = torch.linspace(WEAK, STRONG, TIMES, dtype=torch.float64)
        excess = []
        for t in model.schedule.time(log_snr):
            alpha, sigma = (float(v) for v in model.schedule(t))
            estimate = model.posterior(alpha * x_0, t.to(x.device, torch.float32).expand(n)).mean
            left = alpha * (x_0 - estimate)
            excess.append((left.square().flatten(1).mean(1).double() / sigma**2).clamp_min(1e-30).log())
        return _crossing(-log_snr.to(x.device), torch.stack(excess, 1))


@final
class Realness(ModelScore):
    """The discriminator's doubt."""

    name = "realness"

    def values(self, x: Tensor, rng: Noise) -> Tensor:
        return -require(self.family, Discriminates, "detect anomalies").realness(x)


def _crossing(at: Tensor, excess: Tensor) -> Tensor:
    """Where the straight lines through (at (K,), excess (B, K)) fall to 0; beyond the ends they go on with slope -1."""
    above = excess > 0.0
    last = torch.where(above, torch.arange(len(at), device=at.device), -1).amax(1)
    left = last.clamp(0, len(at) - 2)
    a, b = excess.gather(1, left[:, None])[:, 0], excess.gather(1, left[:, None] + 1)[:, 0]
    between = at[left] + (at[left + 1] - at[left]) * (a / (a - b).clamp_min(1e-12)).clamp(0.0, 1.0)
    found = torch.where(last < 0, at[0] + excess[:, 0], between)
    return torch.where(last == len(at) - 1, at[-1] + excess[:, -1], found)


def _own(family: Family) -> Noise:
    from morphogen.core.rng import Rng

    return Rng(0, family.device).child("reference")


BY_CAPABILITY: tuple[tuple[type, tuple[type[ModelScore], ...]], ...] = (
    (Scores, (Likelihood, Typicality, Complexity)),
    (Encodes, (Reconstruction, LatentNeighbors)),
    (Denoises, (Denoising, PartialNoise, DiffusionTime)),
    (Discriminates, (Realness,)),
)


def of_model(family: Family) -> list[ModelScore]:
    """The scores that this model can give."""
    found = [kind(family) for needs, kinds in BY_CAPABILITY if needs in family.capabilities for kind in kinds]
    coded = family.data.is_picture and family.data.levels is not None and family.data.levels <= 256
    return [score for score in found if coded or not isinstance(score, Complexity)]
