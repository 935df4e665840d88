"""Find the directions of a model: its own, and those of classes and attributes of data (`latent_directions.py`)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from morphogen import data
from morphogen.applications.latent_directions import MIN_RECORDS, direction, enough, ordered, properties
from morphogen.core import registry
from morphogen.core.capabilities import Directions, Encodes
from morphogen.core.chunks import chunks
from morphogen.core.errors import CapabilityError, DataError, UsageError
from morphogen.core.family import Family, require
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Rng
from morphogen.data import Records
from morphogen.data.in_memory import AnyData
from morphogen.theory.statistics.intervals import Estimate

ENCODE_CHUNK = 256
NOTHING = Estimate(float("nan"), (float("nan"), float("nan")))


class Found(NamedTuple):
    """A direction (D,) with its name and the share of held-out pairs that it orders (NaN for the model's own)."""

    name: str
    vector: Tensor
    ordered: Estimate


class FoundDirections(NamedTuple):
    """Directions, the number of held-out records that measured them, and notes for the user."""

    directions: list[Found]
    n: int
    notes: tuple[str, ...]


def find_directions(family: Family, source: AnyData | None, factors: int, n: int, split: str) -> FoundDirections:
    """The first `factors` of the model's own directions, and those of the properties of data; see `mg.directions`.

    Raises:
        CapabilityError: the model has no latents, or no directions of its own and no data are given.
        DataError: the records have no classes or attributes.
    """
    check_numbers(factors=factors, n=n)
    if n < 2 * MIN_RECORDS:
        raise UsageError(f"directions are found from at least {2 * MIN_RECORDS} records: --n (got {n}).")
    model = require_latents(family, "find directions")
    own = own_directions(family)
    if source is None and not own:
        have = ", ".join(registry.having(Directions)) or "none"
        raise CapabilityError(
            f"a {family.name!r} model has no directions of its own (families that have: {have}): give data with classes"
            " or attributes, of which directions are found."
        )
    found = [Found(name, vector, NOTHING) for name, vector in list(own.items())[:factors]]
    measured, notes = 0, []
    if source is not None:
        records = data.load(source, like=family.data)
        known, held_out = _some(records.train, n), _some(records.split(split), n // 2)
        more, few = _of_properties(model, family, known, held_out)
        found, measured = found + more, len(held_out)
        if few:
            notes.append(f"too few of the records have (or lack) {', '.join(few)} to find a direction: raise --n")
    if not found:
        raise DataError(f"there is no direction to find: {' '.join(notes) or 'factors is 0'}.")
    return FoundDirections(found, measured, tuple(notes))


def require_latents(family: Family, verb: str) -> Encodes:
    """Return the family if each record has a latent of its own. Raises `CapabilityError` or `UsageError` otherwise."""
    model = require(family, Encodes, verb)
    if family.data.context_shape is not None:
        raise UsageError(
            f"cannot {verb} with a model that makes pictures from pictures"
            f" (context={family.data.preprocessing.get('context')}): train one without a context."
        )
    return model


def own_directions(family: Family) -> dict[str, Tensor]:
    """The directions of the model itself by name, each (D,) of length 1; empty if the family has none."""
    if Directions not in family.capabilities:
        return {}
    model = require(family, Directions, "find directions")
    every = model.directions(model.latent_dim)
    return {f"factor-{k}": vector for k, vector in enumerate(every, start=1)}


def _of_properties(model: Encodes, family: Family, known: Records, held_out: Records) -> tuple[list[Found], list[str]]:
    """A direction for each property with enough records, and the names of the others."""
    to_find, to_measure = properties(known), properties(held_out)
    if not to_find:
        raise DataError(
            f"nothing is known of the records of {known.spec.name}: directions are found for classes (subfolders, or an"
            " array `labels`) and attributes."
        )
    z, z_held_out = _latents(model, family, known), _latents(model, family, held_out)
    found, few = [], []
    for name, y in to_find.items():
        rows, others = ~y.isnan(), ~to_measure[name].isnan()
        if not enough(y[rows]) or not enough(to_measure[name][others]):
            few.append(name)
            continue
        w = direction(z[rows], y[rows])
        found.append(Found(name, w, ordered(z_held_out[others] @ w, to_measure[name][others])))
    return found, few


def _some(records: Records, n: int) -> Records:
    """At most `n` random records, always the same ones; the records may be sorted by class."""
    return records.select(Rng(0).permutation("directions", 0, len(records))[:n])


@torch.no_grad()
def _latents(model: Encodes, family: Family, records: Records) -> Tensor:
    """The means of q(z | x), (n, D) float64 on the CPU; encoded without conditions."""
    parts = [records.batch(rows).x for rows in chunks(len(records), ENCODE_CHUNK)]
    return torch.cat([model.encode(x.to(family.device)).mean.flatten(1).double().cpu() for x in parts])
