r"""A diffusion or flow model distilled to a few steps (`theory/distillation.py`).

    morphogen train distilled --part teacher=MODEL --data SOURCE --out DIR
    morphogen sample DIR --steps 2 --out samples.png

The student has the teacher's network and starts with its weights. It turns noise into a record in one step. With more
steps, the record is noised again, with less and less noise, and denoised again:

    y = f(x_1, 1);   x_t = alpha_t y + sigma_t eps,   y = f(x_t, t);   ...

The times of the k - 1 later steps are quantiles of the distribution of the training times, log(sigma / alpha) ~
N(time_mean, time_std^2); for two steps this is the median. So one student works with any number of steps.

A second network, the judge, learns to denoise the student's records. The student learns until the teacher and the judge
agree. Its records then come from the teacher's distribution (distribution matching; Yin et al., 2024).

The noise level of this comparison decides which properties the student keeps. Modes of the data differ at high noise. A
record from pure noise is compared there, because later steps use only what survives noising. A record from a later x_t
has its mode already, and is compared at lower noise. With comparisons at low noise alone, the student loses modes.

The teacher has errors of its own, and the student minimizes a mode-seeking divergence. A discriminator between the
student's records and the data corrects both (`adversarial`; Yin et al., 2024). It plays the relativistic game of
theory/adversarial.py in pairs with the records of the batch, with the two penalties. docs/diffusion.md has the results.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, final

import torch
from pydantic import Field
from torch import Tensor, nn

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.capabilities import Samples
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import UsageError
from morphogen.core.family import Family, Player, Progress, Step
from morphogen.core.rng import Noise
from morphogen.core.spec import Spec, Width
from morphogen.families.denoiser_part import denoiser_part
from morphogen.families.denoising import COND, DenoisingFamily
from morphogen.nn.backbones.adversarial_nets import MLPDiscriminator, PictureDiscriminator, Sloped
from morphogen.nn.backbones.encoders import SMALLEST_PICTURE
from morphogen.sampling import loop
from morphogen.theory.adversarial import RELATIVISTIC, penalty_weight, zero_centered
from morphogen.theory.distillation import direction
from morphogen.theory.schedules import broadcast
from morphogen.theory.weightings import times, uniforms

TEACHER = "teacher"  # the part that is distilled
FROM_NOISE = 0.5  # share of training records with a start at t = 1, as in sampling
PENALTY_EVERY = 4  # steps between two penalties of the discriminator's slope; each is as many times larger


class DistilledSpec(Spec):
    """Options of the distilled model; its network is the teacher's."""

    steps: int = Field(2, ge=1, description="sampling: evaluations of the network")
    time_mean: float = Field(0.3, description="mean of log(sigma / alpha) of the times that the student learns")
    time_std: float = Field(0.6, gt=0, description="its deviation")
    judged_mean: tuple[float, float] = Field(
        (1.0, 0.4),
        description="means of log(sigma / alpha) at which records made from noise are judged, and those"
        " made from later times",
    )
    judged_std: float = Field(1.0, gt=0, description="their deviation")
    lr: float = Field(2e-4, gt=0, description="peak learning rate of the student")
    judge_lr: float = Field(4e-4, gt=0, description="peak learning rate of the second network")
    adversarial: float = Field(
        0.4, ge=0, description="weight of a discriminator of the student's records and those of the data; 0: none"
    )
    discriminator_widths: tuple[Width, ...] = Field(
        (32, 64, 128),
        min_length=1,
        description="channels of the discriminator at 1/2, 1/4, ... resolution; without pictures, its layers",
    )
    discriminator_lr: float = Field(1e-3, gt=0, description="peak learning rate of the discriminator")
    ema: float | None = Field(0.995, gt=0, lt=1, description="decay of the student's averaged weights; none is off")


@final
class Distilled(Family):
    """Distilled model; see the module's docstring for the mathematics."""

    name = "distilled"
    summary = "a diffusion or flow model distilled to one, two or four steps"
    capabilities = frozenset({Samples})
    takes_context = True
    part_names = (TEACHER,)
    data_part = TEACHER
    Spec = DistilledSpec
    spec: DistilledSpec

    def __init__(self, spec: DistilledSpec, data: DataSpec, parts: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__(spec, data, parts)
        teacher = denoiser_part(self, TEACHER)
        self.readout = replace(teacher.readout, bounds=None)  # clamping to bounds would stop gradients
        self.student, self.reader = self._copy_networks(teacher)
        self.judge, self.judge_reader = self._copy_networks(teacher)
        self.discriminator: Sloped | None = None
        self.discriminator_reader: nn.Module | None = None
        if spec.adversarial:
            shape, context = teacher.shape, 0 if data.context_shape is None else data.context_shape[0]
            options: dict[str, Any] = {"cond": COND if teacher.conditional else 0, "level": RELATIVISTIC.absolute}
            judging: nn.Module
            if len(shape) == 3 and min(shape[1:]) >= SMALLEST_PICTURE:
                judging = PictureDiscriminator(shape, spec.discriminator_widths, context=context, **options)
            else:
                judging = MLPDiscriminator(shape, spec.discriminator_widths, **options)
            self.discriminator = Sloped(judging)
            self.discriminator_reader = self._copy_networks(teacher)[1]
            self.penalty_weight = penalty_weight(math.prod(shape))
        self.shardable = self.discriminator is None

    @property
    def conditional(self) -> bool:
        """Whether the teacher is conditional."""
        return bool(self._teacher.conditional)

    # ---------------------------------------------------------------- training

    def players(self) -> Mapping[str, Player]:
        s, betas = self.spec, (0.0, 0.99)
        networks = self.networks()

        def owned(role: str) -> list[nn.Parameter]:
            mine = (network for name, network in networks.items() if name.split("_")[0] == role)
            return [p for network in mine for p in network.parameters()]

        players = {
            "student": Player(owned("student"), lr=s.lr, betas=betas, ema=s.ema),
            "judge": Player(owned("judge"), lr=s.judge_lr, betas=betas),
        }
        if self.discriminator is not None:
            players["discriminator"] = Player(owned("discriminator"), lr=s.discriminator_lr, betas=betas)
        return players

    def networks(self) -> Mapping[str, nn.Module]:
        candidates = {
            "student": self.student,
            "student_conditioner": self.reader,
            "judge": self.judge,
            "judge_conditioner": self.judge_reader,
            "discriminator": self.discriminator,
            "discriminator_conditioner": self.discriminator_reader,
        }
        return {name: network for name, network in candidates.items() if network is not None}

    def steps(self, batch: Batch, rng: Noise, at: Progress) -> Iterator[Step]:
        teacher, s = self._teacher, self.spec
        x_0 = teacher.encoded(batch.x, rng, batch.address)
        cond = teacher.training_condition(batch, rng)
        t = times("log-normal", uniforms(rng, batch.address), teacher.schedule, s.time_mean, s.time_std)
        first = rng.uniform("from noise", batch.address) < FROM_NOISE
        t = torch.where(first, 1.0, t)
        signal = broadcast(~first, x_0) * x_0  # no signal at t = 1, as in sampling
        x_t = self.readout.noised(signal, rng.normal("eps", batch.address, teacher.shape, x_0.dtype), t)
        y = self.made(x_t, t, cond)
        u = rng.uniform("judged", batch.address, (), torch.float64).clamp(1e-6, 1.0 - 1e-6)
        at_first, later = (times("log-normal", u, teacher.schedule, mean, s.judged_std) for mean in s.judged_mean)
        r = torch.where(first, at_first, later)
        noise = rng.normal("judged noise", batch.address, teacher.shape, x_0.dtype)
        y_r = self.readout.noised(y.detach(), noise, r)
        output = self._run_network("judge", y_r, r, cond)
        yield Step("judge", {"error": self.readout.error(output, y.detach(), noise, r)})
        if self.discriminator is not None:
            yield Step("discriminator", self._game(x_0, y.detach(), cond, at))
        with torch.no_grad():
            of_student = self.readout.posterior(self._run_network("judge", y_r, r, cond), y_r, r).mean.clamp(
                *self._bounds
            )
            of_teacher = teacher.posterior(y_r, r, cond).mean
            away = direction(y, of_student, of_teacher)
        # half the squared length of the wanted change; its gradient is that change
        moved = 0.5 * (y - (y - away).detach()).square().flatten(1).mean(1)
        terms, metrics = {"distribution": moved}, {"disagreement": (of_student - of_teacher).abs().mean()}
        if self.discriminator is not None:
            with torch.no_grad():
                on_real, _ = self._compute_logits(x_0, cond)
            on_made, _ = self._compute_logits(y, cond)
            terms["adversarial"] = s.adversarial * RELATIVISTIC.generator_term(on_real, on_made)
            metrics["margin"] = (on_real - on_made).detach().mean()
        yield Step("student", terms, metrics)

    # ------------------------------------------------------------ capabilities

    def made(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Tensor:
        """f(x_t, t): the student's record for x_t (B, *shape) at t (B,), not clamped to the range of the data."""
        return self.readout.posterior(self._run_network("student", x_t, t, cond), x_t, t).mean

    @torch.no_grad()
    def sample(self, n: int, cond: RawCondition | None, rng: Noise, *, steps: int | None = None) -> Tensor:
        """Sample in `steps` evaluations of the network; None takes the Spec's number."""
        teacher = self._teacher
        x_t = loop.starting_noise(teacher.schedule, rng, n, teacher.shape, next(self.student.parameters()).dtype)
        noise = loop.addressed(rng, n, x_t)
        y = x_t
        for i, t in enumerate(self.times(self.spec.steps if steps is None else steps)):
            if i:
                x_t = self.readout.noised(y, noise(i), t)
            y = self.made(x_t, t.expand(n).to(x_t.device), cond).clamp(*self._bounds)
        return teacher.decoded(y)

    def times(self, steps: int) -> Tensor:
        """1 and the quantiles (steps - 1) / steps, ..., 1 / steps of the distribution of the training times."""
        if steps < 1:
            raise UsageError(f"a sample takes at least 1 step (got {steps}).")
        u = torch.arange(steps - 1, 0, -1, dtype=torch.float64) / steps
        later = times("log-normal", u, self._teacher.schedule, self.spec.time_mean, self.spec.time_std)
        return torch.cat((torch.ones(1, dtype=torch.float64), later))

    # ----------------------------------------------------------------- private

    @property
    def _bounds(self) -> tuple[float, float]:
        """The range of the records, or (-inf, inf)."""
        bounds: tuple[float, float] | None = self._teacher.readout.bounds
        return bounds or (-math.inf, math.inf)

    @property
    def _teacher(self) -> Any:
        return self.parts[TEACHER]

    def _run_network(self, role: str, x_t: Tensor, t: Tensor, cond: RawCondition | None) -> Tensor:
        """The output of the network called `role`, for `readout`."""
        conditioner = self.network(f"{role}_conditioner") if self.reader is not None else None
        return self._teacher.asked(self.network(role), conditioner, x_t, t, cond)

    def _compute_logits(
        self, x: Tensor, cond: RawCondition | None, slope: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """The discriminator's logits (B,) of x (B, *shape), and with `slope` also its squared slopes (B,)."""
        c = self.network("discriminator_conditioner")(cond, len(x)).pooled if self.reader is not None else None
        context = None if cond is None or self.data.context_shape is None else cond.context
        judged: tuple[Tensor, Tensor | None] = self.network("discriminator")(x, c, context, None, slope)
        return judged

    def _game(self, real: Tensor, made: Tensor, cond: RawCondition | None, at: Progress) -> dict[str, Tensor]:
        """The loss terms of the discriminator, each (B,), with the penalties if they are due."""
        due = at.step % PENALTY_EVERY == 0
        both = torch.cat((real, made))
        logits, slope = self._compute_logits(
            both, None if cond is None else cond[torch.arange(len(real)).repeat(2)], due
        )
        terms = RELATIVISTIC.discriminator_terms(*logits.split(len(real)))
        if slope is not None:
            r1, r2 = (PENALTY_EVERY * self.penalty_weight * zero_centered(slope)).split(len(real))
            terms |= {"r1": r1, "r2": r2}
        return terms

    @staticmethod
    def _copy_networks(teacher: DenoisingFamily) -> tuple[nn.Module, nn.Module | None]:
        """Trainable copies of the teacher's network and conditioner."""
        denoiser, conditioner = copy.deepcopy(teacher.denoiser), copy.deepcopy(teacher.conditioner)
        for network in (denoiser, conditioner):
            if network is not None:
                network.requires_grad_(True)
        return denoiser, conditioner
