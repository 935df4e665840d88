"""x0, eps, v and flow: round trips, the ends of time, and proportional errors."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from morphogen.core.errors import SpecError
from morphogen.theory.parametrizations import (
    PARAMETRIZATIONS,
    coefficients,
    convert,
    determinant,
    eps_of,
    output_of,
    x_0_of,
)
from morphogen.theory.schedules import SCHEDULES, Schedule, broadcast, schedule


def records(seed: int) -> Tensor:
    return torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X_0, EPS = records(0), records(1)
T = torch.tensor([0.02, 0.3, 0.6, 0.95], dtype=torch.float64)


def noisy(s: Schedule, t: Tensor) -> Tensor:
    alpha, sigma = (broadcast(c, X_0) for c in s(t))
    return alpha * X_0 + sigma * EPS


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("source", "into"), list(itertools.product(PARAMETRIZATIONS, repeat=2)))
def test_every_output_can_be_read_as_every_other(name: str, source: str, into: str) -> None:
    s = schedule(name)
    x_t, y = noisy(s, T), output_of(source, X_0, EPS, T, s)
    torch.testing.assert_close(
        convert(y, source, into, x_t, T, s), output_of(into, X_0, EPS, T, s), rtol=1e-7, atol=1e-7
    )
    torch.testing.assert_close(x_0_of(source, y, x_t, T, s), X_0, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(eps_of(source, y, x_t, T, s), EPS, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("name", "source"), [("cosine", "v"), ("rectified-flow", "flow"), ("rectified-flow", "v")])
def test_velocities_hold_record_and_noise_at_both_ends_of_time(name: str, source: str) -> None:
    s = schedule(name)
    t = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    if source == "flow":
        assert torch.isfinite(torch.stack(s.derivatives(t))).all()
    y, x_t = output_of(source, X_0, EPS, t, s), noisy(s, t)
    torch.testing.assert_close(x_0_of(source, y, x_t, t, s), X_0, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(eps_of(source, y, x_t, t, s), EPS, rtol=1e-12, atol=1e-12)


def test_the_flow_of_a_rectified_flow_is_noise_minus_record() -> None:
    torch.testing.assert_close(output_of("flow", X_0, EPS, T, schedule("rectified-flow")), EPS - X_0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_flow_is_the_time_derivative_of_the_path(name: str) -> None:
    s, h = schedule(name), 1e-6
    difference = (noisy(s, T + h) - noisy(s, T - h)) / (2 * h)
    torch.testing.assert_close(output_of("flow", X_0, EPS, T, s), difference, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["cosine", "rectified-flow"])
@pytest.mark.parametrize("source", PARAMETRIZATIONS)
def test_errors_are_proportional(name: str, source: str) -> None:
    s = schedule(name)
    x_t, y, error = noisy(s, T), output_of(source, X_0, EPS, T, s), records(2)
    moved = x_0_of(source, y + error, x_t, T, s) - x_0_of(source, y, x_t, T, s)
    torch.testing.assert_close(
        -broadcast(determinant(source, T, s) / s(T)[1], moved) * moved, error, rtol=1e-6, atol=1e-9
    )


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(SpecError, match="unknown parametrization 'epsilon'"):
        coefficients("epsilon", T, schedule("cosine"))
