"""Integers as digits, and the integer frequencies of cells beside the logistic distribution."""

import math

import pytest
import torch

from morphogen.nn.integer.cell_coding import LARGEST, LEVELS, SIZES, STARTS, CellTables, even_frequencies
from morphogen.nn.integer.tables import PRECISION
from morphogen.theory.rate_distortion import log_mass_of_cell


def test_cells_cover_all_integers():
    assert len(STARTS) == 63 and STARTS[0] == -LARGEST and sum(SIZES) == 2 * LARGEST + 1
    assert SIZES[::-1] == SIZES and min(SIZES) == 1
    k = torch.arange(-LARGEST, LARGEST + 1)
    assert torch.equal(CellTables.join(CellTables.split(k)), k)


def test_digits_are_as_probable_as_their_cells_say():
    """Every integer has a positive frequency for each digit, and those of a cell share its mass about evenly."""
    tables, k = CellTables(), torch.arange(-LARGEST, LARGEST + 1)
    known = CellTables.split(k)
    walk = tables.digits(tables.by_level(), torch.full_like(k, 40))
    bits = torch.zeros(len(k), dtype=torch.float64)
    wide = torch.tensor(SIZES)[known[0]] > 1
    f, rows = next(walk)
    for i, digit in enumerate(known):
        taken = f[rows].gather(1, digit[:, None])[:, 0]
        assert bool((taken >= 1).all()) and len(rows) == len(digit)
        bits[slice(None) if i == 0 else wide] += PRECISION - taken.log2()
        if i < 2:
            f, rows = walk.send(digit)
    assert float((-bits * math.log(2)).exp().sum()) == pytest.approx(1.0, abs=0.02)  # a code that is nearly complete
    even = even_frequencies()
    assert torch.equal(even.sum(1), torch.full((6,), 2.0**PRECISION, dtype=torch.float64))


@pytest.mark.parametrize("level", [0, 10, 26, 40, 60, LEVELS - 1])
def test_frequencies_are_those_of_the_logistic(level):
    tables = CellTables()
    f = tables.by_level()[level] / 2.0**PRECISION
    assert float(f.sum()) == 1.0 and torch.allclose(f, f.flip(0), atol=1e-6)
    log_scale = torch.tensor(-3.25 + level / 8, dtype=torch.float64)
    k = torch.arange(-60_000, 60_001, dtype=torch.float64)
    mass = log_mass_of_cell(
        k, torch.zeros((), dtype=torch.float64), log_scale, torch.zeros((), dtype=torch.float64)
    ).exp()
    cell = torch.searchsorted(torch.tensor(STARTS[1:], dtype=torch.float64), k, right=True)
    true = torch.zeros(63, dtype=torch.float64).index_add(0, cell, mass)
    excess = float((true * (true / f).log()).nan_to_num().sum())
    assert 0 <= excess + 1e-9 < 1e-4  # nats of an integer


def test_the_nearest_level_is_taken():
    tables = CellTables()
    x = torch.tensor([-100.0, -3.25, -3.2, 0.0, 0.05, 0.07, 100.0], dtype=torch.float64)
    assert tables.level(x).tolist() == [0, 0, 0, 26, 26, 27, LEVELS - 1]


def test_mixtures_are_mixed():
    tables = CellTables()
    shares = torch.tensor([[2**23, 2**23]], dtype=torch.float64)
    location, inverse = torch.tensor([[0.0, 3.0]]).double(), torch.tensor([[1.0, 2.0]]).double()
    f = tables.mixed(shares, location, inverse, torch.tensor([0.5]).double())[0] / 2.0**PRECISION
    k = torch.arange(-23, 24, dtype=torch.float64)
    w = torch.tensor(math.log(0.5), dtype=torch.float64)
    parts = [log_mass_of_cell(0.5 * k, location[0, i], -inverse[0, i].log(), w).exp() for i in range(2)]
    assert torch.allclose(f[8:55], 0.5 * (parts[0] + parts[1]), atol=1e-6)
