"""A user's own picture, moved through a model's latent space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from morphogen.api.drawing import class_row, condition, of_classes, weighted
from morphogen.api.images import Image, fitted, options_of, read, values
from morphogen.api.latent_directions import Directions, factorized, weights_of, with_latents
from morphogen.api.records import as_stored, device_of, load_model
from morphogen.core.capabilities import Samples
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import UsageError, nearest
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Rng

AVERAGED = 64  # samples in the mean picture
MOST_EDITS = 1000


@dataclass(frozen=True)
class LatentEdits:
    """What a picture becomes along directions of latent space, and how well the model makes the picture at all.

    x         (n, C, H, W) in stored units: for each direction in turn, each of the strengths
    rmse      root mean square error of the picture's reconstruction, in shades of 0 .. 255
    baseline  that of the mean of the model's samples; None for a model that draws none
    """

    x: np.ndarray
    spec: DataSpec
    directions: tuple[str, ...]
    strengths: tuple[float, ...]
    rmse: float
    baseline: float | None
    warnings: tuple[str, ...] = ()


def edit_latent(
    model: Path | str,
    image: Image,
    direction: str | Sequence[str],
    strength: float | Sequence[float] = 3.0,
    *,
    directions: Directions | Path | str | None = None,
    label: str | int | None = None,
    text: str | None = None,
    device: str = "cpu",
) -> LatentEdits:
    """Encode a picture, move its latents along a direction, and decode: p(x | z + strength w), its mean.

    direction   "factor-1" ... of a model that has its own, or a name in `directions`; or several
    strength    in standard deviations of the latents, to either side; 0 is the reconstruction; or several
    directions  what the function of that name found, or the file of it
    label       the class that the picture has; text: what it shows, in words. The directions of properties were found
                without, and reach furthest without
    For models that encode: a GAN finds the latents of a picture by descent, which takes a moment.
    Raises `UsageError` for a direction that there is not, `DataError` for a picture that the model cannot take.
    """
    names = (direction,) if isinstance(direction, str) else tuple(direction)
    strengths = tuple(map(float, strength)) if isinstance(strength, Sequence) else (float(strength),)
    if not names or not strengths or len(names) * len(strengths) > MOST_EDITS:
        raise UsageError(
            f"an edit needs a direction and a strength, and makes at most {MOST_EDITS:,} pictures (got {len(names):,}"
            f" directions and {len(strengths):,} strengths)."
        )
    check_numbers(strength=strengths)
    family = with_latents(load_model(model, device).family, "edit latents")
    data, on = family.data, device_of(family)
    options_of(data)
    known = factorized(family) | _given(model, directions)
    vectors = torch.stack([_named(name, known).to(on) for name in names])
    row, words = class_row(data, label, family), None if text is None else weighted(family, text)
    x = values(fitted(read(image, data), data, image, tiles=None), data).to(on)
    with torch.no_grad():
        z = family.encode(x, condition(1, row, words, on)).mean
        start = z.flatten(1)
        if vectors.shape[1] != start.shape[1]:
            raise UsageError(
                f"these directions have {vectors.shape[1]} dimensions and the model's latents {start.shape[1]}: find"
                " directions of this model."
            )
        steps = torch.tensor(strengths, device=on, dtype=start.dtype)
        moved = start + (vectors.to(start.dtype)[:, None] * steps[:, None]).flatten(0, 1)
        every = torch.cat((start, moved)).unflatten(1, z.shape[1:])
        made = family.decode(every, condition(len(every), row, words, on)).mean
        baseline = None
        if Samples in family.capabilities:
            mean = family.sample(AVERAGED, condition(AVERAGED, row, words, on), Rng(0, on)).to(made.dtype).mean(0)
            baseline = _rmse(mean, x[0], data)
    rmse = _rmse(made[0], x[0], data)
    warnings = (*of_classes(data, label), *(() if words is None else words.warnings))
    if baseline is not None and rmse >= baseline:
        warnings += (
            "the model cannot make this picture: its reconstruction is no nearer to it than the mean of samples is, so"
            " that edits show another one",
        )
    return LatentEdits(as_stored(made[1:], data), data, names, strengths, rmse, baseline, warnings)


def _given(model: Path | str, directions: Directions | Path | str | None) -> dict[str, Tensor]:
    """Directions by name. Raises `UsageError` for those of another model."""
    if directions is None:
        return {}
    found = directions if isinstance(directions, Directions) else Directions.read(directions)
    if found.model != weights_of(model):
        raise UsageError("these directions were found for another model: find this one's with `morphogen directions`.")
    return dict(zip(found.names, torch.from_numpy(found.vectors), strict=True))


def _named(name: str, known: dict[str, Tensor]) -> Tensor:
    """The direction (D,) of that name."""
    if name in known:
        return known[name]
    factors = [k for k in known if k.startswith("factor-")]
    others = [k for k in known if k not in factors]
    listed = ", ".join(([f"factor-1 to factor-{len(factors)}"] if factors else []) + others)
    close = nearest(name, others, 1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UsageError(
        f"unknown direction {name!r}: known are {listed or 'none'}.{hint} Those of classes and attributes are found by"
        " `morphogen directions MODEL --data SOURCE --out FILE.npz`, and given with --directions FILE.npz."
    )


def _rmse(a: Tensor, b: Tensor, data: DataSpec) -> float:
    """In shades of 0 .. 255."""
    return float((a - b).double().square().mean().sqrt()) * 255.0 / (data.high - data.low)
