"""Trees of marginals: exact on data that are a tree, and what one row can change."""

import math

import pytest
import torch
from torch import Tensor

from morphogen.core.batch import Batch
from morphogen.core.column_views import cells_of, real_view
from morphogen.core.columns import Column, Table
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError, UsageError
from morphogen.core.privacy import PrivacyTerms
from morphogen.core.rng import Rng
from morphogen.core.strong_noise import SeededSource
from morphogen.families.marginal_tree import MarginalTree, MarginalTreeSpec
from morphogen.theory.marginal_tree import consistent, merged, oriented, positive, shrunk, smoothed
from morphogen.trainer.private.releasing import Exact, Shared

TABLE = Table(
    columns=(
        Column(name="a", type="category", values=("x", "y", "z")),
        Column(name="b", type="boolean", values=("no", "yes")),
        Column(name="c", type="integer", low=0, high=200, resolution=1),
        Column(name="d", type="category", values=("p", "q"), missing=0.5),
    )
)
DATA = DataSpec(name="t", shape=(TABLE.width,), kind="columns", table=TABLE)


def _cells(n: int, seed: int = 0) -> Tensor:
    """A chain a -> b -> d, with c on its own."""
    rng, index = Rng(seed), torch.arange(n)
    u = rng.uniform("u", index, (4,), torch.float64)
    a = (3 * u[:, 0]).floor()
    b = (u[:, 1] < torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)[a.long()]).double()
    d = torch.where(u[:, 3] < 0.2, torch.nan, (u[:, 3] < 0.2 + 0.7 * b).double())
    return torch.stack((a, b, (201 * u[:, 2]).floor(), d), 1)


def _batch(cells: Tensor) -> Batch:
    return Batch(real_view(TABLE, cells), torch.arange(len(cells)))


def test_the_tree_of_the_data_is_found_and_its_pairs_come_back() -> None:
    cells, n = _cells(20_000), 20_000
    model = MarginalTree(MarginalTreeSpec(), DATA)
    model.release(lambda: iter([_batch(cells[:15_000]), _batch(cells[15_000:])]), Exact())
    edges = {frozenset((j, int(p))) for j, p in enumerate(model.parent.tolist()) if p >= 0}
    assert len(edges) == 3 and {frozenset((0, 1)), frozenset((1, 3))} <= edges
    drawn = cells_of(TABLE, model.sample(n, None, Rng(3)))
    for of in (cells, drawn):
        of[:, 3] = torch.nan_to_num(of[:, 3], 2.0)
    for i, j in ((0, 1), (1, 3), (0, 3)):
        pair = [torch.bincount((3 * of[:, i] + of[:, j]).long(), minlength=9) / n for of in (cells, drawn)]
        assert float((pair[0] - pair[1]).abs().max()) < 6 * 0.5 / math.sqrt(n) + 0.005
    assert abs(float(drawn[:, 2].mean()) - 100.0) < 2.0 and float(drawn[:, 2].max()) > 190


class Recorded(Exact):
    """A mechanism without noise that keeps what it saw."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []
        self.sensitivities: list[float] = []
        self.scores: list[Tensor] = []

    def gaussian(self, value: Tensor, sensitivity: float, share: float, what: str) -> Tensor:
        self.values.append(value)
        self.sensitivities.append(sensitivity)
        return super().gaussian(self.first[len(self.values) - 1] if hasattr(self, "first") else value, 0, 0, "")

    def choose(self, scores: Tensor, sensitivity: float, share: float, what: str) -> int:
        self.scores.append(scores)
        assert sensitivity == 1.0
        return self.chosen[len(self.scores) - 1] if hasattr(self, "chosen") else super().choose(scores, 1.0, 1.0, "")


def test_one_row_changes_no_measure_by_more_than_is_said() -> None:
    cells = _cells(60)
    with_it, without = Recorded(), Recorded()
    MarginalTree(MarginalTreeSpec(), DATA).release(lambda: iter([_batch(cells)]), with_it)
    without.first = with_it.values
    without.chosen = [int(scores.argmax()) for scores in with_it.scores]
    MarginalTree(MarginalTreeSpec(), DATA).release(lambda: iter([_batch(cells[1:])]), without)
    for a, b, most in zip(with_it.values, without.values, with_it.sensitivities, strict=True):
        assert 0.0 < float((a - b).norm()) <= most * (1 + 1e-9)
    for a, b in zip(with_it.scores, without.scores, strict=True):
        assert float((a - b).abs().max()) <= 1.0 + 1e-9


def test_the_uses_take_the_whole_of_epsilon_and_no_more() -> None:
    mechanism = Shared(PrivacyTerms(epsilon=1.0, delta=1e-5), SeededSource(0), True)
    model = MarginalTree(MarginalTreeSpec(), DATA)
    model.release(lambda: iter([_batch(_cells(5000))]), mechanism)
    assert mechanism.epsilon == pytest.approx(1.0, rel=1e-3) and len(mechanism.spent) == 5
    assert mechanism.deviations["marginals of columns"] == pytest.approx(
        2.0 * math.sqrt(2.0) / math.sqrt(2.0 * mechanism.rho)  # half of it, as there are many rows
    )
    with pytest.raises(UsageError, match="more than the whole"):
        mechanism.gaussian(torch.zeros(1), 1.0, 0.1, "once more")


def test_the_exponential_mechanism_has_its_law() -> None:
    mechanism = Shared(PrivacyTerms(epsilon=1.0, delta=1e-5), SeededSource(1), True)
    scores, n = torch.tensor([0.0, 1.0, 2.0]), 4000
    epsilon = math.sqrt(8.0 * mechanism.rho * 1e-5)
    drawn = [mechanism.choose(scores / (epsilon / 2.0), 1.0, 1e-5, "trial") for _ in range(n)]
    found = torch.bincount(torch.tensor(drawn), minlength=3) / n
    assert (found - scores.softmax(0)).abs().max() < 6 * 0.5 / math.sqrt(n)


def test_noisy_counts_become_a_consistent_distribution() -> None:
    counts = torch.tensor([5.0, -2.0, 3.0, 0.5], dtype=torch.float64)
    found = positive(counts, 6.0)
    assert float(found.sum()) == pytest.approx(6.0) and float(found.min()) == 0.0
    assert found[0] > found[2] > found[3] >= found[1]
    rows = torch.tensor([0.3, 0.7], dtype=torch.float64)
    columns = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    joint = consistent(torch.tensor([[10.0, -3, 4], [2, 30, 8]], dtype=torch.float64), rows, columns)
    assert torch.allclose(joint.sum(1), rows, atol=1e-6) and torch.allclose(joint.sum(0), columns, atol=1e-6)
    assert (joint >= 0).all()


def test_codes_that_tell_nothing_are_pooled() -> None:
    counts = torch.tensor([1.0, 1.0, 9.0, 1.0, 1.0])
    assert merged(counts, 3.0, ordered=True).tolist() == [0, 0, 0, 0, 0]
    assert merged(torch.tensor([4.0, 1.0, 3.0, 5.0, 1.0]), 3.0, ordered=True).tolist() == [0, 1, 1, 2, 2]
    assert merged(counts, 3.0, ordered=False).tolist() == [1, 1, 0, 1, 1]
    assert oriented([(0, 2), (2, 1)], 3, 1) == ([1, 2, 0], [2, -1, 1])


def test_other_records_are_refused() -> None:
    with pytest.raises(SpecError, match="tables"):
        MarginalTree(MarginalTreeSpec(), DataSpec(name="p", shape=(1, 8, 8), kind="continuous"))


def test_noise_is_taken_off_and_steps_stay() -> None:
    real = torch.cat((torch.full((24,), 4.0), torch.full((8,), 60.0), torch.full((33,), 4.0))).double()
    assert torch.equal(smoothed(real, 0.0), real)  # nothing is cut off where there is no noise
    errors = []
    for seed in range(20):
        noisy = real + 5.0 * Rng(seed).normal("noise", len(real), (), torch.float64)
        found = smoothed(noisy, 5.0)
        assert float(found.sum()) == pytest.approx(float(noisy.sum()))
        errors.append(float((found - real).square().mean()))
    assert sum(errors) / len(errors) < 0.35 * 25.0


def test_pairs_are_drawn_towards_independence_as_far_as_noise_explains_them() -> None:
    expected = torch.full((8, 8), 10.0, dtype=torch.float64)
    noise = Rng(0).normal("noise", 8, (8,), torch.float64)
    assert torch.equal(shrunk(expected + 3.0 * noise, expected, 0.0), expected + 3.0 * noise)
    assert float((shrunk(expected + 3.0 * noise, expected, 3.0) - expected).norm()) < 0.5 * 3.0 * float(noise.norm())
    apart = expected + 100.0 * torch.eye(8, dtype=torch.float64)
    assert torch.allclose(shrunk(apart + 3.0 * noise, expected, 3.0), apart + 3.0 * noise, rtol=0.05, atol=0.5)
    assert torch.equal(shrunk(expected, expected, 3.0), expected)


def test_few_rows_keep_nearly_all_of_epsilon_for_columns() -> None:
    terms = PrivacyTerms(epsilon=1.0, delta=1e-5)
    few, many = (Shared(terms, SeededSource(0), True) for _ in range(2))
    for n, mechanism in ((150, few), (20_000, many)):
        model = MarginalTree(MarginalTreeSpec(), DATA)
        model.release(lambda n=n: iter([_batch(_cells(n))]), mechanism)
    assert few.deviations["marginals of columns"] < many.deviations["marginals of columns"]


@pytest.mark.parametrize("given", [{"marginal_share": 0.95}, {"choice_share": 0.9}, {}])
def test_given_shares_are_kept_and_the_others_fit_beside_them(given: dict[str, float]) -> None:
    model = MarginalTree(MarginalTreeSpec(**given), DATA)
    for n in (150, 20_000):
        columns, choices = model._chosen_shares(n, 4.0)
        assert columns > 0.0 and choices > 0.0 and columns + choices < 1.0
        assert columns == given.get("marginal_share", columns) and choices == given.get("choice_share", choices)
    with pytest.raises(SpecError, match="below 1"):
        MarginalTree(MarginalTreeSpec(marginal_share=0.9, choice_share=0.1), DATA)
