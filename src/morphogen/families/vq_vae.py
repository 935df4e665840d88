r"""The vector-quantized VAE with a learned prior (van den Oord et al., 2017; Razavi et al., 2019).

An encoder turns a picture into a grid of vectors. A quantizer (`nn/quantization/quantizer.py`) turns these into a grid
of integer codes k(x), and a decoder turns the codes into the distribution p(x | k). A causal transformer
(`nn/backbones/causal_transformer.py`) is the prior P(k): places in raster order, the residual levels of a place one
after the other. A sum is at least each of its terms:

    P(x) = sum_k P(k) p(x | k) >= P(k(x)) p(x | k(x)),

So log p(x | k(x)), minus the *distortion*, and log P(k(x)), minus the *rate*, add up to a lower bound of log P(x): the
ELBO of a posterior with one certain code.

Each step updates two players. The loss of the autoencoder is the distortion, and the commitment of the encoder's output
z to the vectors z_q of its codes,

    -log p(x | k) + commitment * sum_places |z - sg(z_q)|^2.

The gradient at z_q passes straight through to z. The codes are moving averages, updated once per batch. The rate is not
in this loss: for the autoencoder every code costs the same. The rate is the loss of the prior. The prior can learn
little from the codes of an untrained encoder, so it starts at a later fraction of training. The autoencoder stops at
another fraction, so at the end the prior learns from fixed codes.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.capabilities import Encodes, Samples, Score, Scores
from morphogen.core.data_spec import DataSpec
from morphogen.core.distributions import Distribution, Point
from morphogen.core.errors import SpecError
from morphogen.core.family import TELLING, Family, Health, Player, Progress, Step
from morphogen.core.rng import Noise
from morphogen.nn.backbones.causal_transformer import CausalTransformer
from morphogen.nn.backbones.conv import ResidualBlock, pyramid
from morphogen.nn.backbones.encoders import centered
from morphogen.nn.conditioning.conditioner import COND, READER, ConditionSpec, conditioner_of, drop_conditions
from morphogen.nn.layers.activation import Activation, activation
from morphogen.nn.layers.norm import GroupNorm
from morphogen.nn.quantization.quantizer import FSQ, Codebook, usage
from morphogen.theory.likelihoods import NAMES, automatic, fitting, likelihood, parameters

AtLeastOne = Annotated[int, Field(ge=1)]
AtLeastTwo = Annotated[int, Field(ge=2)]
HEALTH_RECORDS = 500  # records in a health check


class VQVAESpec(ConditionSpec):
    """Options of the vector-quantized VAE."""

    widths: tuple[AtLeastOne, ...] = Field(
        (32, 64), min_length=1, description="channels at 1/2, 1/4, ... resolution; the last one is that of the codes"
    )
    blocks: int = Field(2, ge=0, description="residual blocks per resolution, in the encoder and in the decoder")
    norm: bool = Field(True, description="group normalization")
    activation: Activation = Field("silu", description="activation of the hidden layers")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in the residual blocks")
    likelihood: str = Field("auto", description=f"p(x | codes): auto (one that fits the data), {', '.join(NAMES)}")
    mixtures: int = Field(5, ge=1, description="components of a mixture likelihood")
    variance: float = Field(2.0, gt=0, description="variance of the likelihood 'gaussian', for x in [-1, 1]")
    quantizer: Literal["codebook", "fsq"] = Field(
        "codebook", description="learned vectors, or finite scalar quantization"
    )
    codes: int = Field(512, ge=2, description="codebook: number of vectors")
    code_dim: int = Field(16, ge=1, description="codebook: dimensions of a vector")
    commitment: float = Field(0.25, ge=0, description="codebook: weight of the encoder's distance from its codes")
    codebook_decay: float = Field(0.99, gt=0, lt=1, description="codebook: decay of its averages")
    dead_below: float = Field(
        0.03, gt=0, lt=1, description="codebook: share of the mean use under which a code is moved"
    )
    levels: tuple[AtLeastTwo, ...] = Field((8, 6, 5), min_length=1, description="fsq: cells of each dimension")
    residual: int = Field(1, ge=1, description="codes per place, each for what those before it leave")
    prior_width: int = Field(128, ge=1, description="prior: width of the transformer")
    prior_blocks: int = Field(2, ge=1, description="prior: blocks of the transformer")
    prior_dropout: float = Field(0.0, ge=0, lt=1, description="prior: dropout")
    codes_until: float = Field(
        0.6, gt=0, le=1, description="fraction of training at which the codes are done: then only the prior learns"
    )
    prior_start: float = Field(0.1, ge=0, lt=1, description="prior: fraction of training at which it starts to learn")
    prior_lr: float = Field(3e-3, gt=0, description="prior: peak learning rate")
    output: Literal["auto", "mean", "sample"] = Field(
        "auto", description="what sampling returns: E[x | codes] (auto, mean) or a draw of p(x | codes)"
    )
    lr: float = Field(1e-3, gt=0, description="peak learning rate of the autoencoder")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")
    ema: float | None = Field(0.999, gt=0, lt=1, description="decay of the averaged weights; none turns it off")


class GridEncoder(nn.Module):
    """Pictures (B, C, H, W) -> (B, n_out, h, w): fold 2 x 2, then per stage residual blocks and a halving."""

    def __init__(self, shape: Sequence[int], n_out: int, spec: VQVAESpec) -> None:
        super().__init__()
        widths = spec.widths
        self.stem = nn.Conv2d(4 * shape[0], widths[0], 3, padding=1)
        self.stages = nn.ModuleList(_blocks(width, spec) for width in widths)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(widths))
        self.out = _last(widths[-1], n_out, 1, spec)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        x = self.stem(F.pixel_unshuffle(F.pad(x, (0, w % 2, 0, h % 2)), 2))
        for i, stage in enumerate(self.stages):
            x = stage(self.down[i - 1](x) if i else x)
        return self.out(x)


class GridDecoder(nn.Module):
    """Grids (B, n_in, h, w) -> p(x | z) of pictures: the encoder's mirror."""

    def __init__(self, n_in: int, data: DataSpec, spec: VQVAESpec, name: str) -> None:
        super().__init__()
        self.data, self.spec, self.name = data, spec, name
        self.outputs = parameters(name, data.levels, spec.mixtures)
        self.sizes = pyramid(data.shape, len(spec.widths))[::-1]
        widths = spec.widths[::-1]
        self.stem = nn.Conv2d(n_in, widths[0], 3, padding=1)
        self.stages = nn.ModuleList(_blocks(width, spec) for width in widths)
        self.up = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths))
        self.out = _last(widths[-1], 4 * self.outputs * data.shape[0], 3, spec)

    def distribution(self, z: Tensor) -> Distribution:
        """p(x | z)."""
        x = self.stem(z)
        for i, stage in enumerate(self.stages):
            x = stage(self.up[i - 1](F.interpolate(x, size=self.sizes[i], mode="nearest")) if i else x)
        channels, h, w = self.data.shape
        raw = F.pixel_shuffle(self.out(x), 2)[..., :h, :w].unflatten(1, (self.outputs, channels))
        log_var = math.log(self.spec.variance)
        return likelihood(self.name, raw, self.data, mixtures=self.spec.mixtures, log_var=log_var)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """log p(x | z), (B,)."""
        return self.distribution(z).log_prob(x)


class VQVAE(Family):
    """Vector-quantized VAE; see the module's docstring for the mathematics."""

    name = "vq_vae"
    summary = "pictures as grids of discrete codes, with an autoregressive prior over them"
    Spec = VQVAESpec
    part_names = (READER,)
    capabilities = frozenset({Samples, Scores, Encodes})
    spec: VQVAESpec

    def __init__(self, spec: VQVAESpec, data: DataSpec, parts: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__(spec, data, parts)
        if len(data.shape) != 3 or not fitting(data):
            raise SpecError(
                f"the vq_vae family needs pictures (C, H, W), but {data.name!r} has {data.kind} records of shape"
                f" {data.shape}; families for other data: vae."
            )
        which = spec.likelihood if spec.likelihood != "auto" else automatic(data)
        example = torch.zeros(1, parameters(which, data.levels, spec.mixtures), *data.shape)
        self.measure = likelihood(which, example, data, mixtures=spec.mixtures).measure  # raises if the data do not fit
        self.grid = pyramid(data.shape, len(spec.widths))[-1]
        self.quantizer: Codebook | FSQ
        if spec.quantizer == "fsq":
            self.quantizer = FSQ(spec.levels, spec.residual)
        else:
            decay, dead_below = spec.codebook_decay, spec.dead_below
            self.quantizer = Codebook(spec.codes, spec.code_dim, spec.residual, decay=decay, dead_below=dead_below)
        self.encoder = GridEncoder(data.shape, self.quantizer.dim, spec)
        self.decoder = GridDecoder(self.quantizer.dim, data, spec, which)
        self.conditioner = conditioner_of(spec, data, self.parts)
        self.prior = CausalTransformer(
            math.prod(self.grid),
            spec.residual,
            self.quantizer.size,
            self.quantizer.dim,
            width=spec.prior_width,
            blocks=spec.prior_blocks,
            cond=COND if spec.conditional else 0,
            dropout=spec.prior_dropout,
        )

    # ---------------------------------------------------------------- training

    def players(self) -> Mapping[str, Player]:
        s = self.spec
        autoencoder = [*self.encoder.parameters(), *self.decoder.parameters()]
        prior = [*self.prior.parameters(), *(self.conditioner.parameters() if self.conditioner is not None else ())]
        return {
            "autoencoder": Player(autoencoder, lr=s.lr, ema=s.ema, weight_decay=s.weight_decay, until=s.codes_until),
            "prior": Player(prior, lr=s.prior_lr, ema=s.ema, weight_decay=s.weight_decay),
        }

    def networks(self) -> Mapping[str, nn.Module]:
        networks: dict[str, nn.Module] = {"encoder": self.encoder, "decoder": self.decoder, "prior": self.prior}
        if self.conditioner is not None:
            networks["conditioner"] = self.conditioner
        return networks

    def steps(self, batch: Batch, rng: Noise, at: Progress) -> Iterator[Step]:
        log_p = None
        if at.fraction < self.spec.codes_until:
            z = _places(self.network("encoder")(centered(batch.x, self.data)))
            codes, value, error = self.quantizer(z)
            table = self.quantizer.table()  # the vectors of the codes; they change below
            log_p = self.network("decoder")(self._grid(value), batch.x)
            terms = {"distortion": -log_p}
            if isinstance(self.quantizer, Codebook):
                terms["commitment"] = self.spec.commitment * error.sum(-1)
                uniform = rng.uniform("revival", batch.address, codes.shape[1:])
                self.quantizer.observe(z.detach().flatten(0, 1), codes.flatten(0, 1), uniform.flatten(0, 1))
            used, perplexity = usage(codes, self.quantizer.size)
            yield Step("autoencoder", terms, {"codes_in_use": used, "perplexity": perplexity})
            # By now all parts of the batch are encoded, in all processes; the first part to come here updates the
            # codes.
            if isinstance(self.quantizer, Codebook):
                self.quantizer.commit()
        else:
            with torch.no_grad():
                codes, _ = self._quantized(batch.x)
            table = self.quantizer.table()
        # The fraction stays 0 while a budget in minutes is measured, because that must measure whole steps.
        if 0.0 < at.fraction < self.spec.prior_start:
            return
        cond = drop_conditions(batch, rng, self.spec.condition_dropout) if self.conditioner is not None else None
        rate = -self.network("prior")(codes, table, self._condition(cond, len(batch))).flatten(1).sum(1)
        bits = rate.mean().detach() / (math.log(2.0) * codes[0].numel())
        metrics = {"bits_per_code": bits}
        if log_p is not None:
            metrics["bound"] = (log_p.detach() - rate.detach()).mean()
        yield Step("prior", {"rate": rate}, metrics)

    @torch.no_grad()
    def health(self, batch: Batch, rng: Noise) -> Health:
        """The bound on held-out records, and the use of the codes."""
        part, size = batch[:HEALTH_RECORDS], self.quantizer.size
        codes = self.codes(part.x)
        score = self.score(part.x, part.cond, rng)
        used, perplexity = usage(codes, size)
        draws = codes[..., 0].numel()
        fair = 1.0 - (1.0 - 1.0 / size) ** draws  # the expected share of used codes if all were equally likely
        warnings = []
        for level, share in enumerate(used.tolist(), start=1):
            if share < 0.5 * fair:
                less = (
                    "lower --codes or --code-dim, or raise --dead-below"
                    if isinstance(self.quantizer, Codebook)
                    else "use fewer or smaller --levels"
                )
                which = f" of level {level}" if self.spec.residual > 1 else ""
                warnings.append(
                    f"{share:.0%} of the {size} codes{which} are in use on held-out records (perplexity"
                    f" {float(perplexity[level - 1]):.0f}); {less}, or train longer"
                )
        metrics: dict[str, float | list[float]] = {
            "held_out_elbo": float(score.value.mean()),
            "held_out_rate": -float(score.terms["-rate"].mean()),
            "codes_in_use": used.tolist(),
            "perplexity": perplexity.tolist(),
        }
        return Health(metrics, warnings if len(part) >= TELLING else [])

    # ------------------------------------------------------------ capabilities

    def codes(self, x: Tensor) -> Tensor:
        """k(x): (B, C, H, W) -> (B, h, w, R) int64, R residual levels."""
        return self._quantized(x)[0].unflatten(1, self.grid)

    @property
    def code_shape(self) -> tuple[int, ...]:
        """(h, w, R) of `codes`."""
        return (*self.grid, self.spec.residual)

    @property
    def code_values(self) -> int:
        """How many values a code has."""
        return self.quantizer.size

    def drawn(self, codes: Tensor, rng: Noise) -> Tensor:
        """Pictures (B, C, H, W) of codes (B, h, w, R), as `output` says."""
        p = self.decode(self._grid(self.quantizer.lookup(codes.flatten(1, 2))))
        if self.spec.output == "sample":
            draw = rng.normal if p.noise == "normal" else rng.uniform
            x = p.sample(draw("x", len(codes), p.noise_shape[1:]))
        else:
            x = p.mean
        x = x.clamp(self.data.low, self.data.high)
        return x.round().long() if self.data.kind == "discrete" else x

    def log_p_given_codes(self, x: Tensor) -> Tensor:
        """log p(x | k(x)), (B,)."""
        return self.decoder(self._grid(self._quantized(x)[1]), x)

    def encode(self, x: Tensor, cond: RawCondition | None = None) -> Point:
        """A point mass at the vectors z_q of the codes of x, events (D, h, w)."""
        return Point(self._grid(self._quantized(x)[1]))

    def decode(self, z: Tensor, cond: RawCondition | None = None) -> Distribution:
        """p(x | z) for vectors z (B, D, h, w), also flattened; they need not be vectors of codes."""
        return self.decoder.distribution(z.reshape(z.shape[0], -1, *self.grid))

    @torch.no_grad()
    def sample(self, n: int, cond: RawCondition | None, rng: Noise, *, temperature: float = 1.0) -> Tensor:
        """Sample; with `temperature` T each code's probabilities are proportional to P^(1/T). 0 takes the likeliest."""
        # A code is a discontinuous function of its probabilities, and rounding differs between batch sizes. Sampling in
        # float64 keeps rounding from deciding a code.
        prior, conditioner = copy.deepcopy((self.prior, self.conditioner))
        c = None if conditioner is None else conditioner.double()(cond, n).pooled
        uniform = rng.uniform("codes", n, (prior.places, prior.levels), torch.float64)
        codes = prior.double().eval().sample(uniform, self.quantizer.table().double(), c, temperature)
        return self.drawn(codes.unflatten(1, self.grid), rng)

    @torch.no_grad()
    def score(self, x: Tensor, cond: RawCondition | None, rng: Noise, samples: int = 1) -> Score:
        """log p(x | k(x)) + log P(k(x)) <= log P(x). The posterior is one code, so `samples` has no effect."""
        codes, value = self._quantized(x)
        log_p = self.decoder(self._grid(value), x)
        rate = -self.prior(codes, self.quantizer.table(), self._condition(cond, len(x))).flatten(1).sum(1)
        return Score(log_p - rate, "lower_bound", self.measure, {"log_likelihood": log_p, "-rate": -rate})

    # ----------------------------------------------------------------- private

    def _quantized(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (B, h w, R) and their vectors (B, h w, D)."""
        codes = self.quantizer(_places(self.encoder(centered(x, self.data)))).codes
        return codes, self.quantizer.lookup(codes)

    def _grid(self, value: Tensor) -> Tensor:
        """(B, h w, D) -> (B, D, h, w)."""
        return value.mT.unflatten(-1, self.grid)

    def _condition(self, cond: RawCondition | None, n: int) -> Tensor | None:
        """The pooled conditions (n, 64); None for an unconditional model."""
        return None if self.conditioner is None else self.network("conditioner")(cond, n).pooled


class _CodeBlocks(nn.ModuleList):
    """Residual blocks, one after the other."""

    def forward(self, x: Tensor) -> Tensor:
        for block in self:
            x = block(x, None)
        return x


def _blocks(width: int, spec: VQVAESpec) -> _CodeBlocks:
    return _CodeBlocks(
        ResidualBlock(width, cond=0, act=spec.activation, norm=spec.norm, dropout=spec.dropout)
        for _ in range(spec.blocks)
    )


def _last(width: int, n_out: int, kernel: int, spec: VQVAESpec) -> nn.Sequential:
    norm = GroupNorm(width) if spec.norm else nn.Identity()
    return nn.Sequential(norm, activation(spec.activation), nn.Conv2d(width, n_out, kernel, padding=kernel // 2))


def _places(z: Tensor) -> Tensor:
    """(B, D, h, w) -> (B, h w, D)."""
    return z.flatten(2).mT
