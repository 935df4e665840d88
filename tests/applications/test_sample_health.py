"""What samples look like, on pictures whose spectrum is known."""

import numpy as np
import pytest

from morphogen.applications.sample_health import look_at
from morphogen.data import load


def smooth(n: int, seed: int, scale: float = 20.0, color: float = 100.0) -> np.ndarray:
    """Pictures of waves below an eighth of a cycle a pixel, and a little of finer ones."""
    rng = np.random.default_rng(seed)
    grid = np.arange(32)
    found = np.full((n, 3, 32, 32), color) + rng.normal(0, 10, (n, 3, 1, 1))
    for k in range(1, 4):
        phase = rng.uniform(0, 2 * np.pi, (2, n, 3, 1, 1))
        found += (
            scale * np.cos(2 * np.pi * k * grid / 32 + phase[0]) * np.cos(2 * np.pi * k * grid[:, None] / 32 + phase[1])
        )
    return found + rng.normal(0, 1, found.shape)


def test_records_of_the_same_kind_are_found_alike() -> None:
    found = look_at(smooth(64, 1), smooth(256, 2))
    assert found is not None
    assert found.causes == {}
    assert found.fine == pytest.approx(1.0, abs=0.1)
    assert found.coarse == pytest.approx(1.0, abs=0.2)


def test_added_noise_has_the_power_that_the_formula_says() -> None:
    """Independent noise of variance v adds v to the power of each frequency, for each of 32 x 32 elements."""
    records = smooth(256, 2)
    x = smooth(64, 1) + np.random.default_rng(3).normal(0, 3, (64, 3, 32, 32))
    found = look_at(x, records)
    assert found is not None
    assert found.fine == pytest.approx((1.0 + 9.0) / 1.0, rel=0.1)
    assert set(found.causes) == {"noise"}


@pytest.mark.parametrize(
    ("samples", "causes"),
    [
        (np.random.default_rng(0).uniform(0, 200, (64, 3, 32, 32)), {"noise"}),
        (100.0 + 0.3 * (smooth(64, 1) - 100.0), {"fog"}),
        (smooth(64, 1, color=180.0), {"color"}),
    ],
)
def test_each_fault_is_one_cause(samples: np.ndarray, causes: set[str]) -> None:
    found = look_at(samples, smooth(256, 2))
    assert found is not None
    assert set(found.causes) == causes
    assert all(said.startswith(f"{cause}: ") for cause, said in found.causes.items())


def test_real_records_are_never_warned_of() -> None:
    digits = load("digits").train.stored.numpy()
    for i in range(10):
        found = look_at(digits[64 * i : 64 * (i + 1)], digits[700:1300])
        assert found is not None
        assert found.causes == {}


def test_few_or_small_pictures_say_nothing() -> None:
    assert look_at(smooth(4, 1), smooth(100, 2)) is None
    assert look_at(smooth(100, 1)[:, :, :4], smooth(100, 2)[:, :, :4]) is None
