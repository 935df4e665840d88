"""Check the part "guide" of a diffusion or flow model: it denoises the same records with the same schedule.

Autoguidance (`sampling/guidance.py`) combines two estimates of x_0 at the same x_t and t. This makes sense only if both
models have the same kind of records, the same alpha_t and sigma_t, and the same autoencoder.
"""

from __future__ import annotations

from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from morphogen.core.capabilities import Denoises
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError
from morphogen.core.family import Family
from morphogen.sampling.denoiser import Denoiser


def check_guide(guide: nn.Module, model: Any) -> None:
    """Raise `SpecError` unless `guide` can guide `model`, a denoising family that is still being built."""
    if not isinstance(guide, Family) or Denoises not in guide.capabilities or not isinstance(guide, Denoiser):
        raise SpecError(f"the part 'guide' must be a diffusion or flow model, not a {type(guide).__name__}.")
    check_records("guide", guide.data, model.data)
    if guide.schedule != model.schedule:
        raise SpecError(
            f"the part 'guide' has the schedule {guide.schedule}, and this model {model.schedule}: a guide must know"
            " the same noise at every t, so give both the same schedule and shift."
        )
    if not _same(*(dict(each.parts).get("autoencoder") for each in (guide, model))):
        raise SpecError("the part 'guide' must run on the same latents: train both with the same --part autoencoder.")


def check_records(part: str, theirs: DataSpec, ours: DataSpec) -> None:
    """Raise `SpecError` unless a part has the same kind of records and conditions as the model."""
    found, wanted = _records(theirs), _records(ours)
    for what in wanted:
        if found[what] != wanted[what]:
            raise SpecError(
                f"the part {part!r} was trained on records of {what} {shorten(str(found[what]), 80)}, but"
                f" {ours.name!r} has {shorten(str(wanted[what]), 80)}: take one of the same data."
            )


def _records(data: DataSpec) -> dict[str, Any]:
    """The properties of the records that two models must share."""
    found = {
        name: getattr(data, name) for name in ("shape", "kind", "levels", "classes", "attributes", "context_shape")
    }
    return {**found, "tokenizer": "" if data.text is None else data.text.fingerprint}


def _equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal. Without memory (meta device) only their shapes are compared."""
    return a.shape == b.shape if a.is_meta or b.is_meta else torch.equal(a, b)


def _same(a: nn.Module | None, b: nn.Module | None) -> bool:
    """Whether two models have the same weights, or both are None."""
    if a is None or b is None:
        return a is b
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(_equal(first[name], second[name]) for name in first)
