"""Directions in a model's latent space: its own, and those along which a class or an attribute changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from morphogen import artifact
from morphogen.api.records import check_made, device_of, load_like, load_model
from morphogen.applications.latent_directions import MIN_RECORDS, direction, enough, ordered, properties
from morphogen.core import capabilities, registry
from morphogen.core.errors import CapabilityError, DataError, UsageError
from morphogen.core.family import Family, require
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Rng
from morphogen.data import Records
from morphogen.data.arrays import read_arrays
from morphogen.data.labels import texts
from morphogen.theory.statistics.intervals import Estimate

ENCODE_CHUNK = 256
NOTHING = Estimate(float("nan"), (float("nan"), float("nan")))


@dataclass(frozen=True)
class Directions:
    """Directions in the latent space of one model, by name.

    vectors   (k, D), each as long as the latents' standard deviation along it: the prior's for those of the model
              itself, that of encoded records for those of properties
    ordered   (k,) share of pairs of held-out records that the direction has in the right order; chance is 1/2; NaN for
              the model's own, which were found from no records
    interval  (k, 2) its 95 % interval; n  how many held-out records
    model     the hash of the model's weights
    """

    names: tuple[str, ...]
    vectors: np.ndarray
    ordered: np.ndarray
    interval: np.ndarray
    n: int
    model: str
    warnings: tuple[str, ...] = ()

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file of them holds."""
        return {
            "names": np.array(self.names, dtype=str),
            "vectors": self.vectors,
            "ordered": self.ordered,
            "interval": self.interval,
            "n": np.array(self.n),
            "model": np.array(self.model),
        }

    @classmethod
    def read(cls, path: Path | str) -> Directions:
        """From an .npz file of `arrays`. Raises `DataError` for any other."""
        if not Path(path).exists():
            raise DataError(f"{path}: there is no such file.")
        try:
            found = read_arrays(Path(path), "names", "n", "model", "vectors", "ordered", "interval")
            names, n, model = tuple(texts(found["names"], "names")), int(found["n"]), str(found["model"])
            vectors, share, interval = (found[name].astype(np.float64) for name in ("vectors", "ordered", "interval"))
        except (DataError, ValueError, TypeError, OverflowError) as error:
            raise DataError(f"{path} holds no directions: make it with `morphogen directions` ({error}).") from None
        if vectors.ndim != 2 or len(vectors) != len(names) or not np.isfinite(vectors).all():
            raise DataError(f"{path} is damaged: it has {len(names)} names and vectors of shape {vectors.shape}.")
        return cls(names, vectors, share, interval, n, model)


def directions(
    model: Path | str,
    data: str | None = None,
    *,
    factors: int = 10,
    n: int = 500,
    split: str = "test",
    device: str = "cpu",
) -> Directions:
    """The first `factors` of the model's own directions, and with `data` one for each class and attribute.

    The model's own, "factor-1" ..., are those of closed-form factorization, by falling effect, for families that have
    it. Others are found from the latents of up to `n` training records, and measured on up to half as many of `split`
    (`applications/latent_directions.py`): of a class by its name, of an attribute's value by "attribute=value", of a
    real-valued attribute by its name. `warnings` names those that too few records have. Records are encoded without
    conditions, so that the latents of a conditional model, too, hold all that there is to say.
    Raises `CapabilityError` for a model without latents, `DataError` for data in which nothing is known of records.
    """
    check_numbers(factors=factors, n=n)
    if n < 2 * MIN_RECORDS:
        raise UsageError(f"directions are found from at least {2 * MIN_RECORDS} records: --n (got {n}).")
    family = with_latents(load_model(model, device).family, "find directions")
    own = factorized(family)
    if data is None and not own:
        have = [name for name in registry.names() if hasattr(registry.family(name), "directions")]
        raise CapabilityError(
            f"a {family.name!r} model has no directions of its own (families that have: {', '.join(have) or 'none'}):"
            " give data with classes or attributes, of which directions are found."
        )
    found = [_Found(name, vector, NOTHING) for name, vector in list(own.items())[:factors]]
    measured, warnings = 0, []
    if data is not None:
        records = load_like(data, family.data)
        known, held_out = _some(records.train, n), _some(records.split(split), n // 2)
        more, few = _of_properties(family, known, held_out)
        found, measured = found + more, len(held_out)
        if few:
            warnings.append(f"too few of the records have (or lack) {', '.join(few)} to find a direction: raise --n")
    if not found:
        raise DataError(f"there is no direction to find: {' '.join(warnings) or 'factors is 0'}.")
    return Directions(
        tuple(f.name for f in found),
        check_made(torch.stack([f.vector.cpu().double() for f in found])).numpy(),
        np.array([f.ordered.value for f in found]),
        np.array([f.ordered.interval for f in found]),
        measured,
        weights_of(model),
        tuple(warnings),
    )


def with_latents(family: Family, verb: str) -> Any:
    """The family, if its records have latents of their own. Raises `CapabilityError` or `UsageError` if not."""
    require(family, capabilities.Encodes, verb, registry.having(capabilities.Encodes))
    if family.data.context_shape is not None:
        raise UsageError(
            f"cannot {verb} with a model that makes pictures from pictures"
            f" (context={family.data.preprocessing.get('context')}): train one without a context."
        )
    return family


def factorized(family: Family) -> dict[str, Tensor]:
    """All directions of the model itself by name, each (D,) of length 1; none for a family that has none."""
    if not hasattr(family, "directions"):
        return {}
    every = cast(Any, family).directions(cast(Any, family).latent_dim)
    return {f"factor-{k}": vector for k, vector in enumerate(every, start=1)}


def weights_of(model: Path | str) -> str:
    """The hash of a model's weights."""
    return artifact.manifest.read(Path(model))["weights.safetensors"].sha256


class _Found(NamedTuple):
    name: str
    vector: Tensor
    ordered: Estimate


def _of_properties(family: Any, known: Records, held_out: Records) -> tuple[list[_Found], list[str]]:
    """A direction for each property that enough records have; the names of the others."""
    to_find, to_measure = properties(known), properties(held_out)
    if not to_find:
        raise DataError(
            f"nothing is known of the records of {known.spec.name}: directions are found for classes (subfolders, or an"
            " array `labels`) and attributes."
        )
    z, z_held_out = _latents(family, known), _latents(family, held_out)
    found, few = [], []
    for name, y in to_find.items():
        rows, others = ~y.isnan(), ~to_measure[name].isnan()
        if not enough(y[rows]) or not enough(to_measure[name][others]):
            few.append(name)
            continue
        w = direction(z[rows], y[rows])
        found.append(_Found(name, w, ordered(z_held_out[others] @ w, to_measure[name][others])))
    return found, few


def _some(records: Records, n: int) -> Records:
    """At most `n` of them, drawn at random, always the same: they may be sorted by class."""
    return records.select(Rng(0).permutation("directions", 0, len(records))[:n])


@torch.no_grad()
def _latents(family: Any, records: Records) -> Tensor:
    """The means of q(z | x), (n, D) float64 on the CPU."""
    on = device_of(family)
    parts = [records.batch(slice(i, i + ENCODE_CHUNK)).x.to(on) for i in range(0, len(records), ENCODE_CHUNK)]
    return torch.cat([family.encode(x).mean.flatten(1).double().cpu() for x in parts])
