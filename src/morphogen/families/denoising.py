"""What diffusion and flow matching share: everything but the training step.

A network that sees x_t and t gives the posterior of x_0 (`sampling/readout.py`); steppers, guidance, likelihoods and
health checks ask for nothing else.

What runs along the chain is the record itself, scaled to [-1, 1], or, with a trained autoencoder as the part
"autoencoder", its latent of mean 0 and deviation 1 (Rombach et al., 2022). Then there is no likelihood of x to score.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from morphogen.core.batch import Batch, Condition, RawCondition
from morphogen.core.capabilities import Denoises, Samples, Score, Scores
from morphogen.core.data_spec import DataSpec
from morphogen.core.distributions import Gaussian
from morphogen.core.errors import CapabilityError, SpecError, UsageError, unknown
from morphogen.core.family import Family, Health, Player
from morphogen.core.rng import Index, Rng
from morphogen.nn.build import centered
from morphogen.nn.conditioner import Conditioner, partly_hidden
from morphogen.nn.denoiser import DenoiserSpec, denoiser
from morphogen.sampling import grids, loop, steppers
from morphogen.sampling.denoiser import Denoiser
from morphogen.sampling.guidance import classifier_free
from morphogen.sampling.likelihood import flow_log_likelihood, variational_bound
from morphogen.sampling.readout import Readout
from morphogen.theory.diffusion import Variance
from morphogen.theory.schedules import Schedule, broadcast

FIRST_STAGE = "autoencoder"  # the part that makes latents
COND = 64  # width of a condition's tokens and of its pooled vector
EARLIEST = 1e-5  # of training times: below, x_t differs from x_0 by rounding
BANDS = (-10.0, -6.0, -2.0, 2.0, 6.0, 10.0)  # log-SNRs between which a health check looks
WATCHED = 256  # records that it looks at
AT_ONCE = 64  # records scored together
EXACT_TRACE = 8  # dimensions up to which the trace of the probability flow is exact
FINEST = 0.1  # sigma / alpha at the end of the bound of records with few values


class DenoisingSpec(DenoiserSpec):
    """Options that diffusion and flow matching share."""

    shift: float = Field(
        1.0, gt=0, description="factor of the noise-to-signal ratio at every t: about side / 64 for large pictures"
    )
    conditional: bool = Field(False, description="condition on the data's classes and attributes")
    condition_dropout: float = Field(0.1, ge=0, le=1, description="share of records trained without their condition")
    stepper: str = Field("dpm++2m", description=f"sampling: {', '.join(steppers.STEPPERS)}")
    steps: int = Field(50, ge=1, description="sampling: steps from noise to record")
    grid: str = Field("karras", description=f"sampling: the times of the steps, {', '.join(grids.GRIDS)}")
    guidance: float = Field(1.0, ge=0, description="sampling: scale of classifier-free guidance; 1 is none")
    score_evaluations: int = Field(100, ge=5, description="scoring: evaluations of the network")
    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")
    ema: float | None = Field(0.999, gt=0, lt=1, description="decay of the averaged weights; none turns it off")

    @model_validator(mode="after")
    def _guided_by_something(self) -> DenoisingSpec:
        if self.guidance != 1.0 and not self.conditional:
            raise ValueError("guidance leads towards a condition: it needs conditional, or stays 1")
        return self


class DenoisingFamily(Family):
    """A network that denoises, and all that follows from one; subclasses say how it is trained.

    x_0 of shape `shape` is what the chain runs on: `encoded` and `decoded` lead from records to it and back.
    """

    capabilities = frozenset({Samples, Scores, Denoises})
    spec: DenoisingSpec
    schedule: Schedule

    def __init__(
        self,
        spec: DenoisingSpec,
        data: DataSpec,
        parts: Mapping[str, nn.Module] | None,
        schedule: Schedule,
        parametrization: str,
        variance: Variance,
    ) -> None:
        super().__init__(spec, data, parts)
        if data.kind not in ("continuous", "binary", "discrete"):
            raise SpecError(f"a {self.name!r} model needs records of numbers, but {data.name!r} has a {data.kind}.")
        for part in set(self.parts) - {FIRST_STAGE}:
            raise SpecError(unknown(f"part of a {self.name!r} model", part, [FIRST_STAGE]))
        self.schedule = schedule
        self.shape = data.shape if self._first_stage is None else self._latent_shape()
        bounded = self._first_stage is None and self._levels is not None
        self.readout = Readout(schedule, parametrization, variance, (-1.0, 1.0) if bounded else None)
        steppers.stepper(spec.stepper)
        grids.grid(spec.grid, schedule, spec.steps)  # both raise for an unknown name
        self.conditioner = Conditioner(data, COND) if spec.conditional else None
        inside = data.replace(shape=self.shape)
        channels = self.readout.outputs * self.shape[0]
        self.denoiser = denoiser(spec, inside, channels, COND if spec.conditional else 0)
        if self._first_stage is not None or variance == "beta_tilde":  # whose last step has no density
            self.capabilities = self.capabilities - {Scores}

    @abstractmethod
    def told(self, t: Tensor) -> Tensor:
        """What the network is told of times t (B,): a number for each, within about [-20, 40]."""

    # ---------------------------------------------------------------- training

    def players(self) -> Mapping[str, Player]:
        s = self.spec
        mine = [p for network in self.networks().values() for p in network.parameters()]
        return {"denoiser": Player(mine, lr=s.lr, ema=s.ema, weight_decay=s.weight_decay)}

    def networks(self) -> Mapping[str, nn.Module]:
        networks: dict[str, nn.Module] = {"denoiser": self.denoiser}
        if self.conditioner is not None:
            networks["conditioner"] = self.conditioner
        return networks

    def output(self, x_t: Tensor, t: Tensor, cond: RawCondition | None) -> Tensor:
        """The network's output (B, C, ...), which `readout` reads, for x_t (B, *shape) and t (B,)."""
        given = self._condition(cond, len(x_t))
        return self.network("denoiser")(self.readout.seen(x_t, t), self.told(t), given)

    def training_condition(self, batch: Batch, rng: Rng) -> RawCondition | None:
        """The conditions of a batch, those of a share of the records hidden."""
        return batch.cond if self.conditioner is None else partly_hidden(batch, rng, self.spec.condition_dropout)

    @torch.no_grad()
    def health(self, batch: Batch, rng: Rng) -> Health:
        """Squared error per element of held-out E[x_0 | x_t] in bands of log-SNR, beside that of independent Gaussians
        with the records' own moments, which know no relations between elements; and whether a learned variance is
        what it should be, the squared error."""
        part = batch[:WATCHED]
        n = len(part)
        x_0 = self.encoded(part.x, rng, n)
        prior_var = x_0.var(0, correction=0)
        found: dict[str, list[float]] = {"held_out_error": [], "independent_error": [], "variance_ratio": []}
        warnings = []
        for low, high in pairwise(BANDS):
            band = f"at log-SNR {low:g} to {high:g}"
            t = self.schedule.time(low + (high - low) * rng.uniform(f"time {band}", n, (), torch.float64))
            t = t.clamp_min(EARLIEST)
            x_t = self.readout.noised(x_0, rng.normal(f"noise {band}", n, self.shape, x_0.dtype), t)
            posterior = self.posterior(x_t, t, part.cond)
            snr = broadcast(self.schedule.log_snr(t).exp(), x_0)
            error = float((x_0 - posterior.mean).square().mean())
            independent = float((prior_var / (1.0 + snr * prior_var)).mean())
            ratio = float(posterior.var.mean()) / max(error, 1e-30)
            for name, value in zip(found, (error, independent, ratio), strict=True):
                found[name].append(value)
            if error > 1.1 * independent:
                warnings.append(
                    f"{band} the estimates of the record are worse than those of independent Gaussians (squared error"
                    f" {error:.3g} against {independent:.3g}): train longer, lower --lr, or take a larger network"
                )
            if self.readout.variance == "learned" and not 0.2 < ratio < 5.0:
                warnings.append(
                    f"{band} the learned variance is {ratio:.2g} times the squared error that it estimates: train"
                    " longer, or raise --bound-weight"
                )
        if self.readout.variance != "learned":
            del found["variance_ratio"]
        return Health({"bands": list(BANDS), **found}, warnings)

    # ------------------------------------------------------------ capabilities

    def posterior(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Gaussian:
        """p(x_0 | x_t) for x_t (B, *shape) and t (B,) float64."""
        return self.readout.posterior(self.output(x_t, t, cond), x_t, t)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        cond: RawCondition | None,
        rng: Rng,
        *,
        stepper: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        grid: str | None = None,
    ) -> Tensor:
        """By `stepper` in `steps` steps over the times of `grid`; `guidance` 1 is none. None takes the Spec's."""
        s = self.spec
        times = grids.grid(s.grid if grid is None else grid, self.schedule, s.steps if steps is None else steps)
        method = steppers.stepper(s.stepper if stepper is None else stepper)
        x = loop.starting_noise(self.schedule, rng, n, self.shape, self._dtype)
        asked = self.guided(s.guidance if guidance is None else guidance, cond)
        return self.decoded(loop.sample(asked, method, x, times, loop.addressed(rng, n, x), cond))

    def guided(self, scale: float, cond: RawCondition | None) -> Denoiser:
        """This denoiser, led away from what it would say without the labels of `cond`, whose context stays.

        Raises `UsageError` where a model without conditions is to be guided.
        """
        if scale == 1.0:
            return self
        if self.conditioner is None:
            raise UsageError("guidance leads towards a condition, and this model has none: train with --conditional.")
        context = None if cond is None else cond.context
        return classifier_free(self, scale, negative=None if context is None else RawCondition(context=context))

    @torch.no_grad()
    def score(self, x: Tensor, cond: RawCondition | None, rng: Rng, samples: int = 1) -> Score:
        """The variational bound of quantized records; for real numbers the likelihood of the probability flow.

        Each with one draw of its noise. `samples` is for importance weights, which neither has, and changes nothing.
        """
        if Scores not in self.capabilities:
            why = "its variance is beta_tilde" if self._first_stage is None else "its chain runs on latents"
            raise CapabilityError(f"this {self.name!r} model has no likelihood of a record to score: {why}.")
        x_0, levels, evaluations = self.encoded(x, rng, len(x)), self._levels, self.spec.score_evaluations
        found = []
        for i in range(0, len(x), AT_ONCE):
            rows = slice(i, i + AT_ONCE)
            given = None if cond is None else cond[rows]
            here, index = rng.shifted(i), len(x_0[rows])
            if levels is None:
                grid = grids.grid("angle", self.schedule, (evaluations + 3) // 4)
                trace: Literal["exact", "hutchinson"] = "exact" if x_0[0].numel() <= EXACT_TRACE else "hutchinson"
                likelihood = flow_log_likelihood(self, x_0[rows], grid, here, index, given, trace=trace)
            else:
                # The last Gaussian tells values apart from about half their distance; finer noise would be spent on
                # what the values say by themselves, but a network knows few values well, and uses it.
                smallest = min(1.0 / (levels - 1), FINEST)
                grid = grids.log_snr(self.schedule, evaluations, smallest=smallest)
                likelihood = variational_bound(self, x_0[rows], grid, here, index, given, levels)
            found.append(likelihood.score)
        terms = {name: torch.cat([part.terms[name] for part in found]) for name in found[0].terms}
        return Score(torch.cat([part.value for part in found]), found[0].kind, found[0].measure, terms)

    # ------------------------------------------------ between records and the chain

    def encoded(self, x: Tensor, rng: Rng, index: Index) -> Tensor:
        """x_0 (B, *shape) of records x: scaled to [-1, 1], or a latent drawn with noise at the addresses `index`."""
        if self._first_stage is None:
            return centered(x, self.data).to(self._dtype)
        with torch.no_grad():
            q = self._first_stage.encode(x)
            z = q.rsample(rng.normal("latent", index, self.shape, q.mean.dtype))
            return self._first_stage.normalized(z).to(self._dtype)

    def decoded(self, x_0: Tensor) -> Tensor:
        """Records of x_0 (B, *shape), within their range and, where they are counted, whole numbers."""
        data = self.data
        if self._first_stage is not None:
            x = self._first_stage.decode(self._first_stage.restored(x_0)).mean
        elif data.kind == "continuous":
            x = x_0
        else:
            x = ((x_0 + 1.0) * (0.5 * data.high)).round()
        x = x.clamp(data.low, data.high)
        return x.round().long() if data.kind == "discrete" else x

    # ----------------------------------------------------------------- private

    @property
    def _first_stage(self) -> Any:
        """The part "autoencoder", or None."""
        return dict(self.parts).get(FIRST_STAGE)

    def _latent_shape(self) -> tuple[int, ...]:
        """That of the first stage. Raises `SpecError` where it is no autoencoder of these records."""
        stage = self._first_stage
        needed = ("encode", "decode", "normalized", "restored", "latent_shape")
        if not all(hasattr(stage, name) for name in needed):
            raise SpecError(
                f"the part 'autoencoder' must be a model of the family autoencoder, not a {type(stage).__name__}."
            )
        theirs, ours = stage.data, self.data
        if (theirs.shape, theirs.kind, theirs.levels) != (ours.shape, ours.kind, ours.levels):
            raise SpecError(
                f"the part 'autoencoder' was trained on {theirs.kind} records of shape {theirs.shape}, but"
                f" {ours.name!r} has {ours.kind} ones of shape {ours.shape}: take one of the same data."
            )
        return tuple(stage.latent_shape)

    @property
    def _levels(self) -> int | None:
        """How many values an element takes, or None for real numbers."""
        return 2 if self.data.kind == "binary" else self.data.levels

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.denoiser.parameters()).dtype

    def _condition(self, cond: RawCondition | None, n: int) -> Condition | None:
        """What the network reads; None where there is nothing to read."""
        if self.conditioner is not None:
            return self.network("conditioner")(cond, n)
        if cond is None or cond.context is None or self.data.context_shape is None:
            return None
        nothing = cond.context.new_zeros(n, 0)
        return Condition(nothing[..., None], nothing.bool(), nothing, cond.context)
