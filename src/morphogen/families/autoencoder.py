r"""The KL-regularized autoencoder: the first stage of latent diffusion (Rombach et al., 2022).

A text becomes one vector of latents (Z, 1, 1), from which a causal transformer writes it
(`nn/sequence_autoencoder.py`); the two terms and their use are the same, and there is no scale.

The encoder turns a picture (C, H, W) into a grid of latents (Z, H/f, W/f) with f^2 C / Z times fewer elements. The
decoder rebuilds the picture from them almost exactly. A generative model of the latents is then much cheaper than one
of pixels. Training minimizes

    -log p(x | z) + beta KL(q(z | x) || N(0, I)),   z ~ q(z | x),

the loss of a VAE with a small beta, which makes the latents smooth and gives them about unit scale. Both terms are in
nats, and -ELBO is their sum at beta = 1. So the score bounds log p(x) from below for every beta of the training.

p(x | z) has one learned scale for all pixels (Rybkin, Daniilidis and Levine, "Simple and effective VAE training with
calibrated decoders", 2021). The scale balances the two terms, because its optimum is the typical error. 8-bit pictures
take a discretized logistic: a probability mass with tails that punish large errors like an absolute error, which blurs
less than a squared error. With a scale for each pixel, the network could declare edges uncertain instead of drawing
them.

Two options for sharper pictures:

- `multi_scale` adds the absolute error of pictures that are averaged over 2 x 2, 4 x 4, ... pixels, in units of that
  scale: a cheap substitute for a perceptual loss.
- `adversarial` adds a patch discriminator as a second player, with the hinge loss (nn/backbones/patch_discriminator.py,
  theory/adversarial.py), from a fraction of training on. Its gradient is scaled to that share of the
  reconstruction's, both measured at the decoder's last layer (Esser et al., 2021).

Latent diffusion needs latents of mean 0 and standard deviation 1. Training measures both for each channel
(nn/layers/running_moments.py) and stores them with the weights; `normalized` and `restored` apply them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.capabilities import Encodes, Score, Scores
from morphogen.core.chunks import chunks
from morphogen.core.data_spec import DataSpec
from morphogen.core.distributions import Distribution, Gaussian, standard_normal
from morphogen.core.errors import SpecError
from morphogen.core.family import TELLING, Family, Health, Player, Progress, Step
from morphogen.core.recommendation import Recommendation, Situation, recommended_training
from morphogen.core.rng import Noise
from morphogen.core.spec import Spec, Width
from morphogen.families.matrix_updates import OPTIMIZER, Optimizer, check_optimizer, of_matrices, recommended_optimizer
from morphogen.nn.backbones.encoders import centered
from morphogen.nn.backbones.patch_discriminator import PatchDiscriminator
from morphogen.nn.backbones.spatial import PictureLayer, SpatialDecoder, SpatialEncoder, grid
from morphogen.nn.layers.running_moments import RunningMoments, over_processes
from morphogen.nn.sequence_autoencoder import SequenceDistribution, SequenceEncoder
from morphogen.nn.sequences import GRAMMAR, CausalSequences, Grammar, grammar_of
from morphogen.theory import elbo
from morphogen.theory.adversarial import HINGE, balance
from morphogen.theory.discretized import DiscretizedGaussian, DiscretizedLogistic
from morphogen.theory.likelihoods import NAMES, automatic, likelihood, parameters

MEASURED = 2000  # the latent scale is measured over so many records: few, because the weights change
HEALTH_RECORDS = 256  # records in a health check
LOG_VAR = -4.0  # of the latents of texts at first
REBUILT = 32  # texts that are rebuilt in a health check
DECODE_CHUNK = 128  # for scores: fast, and small enough for the memory
SCALE_GAIN = 10.0  # Adam changes a parameter by about lr per step, but the scale has a long way to go
WON = 0.95  # share of right answers on patches from which the discriminator has won


class AutoencoderSpec(Spec):
    """Options of the autoencoder."""

    widths: tuple[Width, ...] = Field(
        (64, 128), min_length=1, description="channels at 1/2, 1/4, ... resolution: the latents' is the last"
    )
    blocks: int = Field(2, ge=0, description="residual blocks per resolution")
    latent_channels: int = Field(4, ge=1, description="channels Z of the grid of latents")
    text_latents: int = Field(64, ge=1, description="texts: number Z of latents")
    text_width: int = Field(192, ge=2, description="texts: width of both transformers")
    text_blocks: int = Field(3, ge=1, description="texts: blocks of each transformer")
    word_dropout: float = Field(
        0.3, ge=0, lt=1, description="texts: share of tokens hidden from the decoder in training: it has to ask latents"
    )
    optimizer: Optimizer = Field("adamw", description=f"texts: {OPTIMIZER}")
    grammar: Grammar = Field("valence", description=GRAMMAR)
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in the residual blocks")
    likelihood: str = Field("auto", description=f"p(x | z): auto (one that fits the data), {', '.join(NAMES)}")
    mixtures: int = Field(5, ge=1, description="components of a mixture likelihood")
    variance: float = Field(0.01, gt=0, description="variance of the likelihood 'gaussian', for x in [-1, 1]")
    beta: float = Field(0.1, ge=0, description="weight of the KL")
    multi_scale: float = Field(0.0, ge=0, description="weight of the error at 1/2, 1/4, ... resolution")
    adversarial: float = Field(
        0.0, ge=0, description="the discriminator's gradient as a share of the reconstruction's; 0: no discriminator"
    )
    adversarial_from: float = Field(0.3, ge=0, lt=1, description="fraction of training after which it begins")
    discriminator_widths: tuple[Width, ...] = Field(
        (64, 128), min_length=1, description="channels of the discriminator at 1/2, 1/4, ... resolution"
    )
    discriminator_lr: float = Field(2e-4, gt=0, description="peak learning rate of the discriminator")
    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")
    ema: float | None = Field(0.999, gt=0, lt=1, description="decay of the averaged weights; none turns it off")


class SpatialPosterior(nn.Module):
    """q(z | x): (B, *shape) -> mean and log-variance (B, Z, h, w)."""

    def __init__(self, encoder: nn.Module, data: DataSpec) -> None:
        super().__init__()
        self.encoder, self.data = encoder, data

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.encoder(centered(x, self.data))
        mean, log_var = h.to(torch.promote_types(h.dtype, torch.float32)).chunk(2, dim=1)
        return mean, log_var.clamp(-14.0, 6.0)  # sigma in [1e-3, 20]: keeps exp finite in any precision


class TextPosterior(nn.Module):
    """q(z | x) of texts: (B, L) -> mean and log-variance (B, Z, 1, 1)."""

    def __init__(self, encoder: SequenceEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        with torch.no_grad():  # latents that say something from the start, or the decoder learns to do without them
            encoder.out.bias.chunk(2)[1].fill_(LOG_VAR)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.encoder(x)[..., None, None]
        mean, log_var = h.to(torch.promote_types(h.dtype, torch.float32)).chunk(2, dim=1)
        return mean, log_var.clamp(-14.0, 6.0)


class Autoencoder(Family):
    """KL-regularized autoencoder; see the module's docstring for the mathematics."""

    name = "autoencoder"
    summary = "KL-regularized autoencoder: a grid of latents, for latent diffusion"
    Spec = AutoencoderSpec
    capabilities = frozenset({Encodes, Scores})
    presets = {"sharp": {"adversarial": 0.5}}
    spec: AutoencoderSpec

    def __init__(self, spec: AutoencoderSpec, data: DataSpec, parts: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__(spec, data, parts)
        self.inference: SpatialPosterior | TextPosterior
        self.decoder: SpatialDecoder | CausalSequences
        if data.sequence is not None:
            self._build_for_texts(spec, data)
            return
        if len(data.shape) != 3 or data.kind not in ("binary", "continuous", "discrete"):
            raise SpecError(
                f"the autoencoder family needs texts or pictures (C, H, W), but {data.name!r} has {data.kind} records"
                f" of shape {data.shape}; families for other data: vae."
            )
        self.which = spec.likelihood if spec.likelihood != "auto" else automatic(data)
        count = parameters(self.which, data.levels, spec.mixtures)
        # The network gives only the location, not the scale.
        self.scale = nn.Parameter(torch.zeros(())) if count == 2 else None
        each = 1 if self.scale is not None else count
        channels = data.shape[0]
        self.latent_shape = (spec.latent_channels, *grid(data.shape, len(spec.widths)))
        encoder = SpatialEncoder(
            channels, spec.widths, 2 * spec.latent_channels, blocks=spec.blocks, dropout=spec.dropout
        )
        self.inference = SpatialPosterior(encoder, data)
        self.decoder = SpatialDecoder(spec.latent_channels, spec.widths, blocks=spec.blocks, dropout=spec.dropout)
        # Outside of the networks: the adversarial weight needs the gradients of this layer alone (see `_adversarial`).
        self.last = PictureLayer(spec.widths[0], data.shape, each)
        self.discriminator = PatchDiscriminator(channels, spec.discriminator_widths) if spec.adversarial else None
        self.moments = RunningMoments(spec.latent_channels, MEASURED)
        self.measure = self._likelihood(torch.zeros(1, each, *data.shape)).measure  # raises if the data do not fit

    def _build_for_texts(self, spec: AutoencoderSpec, data: DataSpec) -> None:
        if spec.adversarial or spec.multi_scale:
            raise SpecError("adversarial and multi_scale compare pictures: leave both 0 for texts.")
        assert data.sequence is not None
        self.which, self.measure, self.scale, self.discriminator = "categorical", "mass", None, None
        self.latent_shape = (spec.text_latents, 1, 1)
        check_optimizer(spec.optimizer)
        self.shardable = spec.optimizer != "muon"
        size: dict[str, Any] = {"width": spec.text_width, "blocks": spec.text_blocks, "dropout": spec.dropout}
        self.inference = TextPosterior(SequenceEncoder(data.sequence, 2 * spec.text_latents, **size))
        rules = grammar_of(spec.grammar, data)
        self.decoder = CausalSequences(data.sequence, cond=spec.text_latents, grammar=rules, **size)
        self.moments = RunningMoments(spec.text_latents, MEASURED)

    @classmethod
    def recommend(cls, situation: Situation) -> Recommendation:
        muon = recommended_optimizer(situation) if situation.data.sequence is not None else []
        return Recommendation(muon, recommended_training(situation))

    # ---------------------------------------------------------------- training

    def players(self) -> Mapping[str, Player]:
        s = self.spec
        judging = [] if self.discriminator is None else list(self.discriminator.parameters())
        rest = [p for p in self.parameters() if not any(p is q for q in judging)]
        how: dict[str, Any] = {"lr": s.lr, "ema": s.ema, "weight_decay": s.weight_decay}
        if isinstance(self.inference, TextPosterior) and isinstance(self.decoder, CausalSequences):
            how |= of_matrices(s.optimizer, s.lr, self.inference.encoder.net, self.decoder.net)
        players = {"autoencoder": Player(rest, **how)}
        if judging:
            players["discriminator"] = Player(judging, lr=s.discriminator_lr, betas=(0.5, 0.9))
        return players

    def networks(self) -> Mapping[str, nn.Module]:
        networks: dict[str, nn.Module] = {"inference": self.inference, "decoder": self.decoder}
        if self.discriminator is not None:
            networks["discriminator"] = self.discriminator
        return networks

    def steps(self, batch: Batch, rng: Noise, at: Progress) -> Iterator[Step]:
        q = Gaussian(*self.network("inference")(batch.x))
        z = q.rsample(rng.normal("z", batch.address, self.latent_shape))
        if self.training and not self.private:
            self.moments.update(z)
        if isinstance(self.decoder, CausalSequences):
            unseen = rng.uniform("words", batch.address, batch.x.shape[1:]) < self.spec.word_dropout
            log_p, rate = self.network("decoder")(batch.x, z.flatten(1), unseen), q.kl(self._prior(z))
            metrics = {"elbo": (log_p - rate).mean().detach(), "rate": rate.mean().detach()}
            yield Step("autoencoder", {"distortion": -log_p, "rate": self.spec.beta * rate}, metrics)
            return
        raw = self.last(self.network("decoder")(z))
        p, rate = self._likelihood(raw), q.kl(self._prior(z))
        distortion, made = -p.log_prob(batch.x), self._picture(p)
        terms = {"distortion": distortion, "rate": self.spec.beta * rate}
        real = centered(batch.x, self.data)
        if self.spec.multi_scale:
            error = multi_scale_error(made, real, len(self.spec.widths)) / _scale(p).detach()
            terms["multi_scale"] = self.spec.multi_scale * error
        metrics = {"elbo": (-distortion - rate).mean().detach(), "rate": rate.mean().detach()}
        playing = self.discriminator is not None and at.fraction >= self.spec.adversarial_from
        if playing:
            error = distortion + terms.get("multi_scale", 0.0)
            terms["adversarial"], metrics["adversarial_weight"] = self._adversarial(error.mean(), raw)
        yield Step("autoencoder", terms, metrics)
        if playing:
            judge = self.network("discriminator")
            on_real, on_made = judge(real), judge(made.detach())
            losses = {"real": HINGE.real(on_real).mean((1, 2)), "rebuilt": HINGE.fake(on_made).mean((1, 2))}
            yield Step("discriminator", losses, {"margin": (on_real.mean() - on_made.mean()).detach()})

    @torch.no_grad()
    def health(self, batch: Batch, rng: Noise) -> Health:
        """Held-out PSNR and rate, the share of latents with Var_x E[z | x] > 0.01, and the state of the game."""
        part = batch[:HEALTH_RECORDS]
        q = self.encode(part.x)
        rate = float(q.kl(self._prior(q.mean)).mean())
        if self.data.sequence is None:
            real, made = centered(part.x, self.data), self._picture(self.decode(q.mean))
            rebuilt = {"held_out_psnr": float(psnr(made, real).mean())}
        else:
            few = slice(0, REBUILT)
            made = self.decode(q.mean[few]).mean
            rebuilt = {"held_out_rebuilt_exactly": float((made == part.x[few]).all(-1).double().mean())}
        active = float((q.mean.var(0, correction=min(1, len(part) - 1)) > 0.01).double().mean())
        metrics: dict[str, float | list[float]] = {
            **rebuilt,
            "held_out_rate": rate,
            "held_out_elbo": float(self.score(part.x, None, rng).value.mean()),
            "latent_stddev": self.moments.stddev.tolist(),
        }
        if len(part) > 1:
            metrics["active_latents"] = active
        warnings = []
        if active <= 0.1:
            warnings.append(
                f"posterior collapse: {active:.0%} of the latents carry information (KL {rate:.2f} nats a record);"
                f" lower --beta ({self.spec.beta:g})"
            )
        if self.discriminator is not None:
            sure = [float((v > 1).double().mean()) for v in (self.discriminator(real), -self.discriminator(made))]
            metrics["beyond_doubt"] = sure
            if min(sure) > WON:
                warnings.append(
                    f"the discriminator has won: it tells {min(sure):.0%} of the patches beyond doubt, and what it says"
                    " no longer helps; lower --discriminator-lr, or --adversarial, or begin later with"
                    " --adversarial-from"
                )
        return Health(metrics, warnings if len(part) >= TELLING else [])

    # ------------------------------------------------------------ capabilities

    def encode(self, x: Tensor, cond: RawCondition | None = None) -> Gaussian:
        """q(z | x), events of `latent_shape`; there are no conditions."""
        return Gaussian(*self.inference(x))

    def decode(self, z: Tensor, cond: RawCondition | None = None) -> Distribution:
        """p(x | z) with the batch shape of z (*batch, *latent_shape)."""
        batch = z.shape[:-3]
        if isinstance(self.decoder, CausalSequences):
            return SequenceDistribution(self.decoder, z.flatten(-3))
        return self._likelihood(self.last(self.decoder(z.reshape(-1, *self.latent_shape))).unflatten(0, batch))

    @torch.no_grad()
    def score(self, x: Tensor, cond: RawCondition | None, rng: Noise, samples: int = 1) -> Score:
        """The ELBO (`samples` = 1, one draw of z), or log 1/K sum_k w_k with K = `samples` weights."""
        q = self.encode(x)
        if samples == 1:
            z = q.rsample(rng.normal("score", len(x), self.latent_shape))
            log_p = torch.cat([self.decode(a).log_prob(b) for a, b in _together(z, x, DECODE_CHUNK)])
            rate = q.kl(self._prior(z))
            return Score(log_p - rate, "lower_bound", self.measure, {"log_likelihood": log_p, "-rate": -rate})
        rows, at_once = [], max(1, DECODE_CHUNK // samples)
        for part in chunks(len(x), at_once):
            here = Gaussian(q.mean[part], q.log_var[part])
            eps = rng.shifted(part.start).normal("score", len(x[part]), (samples, *self.latent_shape))
            z = here.rsample(eps.transpose(0, 1))  # (K, b, *latent_shape)
            log_p = torch.cat([self.decode(some).log_prob(x[part]) for some in z.split(DECODE_CHUNK)])
            rows.append((log_p + self._prior(z).log_prob(z) - here.log_prob(z)).T)
        log_w = torch.cat(rows)
        return Score(elbo.iwae_bound(log_w.T), "importance", self.measure, log_weights=log_w)

    # ------------------------------------------------- for models of the latents

    def normalized(self, z: Tensor) -> Tensor:
        """(z - mean) / stddev of each channel with the moments from training: (*batch, *latent_shape)."""
        return (z - self.moments.mean[:, None, None]) / self.moments.stddev[:, None, None]

    def restored(self, u: Tensor) -> Tensor:
        """The inverse of `normalized`; the result is an input of `decode`."""
        return u * self.moments.stddev[:, None, None] + self.moments.mean[:, None, None]

    # ----------------------------------------------------------------- private

    def _prior(self, like: Tensor) -> Gaussian:
        return standard_normal(self.latent_shape, like)

    def _likelihood(self, raw: Tensor) -> Distribution:
        """p(x | z) from the last layer's output (*batch, P, *shape)."""
        if self.scale is not None:
            raw = torch.cat((raw, (SCALE_GAIN * self.scale).expand_as(raw).to(raw.dtype)), dim=-4)
        log_var = float(torch.tensor(self.spec.variance, device="cpu").log())
        return likelihood(self.which, raw, self.data, mixtures=self.spec.mixtures, log_var=log_var)

    def _picture(self, p: Distribution) -> Tensor:
        """The rebuilt picture on [-1, 1]: the location of p(x | z) if it has one, else E[x].

        E[x] of a discretized logistic would be a sum over all levels.
        """
        if isinstance(p, DiscretizedLogistic | DiscretizedGaussian | Gaussian):
            location = p.mean if isinstance(p, Gaussian) else p.location
            return location.clamp(-1.0, 1.0)
        return centered(p.mean, self.data)

    def _adversarial(self, error: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """The generator's hinge loss (B,), weighted, and the weight.

        The gradient of the discriminator's logits is computed once, up to the last layer's output `raw`. A linear term
        with the same gradient carries it on from there. So backward passes each network once, as compiled networks
        need, and the two norms need only gradients of the last layer.
        """
        leaf = raw.detach().requires_grad_()
        loss = HINGE.generator(self.network("discriminator")(self._picture(self._likelihood(leaf)))).mean((1, 2))
        (judged,) = torch.autograd.grad(loss.mean(), leaf)
        (erred,) = torch.autograd.grad(error, raw, retain_graph=True)
        of_last = [torch.autograd.grad(raw, self.last.conv.weight, g, retain_graph=True)[0] for g in (erred, judged)]
        weight = self.spec.adversarial * balance(*over_processes(torch.stack(of_last)))
        linear = len(raw) * (judged * raw).flatten(1).sum(1)
        return weight * (linear + (loss - linear).detach()), weight


def multi_scale_error(a: Tensor, b: Tensor, scales: int) -> Tensor:
    """sum_{s=1}^{scales} D / D_s sum |mean of a - b over 2^s x 2^s pixels|, (B,) for pictures (B, C, H, W).

    D_s of the D elements remain at scale s, so a constant difference c gives scales * D * |c|. Sizes are rounded up.
    """
    d, total = a - b, torch.zeros(len(a), device=a.device)
    elements = d[0].numel()
    for _ in range(scales):
        d = F.avg_pool2d(d, 2, ceil_mode=True, count_include_pad=False)
        total = total + d.abs().flatten(1).mean(1) * elements
    return total


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio 10 log10(2^2 / mean squared error) in dB, (B,), of pictures in [-1, 1]; up to 100."""
    return 10.0 * torch.log10(4.0 / (a - b).square().flatten(1).mean(1).clamp_min(4e-10))


def _together(z: Tensor, x: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(z.split(size), x.split(size), strict=True)


def _scale(p: Distribution) -> Tensor:
    """The scale of p(x | z) if all pixels share one, else 1."""
    if isinstance(p, Gaussian):
        return p.stddev.mean()
    return p.log_scale.exp().mean() if isinstance(p, DiscretizedLogistic | DiscretizedGaussian) else torch.ones(())
