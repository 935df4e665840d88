"""Copying: what is planted is found, new records alarm at no more than the stated rate, twins do not blind it."""

from __future__ import annotations

import pytest
import scipy.stats
import torch
from torch import Tensor

from morphogen.core.errors import DataError, UsageError
from morphogen.core.rng import Rng
from morphogen.evaluation.metrics.copying import _nearest, _ranks, copying
from morphogen.theory.statistics.intervals import binomial_tail

D = 8


def records(seed: int, n: int) -> Tensor:
    """Two unlike clusters: one tight, one wide, so that closeness differs between them."""
    z, side = Rng(seed).normal("x", n, (D,)), Rng(seed).integers("side", n, 2)[:, None]
    return torch.where(side == 0, 0.3 * z, z + 6.0)


TRAIN, HELD_OUT, NEW = records(10**6, 2000), records(10**6 + 1, 400), records(10**6 + 2, 400)


def test_the_tests_equal_scipy() -> None:
    x, y = (Rng(0).integers(name, n, 12).double() for name, n in (("x", 60), ("y", 80)))
    want = scipy.stats.mannwhitneyu(x, y, alternative="less", method="asymptotic", use_continuity=False).pvalue
    one = torch.zeros(60), torch.zeros(80)
    assert _ranks(x, y, *one) == pytest.approx(want, rel=1e-9)
    cut = torch.cat((x, y)).sort().values[13]  # the 14th of 140: alpha = 0.1
    k, hits = int((torch.cat((x, y)) <= cut).sum()), int((x <= cut).sum())
    assert _nearest(x, y, 0.1) == pytest.approx(scipy.stats.hypergeom.sf(hits - 1, 140, 60, k), rel=1e-8)


def test_training_records_are_flagged_and_all_counted_as_copies() -> None:
    found = copying(TRAIN[:400], HELD_OUT, TRAIN)
    assert found.flagged and found.p_value < 1e-50
    assert found.copied.value == 1.0 and float(found.distances.max()) == 0.0
    assert torch.equal(found.twins, torch.arange(400))
    assert float(found.p_values.max()) == pytest.approx(1 / 401)


@pytest.mark.parametrize(("copies", "noise"), [(200, 0.0), (200, 0.02), (40, 0.0), (20, 0.02)])
def test_a_part_of_copies_is_found_and_its_share_estimated(copies: int, noise: float) -> None:
    planted = TRAIN[:copies] + noise * Rng(0).normal("noise", copies, (D,))
    found = copying(torch.cat((NEW[copies:], planted)), HELD_OUT, TRAIN)
    assert found.flagged
    assert found.copied.interval[0] <= copies / 400 <= found.copied.interval[1]
    assert set(found.closest[: copies // 2].tolist()) <= set(range(400 - copies, 400))


def test_copies_among_garbage_are_found() -> None:
    """Ranks alone would not see them: most records are farther out than real ones."""
    found = copying(torch.cat((NEW[:360] + 20.0, TRAIN[:40])), HELD_OUT, TRAIN)
    assert found.flagged and found.p_ranks > 0.5


def test_held_out_records_raise_the_alarm_at_no_more_than_the_stated_rate() -> None:
    """100 trials at the 5 % level: more than 12 alarms come once in 10^3. And the p-values are those of new records."""
    alarms, small = 0, []
    for seed in range(100):
        found = copying(records(3 * seed, 150), records(3 * seed + 1, 150), records(3 * seed + 2, 300))
        alarms += found.flagged
        small.append(float((found.p_values <= 0.2).double().mean()))
    assert binomial_tail(alarms, 100, 0.05) > 1e-3
    assert sum(small) / 100 < 0.2 + 4 * float(torch.tensor(small).std()) / 10


def test_thirty_held_out_records_are_enough() -> None:
    """The training records join them: the rate of alarms holds, and a tenth of copies is found."""
    alarms = sum(
        copying(records(3 * seed, 255), records(3 * seed + 1, 30), records(3 * seed + 2, 255)).flagged
        for seed in range(60)
    )
    assert binomial_tail(alarms, 60, 0.05) > 1e-3
    train = records(10**6 + 3, 255)
    found = copying(torch.cat((records(10**6 + 4, 225), train[:30])), HELD_OUT[:30], train)
    assert found.flagged and found.copied.interval[0] > 0.0
    assert found.copied.interval[0] <= 30 / 255 <= found.copied.interval[1]


def test_held_out_twins_of_training_records_do_not_blind_it() -> None:
    """A third of the held-out records occur in the training set: their distances, 0, tie with those of copies."""
    twins = torch.cat((HELD_OUT[:280], TRAIN[1000:1120]))
    new = torch.cat((NEW[:280], TRAIN[1200:1320]))  # fresh records of the same source have as many
    assert not copying(new, twins, TRAIN).flagged
    copied, half = copying(TRAIN[:400], twins, TRAIN), copying(torch.cat((NEW[:200], TRAIN[:200])), twins, TRAIN)
    assert copied.duplicates == 120 and copied.expected == 0.3
    assert copied.flagged and copied.copied.value == 1.0
    assert half.flagged
    assert half.copied.interval[0] > 0.1


def test_a_model_that_prefers_a_dense_class_is_not_accused() -> None:
    """Its records lie closer to training records than held-out ones do, as all of that class."""
    tight = records(5, 3000)
    tight = tight[tight[:, 0] < 2.5][:400]
    found = copying(tight, HELD_OUT, TRAIN)
    without_cells = _ranks(
        found.distances, copying(HELD_OUT, HELD_OUT, TRAIN).distances, torch.zeros(400), torch.zeros(400)
    )
    assert without_cells < 1e-10 and found.p_ranks > 1e-3


def test_pictures_are_records_too() -> None:
    pictures = [r.reshape(-1, 2, 2, 2) for r in (TRAIN[:400], HELD_OUT, TRAIN)]
    assert copying(*pictures).flagged


def test_too_few_records_are_refused() -> None:
    for some in ((NEW[:29], HELD_OUT, TRAIN), (NEW, HELD_OUT[:29], TRAIN), (NEW, HELD_OUT, TRAIN[:29])):
        with pytest.raises(DataError, match="at least 30 of each are needed: closeness is judged by ranks"):
            copying(*some)
    with pytest.raises(DataError, match="needs at least 100 held-out records, got 70"):
        copying(NEW, HELD_OUT[:30], TRAIN[:40])
    with pytest.raises(DataError, match="needs at least 1000 held-out records, got 400"):
        copying(NEW, HELD_OUT, TRAIN, alpha=0.001)
    with pytest.raises(UsageError, match="between 0 and 1"):
        copying(NEW, HELD_OUT, TRAIN, level=5)
