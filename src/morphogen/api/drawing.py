"""New records from a model."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from morphogen.api.records import Pictures, as_stored, device_of, load_model
from morphogen.core import capabilities, registry
from morphogen.core.batch import RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import UsageError, unknown
from morphogen.core.family import Family, require
from morphogen.core.rng import Rng

CHUNK = 64  # samples drawn together; with `exact`, always this many, so that the arithmetic is the same


def sample(
    model: Path | str,
    n: int = 64,
    seed: int = 0,
    *,
    label: str | int | None = None,
    exact: bool = False,
    batch_size: int | None = None,
    device: str = "cpu",
    **how: Any,
) -> Pictures:
    """Draw `n` new records. Sample i depends on (seed, i, label) only.

    In another `batch_size` it agrees to within 1/255; with `exact` it is the same bit for bit whatever n is.
    `how` are further options of the family's own `sample`, such as temperature; None leaves one as it is.
    """
    if n < 1:
        raise UsageError(f"cannot draw {n} samples: --n is at least 1.")
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"cannot draw {batch_size} samples at a time: the batch size is at least 1.")
    family = load_model(model, device).family
    require(family, capabilities.Samples, "sample", registry.having(capabilities.Samples))
    how = _drawn_how(family, how)
    row = _label(family.data, label, family)
    on = device_of(family)
    rng = Rng(seed, on)
    size = CHUNK if exact else (batch_size or CHUNK)
    parts = []
    for start in range(0, n, size):
        count = size if exact else min(size, n - start)
        cond = None if row is None else RawCondition(label=torch.full((count,), row, device=on))
        parts.append(cast(Any, family).sample(count, cond, rng.shifted(start), **how))
    labels = None if row is None else np.full(n, row)
    return Pictures(as_stored(torch.cat(parts)[:n], family.data), family.data, labels=labels)


def _label(spec: DataSpec, label: str | int | None, family: Family) -> int | None:
    """A class by its name or number. Raises `UsageError` for one that the model does not know."""
    if label is None:
        return None
    if not getattr(family.spec, "conditional", False) or not spec.classes:
        raise UsageError("this model knows no classes: train one on labelled data with --conditional.")
    if str(label) in spec.classes:
        return spec.classes.index(str(label))
    if str(label).isdecimal() and int(label) < len(spec.classes):
        return int(label)
    raise UsageError(unknown("class", str(label), spec.classes))


def _drawn_how(family: Family, how: Mapping[str, Any]) -> dict[str, Any]:
    """The given options of `sample`. Raises `UsageError` for one that this family's does not take."""
    given = {name: value for name, value in how.items() if value is not None}
    known = _options_of_sample(type(family))
    for name in given:
        if name not in known:
            others = [f for f in registry.names() if name in _options_of_sample(registry.family(f))]
            raise UsageError(
                f"a {family.name!r} model is not sampled with {name!r}; its options: {', '.join(known) or 'none'};"
                f" families that have {name!r}: {', '.join(others) or 'none'}."
            )
    if given.get("temperature", 1.0) < 0:
        raise UsageError(f"a temperature is at least 0 (got {given['temperature']}).")
    return given


def _options_of_sample(family: type[Family]) -> list[str]:
    """The keyword-only parameters of a family's `sample`."""
    method = getattr(family, "sample", None)
    parameters = [] if method is None else list(signature(method).parameters.values())
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]


def grid_of_classes(spec: DataSpec, n: int) -> RawCondition | None:
    return RawCondition(label=torch.arange(n) % len(spec.classes)) if spec.classes else None
