r"""The variational autoencoder with a Gaussian posterior (Kingma and Welling, 2014; Rezende et al., 2014).

For p(x, z) = p(z) p(x | z) and any q(z | x),

    log p(x) = E_q[log p(x | z)] - KL(q(z | x) || p(z)) + KL(q(z | x) || p(z | x)),

so the first two terms, minus the *distortion* and minus the *rate*, bound log p(x) from below (the ELBO).
Training minimizes distortion + beta * rate. With K samples the bound of importance weights
w_k = p(x, z_k) / q(z_k | x),

    log p(x) >= E[log 1/K sum_k w_k]                                        (Burda et al., 2016)

is tighter. Its gradient for the encoder is the doubly reparameterized one (Tucker et al., 2019), with a signal that
does not vanish as K grows.

Priors: the standard normal; the VampPrior p(z) = 1/M sum_m q(z | u_m) with learned pseudo-inputs u_m (Tomczak and
Welling, 2018); and an affine-coupling flow (Dinh et al., 2017).

The preset `classic` is the textbook's network: 784-512-256, two latents, and back, with the squared error
summed over pixels plus the KL. On pixels in [0, 1] that error is the negative log-likelihood of a Gaussian of
variance 1/2, up to a constant. On x in [-1, 1] distances are twice as long, so the variance is 2. `bounded` does on
[-1, 1] what a sigmoid at the end of the decoder does on [0, 1], because tanh(r) = 2 sigmoid(2 r) - 1. Without it, flat
black and white areas have a faint haze.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.capabilities import (
    Coded,
    Encodes,
    LatentFrequencies,
    Latents,
    Quantizes,
    Samples,
    Score,
    Scores,
)
from morphogen.core.chunks import chunks
from morphogen.core.data_spec import DataSpec, Measure
from morphogen.core.distributions import Distribution, Gaussian, GaussianMixture, standard_normal
from morphogen.core.errors import CapabilityError, SpecError
from morphogen.core.family import TELLING, Family, Health, Player, Progress, Step
from morphogen.core.recommendation import Recommendation, Situation
from morphogen.core.rng import Noise
from morphogen.families import recommending
from morphogen.families.integer_form import IntegerForm
from morphogen.families.vae_networks import Bound, Generation, Inference
from morphogen.families.vae_spec import VAESpec
from morphogen.nn.backbones.conv import ConvDecoder, ConvEncoder
from morphogen.nn.backbones.encoders import backbone, centered
from morphogen.nn.backbones.mlp import MLPDecoder, MLPEncoder
from morphogen.nn.conditioning.conditioner import COND, READER, conditioner_of, drop_conditions
from morphogen.nn.distributions.flow_prior import FlowPrior
from morphogen.nn.integer.conversion import to_integers
from morphogen.nn.integer.grid import to_grid
from morphogen.nn.integer.latent_coding import LatentTables
from morphogen.nn.integer.smooth import Smooth
from morphogen.nn.sequence_autoencoder import SequenceEncoder
from morphogen.nn.sequences import CausalSequences, grammar_of
from morphogen.theory import elbo
from morphogen.theory.likelihoods import automatic, element_shape, likelihood, parameters

DECODE_CHUNK = {"mlp": 2048, "conv": 256, "text": 256}  # for scores: fast, and small enough for a cache


class VAE(IntegerForm, Family):
    """Variational autoencoder; see the module's docstring for the mathematics."""

    name = "vae"
    summary = "variational autoencoder: Gaussian posterior, any likelihood, three priors"
    Spec = VAESpec
    part_names = (READER,)
    capabilities = frozenset({Samples, Scores, Encodes, Latents, Quantizes})
    presets = {
        "classic": {
            "backbone": "mlp",
            "hidden": (512, 256),
            "activation": "relu",
            "latent_dim": 2,
            "likelihood": "gaussian",
            "variance": 2.0,
        },
        "conv-flow": {  # the best likelihood for its time, see benchmarks/quality/likelihood.py
            "backbone": "conv",
            "widths": (32, 64),
            "blocks": 1,
            "norm": False,
            "prior": "flow",
            "latent_dim": 40,
            "lr": 2e-3,
        },
    }
    spec: VAESpec

    def __init__(self, spec: VAESpec, data: DataSpec, parts: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__(spec, data, parts)
        which, p, elements = "categorical", 0, data.shape
        if data.sequence is not None:
            self.measure: Measure = "mass"
            if spec.likelihood != "auto" or spec.prior == "vamp" or spec.integer:
                raise SpecError(
                    "texts have one likelihood, token by token, no pseudo-inputs and no integer form: leave out"
                    " likelihood, prior=vamp and integer."
                )
        else:
            which = spec.likelihood if spec.likelihood != "auto" else automatic(data)
            with torch.device("cpu"):  # real numbers, also if networks are built without memory
                p, elements = parameters(which, data.levels, spec.mixtures, data.table), element_shape(which, data)
                example = likelihood(which, torch.zeros(1, p, *elements), data, mixtures=spec.mixtures)  # or raises
            self.measure = example.measure
        if spec.bounded and (which != "gaussian" or not data.is_picture):
            raise SpecError(
                f"bounded is for pictures and the likelihood 'gaussian', but {data.name!r}, of shape {data.shape}, has"
                f" the likelihood {which!r}: set likelihood=gaussian for pictures, or leave bounded out."
            )
        kind = "text" if data.sequence is not None else backbone(spec.backbone, data)
        self.decoded_at_once = DECODE_CHUNK[kind]
        self.conditioner = conditioner_of(spec, data, self.parts)
        cond = COND if spec.conditional else 0
        encoder: nn.Module
        decoder: nn.Module
        if data.sequence is not None:
            size: dict[str, Any] = {"width": spec.text_width, "blocks": spec.text_blocks, "dropout": spec.dropout}
            encoder = SequenceEncoder(data.sequence, 2 * spec.latent_dim, cond=cond, **size)
            decoder = CausalSequences(
                data.sequence, cond=spec.latent_dim + cond, grammar=grammar_of(spec.grammar, data), **size
            )
        elif kind == "mlp":
            mlp: dict[str, Any] = {"cond": cond, "act": spec.activation, "gated": spec.gated, "dropout": spec.dropout}
            encoder = MLPEncoder(data.shape, spec.hidden, 2 * spec.latent_dim, **mlp)
            decoder = MLPDecoder(spec.latent_dim, spec.hidden[::-1], elements, p, **mlp)
        else:
            conv: dict[str, Any] = {"cond": cond, "act": spec.activation, "norm": spec.norm, "dropout": spec.dropout}
            encoder = ConvEncoder(data.shape, spec.widths, 2 * spec.latent_dim, blocks=spec.blocks, **conv)
            decoder = ConvDecoder(spec.latent_dim, spec.widths, data.shape, p, blocks=spec.blocks, **conv)
        self.inference = Inference(encoder, data, spec.pseudo_inputs if spec.prior == "vamp" else 0)
        self.generation = Generation(decoder, data, spec, which)
        self.flow = FlowPrior(spec.latent_dim) if spec.prior == "flow" else None
        plain = spec.importance_samples == 1 and spec.prior == "standard"
        # in a tuple, because its networks are submodules already
        self._bound = (Bound(self.inference, self.generation, spec.free_bits),) if plain else ()
        self.tables: LatentTables | None = None
        if spec.prior != "standard":  # a codec needs a prior that factorizes
            self.capabilities = self.capabilities - {Latents}
        plainly = not (spec.conditional or spec.bounded or spec.gated)
        if spec.prior != "standard" or not plainly or data.table is not None or kind == "text":
            self.capabilities = self.capabilities - {Quantizes}
        if spec.integer:
            if Quantizes not in self.capabilities:
                raise SpecError("the integer form is of models with prior=standard and without conditions or gates.")
            self.tables = LatentTables(data.levels or 2, which, spec.mixtures)
            to_integers(self.inference, smooth=self.tables.smooth)
            to_integers(self.generation, smooth=self.tables.smooth)
            self.capabilities = self.capabilities | {LatentFrequencies}

    @classmethod
    def recommend(cls, situation: Situation) -> Recommendation:
        return recommending.vae(situation)

    # ---------------------------------------------------------------- training

    def players(self) -> Mapping[str, Player]:
        s = self.spec
        if s.integer:
            raise SpecError("the integer form does not learn: train without --integer, then `morphogen quantize`.")
        return {"vae": Player(self.own_parameters(), lr=s.lr, ema=s.ema, weight_decay=s.weight_decay)}

    def networks(self) -> Mapping[str, nn.Module]:
        networks: dict[str, nn.Module]
        if self._bound:
            networks = {"bound": self._bound[0]}
        else:
            networks = {"inference": self.inference, "generation": self.generation}
        if self.flow is not None:
            networks["flow"] = self.flow
        if self.conditioner is not None:
            networks["conditioner"] = self.conditioner
        return networks

    def steps(self, batch: Batch, rng: Noise, at: Progress) -> Iterator[Step]:
        x, k = batch.x, self.spec.importance_samples
        cond = drop_conditions(batch, rng, self.spec.condition_dropout) if self.conditioner is not None else None
        c, null = self._condition(cond, len(batch))
        weight = self.spec.beta * elbo.kl_weight(at.fraction, self.spec.kl_warmup)
        eps = rng.normal("z", batch.address, (k, self.spec.latent_dim))
        if self._bound:
            distortion, paid, rate = self.network("bound")(x, eps[:, 0], c)
            metrics = {"elbo": -(distortion.detach() + rate).mean(), "rate": rate.mean()}
            yield Step("vae", {"distortion": distortion, "rate": paid if weight == 1.0 else weight * paid}, metrics)
            return
        mean, log_var, *pseudo = self.network("inference")(x, c, null)
        q = Gaussian(mean, log_var)
        z, tag = elbo.dreg(q.rsample(eps.transpose(0, 1)))  # (K, B, D), (K, B)
        log_p = self.network("generation")(z, x, c)
        log_prior = self.network("flow")(z) if self.flow is not None else self._prior(*pseudo).log_prob(z)
        rate = q.detach().log_prob(z) - log_prior  # (K, B)
        loss = elbo.dreg_loss(log_p - weight * rate, tag)
        metrics = {"rate": rate.mean().detach(), "elbo": (log_p - rate).mean().detach()}
        yield Step("vae", {"bound": loss}, metrics)

    @torch.no_grad()
    def health(self, batch: Batch, rng: Noise) -> Health:
        """Active units, Var_x E[z | x] > 0.01 (Burda et al., 2016), and the KL of each dimension."""
        q = self.encode(batch.x, batch.cond)
        active = q.mean.var(0, correction=min(1, len(batch) - 1)) > 0.01
        kl = q.kl_elements(standard_normal((self.spec.latent_dim,), q.mean)).mean(0)
        held_out = self.score(batch.x, batch.cond, rng).value.mean()
        n, d = int(active.sum()), self.spec.latent_dim
        warnings = []
        if n <= d // 10 or n == 0:
            warnings.append(
                f"posterior collapse: {n} of {d} latent dimensions carry information (KL {float(kl.sum()):.2f} nats"
                " in all); lower --beta, set --free-bits 0.1, or lengthen --kl-warmup"
            )
        metrics: dict[str, float | list[float]] = {
            "held_out_elbo": float(held_out),
            "kl_per_dim": kl.tolist(),
        }
        if len(batch) > 1:
            metrics["active_units"] = n
        return Health(metrics, warnings if len(batch) >= TELLING else [], -float(held_out))

    # ------------------------------------------------------------ capabilities

    def encode(self, x: Tensor, cond: RawCondition | None = None) -> Gaussian:
        """q(z | x), events (D,)."""
        c, _ = self._condition(cond, x.shape[0])
        x = to_grid(centered(x, self.data)) if self.spec.integer else centered(x, self.data)
        return Gaussian(*self.inference._moments(self.inference.encoder(x, c)))

    def decode(self, z: Tensor, cond: RawCondition | None = None) -> Distribution:
        """p(x | z), events of the data's shape."""
        c, _ = self._condition(cond, z.shape[-2])
        return self.generation.distribution(z, c)

    @torch.no_grad()
    def sample(self, n: int, cond: RawCondition | None, rng: Noise, *, temperature: float = 1.0) -> Tensor:
        """Sample; `temperature` scales the standard deviation of the noise of z."""
        eps = temperature * rng.normal("z", n, (self.spec.latent_dim,))
        p = self.decode(self._latents(eps, rng), cond)
        if self.spec.output == "mean" or (self.spec.output == "auto" and self.data.is_picture):
            x = p.mean
        else:
            draw = rng.normal if p.noise == "normal" else rng.uniform
            x = p.sample(draw("x", n, p.noise_shape[1:]))
        x = x.clamp(self.data.low, self.data.high)
        return x.round().long() if self.data.kind in ("discrete", "sequence") else x

    @torch.no_grad()
    def score(self, x: Tensor, cond: RawCondition | None, rng: Noise, samples: int = 1) -> Score:
        """The ELBO (`samples` = 1, one draw of z), or log 1/K sum_k w_k with K = `samples` weights."""
        q, prior = self.encode(x, cond), self._prior()
        c, _ = self._condition(cond, len(x))
        if samples == 1:
            z = q.rsample(rng.normal("score", len(x), (self.spec.latent_dim,)))
            log_p = self.generation(z, x, c)
            rate = q.kl(prior) if isinstance(prior, Gaussian) else q.log_prob(z) - prior.log_prob(z)
            return Score(log_p - rate, "lower_bound", self.measure, {"log_likelihood": log_p, "-rate": -rate})
        rows, at_once = [], max(1, self.decoded_at_once // samples)
        for part in chunks(len(x), at_once):
            n = len(x[part])
            here = Gaussian(q.mean[part], q.log_var[part])
            eps = rng.shifted(part.start).normal("score", n, (samples, self.spec.latent_dim))
            z = here.rsample(eps.transpose(0, 1))
            given = None if c is None else c[part]
            log_p = torch.cat([self.generation(some, x[part], given) for some in z.split(self.decoded_at_once)])
            rows.append((log_p + prior.log_prob(z) - here.log_prob(z)).T)
        log_w = torch.cat(rows)
        return Score(elbo.iwae_bound(log_w.T), "importance", self.measure, log_weights=log_w)

    groups = 1

    def posterior(self, k: int, x: Tensor, z: list[Tensor], cond: RawCondition | None = None) -> Gaussian:
        """q(z_0 | x): there is one group."""
        return self.encode(x, cond)

    def prior(self, k: int, z: list[Tensor], n: int, cond: RawCondition | None = None) -> Gaussian:
        """N(0, I) for `n` records. Raises `CapabilityError` for the other priors, which do not factorize."""
        prior = self._prior()
        if not isinstance(prior, Gaussian):
            raise CapabilityError(
                f"the prior {self.spec.prior!r} does not factorize over dimensions: train with prior=standard."
            )
        return Gaussian(prior.mean.expand(n, -1), prior.log_var.expand(n, -1))

    def likelihood(self, z: list[Tensor], cond: RawCondition | None = None) -> Distribution:
        """p(x | z_0)."""
        return self.decode(z[0], cond)

    @property
    def exact(self) -> bool:
        """Whether its frequencies are the same bits on every machine."""
        return self.spec.integer

    @property
    def latents(self) -> int:
        """The number of latents of a record."""
        return self.spec.latent_dim

    @torch.no_grad()
    def latent_walk(self, n: int, stored: Tensor | None) -> Generator[Coded, list[Tensor], None]:
        """Yield the latents of `n` records, and then their own elements, for bits-back coding."""
        tables, own, d = self._tables(), None, self.spec.latent_dim
        if stored is not None:
            q = self.encode(self.data.encode(stored.reshape(n, *self.data.shape), torch.float64))
            own = tables.bins(q.mean.flatten(), 0.5 * q.log_var.flatten())
        digits = yield Coded((n, d), own, tables.uniform(n * d))
        raw = self.generation.decoder(tables.middle(digits).unflatten(0, (n, d)), None)
        yield Coded((n, self.data.dimensions), tables.values.digits(raw))

    def digits(self, stored: Tensor) -> list[Tensor]:
        """The digits (n D,) of the values (n, D) of records."""
        return self._tables().values.split(stored)

    def values(self, digits: list[Tensor]) -> Tensor:
        """The values (n D,) that digits spell."""
        return self._tables().values.join(digits)

    @torch.no_grad()
    def quantized(self, bits: int) -> VAE:
        """The integer form, with weights of `bits` bits."""
        if self.exact:
            raise SpecError("this model is an integer form already.")
        made = VAE(self.spec.replace(integer=True), self.data)
        for mine, theirs in ((self.inference, made.inference), (self.generation, made.generation)):
            theirs.load_state_dict(to_integers(copy.deepcopy(mine), bits, smooth=Smooth()).state_dict())
        return made.eval().requires_grad_(False)

    # ----------------------------------------------------------------- private

    def _tables(self) -> LatentTables:
        if self.tables is None:
            raise CapabilityError("only an integer form codes by its latents: make it with `morphogen quantize`.")
        return self.tables

    def _latents(self, eps: Tensor, rng: Noise) -> Tensor:
        """z ~ p(z) from standard normal noise (n, D)."""
        prior = self._prior()
        if isinstance(prior, GaussianMixture):
            return prior.sample(rng.uniform("component", len(eps)), eps).to(eps.dtype)
        return prior.transform(eps) if isinstance(prior, FlowPrior) else eps

    def _prior(
        self, mean: Tensor | None = None, log_var: Tensor | None = None
    ) -> Gaussian | GaussianMixture | FlowPrior:
        """p(z). The caller may give the moments of the pseudo-inputs if it has them."""
        if self.flow is not None:
            return self.flow
        if self.spec.prior == "standard":
            like = torch.zeros((), dtype=torch.float64 if self.exact else None, device=self.device)
            return standard_normal((self.spec.latent_dim,), like)
        if mean is None or log_var is None:
            mean, log_var = self.inference.prior(self._condition(None, 1)[0])
            mean, log_var = mean.double(), log_var.double()  # for reported numbers; training needs less
        return GaussianMixture(mean.new_zeros(len(mean)), mean, log_var)

    def _condition(self, cond: RawCondition | None, n: int) -> tuple[Tensor | None, Tensor | None]:
        """The pooled conditions (n, C) and the empty condition (1, C); None for an unconditional model."""
        if self.conditioner is None:
            return None, None
        network = self.network("conditioner")
        null = network(None, 1).pooled if self.inference.pseudo is not None else None
        return network(cond, n).pooled, null
