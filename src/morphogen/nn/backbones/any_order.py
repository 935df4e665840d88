r"""A network of the codes of a table for every order of its columns, on a Gaussian copula.

For an order of the columns it gives log p(code of column i | the codes of the columns before i), for all i at once.
What column i would read of columns that are not before it is masked (MADE; Germain et al., "Masked autoencoder for
distribution estimation", 2015), here for any order (Uria et al., "A deep and tractable density estimator", 2014). Each
column has layers of its own.

The network starts as a Gaussian copula and learns what to change. Let R be the correlation of the standardized linear
features f of records (`nn/layers/code_moments.py`), and R = L L^T for the features in their order. Then e = L^-1 f are
uncorrelated, and the linear prediction of feature i from those before it is

    f_i - L_ii e_i,   with the deviation L_ii.

So a triangular solve gives the predictions of all numbers, from which their heads start (`nn/code_heads.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.core.columns import Table
from morphogen.nn.code_features import code_features, given_records, linear_features, middle_scores
from morphogen.nn.code_heads import CategoryHead, NumberHead, padded
from morphogen.nn.layers.code_moments import CodeMoments

_SPREAD = 2.0  # columns share a padded head if their numbers of codes differ by less than this factor


@dataclass(frozen=True)
class Group:
    """Columns that are computed together: their numbers, and how many codes they are padded to."""

    columns: tuple[int, ...]
    codes: int
    number: bool


def groups_of(table: Table) -> tuple[Group, ...]:
    """The numbers, and the other columns in groups of about the same number of codes."""
    numbers = tuple(j for j, column in enumerate(table.columns) if column.is_number)
    found = []
    if numbers:
        found.append(Group(numbers, 1 + max(len(table.columns[j].edges) - 1 for j in numbers), True))
    waiting = sorted((column.n_codes, j) for j, column in enumerate(table.columns) if not column.is_number)
    while waiting:
        most = waiting[-1][0]
        taken = [j for n, j in waiting if n * _SPREAD > most or most <= 8]
        found.append(Group(tuple(sorted(taken)), most, False))
        waiting = [(n, j) for n, j in waiting if j not in taken]
    return tuple(found)


@dataclass(frozen=True)
class Counted:
    """log-frequencies (G, K) of the columns of each group, and the standardized scores (J, K) of the numbers' bins."""

    log_p: tuple[Tensor, ...]
    scores: Tensor


class AnyOrder(nn.Module):
    """See the module's docstring. Codes are (B, C) int64, each below `table.codes`.

    records  number of training records, by which the features of numbers are chosen
    width    features of a column that the others read; hidden: width of a column's layers; blocks: residual layers
    """

    missing_code: Tensor
    missing_place: Tensor
    linear: Tensor
    linear_column: Tensor
    score_dims: Tensor
    seen: Tensor

    def __init__(
        self,
        table: Table,
        records: int,
        *,
        width: int,
        hidden: int,
        blocks: int,
        shrinkage: float,
        cond: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.columns, self.sizes, self.groups = len(table.columns), table.codes, groups_of(table)
        self.place = {j: (i, k) for i, g in enumerate(self.groups) for k, j in enumerate(g.columns)}
        self.has_missing = [column.has_missing for column in table.columns]
        with torch.device("cpu"):  # real numbers, also if networks are built without memory
            self._count_linear(table)
            self._place_codes(table)
            given, features, middles = given_records(table), code_features(table, records), middle_scores(table)
        self.moments = CodeMoments(given, len(self.linear), records, shrinkage)
        self.heads, self.embeddings = nn.ModuleList(), nn.ParameterList()
        for group in self.groups:
            several = [features[j] for j in group.columns]
            if group.number:
                self.heads.append(NumberHead(several, [table.columns[j].has_missing for j in group.columns], hidden))
                seen = padded([_as_read(f, middle) for f, middle in zip(several, middles, strict=True)])
                self.register_buffer("seen", F.pad(seen, (0, 0, 0, 1)), persistent=False)  # a missing cell
                self.embeddings.append(nn.Parameter(torch.randn(len(several), seen.shape[2], width)))
            else:
                self.heads.append(CategoryHead([self.sizes[j] for j in group.columns], hidden))
                self.embeddings.append(nn.Parameter(torch.randn(len(several), group.codes, width)))
        c, h = self.columns, hidden
        self.known = nn.Parameter(torch.randn(c, width))  # a known cell, also a missing one
        self.read = nn.Parameter(torch.randn(c, h, c, width) * (2.0 / (c * width)) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(c, h))
        self.cond = nn.Linear(cond, c * h, bias=False) if cond else None
        self.inner = nn.ParameterList(torch.randn(c, h, h) * (1.0 / h) ** 0.5 for _ in range(blocks))
        self.outer = nn.ParameterList(torch.zeros(c, h, h) for _ in range(blocks))
        self.dropout = nn.Dropout(dropout)

    # ---------------------------------------------------------------- training

    def forward(self, codes: Tensor, order: Tensor, c: Tensor | None = None) -> Tensor:
        """log p(code of each column | the columns before it in `order` (C,)), (B, C)."""
        rank = order.argsort()
        before = (rank < rank[:, None]).to(self.read.dtype)  # (column, what it reads)
        weight = (self.read * before[:, None, :, None]).flatten(2).flatten(0, 1)
        h = F.linear(self.embedded(codes).flatten(1), weight).unflatten(1, (self.columns, -1))
        h = self._hidden(h, c)
        counted = self.counted()
        mean, log_std = self.predicted(self.standardized(codes), order)
        places, found = self._places(codes), torch.empty_like(codes, dtype=h.dtype)
        for i, group in enumerate(self.groups):
            at = list(group.columns)
            log_p = self._log_p(i, h[:, at], counted, mean[:, at], log_std[at][None])
            found[:, at] = log_p.gather(2, places[:, at, None]).squeeze(2)
        return found

    @torch.no_grad()
    def count(self, codes: Tensor) -> None:
        """Add records to what has been counted."""
        self.moments.update(codes, self._linear(codes))

    # ------------------------------------------------------- one column at a time

    def column(
        self, j: int, embedded: Tensor, counted: Counted, mean: Tensor, log_std: Tensor, c: Tensor | None = None
    ) -> Tensor:
        """log p (B, K) of the codes of column j.

        embedded        (B, C, width), zero where a column is not known
        mean, log_std   (B,) each: the prediction of its score; anything for other columns
        """
        h = F.linear(embedded.flatten(1), self.read[j].flatten(1))[:, None]
        h = self._hidden(h, c, slice(j, j + 1))
        i, k = self.place[j]
        log_p = self._log_p(i, h, counted, mean[:, None], log_std[:, None], slice(k, k + 1))[:, 0]
        last = int(self.missing_code[j])
        if last >= 0:
            return torch.cat((log_p[:, :last], log_p[:, -1:]), 1)
        return log_p[:, : self.sizes[j]]

    def tables(self) -> list[Tensor]:
        """What is read of each code, (G, K, width) for each group of columns."""
        both = zip(self.groups, self.embeddings, strict=True)
        return [torch.bmm(self.seen.to(w.dtype), w) if group.number else w + 0.0 for group, w in both]

    def embedded(self, codes: Tensor, tables: list[Tensor] | None = None) -> Tensor:
        """(B, C, width): what the other columns read of each code."""
        places, found = self._places(codes), codes.new_empty(*codes.shape, self.known.shape[1], dtype=self.known.dtype)
        for group, table in zip(self.groups, self.tables() if tables is None else tables, strict=True):
            at = list(group.columns)
            start = torch.arange(len(at), device=codes.device) * group.codes
            found[:, at] = F.embedding(places[:, at] + start, table.flatten(0, 1))
        return found + self.known

    def embedded_column(self, j: int, codes: Tensor, tables: list[Tensor]) -> Tensor:
        """The same (B, width) for the codes (B,) of column j."""
        i, k = self.place[j]
        place = torch.where(codes == self.missing_code[j], self.missing_place[j], codes)
        return tables[i][k][place] + self.known[j]

    def penalized(self) -> list[Tensor]:
        """The weights that the prior keeps small: those of the outputs, without the biases."""
        return [head.out[..., :-1] for head in self.heads]  # type: ignore[index]

    # ------------------------------------------------------------- the copula

    def counted(self) -> Counted:
        """What has been counted so far, as the heads need it."""
        flat = self.moments.log_frequencies()
        mean, std = self.moments.mean, self.moments.stddev
        log_p, scores = [], mean.new_zeros(0)
        for group in self.groups:
            rows = [flat[j] for j in group.columns]
            if group.number:
                rows = [
                    self._with_missing_last(row, j, group.codes) for row, j in zip(rows, group.columns, strict=True)
                ]
                at = self.score_dims[list(group.columns)]
                scores = (self.linear[at, : group.codes - 1] - mean[at, None]) / std[at, None]
            log_p.append(padded(rows, -torch.inf))
        return Counted(tuple(log_p), scores)

    def standardized(self, codes: Tensor) -> Tensor:
        """The linear features (B, D), with mean 0 and deviation 1, float64."""
        return (self._linear(codes) - self.moments.mean) / self.moments.stddev

    def standardized_feature(self, d: int, codes: Tensor) -> Tensor:
        """Linear feature d (B,), standardized, of the codes (B,) of its column."""
        return (self.linear[d][codes] - self.moments.mean[d]) / self.moments.stddev[d]

    def dims(self, order: Tensor) -> Tensor:
        """The linear features (*, D), those of the columns in `order` (*, C) one after the other."""
        return order.argsort(-1)[..., self.linear_column].argsort(dim=-1, stable=True)

    def predicted(self, f: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
        """The linear prediction (B, C) of each number's score from the columns before it; its log-deviation (C,)."""
        is_number = self.score_dims >= 0
        if not bool(is_number.any()):
            nothing = f.new_zeros(len(f), self.columns)
            return nothing, nothing[0]
        index = self.dims(order)
        lower = torch.linalg.cholesky(self.moments.correlation[index][:, index])
        noise = torch.linalg.solve_triangular(lower, f[:, index].T, upper=False).T
        std = lower.diagonal()
        back = index.argsort()[self.score_dims.clamp_min(0)]
        mean = (f[:, index] - noise * std)[:, back]
        return torch.where(is_number, mean, 0.0), torch.where(is_number, std.log()[back], 0.0)

    # ----------------------------------------------------------------- private

    def _log_p(
        self, i: int, h: Tensor, counted: Counted, mean: Tensor, log_std: Tensor, which: slice = slice(None)
    ) -> Tensor:
        """log p (B, g, K) of the columns `which` of group i."""
        head = self.heads[i]
        if isinstance(head, NumberHead):
            return head(h, counted.log_p[i], counted.scores, mean, log_std, which)
        found: Tensor = head(h, counted.log_p[i], which)
        return found

    def _hidden(self, h: Tensor, c: Tensor | None, which: slice = slice(None)) -> Tensor:
        """(B, columns, hidden) through the layers of the columns `which`."""
        h = h + self.bias[which]
        if self.cond is not None and c is not None:
            h = h + self.cond(c).unflatten(1, (self.columns, -1))[:, which]
        h = h.transpose(0, 1)
        for inner, outer in zip(self.inner, self.outer, strict=True):
            step = F.silu(torch.bmm(F.silu(h), inner[which]))
            h = h + torch.bmm(self.dropout(step), outer[which])
        return self.dropout(F.silu(h)).transpose(0, 1)

    def _linear(self, codes: Tensor) -> Tensor:
        """The linear features (B, D), float64."""
        which = torch.arange(len(self.linear), device=codes.device)
        return self.linear[which, codes[:, self.linear_column]]

    def _places(self, codes: Tensor) -> Tensor:
        """Codes as places in the padded heads: a missing number is the last."""
        return torch.where(codes == self.missing_code, self.missing_place, codes)

    def _with_missing_last(self, log_p: Tensor, j: int, codes: int) -> Tensor:
        last = int(self.missing_code[j])
        bins, missing = (log_p, log_p.new_full((1,), -torch.inf)) if last < 0 else (log_p[:last], log_p[last:])
        return torch.cat((F.pad(bins, (0, codes - 1 - len(bins)), value=-torch.inf), missing))

    def _place_codes(self, table: Table) -> None:
        """Where a missing number has its code, and its place in the padded head; -1 for other columns."""
        last, place = [-1] * self.columns, [-1] * self.columns
        for group in self.groups:
            for j in group.columns:
                if group.number and table.columns[j].has_missing:
                    last[j], place[j] = self.sizes[j] - 1, group.codes - 1
        self.register_buffer("missing_code", torch.tensor(last), persistent=False)
        self.register_buffer("missing_place", torch.tensor(place), persistent=False)

    def _count_linear(self, table: Table) -> None:
        """Keep the linear features of all codes (D, most codes), the column of each, and which is a number's score."""
        features, column, scores = [], [], [-1] * self.columns
        for j, found in enumerate(linear_features(table)):
            features += list(found.T)
            column += [j] * found.shape[1]
            if table.columns[j].is_number:
                scores[j] = len(features) - 1
        values = padded(features) if features else torch.zeros(0, max(table.codes), dtype=torch.float64)
        self.register_buffer("linear", values, persistent=False)
        self.register_buffer("linear_column", torch.tensor(column, dtype=torch.int64), persistent=False)
        self.register_buffer("score_dims", torch.tensor(scores), persistent=False)


def _as_read(features: Tensor, scores: Tensor) -> Tensor:
    """The features of bins (K, F) as others read them: the score, that it is there, and the features themselves."""
    return torch.cat((scores[:, None].float(), features.new_ones(len(features), 1), features), 1)
