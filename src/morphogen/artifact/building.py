"""From spec.json to a module, in two builds: first without memory, to compare its shapes with the weights, then really.

The first build is made on torch's "meta" device, whose tensors have a shape and no content. A spec of some kilobytes
can ask for any number of layers of any width; what the header of the weights does not hold is refused there, and so is
the rest that would take memory or minutes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from morphogen.artifact.weights import compare
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import ArtifactError, MorphogenError
from morphogen.core.family import Family
from morphogen.core.printable import one_line
from morphogen.core.registrations import TooMany, at_most
from morphogen.core.rng import Rng
from morphogen.core.spec import Spec
from morphogen.core.tensor_header import Header

_SPARE = 256  # tensors more than the file holds: those that are made in passing
_SPARE_BYTES = 1 << 30  # of tables that are not stored, beside as much again as the weights take


def shapes(
    kind: type[Family], spec: Spec, data: DataSpec, parts: Mapping[str, Family], held: Header, where: Path
) -> Family:
    """The model without memory, on parts of the same kind. Raises `ArtifactError` where `held` is another's weights."""
    of_parts = sum(len(part.state_dict()) for part in parts.values())
    with _refused(where), torch.device("meta"), at_most(4 * (len(held.tensors) + of_parts) + _SPARE):
        shape_only = kind(spec, data, parts)
    compare(held, own_state(shape_only), where)
    _check_tables(shape_only, held, where)
    with _refused(where), torch.device("meta"):
        return shape_only.deployed()


def build(kind: type[Family], spec: Spec, data: DataSpec, parts: Mapping[str, Family], where: Path) -> Family:
    """Build the model, before its weights are read. Raises `ArtifactError` if it cannot be built."""
    with _refused(where), Rng(0).forked():
        return kind(spec, data, parts)


def own_state(family: Family) -> dict[str, Tensor]:
    """The family's weights and buffers by name, without those of its parts."""
    return {name: value for name, value in family.state_dict().items() if family.owns(name)}


@contextmanager
def _refused(where: Path) -> Iterator[None]:
    """Turn every error of a constructor under unchecked numbers into an `ArtifactError`."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "for .*: copying from a non-meta parameter", UserWarning)
            yield
    except TooMany:
        raise ArtifactError(
            f"{where} does not fit the model in spec.json: that has many more layers than there are weights for."
        ) from None
    except ArtifactError:
        raise
    except MorphogenError as error:
        raise ArtifactError(f"{where.with_name('spec.json')}: {error}") from None
    except (ArithmeticError, AttributeError, AssertionError, LookupError, MemoryError, RecursionError) as error:
        raise _unbuildable(where, error) from None
    except (NotImplementedError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise _unbuildable(where, error) from None


def _unbuildable(where: Path, error: Exception) -> ArtifactError:
    said = one_line(str(error).partition("\n")[0])[:200] or type(error).__name__
    return ArtifactError(f"{where.with_name('spec.json')}: no model can be built of this ({said}).")


def _check_tables(shape_only: Family, held: Header, where: Path) -> None:
    stored = sum(tensor.end - tensor.begin for tensor in held.tensors.values())
    taken = sum(b.numel() * b.element_size() for b in shape_only.buffers() if b.device.type == "meta")
    if taken > 2 * stored + _SPARE_BYTES:
        raise ArtifactError(
            f"{where.with_name('spec.json')}: the model asks for {taken / 1e9:,.1f} GB beside its weights, which take"
            f" {stored / 1e9:,.3f} GB; this is not what a training has written."
        )
