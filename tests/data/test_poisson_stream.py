"""Poisson sampling: each unit takes part with the same probability, independently of the others."""

import pytest
import torch
from scipy import stats

from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError
from morphogen.core.strong_noise import SeededSource, StrongSource
from morphogen.data.poisson_stream import PoissonStream
from morphogen.data.records import Records

N = 40
RECORDS = Records(
    DataSpec(name="n", shape=(1,), kind="continuous"), torch.arange(N, dtype=torch.float32)[:, None], torch.arange(N)
)


def _chosen(stream: PoissonStream, steps: int) -> torch.Tensor:
    found = torch.zeros(steps, N)
    for step in range(steps):
        found[step, stream.batch(step).ids] = 1
    return found


def test_units_take_part_independently_with_the_stated_probability() -> None:
    steps, stream = 3000, PoissonStream(RECORDS, 10, SeededSource(0))
    taken = _chosen(stream, steps)
    assert stream.rate == 0.25
    sizes = torch.bincount(taken.sum(1).long(), minlength=N + 1).double()
    expected = torch.tensor(stats.binom.pmf(range(N + 1), N, 0.25)) * steps
    kept = expected > 5
    statistic = float(((sizes - expected)[kept].square() / expected[kept]).sum())
    assert stats.chi2.sf(statistic, int(kept.sum()) - 1) > 1e-6
    assert (abs(taken.mean(0) - 0.25) < 6 * (0.25 * 0.75 / steps) ** 0.5).all()
    pairs = taken[:, :-1] * taken[:, 1:]
    assert abs(float(pairs.mean()) - 0.0625) < 6 * (0.0625 / (steps * (N - 1))) ** 0.5


def test_a_choice_is_new_whenever_it_is_asked_for() -> None:
    stream = PoissonStream(RECORDS, 10, StrongSource())
    assert len({tuple(stream.batch(0).ids.tolist()) for _ in range(5)}) > 1


def test_rows_of_one_group_come_together_and_copies_have_addresses_of_their_own() -> None:
    groups = [f"patient {i % 7}" for i in range(N)]
    stream = PoissonStream(RECORDS, 3, SeededSource(1), groups, copies=2)
    assert stream.units == 7 and stream.rate == 3 / 7
    for step in range(20):
        batch = stream.batch(step)
        units = stream.units_of(batch)
        assert units is not None and len(units) == len(batch)
        assert (units.diff() >= 0).all() and (units.diff() <= 1).all()
        assert len(batch.address.unique()) == len(batch)
        for u in units.unique().tolist():
            ids = batch.ids[units == u]
            whole = [i for i in range(N) if i % 7 == int(ids[0]) % 7 for _ in range(2)]
            assert ids.tolist() == whole
    assert PoissonStream(RECORDS, 3, SeededSource(1)).units_of(batch) is None


def test_passes_see_each_record_once_and_too_few_units_are_refused() -> None:
    seen = torch.cat([part.ids for part in PoissonStream(RECORDS, 4, SeededSource(0)).passes(7)])
    assert seen.tolist() == list(range(N))
    with pytest.raises(DataError, match="fewer than one batch"):
        PoissonStream(RECORDS, 8, SeededSource(0), ["a"] * N)


def test_a_pass_reads_one_record_of_each_unit_and_always_the_same() -> None:
    def read(seed: int, groups: list[str] | None) -> list[int]:
        stream = PoissonStream(RECORDS, 4, SeededSource(seed), groups)
        first, again = (torch.cat([batch.ids for batch in stream.passes(3)]).tolist() for _ in range(2))
        assert first == again
        return first

    groups = [f"p{i % 8}" for i in range(N)]
    assert sorted(i % 8 for i in read(0, groups)) == list(range(8))
    assert read(0, groups) != read(1, groups)
    assert read(0, None) == list(range(N))
