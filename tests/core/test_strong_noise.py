"""Noise that protects: its law, its independence, and what a seed changes."""

import torch
from scipy import stats

from morphogen.core.strong_noise import SeededSource, StrongSource, noisy

N = 200_000


def test_strong_normals_are_standard_normal_and_uncorrelated() -> None:
    z = StrongSource().normal(N)
    assert stats.kstest(z.numpy(), "norm").pvalue > 1e-6
    assert abs(float((z[1:] * z[:-1]).mean())) < 6 / N**0.5
    assert abs(float((z[: N // 2] * z[N // 2 :]).mean())) < 6 / (N / 2) ** 0.5  # of one pair of uniforms
    assert z.dtype == torch.float64 and len(StrongSource().normal(7)) == 7
    assert not torch.equal(StrongSource().normal(8), StrongSource().normal(8))


def test_strong_uniforms_lie_inside_and_are_uniform() -> None:
    u = StrongSource().uniform(N)
    assert float(u.min()) > 0.0 and float(u.max()) < 1.0
    assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-6


def test_seeded_noise_comes_again_in_the_same_session_only() -> None:
    assert torch.equal(SeededSource(3).normal(5), SeededSource(3).normal(5))
    assert not torch.equal(SeededSource(3).normal(5), SeededSource(3, session=1).normal(5))
    assert not torch.equal(SeededSource(3).normal(5), SeededSource(4).normal(5))


def test_a_noisy_value_has_the_stated_deviation_and_lies_on_a_grid() -> None:
    value = torch.full((N,), 5.0)
    seen = noisy(value, 2.0, SeededSource(0))
    assert abs(float(seen.std()) - 2.0) < 6 * 2.0 / (2 * N) ** 0.5 and abs(float(seen.mean()) - 5.0) < 6 * 2.0 / N**0.5
    steps = seen / (2.0 * 2.0**-20)
    assert torch.equal(steps, steps.round())
    assert torch.equal(noisy(value, 0.0, SeededSource(0)), value.double())
