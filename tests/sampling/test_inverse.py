"""Edits, inpainting and linear inverse problems against the closed-form posterior of Gaussian pictures.

Samplers of Gaussian data are affine, so their mean and covariance are computed, not sampled (`affine_moments`).
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks.validity.convergence import affine_moments
from morphogen.core.capabilities import Denoises
from morphogen.core.errors import SpecError, UsageError
from morphogen.core.rng import Rng
from morphogen.sampling.denoiser import Denoiser
from morphogen.sampling.editing import noised
from morphogen.sampling.grids import angle
from morphogen.sampling.guidance import classifier_free
from morphogen.sampling.inverse import Measured, Replaced, inpainting, least_residual
from morphogen.sampling.loop import sample
from morphogen.sampling.operators import LinearOperator, Masking
from morphogen.sampling.steppers import Multistep, Stepper, stepper
from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser
from morphogen.theory.schedules import Schedule, schedule
from tests.oracles.operators import Blurring, Downsampling

SHAPE, D = (1, 4, 4), 16
KERNEL = torch.tensor([[0.0, 0.1, 0.0], [0.2, 0.4, 0.1], [0.0, 0.2, 0.0]])
KNOWN = torch.zeros(SHAPE)
KNOWN[..., :2] = 1.0
OPERATORS: dict[str, LinearOperator] = {
    "masking": Masking(KNOWN),
    "downsampling": Downsampling(2),
    "blurring": Blurring(KERNEL),
}
BEST = Multistep(2, True, variable="angle")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


MEAN = 0.3 * random(D, seed=1)
_place = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)).double()
COV = 0.5 * torch.exp(-0.5 * torch.cdist(_place, _place).square() / 2.0) + 0.05 * torch.eye(D).double()
PICTURE = (MEAN + torch.linalg.cholesky(COV) @ random(D, seed=2)).reshape(1, *SHAPE)


def pictures(process: Schedule, cov: Tensor = COV) -> GaussianMixtureDenoiser:
    return GaussianMixtureDenoiser.gaussian(process, MEAN.reshape(SHAPE), cov)


def matrix(operator: LinearOperator) -> Tensor:
    """A, (M, D)."""
    return operator.forward(torch.eye(D).double().reshape(D, *SHAPE)).flatten(1).T


def conditioned(a: Tensor, y: Tensor, noise: float, cov: Tensor = COV) -> tuple[Tensor, Tensor]:
    """Mean and covariance of x_0 given y = A x_0 + noise n, by the textbook."""
    gain = cov @ a.T @ torch.linalg.pinv(a @ cov @ a.T + noise**2 * torch.eye(len(a)).double())
    return MEAN + gain @ (y - a @ MEAN), cov - gain @ a @ cov


def moments(
    denoiser: Denoiser, method: Stepper, steps: int, start: tuple[Tensor, Tensor, float]
) -> tuple[Tensor, Tensor]:
    """Of the end of an integration that starts at (mean, covariance, t)."""
    mean, cov, t = start
    grid = angle(denoiser.schedule, steps, t)

    def run(x: Tensor, _: int, noise: object) -> Tensor:
        shaped = lambda i: noise(i).reshape(-1, *SHAPE)  # type: ignore[operator]  # noqa: E731
        return sample(denoiser, method, x.reshape(-1, *SHAPE), grid, shaped).flatten(1)

    return affine_moments(run, mean, cov, steps if method.stochastic else 0)


def from_noise() -> tuple[Tensor, Tensor, float]:
    """x_1 of a process without signal at its end."""
    return torch.zeros(D).double(), torch.eye(D).double(), 1.0


@pytest.mark.parametrize("name", OPERATORS)
def test_adjoints_are_adjoint(name: str) -> None:
    operator, x = OPERATORS[name], random(3, *SHAPE, seed=4)
    y = random(*operator.forward(x).shape, seed=5)
    torch.testing.assert_close((operator.forward(x) * y).sum(), (x * operator.adjoint(y)).sum())
    assert operator.adjoint(y).shape == x.shape


def test_operators_do_what_they_say() -> None:
    x = random(2, 3, 4, 4)
    assert torch.equal(Masking(KNOWN).forward(x)[..., 2:], torch.zeros(2, 3, 4, 2).double())
    torch.testing.assert_close(Downsampling(2).forward(x)[0, 0, 0, 0], x[0, 0, :2, :2].mean())
    torch.testing.assert_close(Blurring(KERNEL).forward(x)[1, 2, 1, 1], (KERNEL * x[1, 2, :3, :3]).sum())


def test_the_least_residual_solves_each_record_and_stops_at_the_solution() -> None:
    root, right = random(3, 6, 6, seed=6), random(3, 6, seed=7)
    right[1] = 0.0
    for full in (root @ root.mT + 0.1 * torch.eye(6).double(), root):  # positive, and of no kind
        found = least_residual(lambda v, m=full: torch.einsum("bij,bj->bi", m, v), right, 12)
        torch.testing.assert_close(found, torch.linalg.solve(full, right), rtol=1e-6, atol=1e-8)


def test_the_least_residual_never_grows() -> None:
    """Not even for a singular matrix that is neither symmetric nor positive, where conjugate gradients diverge."""
    matrix, right = random(50, 6, 6, seed=8), random(50, 6, seed=9)
    matrix[:, :2] = 0.0
    before = right.norm(dim=1)
    for iterations in range(1, 9):
        found = least_residual(lambda v: torch.einsum("bij,bj->bi", matrix, v), right, iterations)
        now = (right - torch.einsum("bij,bj->bi", matrix, found)).norm(dim=1)
        assert (now <= before * (1.0 + 1e-6)).all() and found.isfinite().all()
        before = now


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("t", [0.05, 0.5, 0.95])
def test_the_measured_denoiser_is_exact_for_gaussian_pictures(name: str, t: float) -> None:
    """Against conditioning x_0 on x_t and y at once."""
    process, operator = schedule("cosine"), OPERATORS[name]
    x_t, time = random(1, *SHAPE, seed=8), torch.full((1,), t, dtype=torch.float64)
    a, y = matrix(operator), operator.forward(PICTURE)
    alpha, sigma = process(time)
    joint = torch.cat((a / 0.1, alpha / sigma * torch.eye(D).double()))  # both scaled to unit noise
    seen = torch.cat((y.flatten() / 0.1, x_t.flatten() / sigma))
    found = Measured(pictures(process), operator, y, 0.1, iterations=16).posterior(x_t, time).mean
    torch.testing.assert_close(found.flatten(), conditioned(joint, seen, 1.0)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("noise", [0.05, 0.5])
def test_posterior_samples_have_the_exact_mean_and_covariance(name: str, noise: float) -> None:
    operator = OPERATORS[name]
    y = operator.forward(PICTURE)
    mean, cov = conditioned(matrix(operator), y.flatten(), noise)
    measured = Measured(pictures(schedule("rectified-flow")), operator, y, noise, iterations=10)
    found = moments(measured, BEST, 60, from_noise())
    torch.testing.assert_close(found[0], mean, rtol=0, atol=2e-3)
    torch.testing.assert_close(found[1], cov, rtol=0, atol=2e-3)


def test_stochastic_steppers_draw_from_the_posterior_too() -> None:
    operator = OPERATORS["downsampling"]
    y = operator.forward(PICTURE)
    mean, cov = conditioned(matrix(operator), y.flatten(), 0.2)
    measured = Measured(pictures(schedule("cosine")), operator, y, 0.2, iterations=8)
    errors = []
    for steps in (20, 80):
        found = moments(measured, stepper("ddpm", variance="beta_tilde"), steps, from_noise())
        errors.append(float((found[0] - mean).norm() + (found[1] - cov).norm()))
    assert errors[1] < 0.4 * errors[0] and errors[1] < 0.1  # order 1


def test_the_diagonal_is_exact_where_elements_are_independent() -> None:
    cov = torch.linspace(0.1, 1.0, D).double().diag()
    operator, y = Masking(KNOWN), Masking(KNOWN).forward(PICTURE)
    mean, posterior = conditioned(matrix(operator), y.flatten(), 0.2, cov)
    measured = Measured(pictures(schedule("cosine"), cov), operator, y, 0.2, "diagonal", iterations=16)
    found = moments(measured, BEST, 60, from_noise())
    torch.testing.assert_close(found[0], mean, rtol=0, atol=2e-3)
    torch.testing.assert_close(found[1], posterior, rtol=0, atol=2e-3)


def test_inpainting_keeps_what_is_known_and_draws_the_rest_from_its_posterior() -> None:
    a = matrix(Masking(KNOWN))
    mean, cov = conditioned(a, a @ PICTURE.flatten(), 0.0)
    found = moments(inpainting(pictures(schedule("cosine")), PICTURE, KNOWN, iterations=10), BEST, 60, from_noise())
    known = KNOWN.flatten().bool()
    assert torch.equal(found[0][known], PICTURE.flatten()[known])
    torch.testing.assert_close(found[0], mean, rtol=0, atol=3e-3)
    torch.testing.assert_close(found[1], cov, rtol=0, atol=3e-3)


def test_replacement_alone_is_not_consistent_but_takes_the_known_part_along_the_process() -> None:
    process = schedule("cosine")
    replaced = Replaced(pictures(process), PICTURE, KNOWN)
    a = matrix(Masking(KNOWN))
    mean, _ = conditioned(a, a @ PICTURE.flatten(), 0.0)
    found, spread = moments(replaced, BEST, 60, from_noise())
    known = KNOWN.flatten().bool()
    assert torch.equal(found[known], PICTURE.flatten()[known]) and spread[known].abs().max() < 1e-12
    exact = moments(inpainting(pictures(process), PICTURE, KNOWN, iterations=10), BEST, 60, from_noise())[0]
    assert (found - mean).norm() > 5 * (exact - mean).norm()


def test_wrappers_compose_and_denoise() -> None:
    guided = classifier_free(inpainting(pictures(schedule("cosine")), PICTURE, KNOWN), 1.0)
    assert isinstance(guided, Denoises)
    x = random(1, *SHAPE)
    end = sample(guided, stepper("dpm++2m"), x, angle(guided.schedule, 4), lambda i: x)
    assert torch.equal(end[..., :2], PICTURE[..., :2]) and not end.requires_grad
    with pytest.raises(SpecError, match="covariance 'jacobian' or 'diagonal'"):
        Measured(guided, Masking(KNOWN), PICTURE, covariance="full")  # type: ignore[arg-type]


def test_half_measured_batches_solve_record_by_record() -> None:
    oracle, operator = pictures(schedule("cosine")), Downsampling(2)
    x, y = random(2, *SHAPE, seed=3), operator.forward(random(2, *SHAPE, seed=4))
    time = torch.tensor([0.2, 0.8]).double()
    both = Measured(oracle, operator, y, 0.1).posterior(x, time).mean
    for i in range(2):
        alone = Measured(oracle, operator, y[i : i + 1], 0.1).posterior(x[i : i + 1], time[i : i + 1]).mean
        torch.testing.assert_close(both[i : i + 1], alone)


@pytest.mark.parametrize("strength", [0.3, 0.8])
def test_an_edit_is_the_exact_reverse_from_the_noised_picture(strength: float) -> None:
    """By the flow: the closed-form map of q(x_t | picture)."""
    process = schedule("rectified-flow")
    oracle, t, zero = pictures(process), torch.tensor(strength).double(), torch.tensor(0.0).double()
    alpha, sigma = process(t)
    start = (alpha * PICTURE.flatten(), sigma**2 * torch.eye(D).double(), strength)
    found = moments(oracle, BEST, 60, start)
    units = torch.cat((torch.zeros(1, D).double(), torch.eye(D).double())).reshape(-1, *SHAPE)
    flow = oracle.flow(units, t, zero).flatten(1)
    linear = flow[1:] - flow[0]
    torch.testing.assert_close(found[0], flow[0] + start[0] @ linear, rtol=0, atol=1e-3)
    torch.testing.assert_close(found[1], linear.T @ start[1] @ linear, rtol=0, atol=1e-3)


def test_stronger_edits_keep_less() -> None:
    process = schedule("cosine")
    oracle, kept = pictures(process), []
    for strength in (0.1, 0.4, 0.7, 1.0):
        alpha, sigma = process(torch.tensor(strength).double())
        start = (alpha * PICTURE.flatten(), sigma**2 * torch.eye(D).double(), strength)
        mean, cov = moments(oracle, stepper("ddpm"), 40, start)
        kept.append(float((mean - PICTURE.flatten()).square().sum() + cov.trace()))
    assert kept == sorted(kept)
    torch.testing.assert_close(mean, MEAN, rtol=0, atol=1e-9)


def test_noised_is_addressed_and_follows_q() -> None:
    x = PICTURE.expand(5, -1, -1, -1)
    process, rng = schedule("cosine"), Rng(3)
    whole = noised(x, 0.4, process, rng, 5)
    assert torch.equal(noised(x[:2], 0.4, process, rng, torch.tensor([3, 1])), whole[[3, 1]])
    alpha, sigma = process(torch.tensor(0.4).double())
    eps = (noised(PICTURE.expand(2000, -1, -1, -1), 0.4, process, rng, 2000) - alpha * PICTURE) / sigma
    assert abs(float(eps.mean())) < 5 * eps.numel() ** -0.5  # false alarms: 1 in a million
    assert abs(float(eps.var()) - 1) < 5 * (2 / eps.numel()) ** 0.5
    with pytest.raises(UsageError, match="strength"):
        noised(x, 0.0, process, rng, 5)
