"""`Batch` and its conditions: rows, devices, addresses."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from morphogen.core.batch import Batch, Condition, RawCondition


def batch() -> Batch:
    cond = RawCondition(
        label=torch.tensor([4, 5, 6]), attributes=torch.arange(6.0).reshape(3, 2), present=torch.ones(3, 2) > 0
    )
    return Batch(torch.arange(12.0).reshape(3, 4), torch.tensor([70, 71, 72]), cond, torch.tensor([9, 10, 11]))


@pytest.mark.parametrize("rows", (slice(1, 3), torch.tensor([1, 2]), torch.tensor([False, True, True])))
def test_rows_are_taken_from_everything(rows: object) -> None:
    part = batch()[rows]
    assert len(part) == 2 and len(batch()) == 3
    assert part.x[:, 0].tolist() == [4.0, 8.0] and part.ids.tolist() == [71, 72]
    assert part.index is not None and part.index.tolist() == [10, 11]
    assert part.cond is not None and part.cond.label is not None and part.cond.attributes is not None
    assert part.cond.label.tolist() == [5, 6] and part.cond.attributes[0].tolist() == [2.0, 3.0]
    assert part.cond.text is None


def test_moving_keeps_ids_and_index_on_the_cpu() -> None:
    moved = batch().to("meta")  # a device that every machine has
    assert moved.x.device.type == "meta"
    assert moved.ids.device.type == "cpu" and moved.address.device.type == "cpu"
    assert moved.cond is not None and moved.cond.label is not None and moved.cond.label.device.type == "meta"
    bare = Batch(torch.zeros(2, 1), torch.arange(2)).to("meta")
    assert bare.cond is None and bare.x.device.type == "meta"


def test_address_is_the_place_in_the_stream_or_the_row() -> None:
    assert batch().address.tolist() == [9, 10, 11]
    assert Batch(torch.zeros(3, 1), torch.tensor([5, 6, 7])).address.tolist() == [0, 1, 2]


def test_conditions_repeat_each_row_in_place() -> None:
    cond = batch().cond
    assert cond is not None
    twice = cond.repeated(2)
    assert twice.label is not None and twice.label.tolist() == [4, 4, 5, 5, 6, 6]
    assert twice.attributes is not None and twice.attributes.shape == (6, 2) and twice.text_mask is None


def test_condition_slices_and_moves() -> None:
    cond = Condition(torch.zeros(3, 2, 5), torch.ones(3, 2) > 0, torch.zeros(3, 5))
    assert cond[:1].tokens.shape == (1, 2, 5) and cond.to("meta").pooled.device.type == "meta"
    assert cond[:1].context is None


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        batch().x = torch.zeros(1)  # type: ignore[misc]


def test_rows_that_are_not_kept_know_nothing_but_their_context() -> None:
    text, mask = torch.ones(2, 3, dtype=torch.int64), torch.tensor([[True, True, False]] * 2)
    cond = RawCondition(torch.tensor([3, 4]), torch.ones(2, 2), None, text, mask, torch.zeros(2, 1, 4, 4))
    kept = cond.kept(torch.tensor([True, False]))
    assert kept.label is not None and kept.label.tolist() == [3, -1]
    assert kept.present is not None and kept.present.tolist() == [[True, True], [False, False]]
    assert kept.text_mask is not None and kept.text_mask.tolist() == [[True, True, False], [False] * 3]
    assert kept.context is cond.context and kept.attributes is cond.attributes
    assert RawCondition(torch.tensor([1])).kept(torch.tensor([False])).present is None
