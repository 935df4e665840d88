"""`Stream` and `Records`: a function of (seed, step) alone, each epoch a permutation."""

import dataclasses

import pytest
import torch

from morphogen.core.data_spec import Attribute, DataSpec
from morphogen.core.errors import DataError, UsageError
from morphogen.data import Records, Stream


def make(n: int, width: int = 5) -> Records:
    """`n` pictures whose every element tells the record's row, with an attribute and labels."""
    spec = DataSpec(name="toy", shape=(1, 2, width), kind="continuous", levels=256, attributes=(Attribute(name="age"),))
    stored = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).repeat(1, 1, 2, width)
    stored[..., 0] = 255  # so that a mirrored picture differs
    return Records(
        spec,
        stored,
        ids=torch.arange(n) + 1000,
        labels=torch.arange(n) % 3,
        captions=[f"number {i}" for i in range(n)],
        names=[f"{i}.png" for i in range(n)],
        attributes=torch.arange(n, dtype=torch.float32)[:, None],
        present=torch.ones(n, 1, dtype=torch.bool),
    )


def test_every_epoch_is_another_permutation_even_where_batches_straddle_epochs():
    n, size = 10, 4
    stream = Stream(make(n), size, seed=3)
    ids = torch.cat([stream.batch(step).ids for step in range(15)])
    epochs = ids[: len(ids) // n * n].reshape(-1, n) - 1000
    for epoch in epochs:
        assert torch.equal(epoch.sort().values, torch.arange(n))
    assert len({tuple(e.tolist()) for e in epochs}) == len(epochs) == 6


def test_a_batch_depends_on_seed_and_step_alone():
    one, other = Stream(make(50), 8, seed=1), Stream(make(50), 8, seed=1)
    for step in (7, 0, 900, 7, 12):  # in any order
        a, b = one.batch(step), other.batch(step)
        assert torch.equal(a.x, b.x) and torch.equal(a.ids, b.ids)
    [other.batch(step) for step in range(40)]
    assert torch.equal(one.batch(900).x, other.batch(900).x)
    assert not torch.equal(one.batch(0).ids, Stream(make(50), 8, seed=2).batch(0).ids)


@pytest.mark.parametrize("world", [1, 2, 4, 8])
@pytest.mark.parametrize("flips", [False, True])
def test_shares_of_processes_make_up_the_whole_batch(world, flips):
    stream = Stream(make(11), 8, seed=0, flips=flips)
    for step in range(8):
        whole = stream.batch(step)
        shares = [stream.batch(step, rank, world) for rank in range(world)]
        for field in ("x", "ids", "index"):
            assert torch.equal(torch.cat([getattr(s, field) for s in shares]), getattr(whole, field))
        assert torch.equal(torch.cat([s.cond.label for s in shares]), whole.cond.label)
        assert torch.equal(whole.index, torch.arange(step * 8, step * 8 + 8))


def test_records_keep_what_belongs_together():
    records = make(9)
    batch = Stream(records, 6, seed=5).batch(4)
    rows = batch.ids - 1000
    assert torch.equal(batch.x, records.spec.encode(records.stored[rows]))
    assert torch.equal(batch.cond.label, rows % 3)
    assert torch.equal(batch.cond.attributes[:, 0], rows.float())
    for chosen in (rows, slice(2, 7), torch.arange(9) % 2 == 0):
        part = records.select(chosen)
        assert part.captions == [f"number {i - 1000}" for i in part.ids.tolist()]
        assert part.names == [f"{i - 1000}.png" for i in part.ids.tolist()]
        assert torch.equal(part.batch().x, records.batch(chosen).x)
        assert torch.equal(part.batch().ids, records.batch(chosen).ids)


def test_flips_mirror_about_half_of_the_pictures_and_never_the_stored_ones():
    records = make(100)
    before = records.stored.clone()
    stream = Stream(records, 100, seed=0, flips=True)
    mirrored = 0
    for step in range(40):
        batch = stream.batch(step)
        plain = records.batch(batch.ids - 1000).x
        flipped = (batch.x != plain).flatten(1).any(1)
        assert torch.equal(batch.x[flipped], plain[flipped].flip(-1))
        mirrored += int(flipped.sum())
    # Rows 255 look the same mirrored, but no row is 255 here. 4000 fair coins: 5 standard deviations are 158.
    assert abs(mirrored - 2000) < 158
    assert torch.equal(records.stored, before)


def test_unconditional_records_give_no_condition():
    records = dataclasses.replace(make(4), labels=None, attributes=None, present=None)
    assert records.batch().cond is None


def test_stored_values_stay_bytes():
    stream = Stream(make(20), 4, seed=0)
    assert stream._source.stored.dtype == torch.uint8
    assert stream.batch(0).x.dtype == torch.float32
    assert (stream.records, stream.batch_size) == (20, 4)


def test_bad_sizes_are_explained():
    with pytest.raises(DataError, match="10 training records, fewer than one batch of 11"):
        Stream(make(10), 11, seed=0)
    with pytest.raises(UsageError, match="at least 1"):
        Stream(make(10), 0, seed=0)
    with pytest.raises(UsageError, match="cannot be shared by 3"):
        Stream(make(10), 8, seed=0).batch(0, rank=0, world=3)
    vectors = Records(DataSpec(name="v", shape=(2,), kind="continuous"), torch.zeros(3, 2), torch.arange(3))
    with pytest.raises(UsageError, match="flips mirror pictures"):
        Stream(vectors, 2, seed=0, flips=True)


def test_records_go_into_a_data_loader():
    records = make(7)
    x, labels = next(iter(torch.utils.data.DataLoader(records, batch_size=5)))
    assert torch.equal(x, records.batch(slice(0, 5)).x) and torch.equal(labels, records.labels[:5])
    assert torch.equal(records[-1][0], records.batch(slice(len(records) - 1, None)).x[0])
    with pytest.raises(IndexError, match="record 7 of 7"):
        records[len(records)]
