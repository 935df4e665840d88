"""The loop: what it yields, the addresses of its noise, and the marginals that stochastic steppers must keep.

Statistical assertions use fixed seeds and room for z = 5 standard errors a figure: a correct sampler fails one of them
about once in 50,000 choices of the seed.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from morphogen.core.batch import RawCondition
from morphogen.core.distributions import Gaussian
from morphogen.core.errors import UsageError
from morphogen.core.rng import Rng
from morphogen.sampling.denoiser import Denoiser
from morphogen.sampling.grids import grid
from morphogen.sampling.loop import addressed, integrate, sample, starting_noise
from morphogen.sampling.steppers import STEPPERS, stepper
from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser
from morphogen.theory.schedules import EDM
from tests.oracles.denoisers import COV, MEAN, PROCESSES, gaussian, number, plane_mixture

Z = 5.0


class Counting:
    """A denoiser that knows how often it was asked."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser, self.schedule, self.asked = denoiser, denoiser.schedule, 0

    def posterior(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Gaussian:
        self.asked += 1
        return self.denoiser.posterior(x_t, t, cond)


def test_it_yields_the_start_and_every_state_until_exactly_zero() -> None:
    oracle, times = plane_mixture(PROCESSES["cosine"]), grid("uniform", PROCESSES["cosine"], 7)
    x = torch.ones(2, 2).double()
    states = list(integrate(oracle, stepper("heun"), x, times, lambda i: x))
    assert [s.step for s in states] == list(range(8)) and {s.steps for s in states} == {7}
    assert torch.equal(torch.stack([s.t for s in states]), times)
    assert torch.equal(states[0].x, x) and states[0].x_0 is None
    for before, after in itertools.pairwise(states):
        assert torch.equal(after.x_0, oracle.posterior(before.x, before.t.expand(2)).mean)  # the preview
    assert torch.equal(states[-1].x, states[-1].x_0)


def test_it_takes_no_gradients_and_leaves_the_caller_his() -> None:
    x = torch.ones(1, 2).double().requires_grad_()
    times, states = grid("karras", PROCESSES["edm"], 3), []
    for state in integrate(gaussian(PROCESSES["edm"]), stepper("ddim"), x, times, lambda i: x):
        assert torch.is_grad_enabled()
        states.append(state)
    assert not states[-1].x.requires_grad


@pytest.mark.parametrize("name", STEPPERS)
def test_a_record_does_not_depend_on_its_batch(name: str) -> None:
    process = PROCESSES["edm"]
    denoiser, times, rng = plane_mixture(process), grid("karras", process, 6), Rng(4)

    def run(index: Tensor | int) -> Tensor:
        x = starting_noise(process, rng, index, (2,), torch.float64)
        return sample(denoiser, stepper(name), x, times, addressed(rng, index, x), from_noise=True)

    whole = run(9)
    torch.testing.assert_close(run(torch.tensor([7, 2])), whole[[7, 2]], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(run(torch.arange(3, 6)), whole[3:6], rtol=1e-12, atol=1e-12)
    assert (whole[0] - whole[1]).abs().max() > 1e-6


def test_noise_differs_from_step_to_step_and_seed_to_seed() -> None:
    x = torch.zeros(4, 3)
    draws = torch.stack([addressed(Rng(seed), 4, x)(i) for seed in (0, 1) for i in range(3)])
    assert len(torch.unique(draws)) == draws.numel()
    assert draws.dtype == x.dtype and draws.shape[1:] == x.shape


def test_the_start_has_the_deviation_of_the_schedule() -> None:
    x = starting_noise(PROCESSES["edm"], Rng(0), 4000, (2,), torch.float64)
    assert abs(float(x.var()) / 100.0 - 1.0) < Z * (2 / 8000) ** 0.5


@pytest.mark.parametrize("name", STEPPERS)
def test_a_start_from_noise_has_the_mean_of_the_data_at_no_evaluation(name: str) -> None:
    """Bright Gaussian data: noise alone, with the mean 0, ends sqrt(cov) / sigma_1 times their mean too low."""
    mean = torch.full((2,), 5.0, dtype=torch.float64)
    oracle = Counting(GaussianMixtureDenoiser.gaussian(EDM(20.0), mean, COV))
    half = starting_noise(oracle.schedule, Rng(0), 500, (2,), torch.float64)
    x, times, drawn = torch.cat((half, -half)), grid("karras", oracle.schedule, 60), addressed(Rng(0), 500, half)

    def off(from_noise: bool) -> float:
        def both(i: int) -> Tensor:
            return torch.cat((drawn(i), -drawn(i)))  # as the denoiser is affine, all noise cancels

        made = sample(oracle, stepper(name), x, times, both, from_noise=from_noise)
        return float((made.mean(0) - mean).abs().max())

    oracle.asked = 0
    here = off(True)
    assert oracle.asked == stepper(name).evaluations(60)
    assert here < 0.01
    assert stepper(name).stochastic or off(False) > 0.1


@pytest.mark.parametrize("process", PROCESSES)
def test_only_a_schedule_that_leaves_signal_adds_it_to_noise(process: str) -> None:
    oracle = gaussian(PROCESSES[process])
    noise = starting_noise(oracle.schedule, Rng(0), 3, (2,), torch.float64)
    times = grid("uniform", oracle.schedule, 4)
    start = next(integrate(oracle, stepper("ddim"), noise, times, lambda i: noise, from_noise=True)).x
    alpha = oracle.schedule(times[0])[0]
    assert torch.equal(start, noise + alpha * oracle.posterior(noise, times[0].expand(3)).mean)
    assert torch.equal(start, noise) == (process in ("rectified-flow", "cosine"))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ddpm", {}),
        ("ddpm", {"variance": "beta_tilde"}),
        ("ddpm", {"variance": "beta"}),
        ("ddim", {"eta": 0.7}),
        ("edm", {"churn": 30.0}),
        ("dpm++2m-sde", {}),
    ],
)
def test_stochastic_steppers_keep_the_marginals(name: str, options: dict[str, object]) -> None:
    """Mean and covariance of x_t on the way and at the end: within noise and a bias of 2 % for 150 steps."""
    process, n = PROCESSES["rectified-flow"], 6000
    oracle, rng = gaussian(process), Rng(1)
    x = starting_noise(process, rng, n, (2,), torch.float64)
    for state in integrate(oracle, stepper(name, **options), x, grid("quadratic", process, 150), addressed(rng, n, x)):
        if state.step in (50, 100, 150):
            mean, cov = oracle.moments(state.t)
            spread = torch.outer(cov.diagonal(), cov.diagonal())
            error = ((cov.square() + spread) / n).sqrt()
            assert ((state.x.mean(0) - mean).abs() < Z * (cov.diagonal() / n).sqrt() + 0.005).all()
            assert ((state.x.T.cov() - cov).abs() < Z * error + 0.02 * spread.sqrt()).all()
    assert torch.equal(torch.stack((MEAN, mean)).diff(dim=0), torch.zeros(1, 2).double())
    torch.testing.assert_close(cov, COV)


def test_conditions_reach_the_denoiser() -> None:
    oracle = plane_mixture(PROCESSES["cosine"])
    x, times = torch.randn(2, 2).double(), grid("uniform", oracle.schedule, 4)
    labels = RawCondition(label=torch.tensor([0, 1]))
    both = sample(oracle, stepper("ddim"), x, times, lambda i: x, labels)
    for k in (0, 1):
        alone = sample(oracle, stepper("ddim"), x[k : k + 1], times, lambda i: x, labels[k : k + 1])
        torch.testing.assert_close(alone, both[k : k + 1])
    assert (both - sample(oracle, stepper("ddim"), x, times, lambda i: x)).abs().min() > 1e-6


def test_single_precision_records_stay_so_and_stay_close() -> None:
    process = PROCESSES["linear-beta"]
    exact = plane_mixture(process)
    coarse = plane_mixture(process)
    coarse.log_weights, coarse.means = coarse.log_weights.float(), coarse.means.float()
    coarse.values, coarse.vectors = coarse.values.float(), coarse.vectors.float()
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(2))
    for name in STEPPERS:
        times = grid("karras", process, 25)
        single = sample(coarse, stepper(name), x, times, lambda i: x)
        double = sample(exact, stepper(name), x.double(), times, lambda i: x.double())
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-3)


def test_a_grid_that_does_not_fall_to_zero_is_an_error() -> None:
    x = torch.ones(1, 2).double()
    for times in ([1.0], [0.0, 0.5, 1.0], [1.0, 0.5, 0.5, 0.0], [1.5, 0.0], [1.0, 0.1]):
        with pytest.raises(UsageError, match="fall strictly"):
            next(integrate(gaussian(PROCESSES["edm"]), stepper("ddim"), x, torch.tensor(times), lambda i: x))
    with pytest.raises(UsageError, match="fall strictly"):
        next(integrate(gaussian(PROCESSES["edm"]), stepper("ddim"), x, number(1.0), lambda i: x))
