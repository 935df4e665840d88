"""The likelihood of a row: it sums to one over grids and missing cells, and it integrates to one over real numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from morphogen.core.column_views import C, cells_of, cells_of_codes, codes_of, log_within_bins, real_view
from morphogen.core.columns import Column, Table
from morphogen.core.rng import Rng
from morphogen.theory.columns import LogisticMixture, RowDistribution, RowParameters, gaussian_row


def quantile_knots(values: np.ndarray, resolution: float = 0.0) -> tuple[float, ...]:
    """Twenty pieces of equal probability, each value spread over its cell of the grid."""
    low, high = values.min() - resolution / 2, values.max() + resolution / 2
    spread = values + resolution * (np.random.default_rng(1).random(len(values)) - 0.5)
    return (low, *np.quantile(spread, np.linspace(0, 1, 21)[1:-1]).tolist(), high)


def table() -> Table:
    g = np.random.default_rng(0)
    tenths = np.round(np.clip(g.normal(1.0, 0.6, 400), -1, 3), 1)
    counts = np.where(g.random(400) < 0.6, 0, g.poisson(9, 400))  # most of them 0
    real = g.gamma(2.0, 1.0, 400)
    number = Column(
        name="tenths",
        type="number",
        low=tenths.min(),
        high=tenths.max(),
        resolution=0.1,
        knots=quantile_knots(tenths, 0.1),
    )
    integer = Column(
        name="count",
        type="integer",
        low=0,
        high=counts.max(),
        resolution=1,
        knots=quantile_knots(counts, 1.0),
        missing=0.2,
    )
    continuous = Column(name="real", type="number", low=real.min(), high=real.max(), knots=quantile_knots(real))
    place = Column(name="place", type="category", values=("a", "b", "None"), missing=0.1)
    return Table(columns=(number, integer, place, continuous, Column(name="yes", type="boolean", values=("no", "yes"))))


def distribution(n: int, seed: int = 0, spread: float = 1.5) -> RowDistribution:
    g = torch.Generator().manual_seed(seed)
    logits, location, log_scale = torch.randn(3, n, 3, 4, generator=g, dtype=torch.float64)
    scores = LogisticMixture(logits, spread * location, 0.7 * log_scale - 1.0, C)
    missing, three, two = (torch.randn(n, k, generator=g, dtype=torch.float64) for k in (3, 4, 2))
    return RowDistribution(table(), RowParameters(scores, missing, (three, two)))


def rows_with(name: str, values: Tensor) -> Tensor:
    """The real view of rows that differ in one column."""
    schema = table()
    cells = torch.zeros(len(values), 5, dtype=torch.float64)
    cells[:, [0, 3]] = 1.0
    cells[:, schema.names.index(name)] = values
    return real_view(schema, cells, dtype=torch.float64)


def grid_of(column: Column) -> Tensor:
    count = round((column.high - column.low) / column.resolution) + 1
    v = column.low + column.resolution * torch.arange(count, dtype=torch.float64)
    return torch.cat((v, torch.tensor([math.nan], dtype=torch.float64))) if column.has_missing else v


@pytest.mark.parametrize(("name", "at"), [("tenths", 0), ("count", 1)])
@pytest.mark.parametrize("spread", [0.5, 3.0, 20.0])
def test_numbers_sum_to_one_over_their_grid_and_missing(name: str, at: int, spread: float) -> None:
    x = rows_with(name, grid_of(table()[name]))
    for row in range(3):
        one = RowDistribution(table(), _row(distribution(3, spread=spread).parameters, row))
        assert float(one.log_prob_elements(x)[:, at].exp().sum()) == pytest.approx(1.0, abs=1e-9)


def _parts(mixture: LogisticMixture) -> tuple[Tensor, Tensor, Tensor]:
    return mixture.logits, mixture.location, mixture.log_scale


def _row(p: RowParameters, row: int) -> RowParameters:
    """The parameters of one row, of batch size 1."""
    s = p.scores
    scores = LogisticMixture(s.logits[row, None], s.location[row, None], s.log_scale[row, None], s.end)
    return RowParameters(scores, p.missing[row, None], tuple(c[row, None] for c in p.categories))


@pytest.mark.parametrize(("name", "at", "places"), [("place", 2, [0.0, 1.0, 2.0, math.nan]), ("yes", 4, [0.0, 1.0])])
def test_values_of_a_category_sum_to_one(name: str, at: int, places: list[float]) -> None:
    x = rows_with(name, torch.tensor(places, dtype=torch.float64))
    masses = RowDistribution(table(), _row(distribution(2).parameters, 1)).log_prob_elements(x)[:, at].exp()
    assert float(masses.sum()) == pytest.approx(1.0, abs=1e-12)


def test_real_numbers_integrate_to_one_with_the_jacobian_of_their_score() -> None:
    knots = torch.tensor(table()["real"].knots, dtype=torch.float64)
    nodes, weights = np.polynomial.legendre.leggauss(400)  # the score is steep at the ends
    half = 0.5 * knots.diff()[:, None]
    v = (0.5 * (knots[1:] + knots[:-1])[:, None] + half * torch.tensor(nodes)).flatten()  # smooth between two knots
    w = (half * torch.tensor(weights)).flatten()
    p = RowDistribution(table(), _row(distribution(2).parameters, 0))
    density = p.log_prob_elements(rows_with("real", v))[:, 3].exp()
    assert float((density * w).sum()) == pytest.approx(1.0, abs=1e-6)


def test_a_mass_is_the_difference_of_the_distribution_functions() -> None:
    """Against scipy: the mixture cut off at both ends, between the ends of the cell of 0."""
    p = distribution(1, seed=3)
    schema, s = table(), p.parameters.scores
    share = np.interp([-0.5, 0.5], schema["count"].knots, np.linspace(0.0, 1.0, len(schema["count"].knots)))
    ends = scipy.stats.norm.ppf(scipy.stats.norm.cdf(-C) + share * (1 - 2 * scipy.stats.norm.cdf(-C)))
    weight = torch.softmax(s.logits, -1)[0, 1].numpy()
    each = [
        np.array([scipy.stats.logistic.cdf(e, s.location[0, 1], s.log_scale[0, 1].exp()) @ weight for e in pair])
        for pair in (ends, (-C, C))
    ]
    there = float(torch.sigmoid(-p.parameters.missing[0, 1]))
    expected = there * np.diff(each[0])[0] / np.diff(each[1])[0]
    found = p.log_prob_elements(rows_with("count", torch.zeros(1, dtype=torch.float64)))[0, 1].exp()
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_log_prob_is_the_sum_over_columns_and_broadcasts_over_draws() -> None:
    p, x = distribution(5), rows_with("count", torch.tensor([0.0, 1.0, 4.0, math.nan, 7.0], dtype=torch.float64))
    assert torch.allclose(p.log_prob(x), p.log_prob_elements(x).sum(-1))
    q = p.parameters
    twice = RowParameters(
        LogisticMixture(*(v.expand(2, *v.shape) for v in _parts(q.scores)), C),
        q.missing.expand(2, *q.missing.shape),
        tuple(v.expand(2, *v.shape) for v in q.categories),
    )
    assert torch.allclose(RowDistribution(table(), twice).log_prob(x), p.log_prob(x).expand(2, -1))


def test_gradients_are_finite_for_every_cell() -> None:
    for dtype in (torch.float32, torch.float64):
        g = torch.Generator().manual_seed(1)
        raw = [(3 * torch.randn(64, 3, 2, generator=g)).to(dtype).requires_grad_() for _ in range(3)]
        missing = torch.randn(64, 3, generator=g).to(dtype).requires_grad_()
        categories = tuple(torch.randn(64, k, generator=g).to(dtype).requires_grad_() for k in (4, 2))
        p = RowDistribution(table(), RowParameters(LogisticMixture(*raw, C), missing, categories))
        x = p.sample(torch.rand(64, 11, generator=g, dtype=dtype)).detach()
        p.log_prob(x).sum().backward()
        for v in (*raw, missing, *categories):
            assert v.grad is not None and torch.isfinite(v.grad).all()


def test_samples_have_their_probabilities() -> None:
    """The share of each value in 40,000 draws, within 4.5 standard errors: a false alarm in about 1 of 1,000 runs."""
    n = 40_000
    one = RowDistribution(table(), _row(distribution(2, seed=5).parameters, 1))
    s = one.parameters
    many = RowDistribution(
        table(),
        RowParameters(
            LogisticMixture(
                *(v.expand(n, -1, -1) for v in (s.scores.logits, s.scores.location, s.scores.log_scale)), C
            ),
            s.missing.expand(n, -1),
            tuple(v.expand(n, -1) for v in s.categories),
        ),
    )
    noise = Rng(0).uniform("row", n, many.noise_shape[1:], torch.float64)
    cells = cells_of(table(), many.sample(noise))
    for name, at in (("tenths", 0), ("count", 1)):
        values = grid_of(table()[name])
        p = one.log_prob_elements(rows_with(name, values))[:, at].exp()
        for value, mass in zip(values.tolist(), p.tolist(), strict=True):
            drawn = cells[:, at].isnan() if math.isnan(value) else (cells[:, at] - value).abs() < 1e-6
            assert abs(float(drawn.double().mean()) - mass) < 4.5 * math.sqrt(mass * (1 - mass) / n) + 1e-5
    place = one.parameters.categories[0][0].softmax(-1)
    counts = torch.bincount(cells[:, 2].nan_to_num(3.0).long(), minlength=4) / n
    assert (counts - place).abs().max() < 4.5 * 0.5 / math.sqrt(n)


def test_codes_and_the_real_view_give_the_same_nats_for_the_same_distribution() -> None:
    """A uniform score distribution F, seen as bins: both likelihoods sum to one over the same cells."""
    schema = table()
    values = grid_of(schema["count"])
    cells = torch.zeros(len(values), 5, dtype=torch.float64)
    cells[:, [0, 3]] = 1.0
    cells[:, 1] = values
    codes = codes_of(schema, cells)
    q = torch.softmax(torch.randn(schema["count"].n_codes, generator=torch.Generator().manual_seed(0)).double(), 0)
    total = (q[codes[:, 1]].log() + log_within_bins(schema, codes)[:, 1]).exp().sum()
    assert float(total) == pytest.approx(1.0, abs=1e-9)
    again = codes_of(schema, cells_of_codes(schema, codes, torch.rand(len(codes), 5, dtype=torch.float64)))
    assert torch.equal(again, codes)


def test_a_gaussian_of_the_real_view_stands_for_the_nearest_row() -> None:
    x = rows_with("count", torch.tensor([3.0, math.nan], dtype=torch.float64))
    plan_at = [0, 1, 7]
    scaled = x.clone()
    scaled[:, plan_at] *= C
    sharp = gaussian_row(table(), scaled, torch.full_like(scaled, 1e-3))
    assert (sharp.log_prob_elements(x)[:, [2, 4]] > -1e-6).all()  # categories
    assert sharp.log_prob_elements(x)[1, 1] > -1e-6  # the missing cell
    for v in (0.0, 1.0, 5.0, 9.0):
        y = rows_with("count", torch.tensor([v, v], dtype=torch.float64))
        assert (sharp.log_prob_elements(y)[:, 1] <= sharp.log_prob_elements(x)[:, 1]).all()
