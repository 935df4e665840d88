r"""The rate-distortion autoencoder: pictures coded with a loss (Balle, Laparra, Simoncelli, 2017; Balle et al., 2018).

An encoder maps a picture to latents on a grid, which are rounded to multiples of a step and coded by what a prior knows
of them; a decoder makes a similar picture. Training minimizes

    rate + distortion = -log P(latents) + |x - x_hat|^2 / (2 sigma^2)

in nats, with uniform noise in the place of rounding. That is the negative evidence lower bound of a VAE with a uniform
posterior, less a constant, and so a bound of -log p(x): see `theory/rate_distortion.py`. By default the decoder and the
scales of the prior see rounded latents in training, as they will when they are used, and noise gives the gradients of
the rest (Minnen and Singh, 2020); `sees="noise"` trains the bound itself. The score is the bound in either case.

One model has a ladder of qualities, 1 to 100, each with an error sigma that it allows. In training each record draws
its quality (`nn/backbones/quality_ladder.py`). The encoder and the decoder begin as a cosine transform
(`nn/backbones/transform_coding.py`); the prior is factorized, or has hyper-latents and groups of channels
(`nn/backbones/hyperprior.py`).

The integer form codes (`CodesWithLoss`): it computes the same integers, frequencies and pictures on every machine.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Generator, Iterator, Mapping
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.capabilities import CodedIntegers, CodesWithLoss, Encodes, Quantizes, Score, Scores
from morphogen.core.chunks import chunks
from morphogen.core.data_spec import DataSpec
from morphogen.core.distributions import Gaussian, Point
from morphogen.core.errors import CapabilityError, SpecError
from morphogen.core.family import Family, Health, Player, Progress, Step
from morphogen.core.recommendation import Recommendation, Situation, recommended_training
from morphogen.core.rng import Noise
from morphogen.core.spec import Spec, Width
from morphogen.families.integer_form import IntegerForm
from morphogen.families.latent_density import LatentDensity
from morphogen.nn.backbones.hyperprior import SHRINK, FactorizedPrior, Hyperprior
from morphogen.nn.backbones.quality_ladder import QualityLadder, place_of
from morphogen.nn.backbones.transform_coding import Analysis, Synthesis, scales_of
from morphogen.nn.integer.cell_coding import LARGEST
from morphogen.nn.integer.conversion import to_integers
from morphogen.nn.integer.grid import to_grid
from morphogen.nn.integer.lossy_tables import LossyTables
from morphogen.theory.picture_quality import psnr
from morphogen.theory.rate_distortion import STEP

GRAY = 2.0 / 255.0  # a gray level of 8-bit pictures, on [-1, 1]
AT_ONCE = 32  # records that are scored together
WATCHED = (10, 50, 90)  # qualities of the health check
HEALTH_RECORDS = 64
BATCH = 16  # the most that is recommended


class RateDistortionSpec(Spec):
    """Options of the rate-distortion autoencoder."""

    fold: Literal[4, 8, 16] = Field(8, description="side of the blocks of pixels that become one place of latents")
    widths: tuple[Width, Width] = Field((48, 96), description="channels of the networks at 2 / fold and 1 / fold size")
    blocks: int = Field(1, ge=0, description="residual blocks at each size")
    prior: Literal["hyperprior", "factorized"] = Field(
        "hyperprior", description="what is known of latents: hyper-latents and groups of channels, or each alone"
    )
    prior_width: int = Field(64, ge=1, description="hyperprior: channels of its networks")
    hyper_channels: int = Field(32, ge=1, description="hyperprior: channels of the hyper-latents")
    groups: int = Field(4, ge=1, le=6, description="hyperprior: groups of channels, each given those before it")
    mixtures: int = Field(3, ge=1, description="components of the factorized prior")
    rungs: int = Field(5, ge=2, le=20, description="qualities with steps of their own; others lie between")
    coarsest: float = Field(64.0, gt=0, description="error that quality 1 allows, in gray levels of 255")
    finest: float = Field(2.0, gt=0, description="error that quality 100 allows, in gray levels of 255")
    quality: int = Field(50, ge=1, le=100, description="quality of reconstructions")
    sees: Literal["rounded", "noise"] = Field(
        "rounded", description="what decoder and scales see in training: rounded latents, or noise as in the bound"
    )
    crop: int = Field(64, ge=0, description="side of the part of a picture that a step trains on; 0: all of it")
    lr: float = Field(2e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")
    ema: float | None = Field(0.999, gt=0, lt=1, description="decay of the averaged weights; none turns it off")
    integer: bool = Field(False, description="the integer form, which `morphogen quantize` makes of a trained model")

    @model_validator(mode="after")
    def _falling(self) -> RateDistortionSpec:
        if not self.finest < self.coarsest:
            raise ValueError("finest is smaller than coarsest: quality 100 allows the smallest error")
        return self


class RateDistortion(IntegerForm, Family):
    """Rate-distortion autoencoder; see the module's docstring for the mathematics."""

    name = "rate_distortion"
    summary = "compression with a loss: few bits for similar pictures, at any quality from 1 to 100"
    Spec = RateDistortionSpec
    capabilities = frozenset({Encodes, Scores, Quantizes})
    spec: RateDistortionSpec

    def __init__(self, spec: RateDistortionSpec, data: DataSpec, parts: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__(spec, data, parts)
        if len(data.shape) != 3 or data.kind != "continuous":
            raise SpecError(
                f"the rate_distortion family needs pictures (C, H, W) of gray levels or colors, but {data.name!r} has"
                f" {data.kind} records of shape {data.shape}; families for other data: vae, autoregressive."
            )
        channels, rows, columns = data.shape
        self.latents = channels * spec.fold**2
        self.grid = (-(-rows // spec.fold), -(-columns // spec.fold))
        self.hyper_grid = (-(-self.grid[0] // SHRINK), -(-self.grid[1] // SHRINK))
        typical = scales_of(channels, spec.fold)
        self.analysis = Analysis(channels, spec.fold, spec.widths, spec.blocks, spec.rungs)
        self.synthesis = Synthesis(data.shape, spec.fold, spec.widths, spec.blocks, spec.rungs)
        self.ladder = QualityLadder(self.latents, spec.rungs, spec.coarsest * GRAY, spec.finest * GRAY, STEP)
        if spec.prior == "hyperprior":
            nets = Hyperprior(typical, spec.prior_width, spec.hyper_channels, spec.groups, spec.rungs)
            self.density = LatentDensity(FactorizedPrior(torch.full((spec.hyper_channels,), 0.25), spec.mixtures), nets)
        else:
            self.density = LatentDensity(FactorizedPrior(typical, spec.mixtures), None)
        self.tables: LossyTables | None = None
        if data.levels is None or data.levels > 256:
            self.capabilities = self.capabilities - {Quantizes}
        if spec.integer:
            if Quantizes not in self.capabilities:
                raise SpecError("the integer form is of models of pictures with at most 256 levels.")
            self.tables = LossyTables(self.latents, spec.rungs, len(self.density.prior.logits), spec.mixtures)
            for network in self._converted():
                to_integers(network)
            self.capabilities = self.capabilities | {CodesWithLoss}

    @classmethod
    def recommend(cls, situation: Situation) -> Recommendation:
        """Small batches: every place of a picture is an example."""
        return Recommendation(training=recommended_training(situation, BATCH))

    # ---------------------------------------------------------------- training

    def players(self) -> Mapping[str, Player]:
        s = self.spec
        if s.integer:
            raise SpecError("the integer form does not learn: train without --integer, then `morphogen quantize`.")
        return {"codec": Player(self.own_parameters(), lr=s.lr, ema=s.ema, weight_decay=s.weight_decay)}

    def networks(self) -> Mapping[str, nn.Module]:
        return {"analysis": self.analysis, "synthesis": self.synthesis, "density": self.density}

    def steps(self, batch: Batch, rng: Noise, at: Progress) -> Iterator[Step]:
        x, t = self._cropped(batch, rng), rng.uniform("quality", batch.address)
        rate, made = self._coded(x, t, rng, batch.address, self.spec.sees == "noise")
        error = (x - made).square().flatten(1).sum(1)
        distortion = 0.5 * error * torch.exp(-2.0 * self.ladder.log_error(t))
        bits = rate.detach() / (math.log(2.0) * x[0, 0].numel())
        yield Step("codec", {"rate": rate, "distortion": distortion}, {"bits_per_pixel": bits.mean()})

    @torch.no_grad()
    def health(self, batch: Batch, rng: Noise) -> Health:
        """PSNR and bits per pixel of held-out records at low, middle and high quality, with rounded latents."""
        x = batch.x[:HEALTH_RECORDS]
        quality, bits, loss = list[float](), list[float](), 0.0
        for q in WATCHED:
            t = x.new_full((len(x),), place_of(q))
            rate, made = self._coded(x, t, rng, len(x), False)
            error = (x - made).square().flatten(1).sum(1)
            loss += float((rate + 0.5 * error * torch.exp(-2.0 * self.ladder.log_error(t))).mean()) / len(WATCHED)
            quality.append(float(psnr(made.clamp(-1.0, 1.0), x, 2.0).mean()))
            bits.append(float(rate.mean()) / (math.log(2.0) * x[0, 0].numel()))
        return Health({"held_out_psnr": quality, "held_out_bits_per_pixel": bits}, (), loss)

    # ------------------------------------------------------------ capabilities

    @torch.no_grad()
    def encode(self, x: Tensor, cond: RawCondition | None = None) -> Point:
        """The latents (M, h, w) that a decoder has at the quality of the options; there are no conditions."""
        y, c, log_step = self._latents(x, x.new_full((len(x),), place_of(self.spec.quality)))
        noise = torch.zeros_like(y)
        of_z = None if self.density.nets is None else self._noise_of_z(len(y), y)
        return Point(self.density(y, log_step, noise, of_z, c, False)[1])

    def decode(self, z: Tensor, cond: RawCondition | None = None) -> Gaussian:
        """p(x | latents) with the batch shape of z (*batch, M, h, w), at the quality of the options."""
        batch, flat = z.shape[:-3], z.reshape(-1, *z.shape[-3:])
        t = flat.new_full((len(flat),), place_of(self.spec.quality))
        made = self.synthesis(flat, self._quality(t)[0]).clamp(-1.0, 1.0).unflatten(0, batch)
        return Gaussian(made, torch.full_like(made, 2.0 * float(self.ladder.log_error(t[0]))), 3)

    @torch.no_grad()
    def score(self, x: Tensor, cond: RawCondition | None, rng: Noise, samples: int = 1) -> Score:
        """The bound at quality 100 (`samples` = 1, one draw of the noise), or log 1/K sum_k w_k, K = `samples`."""
        log_p, rates = list[Tensor](), list[Tensor]()
        for part in chunks(len(x), max(1, AT_ONCE // samples)):
            n = len(x[part])
            many = x[part].repeat_interleave(samples, 0)
            of_x, rate = self._terms(many, rng.shifted(part.start), n, samples)
            log_p.append(of_x.reshape(n, samples))
            rates.append(rate.reshape(n, samples))
        log_p_x, rate = torch.cat(log_p), torch.cat(rates)
        if samples == 1:
            terms = {"log_likelihood": log_p_x[:, 0], "-rate": -rate[:, 0]}
            return Score(log_p_x[:, 0] - rate[:, 0], "lower_bound", "density", terms)
        log_w = log_p_x - rate
        value = log_w.logsumexp(1) - math.log(samples)
        return Score(value, "importance", "density", log_weights=log_w)

    @property
    def exact(self) -> bool:
        """Whether its integers and frequencies are the same bits on every machine."""
        return self.spec.integer

    def sums(self) -> dict[str, int]:
        """For each layer of the integer form the largest sum that can occur in it; `ArtifactError` if one may round."""
        if self.tables is not None:
            self.tables.check()
        return super().sums()

    @torch.no_grad()
    def code_walk(self, n: int, quality: int, stored: Tensor | None) -> Generator[CodedIntegers, list[Tensor], Tensor]:
        """Yield the integers of `n` pictures, group by group; return the pictures that are made of them."""
        if self.tables is None:
            raise CapabilityError("only an integer form codes: make it with `morphogen quantize`.")
        tables = self.tables
        c, step, ratios = tables.quality(quality, n)
        y = None if stored is None else self.analysis(self.data.encode(stored, torch.float64), c)
        if self.density.nets is None:
            rows = torch.arange(self.latents)[None, :, None, None].expand(n, -1, *self.grid)
            w = step[:, :, None, None]
            k = yield from self._integers(tables.factorized(tables.step(quality)), rows, None if y is None else y / w)
            made = to_grid(w * k)
        else:
            made = yield from self._given_hyper_latents(self.density.nets, y, c, step, ratios)
        return self.data.decode(self.synthesis(made, c).clamp(-1.0, 1.0))

    @torch.no_grad()
    def quantized(self, bits: int) -> RateDistortion:
        """The integer form, with weights of `bits` bits."""
        if self.exact:
            raise SpecError("this model is an integer form already.")
        made = RateDistortion(self.spec.replace(integer=True), self.data)
        for mine, theirs in zip(self._converted(), made._converted(), strict=True):
            theirs.load_state_dict(to_integers(copy.deepcopy(mine), bits).state_dict())
        for part, of in ((self.density.prior, made.density.prior), (self.ladder, made.ladder)):
            of.load_state_dict(part.state_dict())
        assert made.tables is not None
        made.tables.set(self.ladder, scales_of(self.data.shape[0], self.spec.fold), self.density.prior)
        return made.eval().requires_grad_(False)

    # ----------------------------------------------------------------- private

    def _converted(self) -> list[nn.Module]:
        """The networks that the integer form replaces."""
        nets = [] if self.density.nets is None else [self.density.nets]
        return [self.analysis, self.synthesis, *nets]

    def _given_hyper_latents(
        self, nets: Hyperprior, y: Tensor | None, c: Tensor, step: Tensor, ratios: Tensor
    ) -> Generator[CodedIntegers, list[Tensor], Tensor]:
        """Yield hyper-latents, then latents group by group; return the latents."""
        assert self.tables is not None
        cells, n = self.tables.cells, len(c)
        rows = torch.arange(self.spec.hyper_channels)[None, :, None, None].expand(n, -1, *self.hyper_grid)
        of_z = self.tables.factorized(torch.ones(self.spec.hyper_channels, dtype=torch.float64))
        z = yield from self._integers(of_z, rows, None if y is None else nets.hyper_latents(y, step, c))
        h, by_level, seen, begin = nets.features(z, self.grid), cells.by_level(), list[Tensor](), 0
        for k, size in enumerate(nets.sizes):
            here = slice(begin, begin + size)
            location, log_scale = nets.group(k, h, torch.cat(seen, 1) if seen else None, step, c)
            level, w = cells.level(log_scale + ratios[here, None, None]), step[:, here, None, None]
            known = None if y is None else (y[:, here] - location) / w
            integers = yield from self._integers(by_level, level, known)
            seen.append(to_grid(location + w * integers))
            begin += size
        return torch.cat(seen, 1)

    def _integers(
        self, frequencies: Tensor, rows: Tensor, at: Tensor | None
    ) -> Generator[CodedIntegers, list[Tensor], Tensor]:
        """Yield the nearest integers to `at`, where it is known; return them, in the shape of their `rows`."""
        assert self.tables is not None
        cells, known = self.tables.cells, None
        if at is not None:
            known = cells.split((at + 0.5).floor().clamp(-LARGEST, LARGEST).long().flatten())
        digits = yield CodedIntegers(cells.digits(frequencies, rows.flatten()), known)
        return cells.join(digits).reshape(rows.shape).double()

    def _quality(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The quality (B, R) as networks read it, and the logarithms of the steps (B, M), at t (B,)."""
        if self.tables is None:
            return self.ladder.weights(t), self.ladder.log_step(t)
        c, step, _ = self.tables.quality(round(float(t[0]) * 99) + 1, len(t))
        return c, step.log()

    def _latents(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """y (B, M, h, w), and what `_quality` gives."""
        c, log_step = self._quality(t)
        return self.network("analysis")(x.double() if self.exact else x, c), c, log_step

    def _coded(self, x: Tensor, t: Tensor, rng: Noise, address: Tensor | int, relaxed: bool) -> tuple[Tensor, Tensor]:
        """The rate in nats (B,) of pictures (B, C, H, W), and the pictures that a decoder makes."""
        y, c, log_step = self._latents(x, t)
        noise = rng.uniform("y", address, tuple(y.shape[1:])) - 0.5
        of_z = None
        if self.density.nets is not None:
            sides = [-(-side // SHRINK) for side in y.shape[-2:]]
            of_z = rng.uniform("z", address, (self.spec.hyper_channels, *sides)) - 0.5
        log_mass, seen = self.network("density")(y, log_step, noise, of_z, c, relaxed)
        made = self.network("synthesis")(seen, c)
        return -log_mass, made[..., : x.shape[-2], : x.shape[-1]]

    def _terms(self, many: Tensor, rng: Noise, n: int, samples: int) -> tuple[Tensor, Tensor]:
        """log p(x | latents) and the rate, at quality 100, of `n` records that are each repeated `samples` times."""
        y, c, log_step = self._latents(many, many.new_ones(len(many)))
        noise = rng.uniform("score y", n, (samples, *y.shape[1:])).flatten(0, 1) - 0.5
        of_z = None
        if self.density.nets is not None:
            of_z = rng.uniform("score z", n, (samples, self.spec.hyper_channels, *self.hyper_grid)).flatten(0, 1) - 0.5
        log_p, rates = list[Tensor](), list[Tensor]()
        for part in chunks(len(many), AT_ONCE):
            given = None if of_z is None else of_z[part]
            log_mass, seen = self.density(y[part], log_step[part], noise[part], given, c[part], True)
            made = self.synthesis(seen, c[part])
            log_var = torch.full_like(made, 2.0 * math.log(self.spec.finest * GRAY))
            log_p.append(Gaussian(made, log_var).log_prob(many[part]))
            rates.append(-log_mass)
        return torch.cat(log_p), torch.cat(rates)

    def _cropped(self, batch: Batch, rng: Noise) -> Tensor:
        """A part of each picture, its place drawn."""
        x, side = batch.x, self.spec.crop
        rows, columns = x.shape[-2:]
        if not side or (rows <= side and columns <= side):
            return x
        height, width = min(side, rows), min(side, columns)
        top = rng.integers("crop rows", batch.address, rows - height + 1).tolist()
        left = rng.integers("crop columns", batch.address, columns - width + 1).tolist()
        return torch.stack(
            [x[i, :, a : a + height, b : b + width] for i, (a, b) in enumerate(zip(top, left, strict=True))]
        )

    def _noise_of_z(self, n: int, like: Tensor) -> Tensor:
        """No noise."""
        return like.new_zeros(n, self.spec.hyper_channels, *self.hyper_grid)
