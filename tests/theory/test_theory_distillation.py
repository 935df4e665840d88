"""What a student learns from a teacher: the path, the pairs of times, and the direction, on exact denoisers."""

import itertools
import math

import pytest
import torch

from morphogen.core.rng import Rng
from morphogen.theory.distillation import SMALLEST_ERROR, along_the_flow, closer, direction
from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser
from morphogen.theory.schedules import SCHEDULES, broadcast, schedule

MEAN = torch.tensor([0.3, -0.2], dtype=torch.float64)
COV = torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64)


@pytest.mark.parametrize("name", SCHEDULES)
def test_many_small_steps_along_the_flow_end_where_the_flow_of_a_gaussian_ends(name):
    process = schedule(name)
    oracle = GaussianMixtureDenoiser.gaussian(process, MEAN, COV)
    x = Rng(0).normal("x", 6, (2,), torch.float64)
    start = process.time(torch.tensor(-2.0, dtype=torch.float64))  # sigma / alpha = e
    alpha, sigma = process(start)
    x = alpha * MEAN + sigma * x
    # along each eigenvector (x_t - alpha_t m) / sqrt(alpha_t^2 l + sigma_t^2) stays what it is
    values, vectors = torch.linalg.eigh(COV)
    factor = values.sqrt() / (alpha.square() * values + sigma.square()).sqrt()
    truth = MEAN + ((x - alpha * MEAN) @ vectors * factor) @ vectors.T

    def ended(steps):
        angles = torch.atan(torch.tensor(math.e, dtype=torch.float64)) * torch.linspace(1, 0, steps + 1).double()
        times = [start, *process.time(-2.0 * torch.tan(angles[1:-1]).log()), torch.zeros((), dtype=torch.float64)]
        y = x
        for t, r in itertools.pairwise(times):
            y = along_the_flow(y, oracle.posterior(y, t).mean, t.expand(6), r.expand(6), process)
        return float((y - truth).abs().max())

    coarse, fine = ended(100), ended(400)
    assert fine < 0.01
    assert 3.0 < coarse / fine < 5.0, "a method of first order"


def test_a_step_to_the_end_is_the_estimate_and_no_step_stays():
    process = schedule("cosine")
    x, d = (Rng(k).normal("x", 4, (3,), torch.float64) for k in (0, 1))
    t = torch.tensor([0.1, 0.4, 0.7, 0.9], dtype=torch.float64)
    torch.testing.assert_close(along_the_flow(x, d, t, torch.zeros_like(t), process), d)
    torch.testing.assert_close(along_the_flow(x, d, t, t, process), x)


@pytest.mark.parametrize("name", ["edm", "cosine", "rectified-flow"])
def test_pairs_of_times_start_wide_and_close_in(name):
    process = schedule(name)
    t = torch.linspace(0.05, 0.95, 40, dtype=torch.float64)
    gaps = []
    for fraction in (0.0, 0.3, 0.6, 0.99, 1.0):
        r = closer(t, fraction, process)
        assert (r >= 0).all() and (r < t).all()
        gaps.append(float((t - r).mean()))
    assert gaps[0] > gaps[1] > gaps[2] > gaps[3] == gaps[4]


def test_at_the_start_clean_ends_are_reached_from_where_little_noise_is():
    process = schedule("edm")
    noise = torch.tensor([0.01, 0.1], dtype=torch.float64)
    t = process.time(-2.0 * noise.log())
    assert (closer(t, 0.0, process) == 0.0).all()


def test_the_direction_vanishes_in_the_mean_where_student_and_teacher_agree_and_points_to_the_teacher_elsewhere():
    """For Gaussians N(m', C) and N(m, C) the expected difference of denoisers is (I - K)(m' - m), K the gain: so a
    move against it brings the means together."""
    process = schedule("cosine")
    teacher = GaussianMixtureDenoiser.gaussian(process, MEAN, COV)
    shifted = MEAN + torch.tensor([0.4, 0.1], dtype=torch.float64)
    student = GaussianMixtureDenoiser.gaussian(process, shifted, COV)
    t = torch.full((4000,), 0.5, dtype=torch.float64)
    alpha, sigma = process(t)
    root = torch.linalg.cholesky(COV)
    y = shifted + Rng(2).normal("y", 4000, (2,), torch.float64) @ root.T
    y_t = broadcast(alpha, y) * y + broadcast(sigma, y) * Rng(3).normal("n", 4000, (2,), torch.float64)
    same = direction(y, student.posterior(y_t, t).mean, student.posterior(y_t, t).mean)
    assert (same == 0.0).all()
    difference = student.posterior(y_t, t).mean - teacher.posterior(y_t, t).mean
    gain = alpha[0] ** 2 * COV @ torch.linalg.inv(alpha[0] ** 2 * COV + sigma[0] ** 2 * torch.eye(2).double())
    expected = (torch.eye(2).double() - gain) @ (shifted - MEAN)
    torch.testing.assert_close(difference.mean(0), expected, rtol=1e-9, atol=1e-9)  # linear: the same for every y_t
    moved = direction(y, student.posterior(y_t, t).mean, teacher.posterior(y_t, t).mean).mean(0)
    assert float(moved @ (shifted - MEAN)) > 0.0


def test_the_size_of_a_direction_is_that_of_the_error_and_bounded_where_there_is_none():
    record, student, teacher = (Rng(k).normal("x", 5, (1, 3, 3), torch.float64) for k in range(3))
    found = direction(record, student, teacher)
    error = (record - teacher).abs().flatten(1).mean(1)
    torch.testing.assert_close(found.flatten(1), (student - teacher).flatten(1) / error[:, None])
    found = direction(teacher, student, teacher)
    torch.testing.assert_close(found, (student - teacher) / SMALLEST_ERROR)
