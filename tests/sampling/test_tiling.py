"""Overlapping windows: exact where they can be, cut as the condition is, and without a seam."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from morphogen.core.batch import RawCondition
from morphogen.core.distributions import Gaussian
from morphogen.core.errors import UsageError
from morphogen.sampling.inverse import Measured
from morphogen.sampling.tiling import Tiled, starts
from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser
from morphogen.theory.schedules import Schedule, schedule
from tests.oracles.operators import Downsampling

COSINE = schedule("cosine")
TIME = torch.full((2,), 0.4, dtype=torch.float64)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def independent(height: int, width: int) -> GaussianMixtureDenoiser:
    """Pixels of mean 0.3 and variance 0.6."""
    d = height * width
    return GaussianMixtureDenoiser.gaussian(
        COSINE, torch.full((1, height, width), 0.3).double(), 0.6 * torch.eye(d).double()
    )


class Echo:
    """Says its condition: the context enlarged, plus the label; the time as the variance."""

    schedule: Schedule = COSINE

    def posterior(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Gaussian:
        assert cond is not None and cond.label is not None
        assert t.shape == (len(x_t),) == cond.label.shape
        mean = torch.zeros_like(x_t) + cond.label.view(-1, 1, 1, 1)
        if cond.context is not None:
            mean = mean + F.interpolate(cond.context, size=x_t.shape[2:], mode="nearest")
        return Gaussian(mean, t.log().to(x_t).view(-1, 1, 1, 1).expand_as(x_t))


def test_a_picture_of_one_window_passes_through() -> None:
    denoiser, x_t = independent(4, 6), random(2, 1, 4, 6)
    plain, tiled = denoiser.posterior(x_t, TIME), Tiled(denoiser, (4, 6)).posterior(x_t, TIME)
    assert torch.equal(plain.mean, tiled.mean) and torch.equal(plain.log_var, tiled.log_var)


@pytest.mark.parametrize("size", [(8, 12), (5, 7), (4, 9), (11, 6)])
@pytest.mark.parametrize("at_once", [1, 7, 64])
def test_it_is_exact_for_independent_pixels(size: tuple[int, int], at_once: int) -> None:
    x_t = random(2, 1, *size)
    whole = independent(*size).posterior(x_t, TIME)
    tiled = Tiled(independent(4, 6), (4, 6), at_once).posterior(x_t, TIME)
    torch.testing.assert_close(tiled.mean, whole.mean)
    torch.testing.assert_close(tiled.var, whole.var)


def test_a_measurement_sees_through_the_windows() -> None:
    """Its products with the covariance are derivatives of the tiled estimate."""
    x_t, y = random(2, 1, 8, 12), random(2, 1, 4, 6, seed=1)
    whole = Measured(independent(8, 12), Downsampling(2), y, 0.1).posterior(x_t, TIME)
    tiled = Measured(Tiled(independent(4, 6), (4, 6)), Downsampling(2), y, 0.1).posterior(x_t, TIME)
    torch.testing.assert_close(tiled.mean, whole.mean)


@pytest.mark.parametrize("ratio", [1, 2, 4])
def test_conditions_are_cut_and_repeated(ratio: int) -> None:
    context, label = random(2, 1, 20 // ratio, 12 // ratio), torch.tensor([3, -5])
    x_t, cond = random(2, 1, 20, 12), RawCondition(label=label, context=context)
    t = torch.tensor([0.2, 0.9], dtype=torch.float64)
    whole, tiled = Echo().posterior(x_t, t, cond), Tiled(Echo(), (8, 8), 3).posterior(x_t, t, cond)
    torch.testing.assert_close(tiled.mean, whole.mean)
    torch.testing.assert_close(tiled.var, whole.var)
    without = RawCondition(label=label)
    torch.testing.assert_close(
        Tiled(Echo(), (8, 8)).posterior(x_t, t, without).mean, Echo().posterior(x_t, t, without).mean
    )


def test_certainty_stays_certain() -> None:
    class Sure(Echo):
        def posterior(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Gaussian:
            return Gaussian(x_t, torch.full_like(x_t, -torch.inf))

    found = Tiled(Sure(), (4, 4)).posterior(random(1, 1, 9, 9), TIME[:1])
    assert (found.var == 0.0).all() and found.mean.isfinite().all()


@pytest.mark.parametrize("multiple", [1, 2, 4])
@pytest.mark.parametrize("side", [16, 20, 24, 52, 128])
def test_windows_cover_a_side_from_end_to_end(side: int, multiple: int) -> None:
    found = starts(side, 16, multiple)
    assert found[0] == 0 and found[-1] == side - 16
    steps = [b - a for a, b in itertools.pairwise(found)]
    assert all(0 < step <= 8 + multiple for step in steps)
    assert all(place % multiple == 0 for place in found)


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(UsageError, match="no room for a window of 8x8"):
        Tiled(Echo(), (8, 8)).posterior(random(2, 1, 4, 20), TIME)
    cond = RawCondition(label=torch.zeros(2).long(), context=random(2, 1, 5, 5))
    with pytest.raises(UsageError, match="cannot be cut into windows"):
        Tiled(Echo(), (8, 8)).posterior(random(2, 1, 12, 12), TIME, cond)
    cond = RawCondition(label=torch.zeros(2).long(), context=random(2, 1, 4, 4))
    with pytest.raises(UsageError, match="cannot be cut into windows"):
        Tiled(Echo(), (8, 8)).posterior(random(2, 1, 12, 12), TIME, cond)
