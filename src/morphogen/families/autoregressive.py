r"""The autoregressive model: exact likelihoods of pictures (PixelCNN; van den Oord et al., 2016) and of sequences.

A picture becomes a sequence s_1 ... s_D of symbols: pixels in raster order, channels in order within a pixel, and one
or two digits for a value within a channel. By the chain rule its probability is

    log P(x) = sum_i log P(s_i | s_1, ..., s_{i-1}).

Every factor sums to one over its values (`families/autoregressive_pixels.py`), so the product sums to one over all
pictures: the score is the log-probability itself, not a bound. Training minimizes its negative, for all factors of a
picture at once.

A text is a sequence already. There the network is a causal transformer (`nn/sequences.py`), and the last symbol is the
end. Classifier-free guidance leads each token away from the model without the condition.

Sampling draws the symbols in their order, each by the inverse of its cumulative distribution at a uniform number. It
computes one pixel or token at a time, in float64. A symbol is a discontinuous function of its probabilities, and a
changed symbol changes all later ones. Rounding differs between batch sizes, so it must not decide a symbol.

A table becomes a sequence of the codes of its columns, in any order (`families/autoregressive_rows.py`).

Coding needs the same walk, with symbols that a file gives (`Conditionals`). The integer form of a model
(`nn/integer/grid.py`) computes the same bits on every machine.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.capabilities import Completes, Conditionals, Quantizes, Samples, Score, Scores
from morphogen.core.chunks import chunks
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import CapabilityError, SpecError, UsageError
from morphogen.core.family import Family, Health, Player, Progress, Step
from morphogen.core.recommendation import Recommendation, Situation, recommended_training
from morphogen.core.rng import Noise
from morphogen.core.sequences import lengths
from morphogen.families import recommending
from morphogen.families.autoregressive_pixels import Pixels, PixelsSpec
from morphogen.families.autoregressive_rows import Rows, RowsSpec
from morphogen.families.integer_form import IntegerForm
from morphogen.families.matrix_updates import OPTIMIZER, Optimizer, check_optimizer, of_matrices, recommended_optimizer
from morphogen.nn.backbones.symbols import SymbolHead
from morphogen.nn.conditioning.conditioner import COND, READER, ConditionSpec, conditioner_of, drop_conditions
from morphogen.nn.integer.conversion import to_integers
from morphogen.nn.integer.value_coding import ValueTables
from morphogen.nn.sequences import GRAMMAR, CausalSequences, Grammar, grammar_of

HEALTH_RECORDS = 100  # records in a health check, with exact likelihoods
LR = {"pixels": 4e-3, "tokens": 2e-3, "rows": 4e-3}  # peak learning rates
SEQUENCES_AT_ONCE = 256  # that are scored together
CHUNK = 40_000  # pixels that are scored together; the counts take 4 K C bytes per pixel


class AutoregressiveSpec(ConditionSpec, PixelsSpec, RowsSpec):
    """Options of the autoregressive model."""

    token_width: int = Field(192, ge=2, description="texts: width of the transformer")
    token_blocks: int = Field(4, ge=1, description="texts: blocks of the transformer")
    optimizer: Optimizer = Field("adamw", description=f"texts: {OPTIMIZER}")
    grammar: Grammar = Field("valence", description=GRAMMAR)
    lr: float | None = Field(None, gt=0, description="peak learning rate; none: 4e-3, and 2e-3 for texts")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")
    ema: float | None = Field(0.998, gt=0, lt=1, description="decay of the averaged weights; none turns it off")


class Autoregressive(IntegerForm, Family):
    """Autoregressive model of pictures, texts or tables; see the module's docstring for the mathematics."""

    name = "autoregressive"
    summary = "exact likelihoods: each pixel, token or column given those before it"
    Spec = AutoregressiveSpec
    part_names = (READER,)
    capabilities = frozenset({Samples, Scores, Conditionals, Quantizes, Completes})
    presets = {  # see benchmarks/quality/likelihood.py
        "large": {"width": 96, "blocks": 6},
        "compact": {  # little to store: see benchmarks/quality/compression.py
            "width": 32,
            "inner": 16,
            "blocks": 3,
            "hidden": 32,
            "near": (1, 1),
            "places": "axes",
        },
        "photo": {
            "width": 64,
            "blocks": 5,
            "stem": (4, 4),
            "likelihood": "discretized_logistic_mixture",
            "counts": False,
        },
    }
    spec: AutoregressiveSpec

    def __init__(self, spec: AutoregressiveSpec, data: DataSpec, parts: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__(spec, data, parts)
        if spec.optimizer == "muon" and data.sequence is None:
            raise SpecError("optimizer=muon is for texts: leave it out.")
        check_optimizer(spec.optimizer)
        cond = COND if spec.conditional else 0
        self.pixels: Any = None  # the network of pictures
        self.tokens: CausalSequences | None = None  # that of texts
        self.rows: Rows | None = None  # that of tables
        if data.table is not None:
            if spec.integer:
                raise SpecError("the integer form is of models of pictures.")
            self.capabilities = self.capabilities - {Conditionals, Quantizes}
            self.conditioner = conditioner_of(spec, data, self.parts)
            self.rows = Rows(spec, data, cond, spec.dropout)
            return
        self.capabilities = self.capabilities - {Completes}  # pixels and tokens have one order
        if data.sequence is not None:
            if spec.integer:
                raise SpecError("the integer form is of models of pictures.")
            self.capabilities = self.capabilities - {Conditionals, Quantizes}
            self.conditioner = conditioner_of(spec, data, self.parts)
            size = {"width": spec.token_width, "blocks": spec.token_blocks}
            self.shardable = spec.optimizer != "muon"
            self.tokens = CausalSequences(
                data.sequence, **size, cond=cond, dropout=spec.dropout, grammar=grammar_of(spec.grammar, data)
            )
            return
        levels = 2 if data.kind == "binary" else data.levels
        if levels is None or len(data.shape) != 3 or data.kind not in ("binary", "continuous", "discrete"):
            raise SpecError(
                f"the autoregressive family needs texts, tables, or pictures (C, H, W) of values that can be counted,"
                f" but {data.name!r} has {data.kind} records of shape {data.shape}"
                f"{'' if levels is None else f' with {levels} levels'}; families for other data: vae."
            )
        if spec.likelihood != "categorical" and data.kind != "continuous":
            raise SpecError(
                f"the likelihood {spec.likelihood!r} is for quantized data, but {data.name!r} is {data.kind}; take"
                " 'categorical'."
            )
        self.conditioner = conditioner_of(spec, data, self.parts)
        self.pixels = Pixels(spec, levels, data, cond=cond)
        self.tables: ValueTables | None = None
        if spec.conditional:
            self.capabilities = self.capabilities - {Conditionals, Quantizes}
        if spec.integer:
            if Quantizes not in self.capabilities:
                raise SpecError("the integer form is of models without conditions.")
            to_integers(self.pixels, largest_count=data.shape[1] * data.shape[2])
            self.tables = ValueTables(levels, spec.likelihood, spec.mixtures)
            if isinstance(self.pixels.head, SymbolHead):
                self.pixels.head.log_masses = self.tables.frequencies.log_masses

    @classmethod
    def recommend(cls, situation: Situation) -> Recommendation:
        if situation.data.table is not None:
            return recommending.table(situation, "autoregressive")
        if situation.data.sequence is not None:
            return Recommendation(recommended_optimizer(situation), recommended_training(situation))
        return super().recommend(situation)

    # ---------------------------------------------------------------- training

    def players(self) -> Mapping[str, Player]:
        s = self.spec
        if s.integer:
            raise SpecError("the integer form does not learn: train without --integer, then `morphogen quantize`.")
        lr = LR[self._player] if s.lr is None else s.lr
        matrices = {} if self.tokens is None else of_matrices(s.optimizer, lr, self.tokens.net)
        player = Player(self.own_parameters(), lr=lr, ema=s.ema, weight_decay=s.weight_decay, **matrices)
        return {self._player: player}

    def networks(self) -> Mapping[str, nn.Module]:
        networks: dict[str, nn.Module] = {self._player: self.rows or self.tokens or self.pixels}
        if self.conditioner is not None:
            networks["conditioner"] = self.conditioner
        return networks

    def steps(self, batch: Batch, rng: Noise, at: Progress) -> Iterator[Step]:
        cond = drop_conditions(batch, rng, self.spec.condition_dropout) if self.conditioner is not None else None
        c = self._condition(cond, len(batch))
        if self.rows is not None:
            codes = self.rows.codes(batch.x)
            log_p, penalty = self.network("rows")(codes, self.rows.order(rng, at), c)
            nll = -log_p.sum(1)
            yield Step("rows", {"nll": nll, "prior": penalty.expand(len(nll))})
            if not self.private:  # counts of codes are statistics of the records
                self.rows.net.count(codes)  # after the step, so that it does not depend on how the batch is split
            return
        if self.tokens is not None:
            log_p = self.network("tokens")(batch.x, c)
            yield Step("tokens", {"nll": -log_p}, {"bits_per_token": self._bits_per_token(log_p, batch.x)})
            return
        log_p = self.network("pixels")(self._values(batch.x), c).flatten(1).sum(1)
        bits = -log_p.mean().detach() / (self.data.dimensions * math.log(2.0))
        yield Step("pixels", {"nll": -log_p}, {"bits_per_dim": bits})

    @torch.no_grad()
    def health(self, batch: Batch, rng: Noise) -> Health:
        """Held-out bits per element and for each row of pictures; per token of texts; nats of a table's rows."""
        part = batch[:HEALTH_RECORDS]
        if self.tokens is not None:
            log_p = self._log_p_of_texts(part.x, part.cond)
            return Health({"held_out_bits_per_token": float(self._bits_per_token(log_p, part.x))})
        log_p = self._log_p(part.x, part.cond)
        if self.rows is not None:
            nats = -float(log_p.sum(1).mean())
            return Health({"held_out_nats_per_row": nats}, held_out=nats)
        bits = -log_p.mean(dim=(0, 2, 3)) / math.log(2.0)
        return Health({"held_out_bits_per_dim": float(bits.mean()), "bits_per_row": bits.tolist()})

    # ------------------------------------------------------------ capabilities

    @torch.no_grad()
    def sample(
        self,
        n: int,
        cond: RawCondition | None,
        rng: Noise,
        *,
        temperature: float = 1.0,
        guidance: float | None = None,
    ) -> Tensor:
        """Sample with each symbol's probabilities proportional to p^(1/T), T = `temperature`; 0 takes the likeliest.

        Of texts, `guidance` w takes p(token | c)^w p(token)^(1 - w) for p(token | c).
        """
        pixels, tokens, conditioner = copy.deepcopy((self.pixels, self.tokens, self.conditioner))
        c = None if conditioner is None else conditioner.double()(cond, n).pooled
        if guidance not in (None, 1.0) and (tokens is None or conditioner is None):
            raise UsageError(
                "guidance leads texts towards a condition, and this model draws pictures, or was trained without"
                " --conditional: leave it out."
            )
        if self.rows is not None:
            cells = torch.full((n, len(self.rows.fixed)), math.nan, dtype=torch.float64, device=self.device)
            return self.data.encode(self.rows.drawn(cells, torch.zeros_like(cells).bool(), rng, c, temperature))
        if tokens is not None:
            uniform = rng.uniform("tokens", n, self.data.shape, torch.float64)
            null = None if conditioner is None else conditioner(None, n).pooled
            led = 1.0 if guidance is None else guidance
            return tokens.double().eval().sample(uniform, c, temperature, away_from=null, guidance=led)
        _, rows, columns = self.data.shape
        uniform = rng.uniform("pixels", n, (rows, columns, pixels.uniforms), torch.float64)
        return self.data.encode(pixels.double().eval().sample(uniform, c, temperature).permute(0, 3, 1, 2))

    @torch.no_grad()
    def complete(self, cells: Tensor, given: Tensor, rng: Noise, present: bool = False) -> Tensor:
        """Draw the cells of a table's rows that are not given, from their law given the others."""
        if self.rows is None:
            raise CapabilityError("a model of pictures or texts has one order, so it completes no records.")
        c = None if self.conditioner is None else copy.deepcopy(self.conditioner).double()(None, len(cells)).pooled
        return self.rows.drawn(cells, given, rng, c, present=present)

    @torch.no_grad()
    def score(self, x: Tensor, cond: RawCondition | None, rng: Noise, samples: int = 1) -> Score:
        """log P(x), exactly. `samples` has no effect."""
        log_p = self._log_p(x, cond).flatten(1).sum(1) if self.tokens is None else self._log_p_of_texts(x, cond)
        return Score(log_p, "exact", "mass", {"log_likelihood": log_p})

    @property
    def exact(self) -> bool:
        """Whether its conditionals are the same bits on every machine."""
        return self.spec.integer

    def symbols(self, stored: Tensor) -> Tensor:
        """Stored values (B, C, H, W) as symbols in the order of coding, (B, T)."""
        return self.pixels.symbols.split(stored.permute(0, 2, 3, 1).long()).flatten(1)

    def stored(self, symbols: Tensor) -> Tensor:
        """The stored values (B, C, H, W) that symbols (B, T) stand for."""
        _, h, w = self.data.shape
        of = self.pixels.symbols
        return of.join(symbols.unflatten(1, (h, w, len(of.sizes)))).permute(0, 3, 1, 2)

    @torch.no_grad()
    def conditionals(self, n: int) -> Generator[Tensor, Tensor, None]:
        """Yield the integer frequencies (n, K) of one symbol after the other; the caller sends that symbol (n,)."""
        pixels = self.pixels if self.exact else copy.deepcopy(self.pixels).double()
        yield from pixels.conditionals(
            n, self.tables or ValueTables(pixels.levels, self.spec.likelihood, self.spec.mixtures)
        )

    @torch.no_grad()
    def quantized(self, bits: int) -> Autoregressive:
        """The integer form, with weights of `bits` bits."""
        if self.exact:
            raise SpecError("this model is an integer form already.")
        made = Autoregressive(self.spec.replace(integer=True), self.data)
        integers = to_integers(copy.deepcopy(self.pixels), bits, largest_count=self.data.shape[1] * self.data.shape[2])
        made.pixels.load_state_dict(integers.state_dict())
        return made.eval().requires_grad_(False)

    # ----------------------------------------------------------------- private

    @property
    def _player(self) -> str:
        if self.rows is not None:
            return "rows"
        return "pixels" if self.tokens is None else "tokens"

    def _log_p_of_texts(self, x: Tensor, cond: RawCondition | None) -> Tensor:
        """log P (B,) of sequences, in chunks of records."""
        c = self._condition(cond, len(x))
        parts = chunks(len(x), SEQUENCES_AT_ONCE)
        return torch.cat([self.network("tokens")(x[rows], None if c is None else c[rows]) for rows in parts])

    @staticmethod
    def _bits_per_token(log_p: Tensor, x: Tensor) -> Tensor:
        """The end is a token, too."""
        return -log_p.detach().sum() / ((lengths(x) + 1).sum() * math.log(2.0))

    def _log_p(self, x: Tensor, cond: RawCondition | None) -> Tensor:
        """log P of each element, (B, H, W, C) or (B, C), in chunks of records."""
        c = self._condition(cond, len(x))
        if self.rows is not None:
            return self.rows.log_p(x, c)
        u = self._values(x)
        size = max(1, CHUNK // (x.shape[-2] * x.shape[-1]))
        parts = chunks(len(x), size)
        return torch.cat([self.pixels(u[rows], None if c is None else c[rows]) for rows in parts])

    def _values(self, x: Tensor) -> Tensor:
        """Turn x (B, C, H, W) into values 0 .. K-1, (B, H, W, C)."""
        return self.data.decode(x).permute(0, 2, 3, 1).long()

    def _condition(self, cond: RawCondition | None, n: int) -> Tensor | None:
        """The pooled conditions (n, 64); None for an unconditional model."""
        return None if self.conditioner is None else self.network("conditioner")(cond, n).pooled
