"""Every family that reads tables keeps the contract on one, and the any-order model has exact probabilities."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from morphogen.core.batch import Batch
from morphogen.core.column_views import cells_of, codes_of, log_within_bins
from morphogen.core.columns import Column, Table
from morphogen.core.data_spec import DataSpec
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.families.autoregressive import Autoregressive, AutoregressiveSpec
from morphogen.families.diffusion import Diffusion, DiffusionSpec
from morphogen.families.gan import GAN, GANSpec
from morphogen.families.vae import VAE, VAESpec

TABLE = Table(
    columns=(
        Column(name="color", type="category", values=("red", "green", "None"), missing=0.1),
        Column(name="count", type="integer", low=0.0, high=3.0, resolution=1.0, missing=0.2),
        Column(name="yes", type="boolean", values=("no", "yes")),
        Column(name="half", type="number", low=0.0, high=1.0, resolution=0.5),
    )
)
DATA = DataSpec(name="small", shape=(TABLE.width,), kind="columns", table=TABLE, splits={"train": 500})


def every_row() -> Tensor:
    """The cells of all rows that there are."""
    values = [[0.0, 1.0, 2.0, math.nan], [0.0, 1.0, 2.0, 3.0, math.nan], [0.0, 1.0], [0.0, 0.5, 1.0]]
    return torch.tensor(list(itertools.product(*values)), dtype=torch.float64)


def trained(steps: int = 30) -> Autoregressive:
    """A model with weights that are not those of the start, in float64."""
    with Rng(0).forked():
        model = Autoregressive(AutoregressiveSpec(prior_std=10.0), DATA)
    rows = every_row()
    chosen = rows[Rng(1).integers("rows", 400, len(rows)).minimum(torch.tensor(60))]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for step in range(steps):
        batch = Batch(DATA.encode(chosen), torch.arange(len(chosen)))
        for move in model.steps(batch, Rng(2), Progress(step, 0.5)):
            optimizer.zero_grad()
            sum(term.mean() for term in move.terms.values()).backward()
            optimizer.step()
    return model.double().eval()


def test_probabilities_of_all_rows_sum_to_one_in_every_order() -> None:
    model, rows = trained(), every_row()
    assert model.rows is not None
    assert float(model.score(DATA.encode(rows).double(), None, Rng(0)).value.exp().sum()) == pytest.approx(
        1.0, abs=1e-6
    )
    codes = codes_of(TABLE, rows)
    for order in itertools.permutations(range(4)):
        log_p = model.rows.net(codes, torch.tensor(order)).sum(1)
        assert float(log_p.detach().exp().sum()) == pytest.approx(1.0, abs=1e-6)


def test_rows_are_drawn_with_their_probabilities() -> None:
    """The share of each row in 20,000 draws, within 5 standard errors: a false alarm in about 1 of 10,000 runs."""
    model, rows, n = trained(), every_row(), 20_000
    p = model.score(DATA.encode(rows).double(), None, Rng(0)).value.exp()
    drawn = cells_of(TABLE, model.sample(n, None, Rng(3)))
    key = torch.tensor([1000.0, 100.0, 10.0, 1.0], dtype=torch.float64)
    found = (drawn.nan_to_num(9.0) @ key)[:, None] == (rows.nan_to_num(9.0) @ key)
    assert found.sum(1).eq(1).all()
    error = (found.double().mean(0) - p).abs()
    assert (error < 5.0 * (p * (1.0 - p) / n).sqrt() + 1e-4).all()


def test_completed_cells_have_their_conditional_probabilities() -> None:
    """Given two cells, which are not the first in the fixed order, the others follow the model's own conditional."""
    model, rows, n = trained(), every_row(), 20_000
    assert model.rows is not None
    given = torch.tensor([False, True, False, True])
    row = torch.tensor([math.nan, 2.0, math.nan, 0.5], dtype=torch.float64)
    order = torch.tensor([1, 3, *(j for j in model.rows.fixed.tolist() if j not in (1, 3))])
    fits = (rows[:, 1] == 2.0) & (rows[:, 3] == 0.5)
    p = model.rows.net(codes_of(TABLE, rows[fits]), order).sum(1).exp()
    p = p / p.sum()
    drawn = model.complete(row.expand(n, -1), given.expand(n, -1), Rng(4))
    assert (drawn[:, 1] == 2.0).all() and (drawn[:, 3] == 0.5).all()
    key = torch.tensor([10.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    found = (drawn.nan_to_num(9.0) @ key)[:, None] == (rows[fits].nan_to_num(9.0) @ key)
    error = (found.double().mean(0) - p).abs()
    assert (error < 5.0 * (p * (1.0 - p) / n).sqrt() + 1e-4).all()


def test_a_row_is_completed_alike_beside_rows_that_know_other_cells() -> None:
    model, rows = trained(), every_row()[::7]
    given = Rng(0).uniform("given", len(rows), (4,)) < 0.5
    together = model.complete(rows, given, Rng(5), present=True)
    alone = torch.cat([model.complete(rows[i : i + 1], given[i : i + 1], Rng(5).shifted(i), True) for i in range(9)])
    assert torch.allclose(together[:9], alone, equal_nan=True)
    assert torch.equal(together.isnan(), rows.isnan() & given)  # no drawn cell is missing


def test_before_training_a_number_is_predicted_as_by_a_gaussian_copula() -> None:
    """With the moments of correlated rows and no training, the copula alone knows what follows from a given number."""
    u = (torch.arange(200, dtype=torch.float64) + 0.5) / 200.0
    z = torch.cartesian_prod(torch.special.ndtri(u), torch.special.ndtri(u))
    cells = torch.stack((z[:, 0], 0.9 * z[:, 0] + math.sqrt(1 - 0.81) * z[:, 1]), 1).clamp(-3.4, 3.4)
    knots = tuple(torch.special.ndtri(torch.linspace(3e-4, 1 - 3e-4, 101, dtype=torch.float64)).tolist())
    numbers = [Column(name=n, type="number", low=knots[0], high=knots[-1], knots=knots) for n in "ab"]
    table = Table(columns=tuple(numbers))
    data = DataSpec(name="normal", shape=(2,), kind="columns", table=table, splits={"train": 3000})
    with Rng(0).forked():
        model = Autoregressive(AutoregressiveSpec(shrinkage=1e-6), data)
    assert model.rows is not None
    model.rows.net.count(codes_of(table, cells))
    x, y = torch.meshgrid(*[torch.linspace(-1.5, 1.5, 7, dtype=torch.float64)] * 2, indexing="ij")
    at = torch.stack((x.flatten(), y.flatten()), 1)
    found = model.double().score(data.encode(at).double(), None, Rng(0)).value
    exact = torch.distributions.MultivariateNormal(torch.zeros(2).double(), torch.tensor([[1, 0.9], [0.9, 1]]).double())
    likely = exact.log_prob(at) > -5.0
    assert (found - exact.log_prob(at))[likely].abs().mean() < 0.15


def test_the_codes_of_a_row_have_the_unit_of_the_other_likelihoods() -> None:
    rows = every_row()
    assert torch.equal(log_within_bins(TABLE, codes_of(TABLE, rows)), torch.zeros(len(rows), 4, dtype=torch.float64))


@pytest.mark.parametrize(
    ("family", "spec"),
    [(VAE, VAESpec(hidden=(8,), latent_dim=2)), (GAN, GANSpec(hidden=(8,), discriminator_hidden=(8,)))],
)
def test_samples_are_rows(family: type, spec: object) -> None:
    """Every block of the real view has one corner, also before training."""
    with Rng(0).forked():
        model = family(spec, DATA)
    x = model.sample(50, None, Rng(0))
    for part, column in zip(TABLE.slices, TABLE.columns, strict=True):
        if not column.is_number:
            assert torch.equal(x[:, part].sort(1).values[:, :-1], torch.full((50, column.width - 1), -1.0))
    assert torch.equal(DATA.encode(DATA.decode(x))[:, :4], x[:, :4])


def test_the_bound_of_a_diffusion_model_is_a_mass_of_rows() -> None:
    """Summed over all rows it is at most 1: it is a lower bound of log P, and P sums to 1."""
    with Rng(0).forked():
        model = Diffusion(DiffusionSpec(hidden=(16,), score_evaluations=20), DATA)
    score = model.score(DATA.encode(every_row()), None, Rng(0))
    assert score.measure == "mass" and score.kind == "lower_bound"
    assert float(score.value.exp().sum()) < 1.0
