"""The base of diffusion and flow matching: everything but the training step.

A network with the inputs x_t and t gives the posterior of x_0 (`sampling/readout.py`). Steppers, guidance, likelihoods
and health checks need nothing else.

The chain runs on the records, scaled to [-1, 1]. With a trained autoencoder as the part "autoencoder" it runs on their
latents of mean 0 and deviation 1 (Rombach et al., 2022); then there is no likelihood of x.

The part "guide" is a weaker model of the same data and schedule, smaller or less trained. `autoguidance` leads away
from it (`sampling/guidance.py`).
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from morphogen.core.batch import Batch, Condition, RawCondition
from morphogen.core.capabilities import Completes, Denoises, Samples, Score, Scores
from morphogen.core.chunks import chunks
from morphogen.core.data_spec import DataSpec
from morphogen.core.distributions import Gaussian
from morphogen.core.errors import CapabilityError, SpecError, UsageError
from morphogen.core.family import Family, Health, Player
from morphogen.core.rng import Index, Noise
from morphogen.families.denoising_health import judge_denoiser
from morphogen.families.denoising_spec import DenoisingSpec
from morphogen.families.first_stage import FIRST_STAGE, latents_of
from morphogen.families.guide import check_guide
from morphogen.nn.backbones.denoiser import denoiser
from morphogen.nn.backbones.encoders import centered
from morphogen.nn.columns import given_elements, rows_of
from morphogen.nn.conditioning.conditioner import COND, READER, conditioner_of, drop_conditions
from morphogen.nn.layers.fourier import fourier_features
from morphogen.sampling import grids, loop, steppers
from morphogen.sampling.denoiser import Denoiser
from morphogen.sampling.guidance import autoguidance, classifier_free
from morphogen.sampling.inverse import inpainting
from morphogen.sampling.ode_likelihood import flow_log_likelihood, variational_bound
from morphogen.sampling.plan import planned
from morphogen.sampling.readout import Readout
from morphogen.sampling.steppers import State
from morphogen.theory.columns import gaussian_row
from morphogen.theory.diffusion import Variance
from morphogen.theory.schedules import Schedule

GUIDE = "guide"  # the part that autoguidance leads away from
CHUNK = 64  # records that are scored together
EXACT_TRACE = 8  # up to so many dimensions the trace of the probability flow is exact
FINEST = 0.1  # sigma / alpha at the end of the bound of records with few values
FINEST_ROW = 0.02  # the same for a table's rows, whose numbers may lie close together


class DenoisingFamily(Family):
    """A denoising network and its uses. Subclasses train it.

    The chain runs on x_0 of shape `shape`; `encoded` and `decoded` lead from records to x_0 and back.
    """

    capabilities = frozenset({Samples, Scores, Denoises, Completes})
    takes_context = True
    part_names = (FIRST_STAGE, GUIDE, READER)
    compiled_networks = ("denoiser",)
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
        texts = data.sequence is not None and self._first_stage is not None
        if data.kind not in ("continuous", "binary", "discrete", "columns") and not texts:
            raise SpecError(
                f"a {self.name!r} model needs records of numbers, but {data.name!r} has a {data.kind}; of texts it"
                " makes the latents: give --part autoencoder=MODEL."
            )
        if spec.context_dropout and data.context_shape is None:
            raise SpecError(
                f"context_dropout hides the pictures to start from, and {data.name!r} has none: give a source with"
                " context=, such as context=down4, or leave it out."
            )
        self.schedule = schedule
        self.shape = data.shape if self._first_stage is None else latents_of(self._first_stage, data)
        bounded = self._first_stage is None and self._levels is not None
        self.readout = Readout(schedule, parametrization, variance, (-1.0, 1.0) if bounded else None)
        with torch.device("cpu"):  # real numbers, also if networks are built without memory
            planned(steppers.stepper(spec.stepper), spec.grid, schedule, min(spec.steps, 8))  # unknown names raise
        self.conditioner = conditioner_of(spec, data, self.parts)
        shape = ((1 + 2 * len(spec.fourier)) * self.shape[0], *self.shape[1:])
        numbers = {"kind": "continuous", "levels": None, "table": None, "sequence": None}
        inside = data.replace(shape=shape, **({} if data.table is None and data.sequence is None else numbers))
        skip = 0 if data.table is None else self.shape[0]
        channels = self.readout.outputs * self.shape[0]
        self.denoiser = denoiser(spec, inside, channels, COND if spec.conditional else 0, skip=skip)
        if self._guide is not None:
            check_guide(self._guide, self)
        elif spec.autoguidance != 1.0:
            raise SpecError("autoguidance leads away from a weaker model: give --part guide=MODEL, or leave it 1.")
        if self._first_stage is not None or variance == "beta_tilde":  # its last step has no density
            self.capabilities = self.capabilities - {Scores}
        if self._first_stage is not None or data.table is None:
            self.capabilities = self.capabilities - {Completes}

    @property
    def drawn_shape(self) -> tuple[int, ...]:
        """The shape of x_0: that of latents, if there is an autoencoder."""
        return self.shape

    @abstractmethod
    def time_input(self, t: Tensor) -> Tensor:
        """The network's input for times t (B,): one number each, within about [-20, 40]."""

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
        conditioner = None if self.conditioner is None else self.network("conditioner")
        return self.asked(self.network("denoiser"), conditioner, x_t, t, cond)

    def asked(self, denoiser: Any, conditioner: Any, x_t: Tensor, t: Tensor, cond: RawCondition | None) -> Tensor:
        """`output` of the given networks, which are built like this model's; `conditioner` may be None."""
        given = self._condition(conditioner, cond, x_t.shape[0])
        seen = fourier_features(self.readout.seen(x_t, t), self.spec.fourier, self._levels)
        return denoiser(seen, self.time_input(t), given)

    def training_condition(self, batch: Batch, rng: Noise) -> RawCondition | None:
        """The conditions of a batch for training: some records lose their condition, and some lose their context."""
        s = self.spec
        return drop_conditions(batch, rng, 0.0 if self.conditioner is None else s.condition_dropout, s.context_dropout)

    def health(self, batch: Batch, rng: Noise) -> Health:
        """The errors of its estimates of held-out records (`families/denoising_health.py`)."""
        return judge_denoiser(self, batch, rng)

    # ------------------------------------------------------------ capabilities

    def posterior(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Gaussian:
        """p(x_0 | x_t) for x_t (B, *shape) and t (B,) float64."""
        return self.readout.posterior(self.output(x_t, t, cond), x_t, t)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        cond: RawCondition | None,
        rng: Noise,
        *,
        stepper: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        grid: str | None = None,
        guidance_interval: tuple[float, float] | None = None,
        avoid: int | RawCondition | None = None,
        autoguidance: float | None = None,
    ) -> Tensor:
        """Sample by `trajectory`, which has the same options."""
        options: dict[str, Any] = {"stepper": stepper, "steps": steps, "guidance": guidance, "grid": grid}
        options |= {"guidance_interval": guidance_interval, "avoid": avoid, "autoguidance": autoguidance}
        for state in self.trajectory(n, cond, rng, **options):
            x_0 = state.x
        return self.decoded(x_0)

    def trajectory(
        self,
        n: int,
        cond: RawCondition | None,
        rng: Noise,
        *,
        stepper: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        grid: str | None = None,
        guidance_interval: tuple[float, float] | None = None,
        avoid: int | RawCondition | None = None,
        autoguidance: float | None = None,
    ) -> Iterator[State]:
        """Yield the states from noise to x_0: `stepper` takes `steps` steps over the times of `grid`.

        `guidance` leads away from the model without the condition, or from `avoid`: a class, or a condition of one row.
        `autoguidance` then leads away from the part "guide". Both act at times t in `guidance_interval`; a scale of 1
        is no guidance. None takes the value of the Spec.
        """
        s = self.spec
        if avoid is not None and guidance is None and s.guidance == 1.0:
            raise UsageError(
                "a class or a text is avoided by guidance, and its scale is 1, which is none: give it, such as 2."
            )
        method = steppers.stepper(s.stepper if stepper is None else stepper)
        named, count = s.grid if grid is None else grid, s.steps if steps is None else steps
        times = planned(method, named, self.schedule, count)
        x = loop.starting_noise(self.schedule, rng, n, self.shape, self._dtype)
        asked = self.guided(
            s.guidance if guidance is None else guidance,
            cond,
            avoided=None if avoid is None else self._avoided(avoid, cond, n),
            interval=s.guidance_interval if guidance_interval is None else guidance_interval,
            away_from_guide=s.autoguidance if autoguidance is None else autoguidance,
        )
        return loop.integrate(asked, method, x, times, loop.addressed(rng, n, x), cond, from_noise=True)

    def guided(
        self,
        scale: float,
        cond: RawCondition | None,
        *,
        avoided: RawCondition | None = None,
        interval: tuple[float, float] = (0.0, 1.0),
        away_from_guide: float = 1.0,
    ) -> Denoiser:
        """This denoiser with guidance away from the condition `avoided`, and then away from the part "guide".

        By default `avoided` is `cond` without its labels; its context stays. With both scales 1 the result is this
        denoiser itself. Raises `UsageError` for guidance by a condition if the model reads none, and for autoguidance
        without a guide.
        """
        asked: Denoiser = self
        if scale != 1.0:
            if self.conditioner is None:
                raise UsageError(
                    "guidance leads towards a condition, and this model has none: train with --conditional."
                )
            if avoided is None and cond is not None and cond.context is not None:
                avoided = RawCondition(context=cond.context)
            asked = classifier_free(asked, scale, interval, avoided)
        if away_from_guide != 1.0:
            if self._guide is None:
                raise UsageError("autoguidance leads away from a weaker model: train with --part guide=MODEL.")
            asked = autoguidance(asked, self._guide, away_from_guide, interval)
        return asked

    @torch.no_grad()
    def complete(self, cells: Tensor, given: Tensor, rng: Noise, present: bool = False) -> Tensor:
        """Draw the rest of a table's rows by posterior sampling along the chain (`sampling/inverse.py`)."""
        table = self.data.table
        if table is None:
            raise CapabilityError(f"this {self.name!r} model knows no table whose rows it could complete.")
        x = self.data.encode(torch.where(given, cells, 0.0), self._dtype)
        kept = inpainting(self, self.encoded(x, rng, len(x)), given_elements(table, given, present).to(x))
        method = steppers.stepper(self.spec.stepper)
        times = planned(method, self.spec.grid, self.schedule, self.spec.steps)
        start = loop.starting_noise(self.schedule, rng, len(x), self.shape, self._dtype)
        noise = loop.addressed(rng, len(x), start)
        drawn = self.data.decode(self.decoded(loop.sample(kept, method, start, times, noise, from_noise=True)))
        return torch.where(given, cells, drawn)

    @torch.no_grad()
    def score(self, x: Tensor, cond: RawCondition | None, rng: Noise, samples: int = 1) -> Score:
        """The variational bound of quantized records and of rows; for real numbers the likelihood of the flow.

        Both take one draw of noise per record. Neither has importance weights, so `samples` has no effect.
        """
        if Scores not in self.capabilities:
            why = "its variance is beta_tilde" if self._first_stage is None else "its chain runs on latents"
            raise CapabilityError(f"this {self.name!r} model has no likelihood of a record to score: {why}.")
        x_0, levels, evaluations = self.encoded(x, rng, len(x)), self._levels, self.spec.score_evaluations
        found = []
        for rows in chunks(len(x), CHUNK):
            given = None if cond is None else cond[rows]
            here, index = rng.shifted(rows.start), len(x_0[rows])
            if self.data.table is not None:
                grid = grids.log_snr(self.schedule, evaluations, smallest=FINEST_ROW)
                read = partial(self._row_term, x[rows])
                likelihood = variational_bound(self, x_0[rows], grid, here, index, given, reconstruction=read)
            elif levels is None:
                grid = grids.grid("angle", self.schedule, (evaluations + 3) // 4)
                trace: Literal["exact", "hutchinson"] = "exact" if x_0[0].numel() <= EXACT_TRACE else "hutchinson"
                likelihood = flow_log_likelihood(self, x_0[rows], grid, here, index, given, trace=trace)
            else:
                # The last Gaussian separates values from about half their distance on. Finer noise has little use, but
                # a network knows a small number of values well, and then finer noise helps.
                smallest = min(1.0 / (levels - 1), FINEST)
                grid = grids.log_snr(self.schedule, evaluations, smallest=smallest)
                likelihood = variational_bound(self, x_0[rows], grid, here, index, given, levels)
            found.append(likelihood.score)
        terms = {name: torch.cat([part.terms[name] for part in found]) for name in found[0].terms}
        return Score(torch.cat([part.value for part in found]), found[0].kind, found[0].measure, terms)

    def _row_term(self, x: Tensor, posterior: Gaussian) -> Tensor:
        """-log p(row | x_t) of a table's rows x (B, W), from the posterior of their features."""
        assert self.data.table is not None
        return -gaussian_row(self.data.table, posterior.mean, posterior.var).log_prob(x)

    # ------------------------------------------------ between records and the chain

    def encoded(self, x: Tensor, rng: Noise, index: Index) -> Tensor:
        """Turn records x into x_0 (B, *shape): scaled to [-1, 1], or latents with noise at the addresses `index`."""
        if self._first_stage is None:
            return centered(x, self.data).to(self._dtype)
        with torch.no_grad():
            q = self._first_stage.encode(x)
            z = q.rsample(rng.normal("latent", index, self.shape, q.mean.dtype))
            return self._first_stage.normalized(z).to(self._dtype)

    def decoded(self, x_0: Tensor) -> Tensor:
        """Turn x_0 (B, *shape) into records within their range, rounded if the data are whole numbers."""
        data = self.data
        if self._first_stage is not None:
            x = self._first_stage.decode(self._first_stage.restored(x_0)).mean
        elif data.table is not None:
            x = rows_of(x_0, data.table)
        elif data.kind == "continuous":
            x = x_0
        else:
            x = ((x_0 + 1.0) * (0.5 * data.high)).round()
        x = x.clamp(data.low, data.high)
        return x.round().long() if data.kind in ("discrete", "sequence") else x

    # ----------------------------------------------------------------- private

    @property
    def _first_stage(self) -> Any:
        """The part "autoencoder", or None."""
        return dict(self.parts).get(FIRST_STAGE)

    @property
    def _guide(self) -> Any:
        """The part "guide", or None."""
        return dict(self.parts).get(GUIDE)

    def _avoided(self, avoid: int | RawCondition, cond: RawCondition | None, n: int) -> RawCondition:
        """The condition to avoid for `n` records: a class, or a condition of one row; its context is that of `cond`."""
        context = None if cond is None else cond.context
        if isinstance(avoid, RawCondition):
            if self.conditioner is None:
                raise UsageError("this model knows no conditions to avoid: train with --conditional.")
            return dataclasses.replace(avoid.repeated(n), context=context)
        classes = len(self.data.classes)
        if self.conditioner is None or not classes:
            raise UsageError("this model knows no classes to avoid: train one on labelled data with --conditional.")
        if not (isinstance(avoid, int) and 0 <= avoid < classes):
            raise UsageError(f"the class to avoid is a number from 0 to {classes - 1} (got {avoid!r}).")
        at = self.conditioner.pool.weight.device
        return RawCondition(torch.full((n,), avoid, device=at), context=context)

    @property
    def _levels(self) -> int | None:
        """The number of values of an element, or None for real numbers."""
        return 2 if self.data.kind == "binary" else self.data.levels

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.denoiser.parameters()).dtype

    def _condition(self, conditioner: Any, cond: RawCondition | None, n: int) -> Condition | None:
        """The network's condition, or None."""
        if conditioner is not None:
            read: Condition = conditioner(cond, n)
            return read
        if cond is None or cond.context is None or self.data.context_shape is None:
            return None
        nothing = cond.context.new_zeros(n, 0)
        return Condition(nothing[..., None], nothing.bool(), nothing, cond.context)
