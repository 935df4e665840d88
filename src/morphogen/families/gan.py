r"""Generative adversarial networks (Goodfellow et al., 2014): a generator against a discriminator.

The generator G maps z ~ N(0, I) to a record. The discriminator D gives a record a logit l, larger for records that look
real. Each training step is an update of D and then an update of G against the new D. The games are in
theory/adversarial.py, the networks in nn/backbones/adversarial_nets.py. The default is the modern baseline, R3GAN
(Huang et al., "The GAN is dead; long live the GAN!", 2024). It compares record i with sample i,

    L_D = softplus(l(y_i) - l(x_i)) + gamma/2 |grad l(x_i)|^2 + gamma/2 |grad l(y_i)|^2,
    L_G = softplus(l(x_i) - l(y_i)),   y_i = G(z_i),

with residual networks without normalization. With pairs, no local optimum lacks modes, and the two penalties, R1 and
R2, make the game converge. Distances between records of D elements grow as sqrt(D), and slopes for the same change of l
shrink accordingly. So the default of gamma is proportional to D.

The penalty of a record depends on that record alone. So all terms are per record, and a step does not depend on how the
batch is split. The discriminator's call computes the gradients of gradients (nn/backbones/adversarial_nets.py,
`Sloped`), so it can be compiled. It cannot be sharded.

With a trained autoencoder as the part "autoencoder" the game is about its latents, scaled to mean 0 and deviation 1,
and samples are decoded. So it can draw texts, through which no gradient passes (LatentGAN; Prykhodko et al., 2019).

There is no posterior. `encode` finds a latent by gradient descent on

    1/2 |z|^2 + |G(z) - x|^2 / (2 s^2),

the most probable z if x is G(z) plus noise of standard deviation s; `decode` gives that N(G(z), s^2 I).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from morphogen.core.batch import Batch, Condition, RawCondition
from morphogen.core.capabilities import Directions, Discriminates, Encodes, Samples
from morphogen.core.chunks import chunks
from morphogen.core.data_spec import DataSpec
from morphogen.core.distributions import Gaussian, Point
from morphogen.core.errors import UsageError
from morphogen.core.family import TELLING, Family, Health, Player, Progress, Step
from morphogen.core.recommendation import Recommendation, Situation
from morphogen.core.rng import Noise, Rng
from morphogen.families import recommending
from morphogen.families.first_stage import FIRST_STAGE, latents_of
from morphogen.families.gan_health import GameState, judge_game
from morphogen.families.gan_spec import GANSpec, check_data
from morphogen.nn.backbones.adversarial_nets import (
    MLPDiscriminator,
    MLPGenerator,
    PictureDiscriminator,
    PictureGenerator,
    Sloped,
)
from morphogen.nn.backbones.encoders import backbone, centered
from morphogen.nn.columns import corners, rows_of
from morphogen.nn.conditioning.conditioner import COND, READER, Conditioner, drop_conditions
from morphogen.nn.inversion import inverted
from morphogen.nn.layers.augmentation import DRAWS, AdaptiveStrength, augmented
from morphogen.theory.adversarial import GAMES, one_centered, penalty_weight, zero_centered
from morphogen.theory.resampling import gumbel_scores

ONE_CENTERED = 10.0  # weight of the one-centered penalty (Gulrajani et al., 2017)
NOISE = 0.05  # s, the standard deviation of records around G(z)
INVERSION_CHUNK = 512  # latents
HEALTH_RECORDS = 1000  # records in a health check


class GAN(Family):
    """Generative adversarial network; see the module's docstring for the mathematics."""

    name = "gan"
    summary = "generative adversarial network: one-step samples, six games"
    Spec = GANSpec
    part_names = (FIRST_STAGE, READER)
    capabilities = frozenset({Samples, Discriminates, Encodes, Directions})
    encodes_at_once = False
    takes_context = True
    blind_players = frozenset({"generator"})
    presets = {
        "classic": {
            "game": "non_saturating",
            "penalty": "none",
            "backbone": "mlp",
            "latent_dim": 100,
            "hidden": (256, 512, 1024),
            "discriminator_hidden": (512, 256),
            "tanh": True,
            "generator_lr": 2e-4,
            "discriminator_lr": 2e-4,
            "betas": (0.5, 0.999),
            "ema": None,
        },
    }
    spec: GANSpec

    def __init__(self, spec: GANSpec, data: DataSpec, parts: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__(spec, data, parts)
        self.inside = data  # what the networks see
        if self._first_stage is not None:
            latent = {"shape": latents_of(self._first_stage, data), "kind": "continuous", "levels": None}
            self.inside = data.replace(**latent, sequence=None)
            self.capabilities = self.capabilities - {Encodes, Directions}  # latents of latents
        data = self.inside
        check_data(spec, data)
        context = 0 if data.context_shape is None else data.context_shape[0]
        cond = COND if spec.conditional else 0
        roles = ("discriminator", "generator") if spec.conditional else ()
        # Each player has a conditioner of its own, because each parameter belongs to one player.
        self.conditioners = nn.ModuleDict(
            {role: Conditioner(data, COND, spec.text_encoder, dict(self.parts)) for role in roles}
        )
        self.latent_dim = spec.latent_dim or min(64, data.dimensions)
        n_in, self.game = self.latent_dim + cond, GAMES[spec.game]
        # Only words need attention; a class or an attribute is the same everywhere, and the pooled vector has it.
        self.words = COND if spec.conditional and data.text is not None and data.text.vocabulary else 0
        judging: dict[str, Any] = {"cond": cond, "level": self.game.absolute, "spectral": spec.spectral}
        network: nn.Module
        self.generator: PictureGenerator | MLPGenerator
        if backbone(spec.backbone, data) == "conv":
            options: dict[str, Any] = {"blocks": spec.blocks, "context": context, "words": self.words}
            self.generator = PictureGenerator(
                n_in, data.shape, spec.widths, modulated=spec.conditional, bounded=spec.tanh, **options
            )
            network = PictureDiscriminator(data.shape, spec.widths, **options, **judging)
        else:
            self.generator = MLPGenerator(n_in, data.shape, spec.hidden, bounded=spec.tanh)
            network = MLPDiscriminator(data.shape, spec.discriminator_hidden, **judging)
        self.discriminator = Sloped(network)
        adaptive = spec.augment == "adaptive"
        self.strength = AdaptiveStrength(spec.augment_target, spec.augment_records) if adaptive else None
        self.penalty = spec.penalty
        if spec.penalty == "auto":
            self.penalty = "gradient" if spec.game == "wasserstein" else "r1_r2"
        weight = ONE_CENTERED if self.penalty == "gradient" else penalty_weight(data.dimensions)
        self.penalty_weight = weight if spec.penalty_weight is None else spec.penalty_weight
        self.shardable = self.penalty == "none"

    # ---------------------------------------------------------------- training

    @classmethod
    def recommend(cls, situation: Situation) -> Recommendation:
        return recommending.gan(situation)

    def players(self) -> Mapping[str, Player]:
        s = self.spec
        return {
            "discriminator": Player(self._owned("discriminator"), lr=s.discriminator_lr, betas=s.betas),
            "generator": Player(self._owned("generator"), lr=s.generator_lr, betas=s.betas, ema=s.ema),
        }

    def networks(self) -> Mapping[str, nn.Module]:
        conditioners = {f"{role}_conditioner": module for role, module in self.conditioners.items()}
        return {"discriminator": self.discriminator, "generator": self.generator, **conditioners}

    def steps(self, batch: Batch, rng: Noise, at: Progress) -> Iterator[Step]:
        n, game = len(batch), self.game
        cond = drop_conditions(batch, rng, self.spec.condition_dropout) if self.spec.conditional else batch.cond
        context = self._context(cond)
        record = self._seen(batch.x, rng, batch.address)
        made = self._generate(rng.normal("z", batch.address, (self.latent_dim,)), cond)
        real, fake = self._augment(record, rng, batch, "record"), self._augment(made, rng, batch, "sample")

        on_real, on_fake, penalties = self._compute_logits(real, fake.detach(), cond, context, rng, batch, at)
        terms = {**game.discriminator_terms(on_real, on_fake), **penalties}
        if cond is not None and self.words and self.spec.mismatch:
            terms["mismatch"] = self.spec.mismatch * self._mismatched(real, on_real, cond, context)
        margin = (on_real - on_fake).detach()
        metrics = {"margin": margin.mean(), "told_apart": (margin > 0).float().mean()}
        if self.strength is not None:
            metrics["augmented"] = self.strength.strength.clone()
            self.strength.observe(game.verdict(on_real, on_fake).detach())
        yield Step("discriminator", terms, metrics)

        # By now all parts of the batch have their logits, in all processes; the first part to come here updates it.
        if self.strength is not None:
            self.strength.commit()
        judge = self.network("discriminator")
        with torch.no_grad():
            c, words = self._condition("discriminator", cond, n)
            anew = judge(real, c, context, words)[0] if game.paired else None
        terms = {"adversarial": game.generator_term(anew, judge(fake, c, context, words)[0])}
        if self.spec.reconstruction:
            terms["reconstruction"] = self.spec.reconstruction * (made - record).abs().flatten(1).mean(1)
        yield Step("generator", terms)

    @torch.no_grad()
    def health(self, batch: Batch, rng: Noise) -> Health:
        """The state of the game on held-out records (`families/gan_health.py`)."""
        part = batch[:HEALTH_RECORDS]
        x = self._seen(part.x, rng, len(part))
        made = self._generate(rng.normal("z", len(x), (self.latent_dim,)), part.cond)
        on_real, on_fake = (self._logits(v, part.cond) for v in (x, made))
        found = judge_game(
            GameState(
                x,
                made,
                on_real,
                on_fake,
                self._pull(on_real, on_fake),
                self.spec.game,
                self.penalty,
                self.penalty_weight,
                self.spec.discriminator_lr,
            )
        )
        return found if len(part) >= TELLING else Health(found.metrics)

    # ------------------------------------------------------------ capabilities

    @torch.no_grad()
    def sample(
        self,
        n: int,
        cond: RawCondition | None,
        rng: Noise,
        *,
        truncation: float = 1.0,
        candidates: int = 1,
    ) -> Tensor:
        """Sample G(truncation z). Below 1, samples are more typical and less varied; at 0 all have the mean latent.

        With K `candidates`, each sample is one of K. The discriminator chooses it, with a probability proportional to
        the ratio of densities p / q that it estimates (theory/resampling.py).
        """
        if truncation < 0:
            raise UsageError(f"a truncation is at least 0 (got {truncation}).")
        if candidates < 1:
            raise UsageError(f"a sample is chosen of at least 1 candidate (got {candidates}).")
        made = self._generate(truncation * rng.normal("z", n, (self.latent_dim,)), cond)
        if candidates > 1:
            made = self._choose(made, candidates, cond, rng, truncation)
        return self._records(made)

    def realness(self, x: Tensor, cond: RawCondition | None = None) -> Tensor:
        """(B,) logits. 0 is undecided, except in the games that only compare records (relativistic, wasserstein)."""
        return self._logits(self._seen(x, Rng(0, x.device), x.shape[0]), cond)

    def encode(self, x: Tensor, cond: RawCondition | None = None) -> Point:
        """A point mass at the most probable latent (B, D) that gradient descent finds; see the module's docstring.

        Each record takes `inversion_steps` (1 + (`inversion_starts` - 1) / 4) forward and backward passes of the
        generator.
        """
        # All records have the same starts, so the latent of a record depends only on that record.
        starts = Rng(0, x.device).normal("inversion", self.spec.inversion_starts, (self.latent_dim,)).to(x.dtype)
        size, parts = max(1, INVERSION_CHUNK // len(starts)), []
        for rows in chunks(len(x), size):
            some, given = centered(x[rows], self.data), None if cond is None else cond[rows]

            def energy(z: Tensor, rows: Tensor, x: Tensor = some, cond: RawCondition | None = given) -> Tensor:
                error = self._generate(z, None if cond is None else cond[rows]) - x[rows]
                return 0.5 * z.square().sum(1) + error.flatten(1).square().sum(1) / (2.0 * NOISE**2)

            parts.append(inverted(energy, len(some), starts, self.spec.inversion_steps))
        return Point(torch.cat(parts))

    def decode(self, z: Tensor, cond: RawCondition | None = None) -> Gaussian:
        """N(G(z), s^2 I) for z (B, D), events of the data's shape."""
        x = self._records(self._generate(z, cond))
        return Gaussian(x, torch.full_like(x, 2.0 * math.log(NOISE)))

    # ----------------------------------------------------------------- latents

    @torch.no_grad()
    def directions(self, k: int) -> Tensor:
        """The `k` directions (k, D) in which a unit step of z changes the generator's first features most.

        They are orthonormal eigenvectors of A^T A for the first affine map A of z, by falling eigenvalue (Shen and
        Zhou, "Closed-form factorization of latent semantics in GANs", 2021); the largest component is positive.
        Raises `UsageError` if there are not as many.
        """
        dim = self.latent_dim
        if not 1 <= k <= dim:
            raise UsageError(f"a model of {dim} latents has 1 to {dim} directions (got {k}).")
        a = self.generator.first_map()[:, :dim].double()
        found = torch.linalg.eigh(a.T @ a).eigenvectors.flip(1).T[:k]
        largest = found.gather(1, found.abs().argmax(1, keepdim=True))
        return (found * largest.sign()).to(self.generator.first_map().dtype)

    @property
    def drawn_shape(self) -> tuple[int, ...]:
        """The shape of what the generator makes: records, or latents of the part "autoencoder"."""
        return self.inside.shape

    # ----------------------------------------------------------------- private

    @property
    def _first_stage(self) -> Any:
        """The part "autoencoder", or None."""
        return dict(self.parts).get(FIRST_STAGE)

    @torch.no_grad()
    def _seen(self, x: Tensor, rng: Noise, index: Any) -> Tensor:
        """Records as the discriminator sees them: on about [-1, 1], or as normalized latents."""
        stage = self._first_stage
        if stage is None:
            return centered(x, self.data)
        q = stage.encode(x)
        return stage.normalized(q.rsample(rng.normal("latent", index, self.inside.shape, q.mean.dtype)))

    def _owned(self, role: Literal["discriminator", "generator"]) -> list[nn.Parameter]:
        mine: list[nn.Module] = [self.discriminator if role == "discriminator" else self.generator]
        if self.spec.conditional:
            mine.append(self.conditioners[role])
        return [p for module in mine for p in module.parameters()]

    def _condition(self, role: str, cond: RawCondition | None, n: int) -> tuple[Tensor | None, Condition | None]:
        """The pooled conditions (n, COND) of a player, and the words' condition; None if it does not read them."""
        if not self.spec.conditional:
            return None, None
        read = dataclasses.replace(self.network(f"{role}_conditioner")(cond, n), context=None)
        return read.pooled, read if self.words else None

    def _context(self, cond: RawCondition | None) -> Tensor | None:
        """The context pictures, or None if the data have none."""
        return None if cond is None or self.data.context_shape is None else cond.context

    def _generate(self, z: Tensor, cond: RawCondition | None) -> Tensor:
        """G(z) (B, *shape), on about [-1, 1], or the features of rows of a table."""
        c, words = self._condition("generator", cond, z.shape[0])
        if c is not None:
            z = torch.cat((z, c.to(z.dtype)), dim=1)
        made: Tensor = self.network("generator")(z, self._context(cond), words)
        return made if self.data.table is None else corners(made, self.data.table)

    def _choose(self, first: Tensor, k: int, cond: RawCondition | None, rng: Noise, truncation: float) -> Tensor:
        """Choose one of k candidates for each sample by the discriminator; `first` (B, *shape) is one of them."""
        log_ratio = self.game.log_ratio
        if log_ratio is None:
            able = ", ".join(name for name, game in GAMES.items() if game.log_ratio is not None)
            raise UsageError(
                f"the discriminator of the game {self.spec.game!r} does not say by what factor samples are too"
                f" frequent: leave candidates at 1; games whose discriminator does: {able}."
            )
        n, best = len(first), first
        u = rng.uniform("chosen", n, (k,))
        leads = gumbel_scores(log_ratio(self._logits(first, cond)), u[:, 0])
        for i in range(1, k):
            other = self._generate(truncation * rng.normal(f"z {i}", n, (self.latent_dim,)), cond)
            score = gumbel_scores(log_ratio(self._logits(other, cond)), u[:, i])
            wins = score > leads
            leads = torch.where(wins, score, leads)
            best = torch.where(wins.view(-1, *(1,) * (first.ndim - 1)), other, best)
        return best

    def _logits(self, x: Tensor, cond: RawCondition | None) -> Tensor:
        """l(x) (B,) of centered records."""
        c, words = self._condition("discriminator", cond, x.shape[0])
        return self.network("discriminator")(x, c, self._context(cond), words)[0]

    def _records(self, made: Tensor) -> Tensor:
        """Turn generated x into records within the range of the data; for binary data, into probabilities."""
        if self._first_stage is not None:
            x = self._first_stage.decode(self._first_stage.restored(made)).mean.clamp(self.data.low, self.data.high)
            return x.round().long() if self.data.kind in ("discrete", "sequence") else x
        if self.data.table is not None:
            return rows_of(made, self.data.table)
        x = made if self.data.kind == "continuous" else 0.5 * (made + 1.0)
        return x.clamp(self.data.low, self.data.high)

    def _augment(self, x: Tensor, rng: Noise, batch: Batch, which: str) -> Tensor:
        """The discriminator's input for x in training."""
        if self.spec.augment == "none":
            return x
        strength = x.new_tensor(self.spec.augment_strength) if self.strength is None else self.strength.strength
        return augmented(x, strength, rng.uniform(f"augment_{which}", batch.address, (DRAWS,)))

    def _compute_logits(
        self,
        real: Tensor,
        fake: Tensor,
        cond: RawCondition | None,
        context: Tensor | None,
        rng: Noise,
        batch: Batch,
        at: Progress,
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Compute the logits of records and of samples, and the penalties that are due, each (B,)."""
        judge, n = self.network("discriminator"), len(real)
        c, words = self._condition("discriminator", cond, n)
        due = self.penalty if at.step % self.spec.penalty_every == 0 else "none"
        weight = self.penalty_weight * self.spec.penalty_every
        if due == "r1":
            on_real, slope = judge(real, c, context, words, True)
            return on_real, judge(fake, c, context, words)[0], {"r1": weight * zero_centered(slope)}
        both = torch.arange(n, device=real.device).repeat(2)
        twice = [None if v is None else v[both] for v in (c, context, words)]
        logits, slope = judge(torch.cat((real, fake)), *twice, due == "r1_r2")
        on_real, on_fake = logits.split(n)
        if due == "r1_r2":
            r1, r2 = (weight * zero_centered(slope)).split(n)
            return on_real, on_fake, {"r1": r1, "r2": r2}
        if due == "gradient":
            u = rng.uniform("between", batch.address, (1,) * (real.ndim - 1)).to(real.dtype)
            _, slope = judge(u * real + (1.0 - u) * fake, c, context, words, True)
            return on_real, on_fake, {"gradient_penalty": weight * one_centered(slope)}
        return on_real, on_fake, {}

    def _mismatched(self, real: Tensor, on_real: Tensor, cond: RawCondition, context: Tensor | None) -> Tensor:
        """(B,): the discriminator's loss for records with the words of other records; 0 if the words are the same.

        Records 0 and 1 of a batch swap their words, 2 and 3, and so on; the last of an odd number keeps its own. So a
        batch that is cut into parts of even size has the same pairs.
        """
        rows = torch.arange(len(real), device=real.device)
        partner = (rows ^ 1).clamp(max=len(real) - 1)
        partner = torch.where(partner[partner] == rows, partner, rows)
        alike = dataclasses.replace(cond, context=None).alike()
        assert alike is not None  # there are words
        others = alike != alike[partner]
        c, words = self._condition("discriminator", cond[partner], len(real))
        on_wrong = self.network("discriminator")(real, c, context, words)[0]
        return self.game.mismatch_term(on_real, on_wrong) * others

    def _pull(self, on_real: Tensor, on_fake: Tensor) -> float:
        """Mean |d loss / d logit| of the generator at its samples."""
        with torch.enable_grad():
            logit = on_fake.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.game.generator_term(on_real, logit).sum(), logit)
        return float(gradient.abs().mean())
