r"""Masked diffusion: records whose elements are hidden and guessed again, in any order (MDLM; Sahoo et al., 2024).

A record is D tokens: those of a text, the values of a picture's elements, the codes of a table's cells, or those that a
`vq_vae` as the part "autoencoder" gives a picture (`families/masked_tokens.py`). Training hides a random number of them
and asks a transformer for each hidden one, given all that are seen. The loss is a bound of -log p(x)
(`theory/masking.py`). A text has a length, too:

    log p(x) >= log p(n) - E_m E_H[ (n / m) sum_{i in H} -log p(x_i | x_seen, n) ].

Sampling draws the length, then reveals places in a random order, an even share in each step. With as many steps as
tokens each token is drawn given all earlier ones, which is exactly what the bound is of; with fewer steps tokens of one
step are drawn independently of each other.

What is known from the start stays: `infill` draws only the hidden places, whichever these are. A scaffold is kept and
the rest of a molecule drawn; the missing cells of a row are drawn given the others.

Sampling computes in float64, as rounding must not decide a token (see `families/autoregressive.py`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, final

import torch
from pydantic import Field
from torch import Tensor, nn

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.capabilities import Completes, Infills, Samples, Score, Scores
from morphogen.core.chunks import chunks
from morphogen.core.column_views import codes_of
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import UsageError
from morphogen.core.family import Family, Health, Player, Progress, Step
from morphogen.core.recommendation import Recommendation, Situation, recommended_training
from morphogen.core.rng import Noise
from morphogen.core.sequences import END, PADDING, SPECIAL, well_formed
from morphogen.core.uncompiled import uncompiled
from morphogen.families.first_stage import FIRST_STAGE
from morphogen.families.masked_tokens import Cells, Codes, Elements, Texts, tokens_of
from morphogen.families.matrix_updates import OPTIMIZER, Optimizer, check_optimizer, of_matrices, recommended_optimizer
from morphogen.nn.backbones.sequence_transformer import SequenceTransformer
from morphogen.nn.conditioning.conditioner import COND, READER, ConditionSpec, conditioner_of, drop_conditions
from morphogen.nn.layers.initialization import zeroed
from morphogen.nn.sequences import inverse_cdf
from morphogen.theory.masking import bound_weight, hidden_count, ranks, revealed_between
from morphogen.theory.weightings import uniforms

HEALTH_RECORDS = 100
CHUNK = 64  # records that are scored together


class MaskedDiffusionSpec(ConditionSpec):
    """Options of masked diffusion."""

    width: int = Field(192, ge=2, description="width of the transformer")
    blocks: int = Field(4, ge=1, description="blocks of the transformer")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in the blocks")
    steps: int = Field(64, ge=1, le=100_000, description="sampling: steps, at most one a token")
    score_evaluations: int = Field(32, ge=1, description="scoring: evaluations of the network")
    optimizer: Optimizer = Field("adamw", description=OPTIMIZER)
    lr: float = Field(2e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")
    ema: float | None = Field(0.998, gt=0, lt=1, description="decay of the averaged weights; none turns it off")


class Guesser(nn.Module):
    """log p(x_i | x_seen, c) of hidden places; a hidden place reads the id `values`, one more than there are."""

    of_column: Tensor | None

    def __init__(self, spec: MaskedDiffusionSpec, tokens: Elements, cond: int) -> None:
        super().__init__()
        self.values, self.is_text = tokens.values, isinstance(tokens, Texts)
        size: dict[str, Any] = {"width": spec.width, "blocks": spec.blocks, "dropout": spec.dropout, "cond": cond}
        self.net = SequenceTransformer(self.values + 1, tokens.places, causal=False, **size)
        self.place = None if self.is_text else nn.Parameter(0.02 * torch.randn(tokens.places, spec.width))
        own = _codes_of_columns(tokens.table.codes) if isinstance(tokens, Cells) else None
        self.register_buffer("of_column", own, persistent=False)
        self.head = nn.Linear(spec.width, self.values)

    @uncompiled  # the number of tokens of a batch is a shape
    def forward(self, ids: Tensor, keep: Tensor, hidden: Tensor, c: Tensor | None = None) -> Tensor:
        """The log-probabilities (M, values) of the M places of (B, D) that are `hidden`, in their order."""
        if self.is_text:  # attention sees pairs of places, so it leaves out those after the longest text
            end = int(keep.sum(-1).max())
            ids, keep, hidden = ids[:, :end], keep[:, :end], hidden[:, :end]
        features, packing = self.net(torch.where(hidden, self.values, ids), keep, c, self.place)
        asked = packing.gather(hidden[..., None])[:, 0].nonzero()[:, 0]
        logits = self.head(features.index_select(0, asked))
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if self.is_text:  # the end and padding follow from the length
            logits = logits.masked_fill(torch.arange(self.values, device=ids.device) < SPECIAL, -torch.inf)
        if self.of_column is not None:
            column = packing.flat.index_select(0, asked) % ids.shape[1]
            logits = logits.masked_fill(~self.of_column[column], -torch.inf)
        return logits.log_softmax(-1)


def _codes_of_columns(sizes: Sequence[int]) -> Tensor:
    """(C, sum of sizes) bool: which codes are those of each column, one column after the other."""
    of = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return of == torch.arange(len(sizes))[:, None]


class _Exact(NamedTuple):
    """The networks of sampling, in float64."""

    guesser: Any
    conditioner: Any
    length: Any

    def conditions(self, cond: RawCondition | None, n: int) -> Tensor | None:
        """The pooled conditions (n, 64); None for an unconditional model."""
        return None if self.conditioner is None else self.conditioner(cond, n).pooled


@final
class MaskedDiffusion(Family):
    """Masked diffusion; see the module's docstring for the mathematics."""

    name = "masked_diffusion"
    summary = "discrete diffusion: hidden tokens are guessed in any order, and known ones kept"
    Spec = MaskedDiffusionSpec
    part_names = (FIRST_STAGE, READER)
    capabilities = frozenset({Samples, Scores, Infills})
    spec: MaskedDiffusionSpec

    def __init__(self, spec: MaskedDiffusionSpec, data: DataSpec, parts: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__(spec, data, parts)
        check_optimizer(spec.optimizer)
        self.shardable = spec.optimizer != "muon"
        self.tokens = tokens_of(data, dict(self.parts).get(FIRST_STAGE))
        if isinstance(self.tokens, Cells):
            self.capabilities = self.capabilities - {Infills} | {Completes}
        if isinstance(self.tokens, Codes):  # a code is of many elements
            self.capabilities = self.capabilities - {Infills}
        self.longest, self.is_text = self.tokens.places, isinstance(self.tokens, Texts)
        cond = COND if spec.conditional else 0
        self.conditioner = conditioner_of(spec, data, self.parts)
        self.guesser = Guesser(spec, self.tokens, cond)
        self.length = nn.Parameter(torch.zeros(self.longest)) if self.is_text else None  # logits of n = 0 .. L - 1
        self.length_of_condition = zeroed(nn.Linear(cond, self.longest)) if self.is_text and cond else None

    # ---------------------------------------------------------------- training

    def players(self) -> Mapping[str, Player]:
        s = self.spec
        matrices = of_matrices(s.optimizer, s.lr, self.guesser.net)
        player = Player(self.own_parameters(), lr=s.lr, ema=s.ema, weight_decay=s.weight_decay, **matrices)
        return {"guesser": player}

    @classmethod
    def recommend(cls, situation: Situation) -> Recommendation:
        return Recommendation(recommended_optimizer(situation), recommended_training(situation))

    def networks(self) -> Mapping[str, nn.Module]:
        networks: dict[str, nn.Module] = {"guesser": self.guesser}
        if self.conditioner is not None:
            networks["conditioner"] = self.conditioner
        return networks

    def steps(self, batch: Batch, rng: Noise, at: Progress) -> Iterator[Step]:
        cond = drop_conditions(batch, rng, self.spec.condition_dropout) if self.conditioner is not None else None
        c = self._condition(cond, len(batch))
        ids, keep, n = self.tokens.read(batch.x)
        u, noise = uniforms(rng, batch.address), rng.uniform("order", batch.address, (self.longest,))
        terms = {"bound": self._bound(ids, keep, n, u, noise, c)}
        if self.length is not None:
            terms["length"] = -self._log_length(n, c)
        total = torch.stack(list(terms.values())).sum(0).detach().sum()
        yield Step("guesser", terms, {"bits_per_token": total / (n.sum().clamp_min(1) * math.log(2.0))})

    @torch.no_grad()
    def health(self, batch: Batch, rng: Noise) -> Health:
        """The bound on held-out records in bits per token."""
        part = batch[:HEALTH_RECORDS]
        value = self.score(part.x, part.cond, rng).value
        tokens = self.tokens.read(part.x)[2].sum().clamp_min(1)
        return Health({"held_out_bits_per_token": float(-value.sum() / (tokens * math.log(2.0)))})

    # ------------------------------------------------------------ capabilities

    @torch.no_grad()
    def score(self, x: Tensor, cond: RawCondition | None, rng: Noise, samples: int = 1) -> Score:
        """A lower bound of log P(x), by `score_evaluations` random sets of hidden places, or by more `samples`."""
        k, c = max(samples, self.spec.score_evaluations), self._condition(cond, len(x))
        found, length = [], []
        for rows in chunks(len(x), CHUNK):
            given, here = None if c is None else c[rows], rng.shifted(rows.start)
            ids, keep, n = self.tokens.read(x[rows])
            u = here.uniform("count", len(ids), (k,), torch.float64)
            total = torch.zeros(len(ids), dtype=torch.float64, device=x.device)
            for i in range(k):
                noise = here.uniform(f"order {i}", len(ids), (self.longest,))
                total += self._bound(ids, keep, n, (u[:, 0] + i / k) % 1.0, noise, given).double()
            impossible = ~well_formed(x[rows]) if self.is_text else torch.zeros_like(keep[:, 0])
            found.append(torch.where(impossible, -torch.inf, -total / k))
            length.append(self._log_length(n, given))
        tokens, of_length = torch.cat(found).to(self._dtype), torch.cat(length).to(self._dtype)
        terms = {"tokens": tokens, "length": of_length}
        if (given_tokens := self.tokens.log_p_of_records(x)) is not None:
            terms["given_tokens"] = given_tokens.to(self._dtype)
        return Score(torch.stack(list(terms.values())).sum(0), "lower_bound", self.tokens.measure, terms)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        cond: RawCondition | None,
        rng: Noise,
        *,
        steps: int | None = None,
        temperature: float = 1.0,
        guidance: float | None = None,
    ) -> Tensor:
        """Sample in `steps` steps (one a token where there are as many), with p^(1/T) for T = `temperature`.

        `guidance` w takes p(token | c)^w p(token)^(1 - w) for p(token | c).
        """
        exact = self._in_float64()
        c, shift = exact.conditions(cond, n), exact.length
        ids = torch.full((n, self.longest), PADDING, dtype=torch.int64, device=self.device)
        hidden = torch.ones_like(ids, dtype=torch.bool)
        if self.is_text:
            u = rng.uniform("length", n, (), torch.float64)
            count = inverse_cdf(self._length_logits(n, c, shift), u)
            place = torch.arange(self.longest, device=self.device)
            hidden = place < count[:, None]
            ids = torch.where(place == count[:, None], END, ids)
        return self.tokens.written(self._revealed(exact, ids, hidden, cond, rng, steps, temperature, guidance), rng)

    @torch.no_grad()
    def infill(
        self,
        x: Tensor,
        hidden: Tensor,
        cond: RawCondition | None,
        rng: Noise,
        *,
        steps: int | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Records (n, *shape) like x, with the places `hidden` (n, *shape) bool drawn anew given all others.

        Of a text, the places hidden are before its end, so its length stays.
        """
        ids, keep, _ = self.tokens.read(x)
        asked = hidden.flatten(1)
        if (asked & ~keep).any():
            raise UsageError("what is hidden of a text are tokens: its end and the padding after it stay.")
        drawn = self._revealed(self._in_float64(), ids, asked, cond, rng, steps, temperature, None)
        return self.tokens.written(drawn, rng)

    @torch.no_grad()
    def complete(self, cells: Tensor, given: Tensor, rng: Noise, present: bool = False) -> Tensor:
        """Cells (n, C) of a table, with those that are not `given` drawn. `present`: none of these is missing."""
        tokens = self.tokens
        assert isinstance(tokens, Cells)
        table, first = tokens.table, tokens.first(self.device)
        ids = codes_of(table, torch.where(given, cells.double(), 0.0)) + first
        absent = None
        if present:
            absent = torch.zeros(tokens.values, dtype=torch.bool, device=ids.device)
            absent[[int(first[j]) + k - 1 for j, k in enumerate(table.codes) if table.columns[j].has_missing]] = True
        found = self._revealed(self._in_float64(), ids, ~given, None, rng, self.longest, 1.0, None, absent)
        return torch.where(given, cells.double(), tokens.cells(found, rng))

    # ----------------------------------------------------------------- private

    def _bound(self, ids: Tensor, keep: Tensor, n: Tensor, u: Tensor, noise: Tensor, c: Tensor | None) -> Tensor:
        """(n / m) sum over hidden tokens of -log p, (B,)."""
        m = hidden_count(u, n)
        return bound_weight(n, m).to(self._dtype) * -self._log_p(ids, keep, ranks(noise, keep) < m[:, None], c)

    def _log_p(self, ids: Tensor, keep: Tensor, hidden: Tensor, c: Tensor | None) -> Tensor:
        """The sum over the hidden tokens of log p(x_i | x_seen), (B,)."""
        flat = hidden.flatten().nonzero()[:, 0]
        log_p = self.network("guesser")(ids, keep, hidden, c)
        told = log_p.gather(-1, ids.flatten().index_select(0, flat)[:, None]).squeeze(-1)
        return told.new_zeros(len(ids)).index_add(0, flat // self.longest, told)

    def _revealed(
        self,
        exact: _Exact,
        ids: Tensor,
        hidden: Tensor,
        cond: RawCondition | None,
        rng: Noise,
        steps: int | None,
        temperature: float,
        guidance: float | None,
        never: Tensor | None = None,
    ) -> Tensor:
        """Token ids (n, D) with the hidden places drawn; values that are `never` (values,) are not."""
        led = 1.0 if guidance is None else guidance
        if led != 1.0 and self.conditioner is None:
            raise UsageError("guidance leads towards a condition, and this model has none: train with --conditional.")
        c = exact.conditions(cond, len(ids))
        null = None if led == 1.0 else exact.conditions(None, len(ids))
        keep = hidden | (ids >= SPECIAL) if self.is_text else torch.ones_like(hidden)
        count, longest = hidden.sum(-1), self.longest
        rank = ranks(rng.uniform("order", len(ids), (longest,)), hidden)
        u = rng.uniform("token", len(ids), (longest,), torch.float64).flatten()
        asked = self.spec.steps if steps is None else steps
        steps = max(1, min(asked, int(count.max())))
        for step in range(steps):
            now = revealed_between(rank, count, step, steps)
            if not now.any():
                continue
            log_p = exact.guesser(ids, keep, hidden, c)
            if null is not None:
                away = exact.guesser(ids, keep, hidden, null)
                log_p = torch.where(log_p.isfinite(), away + led * (log_p - away), -torch.inf)
            log_p = log_p if never is None else log_p.masked_fill(never, -torch.inf)
            chosen = now.flatten()[hidden.flatten()].nonzero()[:, 0]
            places = now.flatten().nonzero()[:, 0]
            drawn = inverse_cdf(log_p.index_select(0, chosen), u.index_select(0, places), temperature)
            ids, hidden = ids.flatten().index_copy(0, places, drawn).unflatten(0, ids.shape), hidden & ~now
        return ids

    def _length_logits(self, n: int, c: Tensor | None, shift: nn.Linear | None) -> Tensor:
        assert self.length is not None
        logits = self.length.expand(n, -1)
        return logits if shift is None or c is None else logits + shift(c)

    def _in_float64(self) -> _Exact:
        """The networks of sampling."""
        guesser, conditioner, length = copy.deepcopy((self.guesser, self.conditioner, self.length_of_condition))
        doubled = [None if network is None else network.double().eval() for network in (conditioner, length)]
        return _Exact(guesser.double().eval(), *doubled)

    def _log_length(self, n: Tensor, c: Tensor | None) -> Tensor:
        """log p(n | c), (B,); 0 for records of one size."""
        if self.length is None:
            return torch.zeros(len(n), device=n.device)
        logits = self._length_logits(len(n), c, self.length_of_condition)
        return logits.log_softmax(-1).gather(-1, n[:, None]).squeeze(-1)

    @property
    def _dtype(self) -> torch.dtype:
        return self.guesser.head.weight.dtype

    def _condition(self, cond: RawCondition | None, n: int) -> Tensor | None:
        """The pooled conditions (n, 64); None for an unconditional model."""
        return None if self.conditioner is None else self.network("conditioner")(cond, n).pooled
