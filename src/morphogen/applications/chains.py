"""Show the chains of a denoiser: from records to noise, from noise to samples, and the variances of the reverse chain.

A state x_t is shown as x_t / sqrt(alpha_t^2 + sigma_t^2), the input of the network. For a variance-preserving schedule
this is x_t itself; for other schedules it keeps the brightness constant. If the chain runs on latents, the decoded
states are shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from morphogen.applications.denoising_models import DenoisingModel, denoising_model
from morphogen.applications.prompting import class_index, class_notes, constant_condition, read_weighted_prompt
from morphogen.applications.records import as_stored, check_made, records_of
from morphogen.applications.sampling import CHUNK, resolve_sampling_options
from morphogen.core.batch import RawCondition
from morphogen.core.chunks import chunks
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import UsageError
from morphogen.core.family import Family
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Noise, Rng
from morphogen.data import Records
from morphogen.data.in_memory import AnyData
from morphogen.evaluation.result import mean_interval
from morphogen.sampling import grids, steppers
from morphogen.sampling.plan import planned
from morphogen.sampling.steppers import State
from morphogen.theory.diffusion import q_marginal, stride


class States(NamedTuple):
    """n records at m times: x (n, m, *shape) in stored units, E[x_0 | x_t] likewise, t and log_snr (m,) float64."""

    x: np.ndarray
    estimates: np.ndarray | None
    t: np.ndarray
    log_snr: np.ndarray
    row: int | None = None
    notes: tuple[str, ...] = ()


@torch.no_grad()
def forward_states(
    family: Family, source: AnyData, n: int, times: int, seed: int, split: str | None
) -> tuple[States, Records]:
    """Noise records of a split: x_t ~ q(x_t | x_0) at `times` times, with one noise per record.

    arctan(sigma_t / alpha_t) is uniform over the times, from 0 to its end, so the noise levels are the same for every
    schedule.
    """
    check_numbers(n=n, times=times, seed=seed)
    model, on = denoising_model(family, "show a chain"), family.device
    schedule, records = model.schedule, records_of(source, family.data, split, n)
    batch, rng = records.batch().to(on), Rng(seed, on)
    x_0 = model.encoded(batch.x, rng, len(batch))
    eps = rng.normal("eps", len(batch), x_0.shape[1:], x_0.dtype)
    t = grids.angle(schedule, times - 1, exponent=1.0).flip(0)
    x = np.stack([_shown(q_marginal(x_0, at, schedule).rsample(eps), at, model, family.data) for at in t], axis=1)
    return States(x, None, t.numpy(), schedule.log_snr(t).numpy()), records


@torch.no_grad()
def reverse_states(
    family: Family,
    n: int,
    seed: int,
    label: str | int | None,
    text: str | None,
    times: int | None,
    options: Mapping[str, Any],
) -> States:
    """The states and estimates of sampling at `times` of its times, or at all of them for None.

    The last states equal the output of `sample` for the same n and seed, bit for bit.
    """
    check_numbers(n=n, seed=seed, times=times)
    model, on = denoising_model(family, "show a chain"), family.device
    if family.needs_context:
        raise UsageError("this model makes pictures from pictures, and nothing from noise alone: `morphogen restore`.")
    notes = class_notes(family.data, label, options.get("avoid"))
    given = resolve_sampling_options(family, options)
    row = class_index(family, label)
    words = None if text is None else read_weighted_prompt(family, text)
    x, estimates = [], []
    for rows in chunks(n, CHUNK):
        count = rows.stop - rows.start
        cond = constant_condition(count, row, words, on)
        passed = list(_passed(model.trajectory(count, cond, Rng(seed, on).shifted(rows.start), **given), times))
        t = torch.stack([state.t for state, _ in passed])
        x.append(np.stack([_shown(state.x, state.t, model, family.data) for state, _ in passed], axis=1))
        estimates.append(np.stack([as_stored(model.decoded(x_0), family.data) for _, x_0 in passed], axis=1))
    log_snr = model.schedule.log_snr(t).numpy()
    notes = (*notes, *(() if words is None else words.warnings))
    return States(np.concatenate(x), np.concatenate(estimates), t.numpy(), log_snr, row, notes)


class MeasuredVariances(NamedTuple):
    """Variances of p(x_s | x_t) of strides from t to s, (strides,) each; see `mg.Variances`."""

    t: np.ndarray
    s: np.ndarray
    log_snr: np.ndarray
    beta: np.ndarray
    beta_tilde: np.ndarray
    learned: np.ndarray
    measured: np.ndarray
    interval: np.ndarray
    n: int


@torch.no_grad()
def measure_variances(
    family: Family, source: AnyData, n: int, steps: int | None, grid: str | None, seed: int, split: str | None
) -> MeasuredVariances:
    """Compare the learned variance of the reverse chain with its bounds, on `n` records (Nichol and Dhariwal, 2021).

    The strides are those of `grid` in `steps` steps without the last one, to t = 0, because its beta_tilde is 0. x_t is
    drawn once for each record and stride. Raises `UsageError` for a model with a fixed variance.
    """
    check_numbers(n=n, steps=steps, seed=seed)
    model, on = denoising_model(family, "show a chain"), family.device
    spec, schedule = model.spec, model.schedule
    if model.readout.variance != "learned":
        raise UsageError(
            f"the variance of this {family.name!r} model is fixed ({model.readout.variance}), so there is nothing to"
            " compare: train a diffusion model with variance=learned."
        )
    method, count = steppers.stepper(spec.stepper), spec.steps if steps is None else steps
    path = planned(method, spec.grid if grid is None else grid, schedule, count)[:-1]
    if len(path) < 2:
        raise UsageError("one step leads straight onto t = 0 and has no variance: give at least 2 steps.")
    records = records_of(source, family.data, split, n)
    if len(records) < 2:
        raise UsageError(
            f"means with an interval need at least 2 records; {records.spec.name} gives {len(records)} of its"
            f" {split or 'test'} split."
        )
    said, wrong = [], []  # Var(x_0 | x_t) and the squared error, (N, strides)
    for part in chunks(len(records), CHUNK):
        batch, rng = records.batch(part).to(on), Rng(seed, on).shifted(part.start)
        x_0 = model.encoded(batch.x, rng, len(batch))
        rows = [_error_of(model, x_0, t, rng.child(f"stride {i}"), batch.cond) for i, t in enumerate(path[:-1])]
        said.append(torch.stack([var for var, _ in rows], 1))
        wrong.append(torch.stack([error for _, error in rows], 1))
    strides = stride(path[:-1], path[1:], schedule)
    gain, beta_tilde = strides.gain.numpy(), strides.var.numpy()
    var, error = (check_made(torch.cat(values).double().cpu()).numpy() for values in (said, wrong))
    measured = beta_tilde + gain**2 * error  # (N, strides)
    means, count = measured.mean(0), len(measured)
    sigma = schedule(path)[1].numpy()
    return MeasuredVariances(
        t=path[:-1].numpy(),
        s=path[1:].numpy(),
        log_snr=schedule.log_snr(path[:-1]).numpy(),
        beta=beta_tilde * (sigma[:-1] / sigma[1:]) ** 2,
        beta_tilde=beta_tilde,
        learned=beta_tilde + gain**2 * var.mean(0),
        measured=means,
        interval=np.array([mean_interval(m, d, count) for m, d in zip(means, measured.std(0, ddof=1), strict=True)]),
        n=count,
    )


def _passed(states: Iterator[State], times: int | None) -> Iterator[tuple[State, Tensor]]:
    """Choose `times` of the states, the first and the last included, each with the estimate of the step from it."""
    for before, after in pairwise(states):
        columns = min(times or before.steps + 1, before.steps + 1)
        if before.step in {round(i * before.steps / (columns - 1)) for i in range(columns)}:
            yield before, cast(Tensor, after.x_0)
    yield after, after.x


def _error_of(
    model: DenoisingModel, x_0: Tensor, t: Tensor, rng: Noise, cond: RawCondition | None
) -> tuple[Tensor, Tensor]:
    """The network's Var(x_0 | x_t) and its squared error: means over elements, (B,), for t of shape ()."""
    eps = rng.normal("eps", len(x_0), x_0.shape[1:], x_0.dtype)
    x_t = q_marginal(x_0, t, model.schedule).rsample(eps)
    posterior = model.posterior(x_t, t.to(x_t.device).expand(len(x_t)), cond)
    return posterior.var.flatten(1).mean(1), (x_0 - posterior.mean).square().flatten(1).mean(1)


def _shown(x_t: Tensor, t: Tensor, model: DenoisingModel, data: DataSpec) -> np.ndarray:
    return as_stored(model.decoded(x_t / torch.hypot(*model.schedule(t)).to(x_t)), data)
