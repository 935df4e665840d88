"""Noise schedules: their ends, their invariants, their derivatives and inverses, and the published special cases."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from morphogen.core.errors import SpecError
from morphogen.theory.schedules import (
    EDM,
    SCHEDULES,
    Cosine,
    LinearBeta,
    RectifiedFlow,
    Schedule,
    Shifted,
    VarianceExploding,
    ZeroTerminalSNR,
    broadcast,
    schedule,
)

T = torch.tensor([1e-6, 0.01, 0.3, 0.7, 0.99], dtype=torch.float64)
ENDS = torch.tensor([0.0, 1.0], dtype=torch.float64)
ALL: list[Schedule] = [
    *(make() for make in SCHEDULES.values()),
    ZeroTerminalSNR(LinearBeta()),
    Shifted(Cosine(), 2.0),
    Shifted(RectifiedFlow(), 3.0),
    Shifted(EDM(), 0.5),
    schedule("linear-beta", zero_terminal_snr=True, shift=4.0),
]


@pytest.mark.parametrize("s", ALL, ids=repr)
def test_starts_at_the_data_and_loses_signal_to_noise_ever_after(s: Schedule) -> None:
    alpha, sigma = s(ENDS)
    assert float(alpha[0]) == 1.0 and float(sigma[0]) == 0.0
    grid = torch.linspace(0, 1, 1001, dtype=torch.float64)
    assert (s.log_snr(grid).diff()[1:] < 0).all()
    assert (s(grid)[1].diff() > -1e-15).all()


@pytest.mark.parametrize("s", ALL, ids=repr)
def test_kinds_keep_what_they_promise(s: Schedule) -> None:
    alpha, sigma = s(torch.cat((ENDS, T)))
    kept = {"preserving": alpha**2 + sigma**2, "exploding": alpha, "straight": alpha + sigma}[s.kind]
    torch.testing.assert_close(kept, torch.ones_like(kept), rtol=1e-13, atol=0)


@pytest.mark.parametrize("s", ALL, ids=repr)
def test_time_inverts_the_log_snr(s: Schedule) -> None:
    torch.testing.assert_close(s.time(s.log_snr(T)), T, rtol=1e-9, atol=1e-14)
    assert s.time(s.log_snr(ENDS[:1])).item() == 0.0
    assert s.time(torch.tensor([-math.inf, -60.0])).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("s", ALL, ids=repr)
def test_derivatives_equal_differences(s: Schedule) -> None:
    t, h = T[1:-1], 1e-6
    for exact, later, earlier in zip(s.derivatives(t), s(t + h), s(t - h), strict=True):
        torch.testing.assert_close(exact, (later - earlier) / (2 * h), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("s", ALL, ids=repr)
def test_small_times_keep_their_digits_in_float32(s: Schedule) -> None:
    t = torch.tensor([1e-6, 1e-4])
    torch.testing.assert_close(s(t)[1].double(), s(t.double())[1], rtol=1e-5, atol=0)


def test_linear_beta_is_the_limit_of_the_published_chain() -> None:
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    chain = (1.0 - betas).cumprod(0).sqrt()
    alpha = LinearBeta()(torch.arange(1, 1001, dtype=torch.float64) / 1000)[0]
    torch.testing.assert_close(chain.log(), alpha.log(), rtol=0.02, atol=1e-4)  # 1 - b against exp(-b)


def test_cosine_and_variance_exploding_equal_their_textbook_forms() -> None:
    alpha, _ = Cosine()(T)
    form = lambda t: torch.cos(0.5 * math.pi * (t + 0.008) / 1.008)  # noqa: E731
    torch.testing.assert_close(alpha, form(T) / form(torch.zeros_like(T)), rtol=1e-12, atol=0)
    _, sigma = VarianceExploding(0.01, 50.0)(T)
    torch.testing.assert_close(sigma**2, (0.01 * 5000.0**T) ** 2 - 0.01**2, rtol=1e-9, atol=0)


def test_zero_terminal_snr_ends_without_signal_and_shifts_keep_the_ends() -> None:
    assert float(LinearBeta()(ENDS)[0][1]) > 0.0
    assert ZeroTerminalSNR(LinearBeta())(ENDS)[0].tolist() == [1.0, 0.0]
    before, after = RectifiedFlow(), Shifted(RectifiedFlow(), 3.0)
    torch.testing.assert_close(after(T)[1], 3 * T / (1 + 2 * T), rtol=1e-14, atol=0)
    for base in (before, Cosine(), EDM()):
        moved = Shifted(base, 3.0).log_snr(T) - base.log_snr(T)
        torch.testing.assert_close(moved, torch.full_like(T, -2 * math.log(3.0)), rtol=1e-12, atol=0)


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(SpecError, match="did you mean 'cosine'"):
        schedule("cosin")
    with pytest.raises(SpecError, match="variance-preserving"):
        schedule("edm", zero_terminal_snr=True)
    with pytest.raises(SpecError, match="shift must be positive"):
        schedule("edm", shift=0.0)


@pytest.mark.parametrize("t", [torch.tensor(0.5), torch.tensor([0.5, 0.7])])
def test_coefficients_broadcast_over_records(t: Tensor) -> None:
    x = torch.zeros(2, 3, 4, 4)
    shaped = broadcast(t.double(), x)
    assert (shaped * x).shape == x.shape and shaped.dtype == x.dtype
