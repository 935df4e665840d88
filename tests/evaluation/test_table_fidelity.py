"""Marginals, associations and missing cells of tables, against plain formulas."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from morphogen.core.errors import DataError
from morphogen.evaluation.tables.associations import associations
from morphogen.evaluation.tables.encoding import Encoder, tree_matrix
from morphogen.evaluation.tables.marginals import Bins, accuracy
from morphogen.evaluation.tables.missingness import missingness
from morphogen.evaluation.tables.rows import Layout, Rows
from tests.evaluation.table_makers import categories, numbers, patients


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Total variation of rows of codes, by counting."""
    p, q = (Counter(map(tuple, side.tolist())) for side in (a, b))
    return 0.5 * sum(abs(p[key] / len(a) - q[key] / len(b)) for key in set(p) | set(q))


def test_the_accuracy_is_one_minus_the_mean_distance_of_all_sets_of_columns() -> None:
    made, real = patients(300, 0), patients(400, 1)
    bins = Bins(real)
    a, b = bins.codes(made), bins.codes(real)
    expected = [
        1.0 - np.mean([distance(a[:, s], b[:, s]) for s in map(list, combinations(range(6), k))]) for k in (1, 2, 3)
    ]
    found = accuracy(made, real)
    assert np.allclose(found.by_size, expected, atol=1e-12)
    assert found.mean.value == pytest.approx(np.mean(expected), abs=1e-12)
    assert np.allclose(found.columns, [1.0 - distance(a[:, [c]], b[:, [c]]) for c in range(6)], atol=1e-12)


def test_a_table_is_perfectly_accurate_beside_itself() -> None:
    rows = patients(200, 0)
    assert accuracy(rows, rows).mean.value == 1.0
    assert associations(rows, rows).mean.value == pytest.approx(0.0, abs=1e-12)
    assert missingness(rows, rows).distance.value == 0.0


def test_numbers_have_ten_bins_of_equal_shares_and_missing_cells_one_of_their_own() -> None:
    x = np.arange(1000.0)[:, None]
    x[:100] = np.nan
    codes = Bins(numbers(x)).codes(numbers(x))[:, 0]
    held = np.bincount(codes)
    assert held[-1] == 100 and len(held) == 11
    assert abs(held[:-1] - 90).max() <= 1


def test_ties_do_not_cost_bins() -> None:
    """Half of the cells are 0; the other half still fills many bins."""
    rng = np.random.default_rng(0)
    x = np.where(rng.random(2000) < 0.5, 0.0, rng.exponential(size=2000))[:, None]
    assert len(np.unique(Bins(numbers(x)).codes(numbers(x)))) == 10


def test_each_of_few_numbers_has_a_bin_and_rare_categories_share_one() -> None:
    few = numbers(np.repeat([1.0, 2.0, 5.0], 10)[:, None])
    assert sorted(set(Bins(few).codes(few)[:, 0])) == [0, 1, 2]
    rare = categories(np.array([0] * 20 + [1] * 10 + [2] * 4 + [3] * 4)[:, None], 5)
    codes = Bins(rare).codes(rare)[:, 0]
    assert set(codes[30:]) == {2} and Bins(rare).counts() == [4]


def test_the_interval_covers_the_variation_of_new_samples() -> None:
    values = [accuracy(patients(300, 2 * s), patients(300, 2 * s + 1)) for s in range(30)]
    center = np.mean([found.mean.value for found in values])
    covered = sum(found.mean.interval[0] <= center <= found.mean.interval[1] for found in values)  # type: ignore[index]
    assert covered >= 25  # the chance of fewer is below 1e-3 at 95 %


# -------------------------------------------------------------------------------------- associations


def test_associations_of_numbers_are_spearmans_and_pearsons() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3))
    x[:, 1] = np.round(x[:, 0] + x[:, 1])  # ties
    rows = numbers(x)
    assert np.allclose(associations(rows, rows).made, stats.spearmanr(x).statistic, atol=1e-9)
    assert np.allclose(associations(rows, rows, "pearson").made, np.corrcoef(x.T), atol=1e-9)


def test_correlations_are_over_the_rows_in_which_both_are_known() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((300, 2))
    x[:, 1] += x[:, 0]
    x[rng.random((300, 2)) < 0.2] = np.nan
    both = ~np.isnan(x).any(1)
    found = associations(numbers(x), numbers(x), "pearson").made[0, 1]
    assert found == pytest.approx(np.corrcoef(x[both].T)[0, 1], abs=1e-9)


def test_categories_have_cramers_v() -> None:
    rng = np.random.default_rng(2)
    a = rng.integers(3, size=500)
    b = np.where(rng.random(500) < 0.5, a, rng.integers(4, size=500))
    crossed = stats.contingency.crosstab(a, b).count
    expected = stats.contingency.association(crossed, method="cramer")
    rows = categories(np.column_stack((a, b)), 4)
    assert associations(rows, rows).made[0, 1] == pytest.approx(expected, abs=1e-9)


def test_a_number_and_a_category_have_the_correlation_ratio() -> None:
    rng = np.random.default_rng(3)
    group = rng.integers(3, size=400)
    x = rng.standard_normal(400) + group
    rows = Rows(np.column_stack((x, group)).astype(float), Layout(("x", "group"), (0, 3)))
    means = np.array([x[group == k].mean() for k in range(3)])[group]
    expected = np.sqrt(((means - x.mean()) ** 2).sum() / ((x - x.mean()) ** 2).sum())
    assert associations(rows, rows, "pearson").made[0, 1] == pytest.approx(expected, abs=1e-9)


def test_the_distance_of_associations_is_the_mean_over_pairs() -> None:
    found = associations(patients(300, 0), patients(300, 1))
    off = ~np.eye(6, dtype=bool)
    assert found.mean.value == pytest.approx(np.abs(found.made - found.real)[off].mean(), abs=1e-12)


# --------------------------------------------------------------------------------------- missing cells


def test_patterns_of_missing_cells_are_compared_as_wholes() -> None:
    """Equal shares in each column, and yet other patterns: together or one at a time."""
    together, apart = np.zeros((100, 2)), np.zeros((100, 2))
    together[:50] = np.nan
    apart[:50, 0], apart[50:, 1] = np.nan, np.nan
    found = missingness(numbers(apart), numbers(together))
    assert found.made == found.real == (0.5, 0.5)
    assert found.distance.value == 1.0


# ------------------------------------------------------------------------------------------ bad tables


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_rows_are_measured_without_an_error(n: int) -> None:
    made, real = patients(n, 0), patients(n, 1)
    for found in (accuracy(made, real).mean, associations(made, real).mean, missingness(made, real).distance):
        assert 0.0 <= found.value <= 1.0


def test_columns_without_variance_have_no_associations() -> None:
    made = numbers(np.column_stack((np.full(50, 7.0), np.arange(50.0), np.full(50, np.nan))))
    found = associations(made, numbers(np.random.default_rng(0).standard_normal((50, 3))))
    assert np.isfinite(found.made).all() and not found.made[0, 1:].any() and not found.made[2, :2].any()


def test_codes_and_numbers_are_checked() -> None:
    with pytest.raises(DataError, match="none of its 3 values"):
        categories(np.array([[3]]), 3)
    with pytest.raises(DataError, match="infinite"):
        numbers(np.array([[np.inf]]))


def test_hundreds_of_values_and_unknown_ones_are_read() -> None:
    rng = np.random.default_rng(0)
    real, made = (categories(rng.zipf(1.5, (600, 2)).clip(0, 799), 800) for _ in range(2))
    matrix = Encoder(real)(made)
    assert matrix.shape == (600, 2 * 32) and (matrix.sum(1) == 2).all()
    cells, categorical = tree_matrix(made, real)
    assert categorical == [True, True] and cells.max() <= 250


def test_a_distance_of_two_categories_is_one_and_so_is_that_of_a_missing_cell() -> None:
    layout = Layout(("x", "k"), (0, 3))
    real = Rows(np.array([[-1.0, 0.0], [1.0, 1.0], [-1.0, 2.0], [1.0, 0.0]]), layout)
    encoder = Encoder(real)
    points = encoder.positions(
        Rows(np.array([[0.0, 0.0], [0.0, 1.0], [0.0, np.nan], [np.nan, 0.0], [1.0, 0.0]]), layout)
    )
    assert np.allclose(((points[0] - points[1:]) ** 2).sum(1), 1.0)
