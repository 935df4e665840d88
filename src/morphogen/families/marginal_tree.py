r"""Tables from marginals along a private tree: MST (McKenna, Miklau and Sheldon, 2021), by select, measure, generate.

The privacy, in the sense of zero-concentrated privacy (Bun and Steinke, 2016), is shared by three steps.

1. Measure the marginal n_j of each column j with noise. A row is in one cell of each of C marginals, so it changes all
   of them together by sqrt(C). Codes that the noise hides are pooled: neighbors of numbers, rare values of others.
2. Choose C - 1 pairs of columns that form a tree, each by the exponential mechanism among the pairs that join two of
   its parts, with the score sum |n_ij - n_i n_j / n|, which a row changes by at most 1: pairs that depend on each other
   most. This is the maximum spanning tree, chosen privately.
3. Measure the marginals of these pairs of groups with noise, draw them towards independence as far as the noise
   explains them (`shrunk`), make them consistent, and draw rows from the root to the leaves. A code is drawn within its
   group by the marginal of its column.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.capabilities import Releases, Samples
from morphogen.core.column_views import cells_of, cells_of_codes, codes_of, real_view
from morphogen.core.columns import Table
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError
from morphogen.core.family import Family, Player, Progress, Step
from morphogen.core.privacy import Mechanism
from morphogen.core.rng import Noise
from morphogen.core.spec import Spec
from morphogen.theory.marginal_tree import consistent, merged, oriented, positive, shrunk, smoothed

MOST_COLUMNS = 128  # all pairs are counted
FEWEST_GROUPS = 3
PLENTY, SCARCE = (0.5, 0.15), (0.8, 0.1)  # shares for columns and for choices
TELLING = 3.0  # deviations of the noise that a group of codes holds at least


class MarginalTreeSpec(Spec):
    """Options of the tree of marginals."""

    groups: int = Field(32, ge=2, le=128, description="the most groups of codes of a column")
    marginal_share: float | None = Field(
        None, gt=0, lt=1, description="share of the privacy for single columns; none: 0.5, or 0.8 where pairs drown"
    )
    choice_share: float | None = Field(
        None, gt=0, lt=1, description="share for choosing the pairs; none: 0.15, or 0.1; the rest measures them"
    )


class MarginalTree(Family):
    """A tree of pairs of columns; see the module's docstring."""

    name = "marginal_tree"
    summary = "a table from its most telling pairs of columns: a cheap generator that can be private"
    Spec = MarginalTreeSpec
    capabilities = frozenset({Samples, Releases})
    chooses = True
    spec: MarginalTreeSpec
    group: Tensor
    within: Tensor
    order: Tensor
    parent: Tensor
    first: Tensor
    given: Tensor

    def __init__(self, spec: MarginalTreeSpec, data: DataSpec, parts: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__(spec, data, parts)
        if data.table is None or len(data.table.columns) > MOST_COLUMNS:
            raise SpecError(
                f"a {self.name!r} model is of tables with at most {MOST_COLUMNS} columns, such as a .csv file."
            )
        given = (spec.marginal_share or 0.0) + (spec.choice_share or 0.0)
        if given >= 1.0:
            raise SpecError(
                f"marginal_share and choice_share leave nothing for the pairs: their sum is below 1 (got {given:g})."
            )
        self.columns, self.codes, g = len(data.table.columns), max(data.table.codes), spec.groups
        c = self.columns
        places = torch.arange(c)
        self.register_buffer("group", torch.zeros(c, self.codes, dtype=torch.int64))
        self.register_buffer("within", torch.zeros(c, self.codes, dtype=torch.float64))  # p(code | its group)
        self.register_buffer("order", places.clone())
        self.register_buffer("parent", torch.full((c,), -1))
        self.register_buffer("first", torch.zeros(g, dtype=torch.float64))  # p(x_r)
        self.register_buffer("given", torch.zeros(c, g, g, dtype=torch.float64))  # p(x_j | x_pi(j)), parents in rows

    @property
    def table(self) -> Table:
        """The schema of its rows."""
        assert self.data.table is not None
        return self.data.table

    def players(self) -> Mapping[str, Player]:
        return {}

    def networks(self) -> Mapping[str, nn.Module]:
        return {}

    def steps(self, batch: Batch, rng: Noise, at: Progress) -> Iterator[Step]:
        yield from ()

    # ------------------------------------------------------------------ learning

    @torch.no_grad()
    def release(self, passes: Callable[[], Iterator[Batch]], mechanism: Mechanism) -> None:
        """Measure the columns, choose the tree, measure its pairs."""
        codes = torch.cat([self._codes(batch.x) for batch in passes()])
        self._shares = self._chosen_shares(len(codes), mechanism.noise)
        counts, single = self._measure_columns(codes, mechanism)
        grouped = self.group.gather(1, codes.T).T
        edges = self._chosen(grouped, single, counts, mechanism)
        self._measure_pairs(grouped, single, counts, edges, mechanism)

    def _chosen_shares(self, n: int, noise: float) -> tuple[float, float]:
        """The shares for columns and for choices; few records, whose number is public, have none to spare for pairs."""
        of_pairs = noise * math.sqrt(max(self.columns - 1, 1) / (1.0 - sum(PLENTY)))
        columns, choices = PLENTY if n >= TELLING * of_pairs * FEWEST_GROUPS**2 else SCARCE
        given = self.spec.marginal_share, self.spec.choice_share
        columns = given[0] or min(columns, 0.9 * (1.0 - (given[1] or 0.0)))
        return columns, given[1] or min(choices, 0.9 * (1.0 - columns))

    def _measure_columns(self, codes: Tensor, mechanism: Mechanism) -> tuple[float, list[Tensor]]:
        """The number of rows as measured, and the distribution of each column's groups (G_j,)."""
        sizes, share = self.table.codes, self._shares[0]
        exact = torch.cat([torch.bincount(codes[:, j], minlength=k) for j, k in enumerate(sizes)]).double()
        noisy = mechanism.gaussian(exact, math.sqrt(self.columns), share, "marginals of columns")
        deviation = mechanism.deviations.get("marginals of columns", 0.0)
        sums = torch.stack([part.sum() / len(part) for part in noisy.split(list(sizes))])  # weighted by precision
        total = max(1.0, float(sums.sum()) / sum(1.0 / k for k in sizes))
        most, found = self._most_groups(total, deviation), []
        for j, measured in enumerate(noisy.split(list(sizes))):
            column, k = self.table.columns[j], sizes[j]
            ordered = column.is_number or column.type == "ordinal"
            if ordered and deviation > 0.0:
                values = len(measured) - column.has_missing
                measured = torch.cat((smoothed(measured[:values], deviation), measured[values:]))
            frequency = positive(measured, total)
            group = self._groups(frequency, deviation, most, ordered, column.has_missing)
            mass = torch.zeros(self.spec.groups, dtype=torch.float64).index_add_(0, group, frequency)
            held = torch.bincount(group, minlength=self.spec.groups)[group]
            inside = torch.where(mass[group] > 0, frequency / mass[group].clamp_min(1e-30), 1.0 / held)
            self.group[j, :k], self.within[j, :k] = group, inside
            found.append(mass[: int(group.max()) + 1] / total)
        return total, found

    def _most_groups(self, total: float, deviation: float) -> int:
        """So many groups of a column that a cell of a pair holds `TELLING` deviations of its noise on average."""
        if deviation <= 0.0 or self.columns < 2:
            return self.spec.groups
        share = self._shares[0] / (1.0 - sum(self._shares))
        of_pairs = deviation * math.sqrt(share * (self.columns - 1) / self.columns)
        return min(self.spec.groups, max(FEWEST_GROUPS, int(math.sqrt(total / (TELLING * of_pairs)))))

    def _groups(self, frequency: Tensor, deviation: float, most: int, ordered: bool, has_missing: bool) -> Tensor:
        """The groups of one column: of at least three deviations, and at most `most` beside that of missing cells."""
        values = frequency[:-1] if has_missing else frequency
        most = min(most, self.spec.groups - has_missing)
        least = max(TELLING * deviation, 1e-9)
        group = merged(values, least, ordered)
        while int(group.max()) >= most:
            least = max(1.1 * least, 0.5 * float(values.sum()) / most)
            group = merged(values, least, ordered)
        return torch.cat((group, group.max()[None] + 1)) if has_missing else group

    def _chosen(
        self, grouped: Tensor, single: list[Tensor], total: float, mechanism: Mechanism
    ) -> list[tuple[int, int]]:
        """The edges of the tree."""
        c = self.columns
        pairs = [(i, j) for i in range(c) for j in range(i + 1, c)]
        scores = (
            torch.stack(
                [
                    (self._pair(grouped, i, j, single) - total * single[i][:, None] * single[j]).abs().sum()
                    for i, j in pairs
                ]
            )
            if pairs
            else torch.zeros(0)
        )
        part, edges = list(range(c)), list[tuple[int, int]]()
        for _ in range(c - 1):
            open_ = [k for k, (i, j) in enumerate(pairs) if part[i] != part[j]]
            best = mechanism.choose(scores[open_], 1.0, self._shares[1] / (c - 1), f"pair {len(edges) + 1}")
            i, j = pairs[open_[best]]
            edges.append((i, j))
            part = [part[i] if p == part[j] else p for p in part]
        return edges

    def _measure_pairs(
        self, grouped: Tensor, single: list[Tensor], total: float, edges: list[tuple[int, int]], mechanism: Mechanism
    ) -> None:
        if edges:
            exact = torch.cat([self._pair(grouped, i, j, single).flatten() for i, j in edges])
            share = 1.0 - sum(self._shares)
            noisy = mechanism.gaussian(exact, math.sqrt(len(edges)), share, "marginals of pairs")
            parts = noisy.split([len(single[i]) * len(single[j]) for i, j in edges])
        degree = [sum(j in edge for edge in edges) for j in range(self.columns)]
        order, parents = oriented(edges, self.columns, max(range(self.columns), key=lambda j: degree[j]))
        self.order.copy_(torch.tensor(order))
        self.parent.copy_(torch.tensor(parents))
        self.first.zero_()[: len(single[order[0]])] = single[order[0]]
        self.given.zero_()
        for k, (i, j) in enumerate(edges):
            noise = mechanism.deviations.get("marginals of pairs", 0.0)
            apart = total * single[i][:, None] * single[j]
            joint = consistent(shrunk(parts[k].view_as(apart), apart, noise), single[i], single[j])
            child = j if parents[j] == i else i
            joint = joint if child == j else joint.T
            rows, columns = joint.shape
            conditional = joint / joint.sum(1, keepdim=True).clamp_min(1e-30)
            empty = joint.sum(1) <= 1e-30  # a value of the parent that is never drawn
            conditional[empty] = single[child]
            self.given[child, :rows, :columns] = conditional

    def _pair(self, grouped: Tensor, i: int, j: int, single: list[Tensor]) -> Tensor:
        """The exact counts (G_i, G_j) of a pair."""
        k, l = len(single[i]), len(single[j])  # noqa: E741
        return torch.bincount(grouped[:, i] * l + grouped[:, j], minlength=k * l).view(k, l).double()

    def _codes(self, x: Tensor) -> Tensor:
        return codes_of(self.table, cells_of(self.table, x.cpu()))

    # ------------------------------------------------------------------- drawing

    @torch.no_grad()
    def sample(self, n: int, cond: RawCondition | None, rng: Noise) -> Tensor:
        """Draw rows, the columns from the root of the tree to its leaves."""
        c = self.columns
        u = rng.uniform("cells", n, (3, c), torch.float64).to(self.first)
        groups = torch.zeros(n, c, dtype=torch.int64, device=self.device)
        codes = torch.zeros_like(groups)
        for column in self.order.tolist():
            parent = int(self.parent[column])
            p = self.first.expand(n, -1) if parent < 0 else self.given[column][groups[:, parent]]
            groups[:, column] = _drawn(p, u[:, 0, column])
            inside = self.within[column] * (self.group[column] == groups[:, column, None])
            codes[:, column] = _drawn(inside[:, : self.table.codes[column]], u[:, 1, column])
        cells = cells_of_codes(self.table, codes.cpu(), u[:, 2].cpu())
        return real_view(self.table, cells).to(self.device)


def _drawn(p: Tensor, u: Tensor) -> Tensor:
    """A place (B,) for each row of p (B, K), in proportion; p need not be normalized."""
    below = p.cumsum(1)
    found = (u[:, None] * below[:, -1:] >= below).sum(1)
    return torch.minimum(found, (p > 0).long().mul(torch.arange(p.shape[1], device=p.device)).amax(1))
