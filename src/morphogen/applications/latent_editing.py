"""Move one picture through the latent space of a model: encode it, move it along directions, decode it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from morphogen.applications.direction_finding import own_directions, require_latents
from morphogen.applications.prompting import class_index, class_notes, constant_condition, read_weighted_prompt
from morphogen.core.capabilities import Samples
from morphogen.core.chunks import chunks
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import UsageError, nearest
from morphogen.core.family import Family, require
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Rng
from morphogen.data.one_picture import Image, fitted, options_of, read, values

CHUNK = 256  # latents that are decoded together
AVERAGED = 64  # samples in the mean picture
MAX_EDITS = 1000


class Moved(NamedTuple):
    """Edits x (directions * strengths, C, H, W), the error of the reconstruction, and notes for the user.

    rmse      root mean square error of the picture's reconstruction, in shades of 0 .. 255
    baseline  the same error for the mean of the model's samples; None if the model does not sample
    """

    x: Tensor
    rmse: float
    baseline: float | None
    notes: tuple[str, ...]


@torch.no_grad()
def move_picture(
    family: Family,
    image: Image,
    names: Sequence[str],
    strengths: Sequence[float],
    known: Mapping[str, Tensor],
    label: str | int | None,
    text: str | None,
) -> Moved:
    """The means of p(x | z + strength w) for the latents z of a picture and directions w by name; see `mg.edit_latent`.

    `known` are directions (D,) by name, in addition to the model's own. Raises `UsageError` for an unknown direction,
    and `DataError` for a picture that does not fit the model.
    """
    if not names or not strengths or len(names) * len(strengths) > MAX_EDITS:
        raise UsageError(
            f"an edit needs a direction and a strength, and makes at most {MAX_EDITS:,} pictures (got {len(names):,}"
            f" directions and {len(strengths):,} strengths)."
        )
    check_numbers(strength=tuple(strengths))
    model = require_latents(family, "edit latents")
    data, on = family.data, family.device
    options_of(data)
    every = own_directions(family) | dict(known)
    vectors = torch.stack([_named(name, every).to(on) for name in names])
    row, words = class_index(family, label), None if text is None else read_weighted_prompt(family, text)
    x = values(fitted(read(image, data), data, image, tiles=None), data).to(on)
    z = model.encode(x, constant_condition(1, row, words, on)).mean
    start = z.flatten(1)
    if vectors.shape[1] != start.shape[1]:
        raise UsageError(
            f"these directions have {vectors.shape[1]} dimensions and the model's latents {start.shape[1]}: find"
            " directions of this model."
        )
    steps = torch.tensor(strengths, device=on, dtype=start.dtype)
    moved = start + (vectors.to(start.dtype)[:, None] * steps[:, None]).flatten(0, 1)
    places = torch.cat((start, moved)).unflatten(1, z.shape[1:])
    cond = constant_condition(len(places), row, words, on)
    parts = [(places[at], None if cond is None else cond[at]) for at in chunks(len(places), CHUNK)]
    made = torch.cat([model.decode(some, known).mean for some, known in parts])
    rmse, baseline = _rmse(made[0], x[0], data), None
    if Samples in family.capabilities:
        sampler, cond = require(family, Samples, "sample"), constant_condition(AVERAGED, row, words, on)
        baseline = _rmse(sampler.sample(AVERAGED, cond, Rng(0, on)).to(made.dtype).mean(0), x[0], data)
    notes = (*class_notes(data, label), *(() if words is None else words.warnings))
    if baseline is not None and rmse >= baseline:
        notes += (
            "the model cannot make this picture: its reconstruction is no nearer to it than the mean of samples is, so"
            " that edits show another one",
        )
    return Moved(made[1:], rmse, baseline, notes)


def _named(name: str, known: Mapping[str, Tensor]) -> Tensor:
    """The direction (D,) called `name`."""
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
    """The root mean square error in shades of 0 .. 255."""
    return float((a - b).double().square().mean().sqrt()) * 255.0 / (data.high - data.low)
