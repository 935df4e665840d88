"""A denoiser at work: its chain, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results import Chain
from morphogen.api.results.shown import warn_of
from morphogen.applications.chains import forward_states, reverse_states
from morphogen.core.chunks import limited
from morphogen.data.in_memory import AnyData


@limited
def forward_chain(
    model: AnyModel,
    data: AnyData,
    n: int = 6,
    *,
    times: int = 10,
    seed: int = 0,
    split: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
) -> Chain:
    """Follow records on their way into noise: x_t ~ q(x_t | x_0), with one noise a record.

    Args:
        model: a held diffusion or flow model, or the path of its directory.
        data: a source, arrays or a loaded `Dataset`, prepared as the model's data were.
        n: how many records of the split.
        times: at so many times, uniform in arctan(sigma_t / alpha_t), so equally noisy for every schedule.
        seed: where the noise starts.
        split: "train", "validation" or "test"; None is "test", and all records of arrays without splits of their own.
        device: where to compute; None leaves a held model where it is.
        batch_size: how many records are computed together, at most; None: as many as are fast.

    Returns:
        The states of each record.

    Raises:
        CapabilityError: a model that does not denoise.

    Example:
        >>> mg.forward_chain("runs/diffusion", "digits", n=2).save("into-noise.png")
    """
    held = open_model(model, device)
    found, records = forward_states(held.module, data, n, times, seed, split)
    labels = None if records.labels is None else records.labels.numpy()
    return Chain(found.x, found.t, found.log_snr, held.data, ids=records.ids.numpy(), labels=labels)


@limited
def reverse_chain(
    model: AnyModel,
    n: int = 6,
    seed: int = 0,
    *,
    label: str | int | None = None,
    text: str | None = None,
    negative: str | None = None,
    avoid: str | int | None = None,
    guidance: float | None = None,
    guidance_interval: tuple[float, float] | None = None,
    autoguidance: float | None = None,
    stepper: str | None = None,
    steps: int | None = None,
    grid: str | None = None,
    options: Mapping[str, Any] | None = None,
    times: int | None = 10,
    device: str | None = None,
    batch_size: int | None = None,
) -> Chain:
    """Follow noise on its way to samples: the states, and the estimates E[x_0 | x_t].

    Args:
        model: a held diffusion or flow model, or the path of its directory.
        n, seed, label, text, negative, avoid, guidance, guidance_interval, autoguidance, stepper, steps, grid, options:
            as of `sample`; the last states are what it gives, bit for bit.
        times: how many of the states, or all for None.
        device: where to compute; None leaves a held model where it is.
        batch_size: how many records are computed together, at most; None: as many as are fast.

    Returns:
        The states and estimates of each sample.

    Raises:
        CapabilityError: a model that does not denoise.
        UsageError: a model that makes pictures from pictures.

    Example:
        >>> mg.reverse_chain("runs/diffusion", n=2).save("from-noise.png")
    """
    given: dict[str, Any] = {"negative": negative, "avoid": avoid, "guidance": guidance}
    given |= {"guidance_interval": guidance_interval, "autoguidance": autoguidance, "stepper": stepper}
    given |= {"steps": steps, "grid": grid, **(options or {})}
    held = open_model(model, device)
    found = reverse_states(held.module, n, seed, label, text, times, given)
    labels = None if found.row is None else np.full(n, found.row)
    said = warn_of(found.notes)
    return Chain(found.x, found.t, found.log_snr, held.data, found.estimates, labels=labels, warnings=said)
