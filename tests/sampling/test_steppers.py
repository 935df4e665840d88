"""Every stepper: its declared order on Gaussian and mixture data, its identities with others, and what it declares.

The orders are deterministic measurements (`benchmarks.validity.convergence`), so there are no false alarms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from benchmarks.validity.convergence import gaussian_error, mixture_error, run_of, slope, stochastic_mixture_error
from morphogen.core.batch import RawCondition
from morphogen.core.distributions import Gaussian
from morphogen.core.errors import SpecError, UsageError
from morphogen.sampling.denoiser import Conditioned
from morphogen.sampling.grids import angle, grid, power
from morphogen.sampling.loop import sample
from morphogen.sampling.steppers import STEPPERS, Ancestral, Heun, Multistep, State, Stepper, stepper
from morphogen.sampling.steppers.multistep import interpolation_weights
from morphogen.theory.schedules import Schedule
from tests.oracles.denoisers import PROCESSES, gaussian, line_mixture, number, plane_mixture

DETERMINISTIC: dict[str, tuple[Stepper, Sequence[str]]] = {
    "ddim": (stepper("ddim"), tuple(PROCESSES)),
    "euler": (stepper("euler"), tuple(PROCESSES)),
    "heun": (stepper("heun"), tuple(PROCESSES)),
    # Interpolation in the log-SNR keeps its order only where that is finite at the start.
    "dpm++2m": (stepper("dpm++2m"), ("linear-beta", "edm", "ve")),
    "unipc": (stepper("unipc"), ("linear-beta", "edm", "ve")),
    "unipc of one estimate": (Multistep(1, True), ("linear-beta", "edm", "ve")),
    "dpm++2m in the angle": (Multistep(2, variable="angle"), tuple(PROCESSES)),
    "unipc in the angle": (Multistep(2, True, variable="angle"), tuple(PROCESSES)),
}
# The learned variance is of order 2 for a mixture on the line, as one element has nothing in common with others.
STOCHASTIC: dict[str, tuple[Stepper, str, int]] = {
    "ddpm": (Ancestral(), "rectified-flow", 2),
    "ddpm, beta_tilde": (Ancestral("beta_tilde"), "rectified-flow", 1),
    "ddpm, beta": (Ancestral("beta"), "rectified-flow", 1),
    "ddim, eta 1/2": (stepper("ddim", eta=0.5), "cosine", 1),
    "edm": (stepper("edm", churn=4.0), "edm", 2),
    "dpm++2m-sde": (stepper("dpm++2m-sde"), "linear-beta", 2),
    "dpm++2m-sde in the angle": (stepper("dpm++2m-sde", variable="angle"), "linear-beta", 2),
}


def fine(process: Schedule, name: str) -> Callable[[int], Tensor]:
    """A grid that refines everywhere: sigma / alpha falls like (1 - i / steps)^2 or faster."""
    return lambda n: power(process, n, exponent=5.0) if name == "linear-beta" else angle(process, n)


@pytest.mark.parametrize(("name", "process"), [(n, p) for n, (_, ps) in DETERMINISTIC.items() for p in ps])
def test_deterministic_steppers_have_their_declared_order(name: str, process: str) -> None:
    method, s = DETERMINISTIC[name][0], PROCESSES[process]
    assert not method.stochastic
    for oracle, error in ((gaussian(s), gaussian_error), (line_mixture(s), mixture_error)):
        run, steps = run_of(oracle, method, fine(s, process)), ((128, 256) if method.remembers else (64, 128))
        assert slope(steps, [error(run, oracle, n) for n in steps]) == pytest.approx(method.order, abs=0.2)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic_steppers_have_their_declared_order(name: str) -> None:
    method, process, on_the_line = STOCHASTIC[name]
    s, grid_of = PROCESSES[process], fine(PROCESSES[process], process)
    assert method.stochastic
    run, steps = run_of(gaussian(s), method, grid_of), (48, 96)
    errors = [gaussian_error(run, gaussian(s), n) for n in steps]
    assert slope(steps, errors) == pytest.approx(method.order, abs=0.2)
    steps = (32, 64) if method.remembers else (64, 128)
    errors = [stochastic_mixture_error(method, line_mixture(s), grid_of(n)) for n in steps]
    assert slope(steps, errors) == pytest.approx(on_the_line, abs=0.2)


def test_the_backward_recursion_agrees_with_the_trapezoidal_rule() -> None:
    s = PROCESSES["rectified-flow"]
    for method in (stepper("heun"), stepper("dpm++2m")):
        run = run_of(line_mixture(s), method, lambda n: angle(s, n))
        found = stochastic_mixture_error(method, line_mixture(s), angle(s, 10))
        assert found == pytest.approx(mixture_error(run, line_mixture(s), 10), rel=0.01)


@pytest.mark.parametrize("process", PROCESSES)
def test_the_learned_variance_is_exact_for_independent_gaussians_but_for_the_last_step(process: str) -> None:
    """What is missing at t = 0 is Var(x_0 | x_t) at the last t, as the last step returns the mean."""
    s = PROCESSES[process]
    oracle = type(gaussian(s)).gaussian(s, torch.tensor([0.5, -0.3]).double(), torch.tensor([0.5, 0.3]).double().diag())
    times = torch.tensor([1.0, 0.7, 0.2, 0.0]).double()
    missing = oracle.posterior(torch.zeros(1, 2).double(), times[2]).var[0]
    error = gaussian_error(run_of(oracle, Ancestral(), lambda _: times), oracle, 3)
    assert error == pytest.approx(float(missing.norm()), rel=1e-9)


@pytest.mark.parametrize("process", PROCESSES)
def test_steppers_agree_where_theory_says_so(process: str) -> None:
    s = PROCESSES[process]
    oracle, times = plane_mixture(s), grid("quadratic", s, 6)
    x, z = torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def end(name: str, **options: object) -> Tensor:
        return sample(oracle, stepper(name, **options), x, times, lambda i: z * (i + 1) ** 0.5)

    torch.testing.assert_close(end("ddim", eta=1.0), end("ddpm", variance="beta_tilde"))
    torch.testing.assert_close(end("edm", churn=0.0), end("heun"), rtol=0, atol=0)
    if process in ("rectified-flow", "edm"):  # Euler along a straight path, or in sigma, is DDIM
        torch.testing.assert_close(end("euler"), end("ddim"))
    assert (end("ddim", eta=0.5) - end("ddim")).abs().max() > 1e-3


def test_dpm_solver_2m_is_the_published_update() -> None:
    """x_s = sigma_s / sigma_t x - alpha_s (e^-h - 1) D, D = (1 + 1/2r) D_t - 1/2r D_before, r = h_before / h."""
    s = PROCESSES["linear-beta"]
    oracle, (t_0, t_1, t_2) = plane_mixture(s), torch.tensor([1.0, 0.6, 0.3]).double()
    x = torch.tensor([[0.4, -1.0]]).double()
    found = sample(oracle, stepper("dpm++2m"), x, torch.tensor([1.0, 0.6, 0.3, 0.0]).double(), lambda i: x)
    lam = lambda t: 0.5 * s.log_snr(t)  # noqa: E731
    (_, sigma_0), (alpha_1, sigma_1), (alpha_2, sigma_2) = s(t_0), s(t_1), s(t_2)
    before = oracle.posterior(x, t_0).mean
    x = sigma_1 / sigma_0 * x - alpha_1 * torch.expm1(lam(t_0) - lam(t_1)) * before
    now, r = oracle.posterior(x, t_1).mean, (lam(t_1) - lam(t_0)) / (lam(t_2) - lam(t_1))
    mean = (1 + 0.5 / r) * now - 0.5 / r * before
    x = sigma_2 / sigma_1 * x - alpha_2 * torch.expm1(lam(t_1) - lam(t_2)) * mean
    torch.testing.assert_close(found, oracle.posterior(x, t_2).mean)


@pytest.mark.parametrize("variable", ["log-snr", "angle"])
def test_weights_integrate_their_polynomials(variable: str) -> None:
    """Against quadrature in the log-SNR itself, for a parabola in the variable through three estimates."""
    start, end, known = -1.0, 2.0, [2.0, -1.0, -2.5]
    place = (lambda v: v) if variable == "log-snr" else (lambda v: torch.atan(torch.exp(-0.5 * v)))
    parabola = lambda v: 1.0 - 2.0 * place(v) + 0.7 * place(v) ** 2  # noqa: E731
    u = (torch.arange(200_000).double() + 0.5) / 200_000
    kernel = torch.exp(-1.5 * (1 - u))  # H = lambda_s - lambda_t
    exact = float((kernel * parabola(start + (end - start) * u)).sum() / kernel.sum())
    weights = interpolation_weights(start, end, known, 1.5, variable)  # type: ignore[arg-type]
    values = [float(parabola(number(k))) for k in known]
    assert sum(weights) == pytest.approx(1.0, abs=1e-12)
    assert sum(w * v for w, v in zip(weights, values, strict=True)) == pytest.approx(exact, rel=1e-8)


def test_weights_without_signal_at_the_start_are_finite() -> None:
    nothing = -math.inf
    assert interpolation_weights(nothing, 0.0, [nothing], math.inf) == [1.0]
    assert interpolation_weights(nothing, 0.0, [0.0, nothing], math.inf) == [0.5, 0.5]
    assert interpolation_weights(0.0, 1.0, [0.0, nothing], 0.5) == [1.0, 0.0]
    assert all(map(math.isfinite, interpolation_weights(0.0, 1.0, [1.0, 0.0, nothing], 0.5, "angle")))


class Counting:
    """Counts calls, and looks at the times it is asked at."""

    def __init__(self, process: Schedule) -> None:
        self.inner, self.calls, self.earliest = plane_mixture(process), 0, 1.0

    @property
    def schedule(self) -> Schedule:
        return self.inner.schedule

    def posterior(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Gaussian:
        assert t.shape == (len(x_t),)
        self.calls, self.earliest = self.calls + 1, min(self.earliest, float(t.min()))
        return self.inner.posterior(x_t, t, cond)


@pytest.mark.parametrize("name", STEPPERS)
def test_declared_evaluations_are_true_and_none_is_at_zero(name: str) -> None:
    for steps in (1, 9):
        denoiser, method = Counting(PROCESSES["cosine"]), stepper(name)
        x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        end = sample(
            denoiser, method, x, grid("uniform", denoiser.schedule, steps), lambda i: torch.ones(3, 2).double()
        )
        assert torch.isfinite(end).all()
        assert denoiser.calls == method.evaluations(steps)
        assert denoiser.earliest > 0.0


@pytest.mark.parametrize("name", STEPPERS)
def test_only_stochastic_steppers_draw_noise(name: str) -> None:
    draws = []
    denoiser = plane_mixture(PROCESSES["edm"])
    sample(
        denoiser,
        stepper(name),
        torch.ones(1, 2).double(),
        grid("karras", denoiser.schedule, 5),
        lambda i: draws.append(i) or torch.zeros(1, 2).double(),
    )
    assert bool(draws) == stepper(name).stochastic


def test_churn_keeps_to_its_range() -> None:
    denoiser, x = plane_mixture(PROCESSES["edm"]), torch.ones(1, 2).double()
    times, draws = grid("karras", denoiser.schedule, 20), []
    ratios = torch.exp(-0.5 * denoiser.schedule.log_snr(times[:-2]))
    sample(denoiser, Heun(churn=5.0, low=0.05, high=5.0), x, times, lambda i: draws.append(i) or x)
    assert draws == [i for i, ratio in enumerate(ratios) if 0.05 <= ratio <= 5.0]


@pytest.mark.parametrize("name", STEPPERS)
def test_the_last_step_lands_on_the_posterior_mean(name: str) -> None:
    denoiser = plane_mixture(PROCESSES["ve"])
    state = State(0, 1, number(0.4), torch.ones(2, 2).double())
    end = stepper(name).step(Conditioned(denoiser), state, number(0.0), lambda: torch.ones(2, 2).double())
    assert float(end.t) == 0.0 and end.step == 1
    assert torch.equal(end.x, denoiser.posterior(state.x, state.t.expand(2)).mean)


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(SpecError, match=r"did you mean 'dpm\+\+2m'"):
        stepper("dpm2m")
    with pytest.raises(SpecError, match="'ddpm' does not take 'eta'"):
        stepper("ddpm", eta=0.0)
    with pytest.raises(SpecError, match="1 or 2 estimates"):
        Multistep(3)
    with pytest.raises(SpecError, match="without noise"):
        Multistep(2, True, eta=1.0)
    with pytest.raises(SpecError, match="variable of interpolation"):
        Multistep(variable="time")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="churn must not be negative"):
        Heun(churn=-1.0)
    with pytest.raises(UsageError, match="fall strictly"):
        sample(
            gaussian(PROCESSES["edm"]),
            stepper("ddim"),
            torch.ones(1, 2),
            torch.tensor([1.0, 0.5]),
            lambda i: torch.ones(1, 2),
        )
