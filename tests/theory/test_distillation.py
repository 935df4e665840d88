"""The direction in which a student moves, on exact denoisers."""

import torch

from morphogen.core.rng import Rng
from morphogen.theory.distillation import SMALLEST_ERROR, direction
from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser
from morphogen.theory.schedules import broadcast, schedule

MEAN = torch.tensor([0.3, -0.2], dtype=torch.float64)
COV = torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64)


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
