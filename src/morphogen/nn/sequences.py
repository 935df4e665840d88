r"""Distributions over sequences of tokens that end, one token after the other:

    log P(x | c) = sum_{t = 1}^{n + 1} log P(x_t | x_1 ... x_{t-1}, c),

with x_{n+1} the end. After the end only padding follows, which has probability 1. At the last place only the end is
possible. Begin and padding are never drawn. So P sums to one over all sequences of fewer than L tokens.

For SMILES a grammar may say which tokens can follow (`nn/smiles_grammar.py`). The others have probability 0, and the
rest sums to one: the likelihood stays exact. With valences the network also reads what is open, as features of the
state after each token.
"""

from __future__ import annotations

from typing import Annotated, Literal, final

import torch
from pydantic import BeforeValidator
from torch import Tensor, nn

from morphogen.core.data_spec import DataSpec
from morphogen.core.reading import parse_json
from morphogen.core.sequences import BEGIN, END, PADDING, SPECIAL, SequenceSchema, lengths, well_formed
from morphogen.core.uncompiled import uncompiled
from morphogen.nn.backbones.sequence_transformer import SequenceTransformer
from morphogen.nn.smiles_grammar import SmilesGrammar, State


def _of_today(value: object) -> object:
    """The grammar for the option of earlier versions, which knew no valences."""
    return {True: "syntax", False: "none"}[value] if isinstance(value, bool) else value


# The grammar of SMILES: see `nn/smiles_grammar.py`.
Grammar = Annotated[Literal["none", "syntax", "valence"], BeforeValidator(_of_today)]


def grammar_of(asked: Grammar, data: DataSpec) -> Grammar:
    """The grammar to use. Texts that were not standardized may write N(=O)=O for a nitro group: no valence holds."""
    return "syntax" if asked == "valence" and data.preprocessing.get("standardize") is False else asked


GRAMMAR = "SMILES: what no SMILES can go on with, or no atom can bear, has probability 0"
_COMPACTED = 0.75  # sequences that have ended are left out of the batch when this share or less of it is open


@final
class CausalSequences(nn.Module):
    """A causal transformer as a distribution over sequences, given conditions c (B, cond)."""

    def __init__(
        self,
        schema: SequenceSchema,
        *,
        width: int,
        blocks: int,
        cond: int = 0,
        dropout: float = 0.0,
        grammar: Grammar = "none",
    ) -> None:
        super().__init__()
        self.longest, self.vocabulary = schema.longest, schema.vocabulary
        self.net = SequenceTransformer(
            schema.vocabulary, schema.longest, width=width, blocks=blocks, causal=True, cond=cond, dropout=dropout
        )
        self.head = nn.Linear(width, schema.vocabulary)
        self.grammar = None
        self.state: nn.Linear | None = None  # reads the features of what is open
        if grammar != "none" and schema.tokenizer == "smiles" and schema.definition:
            self.grammar = SmilesGrammar(parse_json(schema.definition), schema.longest, grammar == "valence")
            if grammar == "valence":
                self.state = nn.Linear(self.grammar.n_features, width, bias=False)

    def forward(self, x: Tensor, c: Tensor | None = None, unseen: Tensor | None = None) -> Tensor:
        """log P(x | c) (B,) of sequences (B, L); -inf for what is no sequence.

        Tokens that are `unseen` (B, L) are no help to those after them (word dropout; Bowman et al., "Generating
        sentences from a continuous space", 2016).
        """
        return torch.where(well_formed(x), self.elements(x, c, unseen).sum(-1), -torch.inf)

    @uncompiled  # the lengths of each batch are shapes, and each would be compiled anew
    def elements(self, x: Tensor, c: Tensor | None = None, unseen: Tensor | None = None) -> Tensor:
        """log P of each token and of the end of sequences (B, L), given what is before; 0 for padding: (B, L)."""
        n = lengths(x)
        longest = min(int(n.max()), self.longest - 1) + 1
        ids = torch.cat((torch.full_like(x[:, :1], BEGIN), x[:, : longest - 1]), 1)
        keep = torch.arange(longest, device=x.device) <= n[:, None]
        allowed, of_state = (None, None) if self.grammar is None else self.grammar(ids)
        if unseen is not None:
            unseen = nn.functional.pad(unseen[:, : longest - 1], (1, 0))  # the begin is seen
        features, packing = self.net(ids, keep, c, added=self._added(of_state), unseen=unseen)
        target = x[:, :longest].flatten().index_select(0, packing.flat)
        place = packing.flat % longest
        may = None if allowed is None else packing.gather(allowed)
        log_p = self.log_probs(features, place == self.longest - 1, may)
        told = log_p.gather(-1, target[:, None]).squeeze(-1)
        return nn.functional.pad(packing.spread(told), (0, self.longest - longest))

    def log_probs(self, features: Tensor, last: Tensor | bool, allowed: Tensor | None = None) -> Tensor:
        """The log-probabilities (*, vocabulary) of the next token; `last` says where it is that of the last place.

        `allowed` (*, vocabulary) is what the grammar says.
        """
        logits = self.head(features)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        ids = torch.arange(self.vocabulary, device=logits.device)
        last = torch.as_tensor(last, device=logits.device)
        impossible = (ids < END) | (last[..., None] & (ids >= SPECIAL))
        if allowed is not None:
            impossible = impossible | (~allowed & ~last[..., None])
        return logits.masked_fill(impossible, -torch.inf).log_softmax(-1)

    def sample(
        self,
        uniform: Tensor,
        c: Tensor | None = None,
        temperature: float = 1.0,
        *,
        away_from: Tensor | None = None,
        guidance: float = 1.0,
    ) -> Tensor:
        """The sequences (n, L) that `uniform` (n, L) on (0, 1) maps to, in evaluation mode.

        Each token is the inverse of its cumulative distribution. Log-probabilities are divided by `temperature`; 0
        takes the likeliest token. With `guidance` w they are first l_0 + w (l_c - l_0), where l_0 has the condition
        `away_from` (Ho and Salimans, 2022).
        """
        n, device = len(uniform), uniform.device
        x = torch.full((n, self.longest), PADDING, dtype=torch.int64, device=device)
        rows = torch.arange(n, device=device)
        guided = guidance != 1.0 and away_from is not None
        given = [c, away_from] if guided else [c]
        kept = [self.net.room(n) for _ in given]
        token = torch.full((n,), BEGIN, dtype=torch.int64, device=device)
        states = [State() for _ in range(n)]
        for t in range(self.longest):
            allowed = added = None
            if self.grammar is not None:
                allowed, of_state = self.grammar.follow(states, token if t else None)
                allowed, added = allowed.to(device), self._added(of_state.to(device))
            log_p = [
                self.log_probs(self.net.one(token, t, memory, one, added), t == self.longest - 1, allowed)
                for one, memory in zip(given, kept, strict=True)
            ]
            mixed = log_p[0]
            if guided:
                mixed = torch.where(log_p[0].isfinite(), log_p[1] + guidance * (log_p[0] - log_p[1]), -torch.inf)
            token = inverse_cdf(mixed, uniform[rows, t], temperature)
            x[rows, t] = token
            open_rows = token != END
            if not open_rows.any():
                break
            if open_rows.double().mean() <= _COMPACTED:
                rows, token = rows[open_rows], token[open_rows]
                states = [state for state, is_open in zip(states, open_rows.tolist(), strict=True) if is_open]
                kept = [[memory[:, open_rows] for memory in of] for of in kept]
                given = [None if one is None else one[open_rows] for one in given]
            else:
                token = torch.where(open_rows, token, END)
        return _ended(x)

    def _added(self, of_state: Tensor | None) -> Tensor | None:
        """What the features of a state add to the vectors of tokens."""
        return None if self.state is None or of_state is None else self.state(of_state.to(self.state.weight.dtype))


def inverse_cdf(log_p: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
    """The token of each row of log-probabilities (n, V) that u (n,) maps to."""
    if temperature <= 0:
        return log_p.argmax(-1)  # the limit
    cumulative = (log_p / temperature).softmax(-1).cumsum(-1)
    return (u[:, None] * cumulative[:, -1:] > cumulative[:, :-1]).sum(-1)  # the sum may not round to 1


def _ended(x: Tensor) -> Tensor:
    """Padding after the first end of each sequence."""
    place = torch.arange(x.shape[-1], device=x.device)
    return torch.where(place <= lengths(x)[:, None], x, PADDING)
