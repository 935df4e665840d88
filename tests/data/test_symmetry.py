"""Whether mirror images can serve as records."""

import pytest
import torch

from morphogen.core.rng import Rng
from morphogen.data import load
from morphogen.data.symmetry import is_symmetric


def pictures(x: torch.Tensor):
    return load(x.to(torch.uint8).numpy()).train


def noise(n: int) -> torch.Tensor:
    return Rng(1).uniform("pixels", n, (16, 16)) * 255


def test_noise_is_symmetric_and_a_light_from_the_left_is_not():
    x = noise(400)
    assert is_symmetric(pictures(x))
    assert not is_symmetric(pictures(0.5 * x + torch.linspace(100, 0, 16)))
    both = 0.5 * x + torch.linspace(100, 0, 16)
    both[::2] = both[::2].flip(-1)
    assert is_symmetric(pictures(both))


@pytest.mark.parametrize("n", [10, 1])
def test_few_pictures_say_nothing(n):
    assert not is_symmetric(load("digits").train.select(slice(0, n)))


def test_digits_are_not_symmetric():
    assert not is_symmetric(load("digits").train)
