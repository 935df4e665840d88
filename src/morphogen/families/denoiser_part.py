"""A trained diffusion or flow model as a part of another family."""

from __future__ import annotations

from morphogen.core.errors import SpecError
from morphogen.core.family import Family
from morphogen.families.denoising import DenoisingFamily
from morphogen.families.guide import check_records


def denoiser_part(model: Family, part: str) -> DenoisingFamily:
    """The part of `model` called `part`. Raises `SpecError` unless it is a denoising family of the same records."""
    found = dict(model.parts).get(part)
    if not isinstance(found, DenoisingFamily):
        came = "none" if found is None else f"a {getattr(found, 'name', type(found).__name__)!r} model"
        raise SpecError(
            f"a {model.name!r} model needs a trained diffusion or flow_matching model: give --part {part}=MODEL"
            f" (got {came})."
        )
    check_records(part, found.data, model.data)
    return found
