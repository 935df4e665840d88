r"""The hierarchical variational autoencoder: groups of latents from coarse to fine, inferred in the order of sampling.

With z = (z_1, ..., z_K) and both networks in one pass from the coarsest grid to the finest
(`nn/backbones/top_down.py`),

    log p(x) >= E_q[log p(x | z)] - sum_k E_q[KL(q(z_k | x, z_<k) || p(z_k | z_<k))],

where each KL is between Gaussians and has a closed form (Sonderby et al., 2016; Child, 2021). The product of such
conditionals can have almost any shape, although each factor is normal. A single group of latents cannot do this.

In units of its prior a latent is u_k = (z_k - mean_p(z_<k)) / std_p(z_<k), and p(u) is N(0, I). `encode` and `decode`
work on u, the vector of all groups. So straight and great-circle paths stay in the region of the prior's mass. At
temperature T a sample takes T eps for u.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterator, Mapping

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
from morphogen.core.data_spec import DataSpec
from morphogen.core.distributions import Distribution, Gaussian
from morphogen.core.errors import CapabilityError, SpecError
from morphogen.core.family import TELLING, Family, Health, Player, Progress, Step
from morphogen.core.rng import Noise
from morphogen.families.hierarchical_vae_spec import HierarchicalVAESpec
from morphogen.families.integer_form import IntegerForm
from morphogen.nn.backbones.encoders import centered
from morphogen.nn.backbones.top_down import BottomUp, TopDown
from morphogen.nn.conditioning.conditioner import COND, READER, conditioner_of, drop_conditions
from morphogen.nn.integer.conversion import to_integers
from morphogen.nn.integer.grid import to_grid
from morphogen.nn.integer.latent_coding import LatentTables
from morphogen.nn.integer.smooth import Smooth
from morphogen.theory import elbo
from morphogen.theory.likelihoods import automatic, likelihood, parameters

DECODE_CHUNK = 256  # for scores: fast, and small enough for a cache
USED = 0.01  # a group with at least so many nats is in use


class HierarchicalBound(nn.Module):
    """Both networks and the terms of the bound, as one network, so that the trainer wraps them together."""

    def __init__(self, bottom_up: BottomUp, top_down: TopDown, data: DataSpec, name: str, mixtures: int) -> None:
        super().__init__()
        self.bottom_up, self.top_down = bottom_up, top_down
        self.data, self.name, self.mixtures = data, name, mixtures

    def forward(self, x: Tensor, eps: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """log p(x | z) (B,) and the KL of each group (B, K), for x (B, C, H, W) and noise (B, D)."""
        state, kl = self.top_down.start(len(x)), []
        found = self.found(x, c)
        for k, noise in enumerate(self.split(eps)):
            group, state = self.top_down.group(k), self.top_down.enter(state, k, c)
            p, more = group.prior(state)
            q = group.posterior(state, found[k])
            kl.append(q.kl(p))
            state = group(state, more, q.rsample(noise), c)
        return self.likelihood(state, c).log_prob(x), torch.stack(kl, dim=1)

    def log_weights(self, x: Tensor, eps: Tensor, c: Tensor | None, draws: int) -> Tensor:
        """log p(x, z) - log q(z | x) of `draws` draws per record: (B, C, H, W), (B draws, D) -> (B, draws)."""
        many = lambda v: v.repeat_interleave(draws, dim=0)  # noqa: E731
        found = [many(f) for f in self.found(x, c)]
        x, c = many(x), None if c is None else many(c)
        state, log_w = self.top_down.start(len(x)), torch.zeros((), device=x.device)
        for k, noise in enumerate(self.split(eps)):
            group, state = self.top_down.group(k), self.top_down.enter(state, k, c)
            p, more = group.prior(state)
            q = group.posterior(state, found[k])
            z = q.rsample(noise)
            log_w = log_w + p.log_prob(z) - q.log_prob(z)
            state = group(state, more, z, c)
        return (log_w + self.likelihood(state, c).log_prob(x)).unflatten(0, (-1, draws))

    def found(self, x: Tensor, c: Tensor | None) -> list[Tensor]:
        """The features of the bottom-up network for each group."""
        x = centered(x, self.data)
        x = x.to(self.bottom_up.stem.weight.dtype) if isinstance(self.bottom_up.stem, nn.Conv2d) else to_grid(x)
        stages = self.bottom_up(x, c)[::-1]
        return [stages[s] for s in self.top_down.stage_of]

    def split(self, v: Tensor) -> list[Tensor]:
        """Split a vector (B, D) into the grids of the groups."""
        shapes = self.top_down.latents
        return [
            part.unflatten(1, shape)
            for part, shape in zip(v.split([_size(s) for s in shapes], dim=1), shapes, strict=True)
        ]

    def likelihood(self, state: Tensor, c: Tensor | None) -> Distribution:
        """p(x | z) from the state after the last group."""
        return likelihood(self.name, self.top_down.picture(state, c), self.data, mixtures=self.mixtures)


class HierarchicalVAE(IntegerForm, Family):
    """Hierarchical variational autoencoder; see the module's docstring for the mathematics."""

    name = "hierarchical_vae"
    summary = "variational autoencoder with groups of latents from coarse to fine"
    Spec = HierarchicalVAESpec
    part_names = (READER,)
    capabilities = frozenset({Samples, Scores, Encodes, Latents, Quantizes})
    spec: HierarchicalVAESpec

    def __init__(self, spec: HierarchicalVAESpec, data: DataSpec, parts: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__(spec, data, parts)
        if not data.is_picture:
            raise SpecError(
                f"the hierarchical VAE needs pictures (C, H, W), but {data.name!r} has {data.kind} records of shape"
                f" {data.shape}; families for other data: vae."
            )
        which = spec.likelihood if spec.likelihood != "auto" else _likelihood_for(data)
        p = parameters(which, data.levels, spec.mixtures)
        example = likelihood(which, torch.zeros(1, p, *data.shape), data, mixtures=spec.mixtures)  # fits, or raises
        self.measure = example.measure
        self.conditioner = conditioner_of(spec, data, self.parts)
        cond = COND if spec.conditional else 0
        self.bound = HierarchicalBound(
            BottomUp(data.shape, spec.widths, blocks=spec.blocks, cond=cond, act=spec.activation, dropout=spec.dropout),
            TopDown(
                data.shape,
                spec.widths,
                spec.groups,
                spec.latent_channels,
                p,
                cond=cond,
                act=spec.activation,
                dropout=spec.dropout,
            ),
            data,
            which,
            spec.mixtures,
        )
        self.tables: LatentTables | None = None
        if spec.conditional:
            self.capabilities = self.capabilities - {Quantizes}
        if spec.integer:
            if Quantizes not in self.capabilities:
                raise SpecError("the integer form is of models without conditions.")
            self.tables = LatentTables(data.levels or 2, which, spec.mixtures)
            to_integers(self.bound, smooth=self.tables.smooth)
            self.capabilities = self.capabilities | {LatentFrequencies}

    @property
    def groups(self) -> int:
        """Number of latent groups."""
        return len(self.bound.top_down.latents)

    @property
    def dimensions(self) -> int:
        """D, the number of latents of a record."""
        return sum(_size(shape) for shape in self.bound.top_down.latents)

    # ---------------------------------------------------------------- training

    def players(self) -> Mapping[str, Player]:
        s = self.spec
        if s.integer:
            raise SpecError("the integer form does not learn: train without --integer, then `morphogen quantize`.")
        mine = self.own_parameters()
        return {"vae": Player(mine, lr=s.lr, ema=s.ema, weight_decay=s.weight_decay, skip=s.skip)}

    def networks(self) -> Mapping[str, nn.Module]:
        networks: dict[str, nn.Module] = {"bound": self.bound}
        if self.conditioner is not None:
            networks["conditioner"] = self.conditioner
        return networks

    def steps(self, batch: Batch, rng: Noise, at: Progress) -> Iterator[Step]:
        cond = drop_conditions(batch, rng, self.spec.condition_dropout) if self.conditioner is not None else None
        eps = rng.normal("z", batch.address, (self.dimensions,))
        log_p, kl = self.network("bound")(batch.x, eps, self._condition(cond, len(batch)))
        rate = kl.sum(1)
        paid = elbo.free_bits(kl, self.spec.free_bits) if self.spec.free_bits else rate
        weight = self.spec.beta * elbo.kl_weight(at.fraction, self.spec.kl_warmup)
        metrics = {
            "elbo": (log_p - rate).mean().detach(),
            "rate": rate.mean().detach(),
            "kl_per_group": kl.mean(0).detach(),
        }
        yield Step("vae", {"distortion": -log_p, "rate": weight * paid}, metrics)

    @torch.no_grad()
    def health(self, batch: Batch, rng: Noise) -> Health:
        """The KL of each group on held-out records, coarsest first, and the number of groups in use."""
        log_p, kl = self._terms(batch.x, batch.cond, rng)
        each = kl.mean(0)
        used = int((each > USED).sum())
        metrics: dict[str, float | list[float]] = {
            "held_out_elbo": float((log_p - kl.sum(1)).mean()),
            "kl_per_group": each.tolist(),
            "groups_in_use": used,
        }
        warnings = []
        if used <= self.groups // 4:
            warnings.append(
                f"posterior collapse: {used} of {self.groups} groups of latents carry information (KL"
                f" {float(each.sum()):.2f} nats in all); set --free-bits 0.1, lengthen --kl-warmup, or take fewer"
                " --groups"
            )
        return Health(metrics, warnings if len(batch) >= TELLING else [])

    # ------------------------------------------------------------ capabilities

    @torch.no_grad()
    def sample(self, n: int, cond: RawCondition | None, rng: Noise, *, temperature: float = 1.0) -> Tensor:
        """Sample means of p(x | z); `temperature` scales the standard deviation of every prior."""
        u = temperature * rng.normal("z", n, (self.dimensions,))
        x = self.decode(u, cond).mean.clamp(self.data.low, self.data.high)
        return x.round().long() if self.data.kind == "discrete" else x

    @torch.no_grad()
    def score(self, x: Tensor, cond: RawCondition | None, rng: Noise, samples: int = 1) -> Score:
        """The ELBO (`samples` = 1, one draw of z) with the KL of each group, or log 1/K sum_k w_k, K = `samples`."""
        if samples == 1:
            log_p, kl = self._terms(x, cond, rng)
            rates = {f"-kl_{k + 1}": -kl[:, k] for k in range(self.groups)}
            return Score(log_p - kl.sum(1), "lower_bound", self.measure, {"log_likelihood": log_p, **rates})
        c = self._condition(cond, len(x))
        rows, at_once = [], max(1, DECODE_CHUNK // samples)
        for part in chunks(len(x), at_once):
            eps = rng.shifted(part.start).normal("score", len(x[part]), (samples, self.dimensions)).flatten(0, 1)
            rows.append(self.bound.log_weights(x[part], eps, None if c is None else c[part], samples))
        log_w = torch.cat(rows)
        return Score(elbo.iwae_bound(log_w, 1), "importance", self.measure, log_weights=log_w)

    def encode(self, x: Tensor, cond: RawCondition | None = None) -> Gaussian:
        """q(u | x) with events (D,): the posterior of each group, with the earlier groups at their means."""
        c = self._condition(cond, x.shape[0])
        net = self.bound.top_down
        state, means, log_vars = net.start(x.shape[0]), [], []
        for k, found in enumerate(self.bound.found(x, c)):
            group, state = net.group(k), net.enter(state, k, c)
            p, more = group.prior(state)
            q = group.posterior(state, found)
            means.append(((q.mean - p.mean) / p.stddev).flatten(1))
            log_vars.append((q.log_var - p.log_var).flatten(1))
            state = group(state, more, q.mean, c)
        return Gaussian(torch.cat(means, dim=1), torch.cat(log_vars, dim=1))

    def decode(self, z: Tensor, cond: RawCondition | None = None) -> Distribution:
        """p(x | u) for u (B, D), the latents in units of their priors."""
        c = self._condition(cond, z.shape[0])
        net, state = self.bound.top_down, self.bound.top_down.start(z.shape[0])
        for k, u in enumerate(self.bound.split(z)):
            group, state = net.group(k), net.enter(state, k, c)
            p, more = group.prior(state)
            state = group(state, more, p.rsample(u), c)
        return self.bound.likelihood(state, c)

    def posterior(self, k: int, x: Tensor, z: list[Tensor], cond: RawCondition | None = None) -> Gaussian:
        """q(z_k | x, z_<k), events (channels, h, w)."""
        c = self._condition(cond, len(x))
        return self.bound.top_down.group(k).posterior(self._state(k, z, len(x), c), self.bound.found(x, c)[k])

    def prior(self, k: int, z: list[Tensor], n: int, cond: RawCondition | None = None) -> Gaussian:
        """p(z_k | z_<k) for `n` records."""
        return self.bound.top_down.group(k).prior(self._state(k, z, n, self._condition(cond, n)))[0]

    def likelihood(self, z: list[Tensor], cond: RawCondition | None = None) -> Distribution:
        """p(x | z), from all groups."""
        c = self._condition(cond, len(z[0]))
        return self.bound.likelihood(self._state(self.groups, z, len(z[0]), c), c)

    @property
    def exact(self) -> bool:
        """Whether its frequencies are the same bits on every machine."""
        return self.spec.integer

    @property
    def latents(self) -> int:
        """The number of latents of a record."""
        return self.dimensions

    @torch.no_grad()
    def latent_walk(self, n: int, stored: Tensor | None) -> Generator[Coded, list[Tensor], None]:
        """Yield each group of latents of `n` records, and then their own elements, for bits-back coding.

        Latents are coded in units of their priors, u = (z - mean_p) / std_p, in which their posterior has the mean
        (mean_q - mean_p) / std_p and the standard deviation std_q / std_p.
        """
        tables, net, found = self._tables(), self.bound.top_down, None
        if stored is not None:
            x = self.data.encode(stored.reshape(n, *self.data.shape), torch.float64)
            found = self.bound.found(x, None)
        state = net.start(n)
        for k, shape in enumerate(net.latents):
            group, state = net.group(k), net.enter(state, k, None)
            p, more = group.prior(state)
            own, d = None, _size(shape)
            if found is not None:
                q = group.posterior(state, found[k])
                mean = (q.mean - p.mean) * tables.exp(-0.5 * p.log_var)
                own = tables.bins(mean.flatten(), (0.5 * (q.log_var - p.log_var)).flatten())
            digits = yield Coded((n, d), own, tables.uniform(n * d))
            z = p.mean + tables.exp(0.5 * p.log_var) * tables.middle(digits).unflatten(0, (n, *shape))
            state = group(state, more, to_grid(z), None)
        yield Coded((n, self.data.dimensions), tables.values.digits(net.picture(state, None)))

    def digits(self, stored: Tensor) -> list[Tensor]:
        """The digits (n D,) of the values (n, D) of records."""
        return self._tables().values.split(stored)

    def values(self, digits: list[Tensor]) -> Tensor:
        """The values (n D,) that digits spell."""
        return self._tables().values.join(digits)

    @torch.no_grad()
    def quantized(self, bits: int) -> HierarchicalVAE:
        """The integer form, with weights of `bits` bits."""
        if self.exact:
            raise SpecError("this model is an integer form already.")
        made = HierarchicalVAE(self.spec.replace(integer=True), self.data)
        made.bound.load_state_dict(to_integers(copy.deepcopy(self.bound), bits, smooth=Smooth()).state_dict())
        return made.eval().requires_grad_(False)

    # ----------------------------------------------------------------- private

    def _tables(self) -> LatentTables:
        if self.tables is None:
            raise CapabilityError("only an integer form codes by its latents: make it with `morphogen quantize`.")
        return self.tables

    def _terms(self, x: Tensor, cond: RawCondition | None, rng: Noise) -> tuple[Tensor, Tensor]:
        """log p(x | z) (B,) and the KLs (B, K) for one draw of z."""
        eps = rng.normal("score", len(x), (self.dimensions,))
        c = self._condition(cond, len(x))
        parts = chunks(len(x), DECODE_CHUNK)
        found = [self.bound(x[p], eps[p], None if c is None else c[p]) for p in parts]
        return torch.cat([log_p for log_p, _ in found]), torch.cat([kl for _, kl in found])

    def _state(self, k: int, z: list[Tensor], n: int, c: Tensor | None) -> Tensor:
        """The state in front of group k, or after the last one, from the groups before."""
        net = self.bound.top_down
        state = net.start(n)
        for j in range(k):
            group, state = net.group(j), net.enter(state, j, c)
            state = group(state, group.prior(state)[1], z[j], c)
        return net.enter(state, k, c) if k < self.groups else state

    def _condition(self, cond: RawCondition | None, n: int) -> Tensor | None:
        """The pooled conditions (n, 64); None for an unconditional model."""
        return None if self.conditioner is None else self.network("conditioner")(cond, n).pooled


def _size(shape: tuple[int, ...]) -> int:
    return shape[0] * shape[1] * shape[2]


def _likelihood_for(data: DataSpec) -> str:
    """The likelihood of "auto": the mixture for quantized data."""
    found = automatic(data)
    return "discretized_logistic_mixture" if found == "discretized_logistic" else found
