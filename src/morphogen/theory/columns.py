r"""The likelihood of a row of a table: numbers on their grids, categories, and missing cells.

A row has the probability of its cells, which are independent given the parameters,

    log p(row) = sum_j log p_j(cell j).

*Categories.* A softmax over the values, with one more place for a missing cell.

*Numbers.* A number v has the score s(v) = c g(v) in [-c, c] (`core/column_views.py`); the scores of the training values
are about standard normal. The distribution function G of the score is that of a mixture of logistic distributions, cut
off at -c and c. With a resolution r, the cell owns the scores from s(v - r/2) to s(v + r/2), and

    P(v) = [G(s(v + r/2)) - G(s(v - r/2))] / [G(c) - G(-c)].

It sums to 1 over the multiples of r, because the intervals meet: the discretized mixture of Salimans et al.
("PixelCNN++", 2017) on a grid that follows the quantiles of the column. A real number has the density

    p(v) = G'(s(v)) s'(v) / [G(c) - G(-c)],

which integrates to 1 over the range. Where cells may be missing, P(missing) = sigmoid(m), and the others share
1 - sigmoid(m).

So the likelihoods of all models of a table have one unit: nats of the cells' masses, and of the densities of real
numbers. `log_within_bins` brings codes to it: within its bin a number is uniform.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from morphogen.core.column_views import C, cells_of, intervals, layout, log_slope
from morphogen.core.columns import Table
from morphogen.core.distributions import Distribution

_LOG_SCALE = (-7.0, 4.0)  # of a logistic distribution, in units of the score
_START = -1.2  # log-scale of a component at raw output 0: several components together are about as wide as the data
_FLOOR = -6.0  # the smallest log-scale, so that a perfectly predicted real number has a finite density


@dataclass(frozen=True)
class LogisticMixture:
    """sum_m w_m Logistic(location_m, e^log_scale_m), cut off at -`end` and `end`; w = softmax of `logits`.

    The components are the last axis of all three. `end` is c of the module's docstring.
    """

    logits: Tensor
    location: Tensor
    log_scale: Tensor
    end: float

    def log_mass(self, lower: Tensor, upper: Tensor, width: Tensor) -> Tensor:
        """log P(lower < s < upper) for -end <= lower < upper <= end; the caller knows the `width` best."""
        return self._log_between(lower, upper, width) - self._log_whole()

    def log_density(self, s: Tensor) -> Tensor:
        """log p(s) for -end <= s <= end."""
        log_scale = self.log_scale.clamp(*_LOG_SCALE)
        z = (s[..., None] - self.location) * torch.exp(-log_scale)
        each = F.logsigmoid(z) + F.logsigmoid(-z) - log_scale
        found = torch.logsumexp(torch.log_softmax(self.logits, -1) + each, -1)
        return found - self._log_whole()

    def sample(self, pick: Tensor, value: Tensor) -> Tensor:
        """The score of two uniform numbers: `pick` chooses the component, `value` the place in it."""
        scale = self.log_scale.clamp(*_LOG_SCALE).exp()
        low, high = (-self.end - self.location) / scale, (self.end - self.location) / scale
        weight = (torch.log_softmax(self.logits, -1) + _log_logistic_between(low, high, high - low)).softmax(-1)
        chosen = (pick[..., None] > weight.cumsum(-1)[..., :-1]).sum(-1, keepdim=True)
        below, above = (torch.sigmoid(v.gather(-1, chosen)).squeeze(-1) for v in (low, high))
        location, scale = (v.gather(-1, chosen).squeeze(-1) for v in (self.location, scale))
        u = (below + value * (above - below)).clamp(1e-7, 1.0 - 1e-7)
        return (location + scale * torch.logit(u)).clamp(-self.end, self.end)

    @property
    def mean(self) -> Tensor:
        """E[s] of the mixture before it is cut off, kept within the ends."""
        return (torch.softmax(self.logits, -1) * self.location.clamp(-self.end, self.end)).sum(-1)

    def _log_whole(self) -> Tensor:
        """log [G(end) - G(-end)]."""
        end = self.location.new_tensor(self.end)
        return self._log_between(-end, end, 2.0 * end)

    def _log_between(self, lower: Tensor, upper: Tensor, width: Tensor) -> Tensor:
        """log [G(upper) - G(lower)]."""
        inverse = torch.exp(-self.log_scale.clamp(*_LOG_SCALE))
        low, high = (lower[..., None] - self.location) * inverse, (upper[..., None] - self.location) * inverse
        each = _log_logistic_between(low, high, width[..., None] * inverse)
        return torch.logsumexp(torch.log_softmax(self.logits, -1) + each, -1)


def _log_logistic_between(lower: Tensor, upper: Tensor, width: Tensor) -> Tensor:
    """log [sigmoid(upper) - sigmoid(lower)] without a cancellation.

    sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(-(u - l))); the caller knows the width u - l exactly.
    """
    return F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-width))


@dataclass(frozen=True)
class RowParameters:
    """The parameters of independent cells; the numbers of the table are its J number columns.

    scores      the mixtures of the numbers, (*N, J, M) each
    missing     (*N, J) the logit of a missing number; it is not read where no cell is missing
    categories  for each other column (*N, K) logits: its values, and missing where it may be
    """

    scores: LogisticMixture
    missing: Tensor
    categories: tuple[Tensor, ...]


class RowDistribution(Distribution):
    """p(row) for rows in the real view x (*N, W), with the parameters (*N, ...); see the module's docstring.

    The elements are the C columns. `sample` takes uniform noise: three numbers for each number (component, place,
    missing) and one for each other column.
    """

    measure = "mass"
    event_dims = 1

    def __init__(self, table: Table, parameters: RowParameters) -> None:
        self.table, self.parameters = table, parameters
        self._plan = layout(table, parameters.missing.device)

    def log_prob_elements(self, x: Tensor) -> Tensor:
        """(*N, C) from x (B, W), where B is the last dimension of N."""
        plan, table, p = self._plan, self.table, self.parameters
        cells = cells_of(table, x)
        found: list[Tensor] = [p.missing] * len(table.columns)
        for j, value in zip(plan.numbers.tolist(), self._numbers(cells).unbind(-1), strict=True):
            found[j] = value
        for j, logits in zip(plan.places.tolist(), p.categories, strict=True):
            place = cells[:, j].nan_to_num(float(len(table.columns[j].values))).long().clamp_max(logits.shape[-1] - 1)
            chosen, log_p = torch.broadcast_tensors(place[:, None], torch.log_softmax(logits, -1))
            found[j] = log_p.gather(-1, chosen[..., :1]).squeeze(-1)
        return torch.stack(found, -1)

    def _numbers(self, cells: Tensor) -> Tensor:
        """log p of the numbers, (*N, J)."""
        plan, p = self._plan, self.parameters
        dtype = p.missing.dtype
        absent = cells[:, plan.numbers].isnan()
        lower, upper = ((C * v).nan_to_num(0.0) for v in intervals(self.table, cells))
        on_grid, slope = plan.step > 0, (log_slope(self.table, cells) + math.log(C)).nan_to_num(0.0)
        # A missing cell, and a real number, get some interval here; what is computed of it is not taken.
        wide = torch.where(on_grid & ~absent, upper - lower, 1.0).clamp_min(1e-12)
        mass = p.scores.log_mass(lower.to(dtype), upper.to(dtype), wide.to(dtype))
        found = mass
        if not bool(on_grid.all()):
            density = p.scores.log_density(lower.to(dtype)) + slope.to(dtype)
            found = torch.where(on_grid, mass, density)
        found = torch.where(absent, 0.0, found)
        missing = torch.where(absent, F.logsigmoid(p.missing), F.logsigmoid(-p.missing))
        return found + torch.where(plan.flag >= 0, missing, 0.0)

    @property
    def mean(self) -> Tensor:
        """E[x] (*N, W) of the real view, for numbers before the mixture is cut off."""
        plan, p = self._plan, self.parameters
        x = p.missing.new_empty(*p.missing.shape[:-1], self.table.width)
        x[..., plan.at] = p.scores.mean / C
        flagged = plan.flag >= 0
        x[..., plan.flag[flagged]] = (2.0 * torch.sigmoid(p.missing) - 1.0)[..., flagged]
        for j, logits in zip(plan.places.tolist(), p.categories, strict=True):
            x[..., self.table.slices[j]] = 2.0 * torch.softmax(logits, -1) - 1.0
        return x

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (*self.parameters.missing.shape[:-1], 3 * len(self._plan.numbers) + len(self._plan.places))

    def sample(self, noise: Tensor) -> Tensor:
        """x (*N, W): a score within its interval for each number, 0 where it is missing; 1 and -1 elsewhere."""
        plan, p, n = self._plan, self.parameters, len(self._plan.numbers)
        pick, value, absent, place = noise.split((n, n, n, len(plan.places)), -1)
        x = torch.full((*noise.shape[:-1], self.table.width), -1.0, dtype=p.missing.dtype, device=noise.device)
        missing = (absent < torch.sigmoid(p.missing)) & (plan.flag >= 0)
        x[..., plan.at] = torch.where(missing, 0.0, p.scores.sample(pick, value) / C)
        flagged = plan.flag >= 0
        x[..., plan.flag[flagged]] = 2.0 * missing[..., flagged].to(x.dtype) - 1.0
        for i, (j, logits) in enumerate(zip(plan.places.tolist(), p.categories, strict=True)):
            cumulative = torch.softmax(logits, -1).cumsum(-1)[..., :-1]
            chosen = (place[..., i, None] > cumulative).sum(-1, keepdim=True)
            x[..., self.table.slices[j]] = x[..., self.table.slices[j]].scatter(-1, chosen, 1.0)
        return x


def row_parameters(table: Table, mixtures: int) -> int:
    """P, how many numbers `row_likelihood` reads: of each number 3 a component, and 1 for missing; of others a logit a
    value."""
    plan = layout(table)
    return len(plan.numbers) * (3 * mixtures + 1) + sum(table.columns[j].width for j in plan.places.tolist())


def row_likelihood(raw: Tensor, table: Table, mixtures: int = 1) -> RowDistribution:
    """The distribution of rows that the network output `raw` (*N, P) stands for.

    In order: logits, locations and raw log-scales of the mixtures (J x `mixtures` each), J logits of missing numbers,
    and the logits of the other columns. The locations start spread over the scores. A raw log-scale r becomes
    floor + softplus(r + start - floor).
    """
    plan = layout(table, raw.device)
    j, widths = len(plan.numbers), [table.columns[i].width for i in plan.places.tolist()]
    *parts, missing, categories = raw.split((*(j * mixtures,) * 3, j, sum(widths)), -1)
    logits, location, log_scale = (part.unflatten(-1, (j, mixtures)) for part in parts)
    spread = (2.0 * torch.arange(mixtures, device=raw.device, dtype=raw.dtype) + 1.0) / mixtures - 1.0
    log_scale = _FLOOR + F.softplus(log_scale + (_START - _FLOOR))
    scores = LogisticMixture(logits, location + 1.5 * spread, log_scale, C)
    return RowDistribution(table, RowParameters(scores, missing, categories.split(widths, -1)))


def gaussian_row(table: Table, mean: Tensor, var: Tensor) -> RowDistribution:
    """The row that a Gaussian of the real view, with scores c g for numbers, stands for.

    p(row) is in proportion to N(x(row); mean, var) for each column: a softmax over the corners of a block, where

        log N(corner k) - log N(corner l) = 2 mean_k / var_k - 2 mean_l / var_l,

    and for a number the logistic distribution of the same mean and variance.

    Args:
        table: the schema.
        mean: (*N, W), numbers as scores in [-c, c].
        var: (*N, W), positive.

    Returns:
        The distribution of rows.
    """
    plan = layout(table, mean.device)
    logits = 2.0 * mean / var.clamp_min(1e-12)
    log_scale = 0.5 * var[..., plan.at].clamp_min(1e-12).log() + math.log(math.sqrt(3.0) / math.pi)
    location = mean[..., plan.at]
    scores = LogisticMixture(torch.zeros_like(location)[..., None], location[..., None], log_scale[..., None], C)
    categories = tuple(logits[..., table.slices[j]] for j in plan.places.tolist())
    return RowDistribution(table, RowParameters(scores, logits[..., plan.flag.clamp_min(0)], categories))
