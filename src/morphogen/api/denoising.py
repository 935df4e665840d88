"""What a denoiser does, to be looked at: records on their way into noise, noise on its way to samples, and variances.

A state x_t is shown as x_t / sqrt(alpha_t^2 + sigma_t^2), which is what the network sees of it: x_t itself for a
variance-preserving schedule, and neither brighter nor darker for any other. Where the chain runs on latents, states are
shown decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from morphogen.api.drawing import CHUNK, class_row, condition, drawn_how, of_classes, weighted
from morphogen.api.records import as_stored, check_made, device_of, load_model, pictures_of, records_of
from morphogen.core import capabilities, registry
from morphogen.core.batch import RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import UsageError
from morphogen.core.family import require
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Rng
from morphogen.evaluation.result import mean_interval
from morphogen.sampling import grids
from morphogen.sampling.steppers import State
from morphogen.theory.diffusion import q_marginal, stride
from morphogen.theory.schedules import Schedule


@dataclass(frozen=True)
class Chain:
    """n records at m times, in the order in which the process passes them.

    x          (n, m, *shape) the states, in stored units
    estimates  (n, m, *shape) E[x_0 | x_t] of the same states; None for a forward chain
    t, log_snr (m,) float64; at t = 0 the log-SNR is infinite
    """

    x: np.ndarray
    t: np.ndarray
    log_snr: np.ndarray
    spec: DataSpec
    estimates: np.ndarray | None = None
    ids: np.ndarray | None = None
    labels: np.ndarray | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variances:
    """Variances of p(x_s | x_t) for strides from t to s > 0, means over n records and their elements, (strides,) each.

    beta, beta_tilde  the two fixed choices of Ho et al. (2020)
    learned           beta_tilde + gain^2 Var(x_0 | x_t), the law of total variance with the network's Var
    measured          beta_tilde + gain^2 (x_0 - E[x_0 | x_t])^2, of which `learned` is an estimate; `interval`
                      (strides, 2) holds its mean over records at 95 %
    """

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
def forward_chain(
    model: Path | str,
    data: str,
    n: int = 6,
    *,
    times: int = 10,
    seed: int = 0,
    split: str = "test",
    device: str = "cpu",
) -> Chain:
    """Records of a split on their way into noise: x_t ~ q(x_t | x_0) at so many `times`, with one noise a record.

    The times are such that arctan(sigma_t / alpha_t) is uniform from 0 to its end, so equally noisy for every schedule.
    """
    check_numbers(n=n, times=times, seed=seed)
    family = _denoiser(model, device)
    on, schedule = device_of(family), family.schedule
    records = records_of(data, family.data, split, n)
    batch, rng = records.batch().to(on), Rng(seed, on)
    x_0 = family.encoded(batch.x, rng, len(batch))
    eps = rng.normal("eps", len(batch), x_0.shape[1:], x_0.dtype)
    t = grids.angle(schedule, times - 1, exponent=1.0).flip(0)
    x = np.stack([_shown(q_marginal(x_0, at, schedule).rsample(eps), at, family) for at in t], axis=1)
    shown = pictures_of(records, x)
    return Chain(x, t.numpy(), schedule.log_snr(t).numpy(), family.data, ids=shown.ids, labels=shown.labels)


@torch.no_grad()
def reverse_chain(
    model: Path | str,
    n: int = 6,
    seed: int = 0,
    *,
    label: str | int | None = None,
    text: str | None = None,
    times: int | None = 10,
    device: str = "cpu",
    **how: Any,
) -> Chain:
    """What `sample` passes on its way from noise: the states and estimates at so many `times`, or at all for None.

    `label`, `text` and `how` (stepper, steps, grid, guidance, ...) are as of `sample`, and the last states are what it
    gives for the same n and seed, bit for bit.
    """
    check_numbers(n=n, seed=seed, times=times)
    family = _denoiser(model, device)
    if family.data.context_shape is not None and not getattr(family.spec, "context_dropout", 0.0):
        raise UsageError("this model makes pictures from pictures, and nothing from noise alone: `morphogen restore`.")
    said = of_classes(family.data, label, how.get("avoid"))
    how = drawn_how(family, how)
    row = class_row(family.data, label, family)
    words = None if text is None else weighted(family, text)
    on = device_of(family)
    x, estimates = [], []
    for start in range(0, n, CHUNK):
        count = min(CHUNK, n - start)
        states = family.trajectory(count, condition(count, row, words, on), Rng(seed, on).shifted(start), **how)
        passed = list(_passed(states, times))
        t = torch.stack([state.t for state, _ in passed])
        x.append(np.stack([_shown(state.x, state.t, family) for state, _ in passed], axis=1))
        estimates.append(np.stack([_stored(x_0, family) for _, x_0 in passed], axis=1))
    return Chain(
        np.concatenate(x),
        t.numpy(),
        family.schedule.log_snr(t).numpy(),
        family.data,
        np.concatenate(estimates),
        labels=None if row is None else np.full(n, row),
        warnings=(*said, *(() if words is None else words.warnings)),
    )


@torch.no_grad()
def variances(
    model: Path | str,
    data: str,
    n: int = 256,
    *,
    steps: int | None = None,
    grid: str | None = None,
    seed: int = 0,
    split: str = "test",
    device: str = "cpu",
) -> Variances:
    """The learned variance of the reverse chain between its bounds, on `n` records of a split (Nichol, Dhariwal, 2021).

    The strides are those of `grid` in `steps` steps, by default the model's own, but for the last, onto t = 0, whose
    beta_tilde is 0. x_t is drawn once for each record and stride. Raises `UsageError` for a model whose variance is
    fixed.
    """
    check_numbers(n=n, steps=steps, seed=seed)
    family = _denoiser(model, device)
    spec, schedule, on = family.spec, family.schedule, device_of(family)
    if family.readout.variance != "learned":
        raise UsageError(
            f"the variance of this {family.name!r} model is fixed ({family.readout.variance}), so there is nothing to"
            " compare: train a diffusion model with variance=learned."
        )
    path = grids.grid(spec.grid if grid is None else grid, schedule, spec.steps if steps is None else steps)[:-1]
    if len(path) < 2:
        raise UsageError("one step leads straight onto t = 0 and has no variance: give at least 2 steps.")
    records = records_of(data, family.data, split, n)
    if len(records) < 2:
        raise UsageError(
            f"means with an interval need at least 2 records; {data} gives {len(records)} of its {split} split."
        )
    said, wrong = [], []  # Var(x_0 | x_t) and the squared error, (N, strides)
    for start in range(0, len(records), CHUNK):
        batch, rng = records.batch(slice(start, start + CHUNK)).to(on), Rng(seed, on).shifted(start)
        x_0 = family.encoded(batch.x, rng, len(batch))
        rows = [_judged(family, x_0, t, rng.child(f"stride {i}"), batch.cond) for i, t in enumerate(path[:-1])]
        said.append(torch.stack([var for var, _ in rows], 1))
        wrong.append(torch.stack([error for _, error in rows], 1))
    strides = stride(path[:-1], path[1:], schedule)
    gain, beta_tilde = strides.gain.numpy(), strides.var.numpy()
    var, error = (check_made(torch.cat(values).double().cpu()).numpy() for values in (said, wrong))
    measured = beta_tilde + gain**2 * error  # (N, strides)
    means, count = measured.mean(0), len(measured)
    sigma = schedule(path)[1].numpy()
    return Variances(
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
    """`times` of the states, the first and the last among them, each with the estimate that the step from it made."""
    for before, after in pairwise(states):
        columns = min(times or before.steps + 1, before.steps + 1)
        if before.step in {round(i * before.steps / (columns - 1)) for i in range(columns)}:
            yield before, cast(Tensor, after.x_0)
    yield after, after.x


def _judged(family: Any, x_0: Tensor, t: Tensor, rng: Rng, cond: RawCondition | None) -> tuple[Tensor, Tensor]:
    """Var(x_0 | x_t) as the network says, and its squared error; means over elements, (B,), t of shape ()."""
    eps = rng.normal("eps", len(x_0), x_0.shape[1:], x_0.dtype)
    x_t = q_marginal(x_0, t, family.schedule).rsample(eps)
    posterior = family.posterior(x_t, t.to(x_t.device).expand(len(x_t)), cond)
    return posterior.var.flatten(1).mean(1), (x_0 - posterior.mean).square().flatten(1).mean(1)


def _denoiser(model: Path | str, device: str) -> Any:
    family = load_model(model, device).family
    require(family, capabilities.Denoises, "show a chain", registry.having(capabilities.Denoises))
    return family


def _shown(x_t: Tensor, t: Tensor, family: Any) -> np.ndarray:
    schedule: Schedule = family.schedule
    return _stored(x_t / torch.hypot(*schedule(t)).to(x_t), family)


def _stored(x_0: Tensor, family: Any) -> np.ndarray:
    return as_stored(family.decoded(x_0), family.data)
