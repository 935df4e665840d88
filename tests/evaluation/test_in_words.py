"""The sentence before the numbers: real pictures, blurred, noisy and copied ones, and kinds that are missing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from morphogen.data import Dataset, load
from morphogen.evaluation import judge_records

N = 250


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """Training digits and their classes, and held-out ones."""
    data = load("digits")
    return data.train.stored, data.test.stored


def said_of(pictures: Tensor) -> str:
    data = load("digits")
    return judge_records(pictures, data.spec, data, ["kid"]).sentence


def test_real_ones_are_sharp_and_cover_all_kinds(digits: tuple[Tensor, Tensor]) -> None:
    assert said_of(digits[1][:N]) == "Sharp, shades right, 10 of 10 kinds covered; none looks copied."


def test_copies_are_said(digits: tuple[Tensor, Tensor]) -> None:
    assert said_of(digits[0][:N]).endswith("; about 100.0% look copied.")


def test_copies_that_were_not_looked_for_are_said_not_to_be(digits: tuple[Tensor, Tensor]) -> None:
    data = load("digits")
    few = Dataset(data.spec, {"train": data.train, "test": data.test.select(torch.arange(20))})
    for metrics in (["kid"], None):  # without names the checks are left out, with names they are warned of
        found = judge_records(digits[1][:N], data.spec, few, metrics)
        assert found.sentence.endswith("; whether some are copied is not checked.")


def test_blurred_noisy_and_dark_ones(digits: tuple[Tensor, Tensor]) -> None:
    x = digits[1][:N].float()
    blurred = F.avg_pool2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), 5, stride=1).round().byte()
    assert said_of(blurred).startswith(("Blurred, shades right", "All nearly alike, shades right"))
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 17, x.shape, dtype=np.uint8))
    assert said_of(noise).startswith("Noisy")
    assert ", shades wrong, " in said_of((0.3 * x).round().byte())


def test_missing_kinds_are_counted(digits: tuple[Tensor, Tensor]) -> None:
    data = load("digits")
    assert data.test.labels is not None
    few = data.test.stored[(data.test.labels == 0) | (data.test.labels == 1)]
    assert ", 2 of 10 kinds covered" in said_of(few)
