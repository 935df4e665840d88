"""Time grids: they fall strictly to exactly 0, and are uniform in what they say."""

from __future__ import annotations

import pytest
import torch

from morphogen.core.errors import SpecError, UsageError
from morphogen.sampling.grids import GRIDS, angle, grid, karras, log_snr, power
from morphogen.theory.schedules import EDM, SCHEDULES, RectifiedFlow, schedule
from tests.oracles.denoisers import PROCESSES


@pytest.mark.parametrize("process", SCHEDULES)
@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize(("steps", "start"), [(1, 1.0), (2, 1.0), (50, 1.0), (1000, 1.0), (7, 0.6)])
def test_every_grid_falls_strictly_from_its_start_to_exactly_zero(
    process: str, name: str, steps: int, start: float
) -> None:
    times = grid(name, schedule(process), steps, start)
    assert times.shape == (steps + 1,) and times.dtype == torch.float64
    assert float(times[0]) == start and float(times[-1]) == 0.0
    assert (times.diff() < 0).all()


def test_grids_are_uniform_in_what_they_are_named_after() -> None:
    for process in PROCESSES.values():
        even = log_snr(process, 20, smallest=0.01, largest=5.0)[1:-1]
        torch.testing.assert_close(process.log_snr(even).diff().diff(), torch.zeros(17).double(), rtol=0, atol=1e-6)
        warped = torch.exp(-0.5 * process.log_snr(karras(process, 20)[1:-1])) ** (1 / 7)
        torch.testing.assert_close(warped.diff().diff(), torch.zeros(17).double(), rtol=0, atol=1e-7)
        turned = torch.atan(torch.exp(-0.5 * process.log_snr(angle(process, 20)))).sqrt()
        torch.testing.assert_close(turned.diff().diff(), torch.zeros(19).double(), rtol=0, atol=1e-7)
    torch.testing.assert_close(power(RectifiedFlow(), 4, 0.5, 2.0), 0.5 * (1 - torch.arange(5).double() / 4) ** 2)


def test_the_karras_grid_is_the_published_one() -> None:
    """sigma_i = (80^(1/7) + i / (n - 1) (0.002^(1/7) - 80^(1/7)))^7 for i < n, then 0."""
    i = torch.arange(18).double()
    published = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    torch.testing.assert_close(EDM()(karras(EDM(), 18, smallest=0.002))[1][:-1], published, rtol=1e-9, atol=0)


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(SpecError, match="did you mean 'karras'"):
        grid("karas", EDM(), 10)
    with pytest.raises(UsageError, match="at least 1 step"):
        grid("uniform", EDM(), 0)
    with pytest.raises(UsageError, match=r"start in \(0, 1\]"):
        grid("uniform", EDM(), 10, 1.2)
    with pytest.raises(UsageError, match="start later"):
        karras(EDM(), 10, 1e-6, smallest=0.002)


@pytest.mark.parametrize("made", [karras, log_snr])
def test_few_steps_end_with_more_noise_and_many_with_the_least(made) -> None:
    def last(steps: int, start: float = 1.0) -> float:
        return float(torch.exp(-0.5 * EDM().log_snr(made(EDM(), steps, start)[-2])))

    for steps, expected in ((4, 0.05), (10, 0.02), (20, 0.01), (100, 0.002), (200, 0.002)):
        assert last(steps) == pytest.approx(expected, rel=1e-6)
    assert last(2, start=0.1 / 80.0) == pytest.approx(0.05, rel=1e-6)  # an edit from little noise
