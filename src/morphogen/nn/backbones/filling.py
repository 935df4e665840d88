r"""Draw the unknown cells of rows from an `AnyOrder` network, one column after the other.

The known columns of a row come first in its order, and then the others in a fixed order. Each row may know other
columns, so each has a Cholesky factor L of its own for the predictions of the copula; rows that all know the same share
one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from morphogen.nn.backbones.any_order import AnyOrder


@torch.no_grad()
def fill(
    net: AnyOrder,
    codes: Tensor,
    known: Tensor,
    order: Tensor,
    uniform: Tensor,
    c: Tensor | None = None,
    temperature: float = 1.0,
    present: bool = False,
) -> Tensor:
    """Draw the codes that are not known.

    Args:
        net: the network, in float64.
        codes: (B, C); what stands in cells that are not known does not matter.
        known: (B, C) bool.
        order: (C,) the columns in the order in which they are drawn.
        uniform: (B, C) uniform numbers, one for each cell.
        c: (B, cond) the pooled condition.
        temperature: probabilities are proportional to p^(1/T); 0 takes the likeliest code.
        present: whether no drawn cell is missing.

    Returns:
        The codes (B, C).
    """
    codes, copula = codes.clone(), _Copula(net, codes, known, order)
    counted, tables = net.counted(), net.tables()
    embedded = net.embedded(codes, tables) * known[..., None]
    for j in order.tolist():
        if bool(known[:, j].all()):
            continue
        log_p = net.column(j, embedded, counted, *copula.predicted(j), c)
        if present and net.has_missing[j]:
            log_p = log_p[:, :-1]
        chosen = _drawn(log_p, uniform[:, j], temperature)
        codes[:, j] = torch.where(known[:, j], codes[:, j], chosen)
        embedded[:, j] = net.embedded_column(j, codes[:, j], tables)
        copula.add(j, codes)
    return codes


def _drawn(log_p: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """A code (B,) for each row of log p (B, K), by the inverse of the cumulative distribution."""
    if temperature <= 0.0:
        return log_p.argmax(1)
    cumulative = torch.softmax(log_p / temperature, 1).cumsum(1)
    return (uniform[:, None] > cumulative[:, :-1]).sum(1)


class _Copula:
    """The linear predictions of scores from the features that are known so far, in each row's own order."""

    def __init__(self, net: AnyOrder, codes: Tensor, known: Tensor, order: Tensor) -> None:
        self.net, columns = net, codes.shape[1]
        patterns = known[:1] if bool((known == known[:1]).all()) else known
        place = order.argsort().expand_as(patterns) + columns * (~patterns).long()
        index = net.dims(place.argsort(1))  # (P, D), the features in their order
        r = net.moments.correlation
        self.lower = torch.linalg.cholesky(r[index[:, :, None], index[:, None, :]])
        self.at = index.argsort(1).expand(len(codes), -1)  # the place of each feature
        self.f = net.standardized(codes)
        feature_known = known[:, net.linear_column].gather(1, index.expand(len(codes), -1))
        f = self.f.gather(1, index.expand(len(codes), -1)) * feature_known
        if f.shape[1]:
            solved = torch.linalg.solve_triangular(self.lower, f[..., None], upper=False)[..., 0]
            self.noise = torch.where(feature_known, solved, 0.0)
        else:
            self.noise = f
        self.dims = [(net.linear_column == j).nonzero()[:, 0].tolist() for j in range(columns)]
        self.known = known

    def predicted(self, j: int) -> tuple[Tensor, Tensor]:
        """The mean and the log-deviation (B,) of the score of column j, for a cell that is not missing."""
        score = int(self.net.score_dims[j])
        if score < 0:
            nothing = self.f.new_zeros(len(self.f))
            return nothing, nothing
        for d in self.dims[j][:-1]:  # the indicator of a missing cell says that it is not
            self._put(d, self.net.standardized_feature(d, torch.zeros_like(self.at[:, 0])))
        row = self._row(score)
        std = row.gather(1, self.at[:, score, None])[:, 0]
        return (row * self.noise).sum(1) - std * self.noise.gather(1, self.at[:, score, None])[:, 0], std.log()

    def add(self, j: int, codes: Tensor) -> None:
        """Take in the codes of column j."""
        for d in self.dims[j]:
            self._put(d, self.net.standardized_feature(d, codes[:, j]))

    def _row(self, d: int) -> Tensor:
        """The row (B, D) of L that belongs to feature d."""
        if len(self.lower) == 1:
            return self.lower[0, self.at[0, d]].expand(len(self.f), -1)
        return self.lower[torch.arange(len(self.f), device=self.f.device), self.at[:, d]]

    def _put(self, d: int, value: Tensor) -> None:
        """Let feature d have the values (B,) in the rows where its column was not known before."""
        row, place = self._row(d), self.at[:, d, None]
        std, before = row.gather(1, place)[:, 0], self.noise.gather(1, place)[:, 0]
        mean = (row * self.noise).sum(1) - std * before
        fresh = ~self.known[:, self.net.linear_column[d]]
        self.noise.scatter_(1, place, torch.where(fresh, (value - mean) / std, before)[:, None])
