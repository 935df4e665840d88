"""New records from a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results import Pictures
from morphogen.api.results.shown import warn_of
from morphogen.applications.attributes import Wanted
from morphogen.applications.records import as_stored
from morphogen.applications.sampling import (
    Drawn,
    chunk_size,
    draw_samples,
)
from morphogen.core.family import Family
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Rng


def sample(
    model: AnyModel,
    n: int = 64,
    seed: int = 0,
    *,
    label: str | int | None = None,
    text: str | None = None,
    attributes: str | Mapping[str, Wanted] | None = None,
    negative: str | None = None,
    avoid: str | int | None = None,
    guidance: float | None = None,
    guidance_interval: tuple[float, float] | None = None,
    autoguidance: float | None = None,
    stepper: str | None = None,
    steps: int | None = None,
    grid: str | None = None,
    temperature: float | None = None,
    truncation: float | None = None,
    candidates: int | None = None,
    options: Mapping[str, Any] | None = None,
    exact: bool = False,
    batch_size: int | None = None,
    device: str | None = None,
    precision: str = "fp32",
    compile: bool = False,
) -> Pictures:
    """Draw `n` new records. Sample i depends on (seed, i, label, text, attributes) only.

    Args:
        model: a held model, or the path of a model directory.
        n: how many.
        seed: where the noise starts, from 0 to 2^64 - 1.
        label: a class, by name or position, for all of them.
        text: a prompt for all of them; `(words:1.3)` count 1.3 times.
        attributes: wanted values by name, or as text: "qed=0.9,logp=2..3"; in a range each sample has its own value.
        negative: a prompt that guidance leads away from.
        avoid: a class that guidance leads away from.
        guidance: scale towards the class or text; 1 is none.
        guidance_interval: the times t, from 0 (record) to 1 (noise), between which guidance acts.
        autoguidance: scale of the way from the weaker part "guide"; 1 is none.
        stepper: how a denoiser steps: unipc-angle, ddpm, ddim, euler, heun, dpm++2m, ...
        steps: from noise to record.
        grid: the times of the steps: auto (what suits the stepper), uniform, karras, angle, ...
        temperature: below 1 for less variety; 1 is as trained.
        truncation: of a GAN, below 1 for latents nearer to their mean.
        candidates: of a GAN, each sample is the discriminator's choice of so many.
        options: further options that the `sample` of a family of one's own takes, by name.
        exact: give the same bits whatever `n` is; without it, another `batch_size` agrees to within 1/255.
        batch_size: how many are drawn together.
        device: where to draw; None leaves a held model where it is.
        precision: fp32, bf16 (about twice as fast where the hardware multiplies in it) or auto.
        compile: first compile the network of a diffusion or flow model: half a minute, which thousands of samples pay.

    Returns:
        The records, with `warnings` that say which words of the prompt the model hardly knows.

    Raises:
        UsageError: an option that the family does not take, or a number or attribute out of its range.
        CapabilityError: a model that draws nothing.
        NonFiniteError: the network gave NaN or infinity.

    Example:
        >>> pictures = mg.sample("runs/first", n=16, seed=1)
        >>> pictures.save("samples.png")
    """
    given: dict[str, Any] = {
        "negative": negative,
        "avoid": avoid,
        "guidance": guidance,
        "guidance_interval": guidance_interval,
    }
    given |= {"autoguidance": autoguidance, "stepper": stepper, "steps": steps, "grid": grid}
    given |= {"temperature": temperature, "truncation": truncation, "candidates": candidates, **(options or {})}
    check_numbers(n=n, seed=seed, batch_size=batch_size)
    family = open_model(model, device).module
    size = chunk_size(n, batch_size, exact, compile)
    noise, padded = Rng(seed, family.device), exact or compile
    how: dict[str, Any] = {"size": size, "padded": padded, "compiled": compile, "attributes": attributes}
    found = draw_samples(family, n, noise, given, label, text, precision, **how)
    return pictures_of(found, family)


def pictures_of(found: Drawn, family: Family, columns: int = 0) -> Pictures:
    """What was drawn as a result."""
    x = as_stored(found.x, family.data)
    labels = None if found.row is None else np.full(len(x), found.row)
    return Pictures(x, family.data, None, labels, warn_of(found.notes), columns=columns)
