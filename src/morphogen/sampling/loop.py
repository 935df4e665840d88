"""The integration loop of all samplers, and its start.

    x, state = starting_noise(denoiser.schedule, rng, n, shape), None
    for state in integrate(denoiser, stepper, x, times, addressed(rng, n, x), cond, from_noise=True):
        show(state.x_0)                       # a live preview; leave at any time
    picture = state.x

The noise of step i and record n is a function of (seed, i, n): a record does not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from morphogen.core.batch import RawCondition
from morphogen.core.errors import UsageError
from morphogen.core.rng import Index, Noise
from morphogen.sampling.denoiser import CachedPosterior, Conditioned, Denoiser
from morphogen.sampling.steppers.base import State, Stepper
from morphogen.theory.schedules import Schedule

StepNoise = Callable[[int], Tensor]  # standard normal noise of step i, of the shape of x


def addressed(rng: Noise, index: Index, like: Tensor) -> StepNoise:
    """The noise of each step for the records at `index`, with the shape and dtype of `like` (B, *shape)."""
    return lambda i: rng.child(f"step {i}").normal("noise", index, like.shape[1:], like.dtype)


def starting_noise(
    schedule: Schedule, rng: Noise, index: Index, shape: Sequence[int], dtype: torch.dtype = torch.float32
) -> Tensor:
    """sigma_1 eps, (len(index), *shape): x_1 without its signal, which `integrate(from_noise=True)` adds."""
    sigma = schedule(torch.ones((), dtype=torch.float64))[1]
    return sigma * rng.normal("x_T", index, shape, dtype)


def integrate(
    denoiser: Denoiser,
    stepper: Stepper,
    x: Tensor,
    times: Tensor,
    noise: StepNoise,
    cond: RawCondition | None = None,
    *,
    from_noise: bool = False,
) -> Iterator[State]:
    """Yield the start and the state after each step; the last one is at t = 0, and its x is the sample.

    No gradients flow.

    With `from_noise`, x is noise alone, sigma_1 eps. A schedule that ends before alpha / sigma = 0 leaves some signal
    in its x_1, with the mean alpha E[x_0]; for bright pictures, x_1 is bright. The probability flow leads from pure
    noise to x_1, with d(x / sigma) = E[x_0 | x] d(alpha / sigma) along it. The loop takes one step of it,
    x_1 = sigma eps + alpha E[x_0 | sigma eps]. The estimate is taken at t = 1 and also serves as E[x_0 | x_1] in the
    first step, so no further evaluation is needed. For Gaussian data both replacements have a relative error of
    O((alpha_1 / sigma_1)^2).

    Args:
        denoiser: the model, or a wrapper of one.
        stepper: the method of integration.
        x: (B, *shape) at times[0].
        times: (steps + 1,), strictly decreasing to exactly 0.
        noise: step number -> standard normal noise of the shape of x.
        cond: the conditions, B rows, or None.
        from_noise: whether x is noise alone; then times[0] is 1.

    Yields:
        The states, the start included.

    Raises:
        UsageError: `times` is not such a grid.
    """
    times = times.detach().to("cpu", torch.float64)
    if times.ndim != 1 or len(times) < 2 or times[0] > 1 or times[-1] != 0 or not (times.diff() < 0).all():
        raise UsageError("a grid of times must fall strictly from at most 1 to exactly 0.")
    asked = Conditioned(denoiser, cond)
    alpha = denoiser.schedule(times[0])[0]
    if from_noise and alpha > 0:
        with torch.no_grad():
            found = asked.posterior(x, times[0])
        x = x + alpha * found.mean
        asked = CachedPosterior(denoiser, cond, x=x, found=found)
    state = State(0, len(times) - 1, times[0], x)
    yield state
    for i, s in enumerate(times[1:]):
        with torch.no_grad():  # not around `yield`: the caller would stay in the no-grad mode
            state = stepper.step(asked, state, s, partial(noise, i))
        yield state


def sample(
    denoiser: Denoiser,
    stepper: Stepper,
    x: Tensor,
    times: Tensor,
    noise: StepNoise,
    cond: RawCondition | None = None,
    *,
    from_noise: bool = False,
) -> Tensor:
    """Run `integrate`, which has the same arguments, and return the last x (B, *shape)."""
    for state in integrate(denoiser, stepper, x, times, noise, cond, from_noise=from_noise):
        x = state.x
    return x
