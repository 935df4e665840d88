"""One block of an archive: records and their names to bytes and back, by the coder that is best for it.

Which coder a model has follows from its capabilities. A block takes the plain coder where that needs fewer bytes, so no
archive is larger than plain coding and the heads around it. A model that codes with a loss gives similar records.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from morphogen.applications.compression import by_conditionals, by_integers, by_latents, plain
from morphogen.applications.compression.container import (
    CONDITIONALS,
    INTEGERS,
    LATENTS,
    PLAIN,
    Block,
    Damaged,
    Header,
)
from morphogen.core.capabilities import CodesWithLoss, Conditionals, LatentFrequencies, Quantizes
from morphogen.core.errors import CapabilityError, UsageError
from morphogen.core.family import Family, require
from morphogen.core.reading import parse_json

MAX_NAMES = 1 << 24  # bytes of a block's names
_DENSE = 4  # plain coding is tried beside coding with a loss where that saves less than this factor


@dataclass(frozen=True)
class Coded:
    """A block, and what is known of it.

    bits   what the model's probabilities ask for; None for plain coding
    made   the records that it decodes to
    """

    block: Block
    bits: float | None
    made: np.ndarray


@dataclass(frozen=True)
class Decoded:
    """The records of a block: values (n, *shape) uint8; a name each, or None; `start` is the place of the first."""

    start: int
    values: np.ndarray
    names: list[str] | None


def coder_of(family: Family) -> int:
    """The coder that a model has. Raises `CapabilityError` for one that has none."""
    if Conditionals in family.capabilities:
        return CONDITIONALS
    if CodesWithLoss in family.capabilities:
        return INTEGERS
    if Quantizes in family.capabilities and LatentFrequencies not in family.capabilities:
        raise UsageError(
            f"a {family.name!r} model codes by its integer form alone: make that with"
            " `morphogen quantize MODEL --out DIR`."
        )
    if LatentFrequencies in family.capabilities:
        return LATENTS
    require(family, Conditionals, "compress")
    raise CapabilityError(f"cannot compress with a {family.name!r} model.")


def is_exact(family: Family) -> bool:
    """Whether a model codes the same on every machine: its integer form, whose sums are proved.

    Raises `ArtifactError` for an integer form whose sums might round: a stored model may be anybody's.
    """
    if Quantizes not in family.capabilities:
        return False
    form = require(family, Quantizes, "quantize")
    return form.exact and bool(form.sums())


def encode(index: int, values: np.ndarray, names: Sequence[str] | None, header: Header, family: Family | None) -> Coded:
    """The block of records (n, *shape) uint8."""
    said = b"" if names is None else json.dumps(list(names), ensure_ascii=False, separators=(",", ":")).encode()
    if header.quality is None:
        coder, code, bits = _without_loss(values, header, family)
        made = values
    else:
        coder, code, bits, made = _with_loss(values, header, family)
    content = zlib.crc32(said, zlib.crc32(made.tobytes()))
    return Coded(Block(index, len(values), coder, plain.press(said) if said else b"", code, content), bits, made)


def _without_loss(values: np.ndarray, header: Header, family: Family | None) -> tuple[int, bytes, float | None]:
    """Coder, code and bits of records."""
    code = plain.encode(values, header.levels)
    if family is not None:
        kind = coder_of(family)
        way: Any = by_conditionals if kind == CONDITIONALS else by_latents
        found, needed = way.encode(family, torch.from_numpy(values), header.levels)
        if found is not None and len(found) < len(code):
            return kind, found, needed
    return PLAIN, code, None


def _with_loss(
    values: np.ndarray, header: Header, family: Family | None
) -> tuple[int, bytes, float | None, np.ndarray]:
    """Coder, code and bits of pictures, and the pictures that it decodes to."""
    assert header.quality is not None
    model = require(family, CodesWithLoss, "compress with a loss")
    code, bits, made = by_integers.encode(model, torch.from_numpy(values), header.quality)
    if _DENSE * len(code) > values.nbytes and len(exact := plain.encode(values, header.levels)) <= len(code):
        return PLAIN, exact, None, values
    return INTEGERS, code, bits, made


def decode(block: Block, header: Header, family: Family | None) -> Decoded:
    """The records of a block. Raises `Damaged` unless they are bit for bit those that were written."""
    n, shape = block.records, tuple(header.shape)
    if block.coder == PLAIN:
        values = plain.decode(block.code, n, shape, header.levels)
    elif family is None:
        raise Damaged("it is coded by a model, and the archive names none")
    elif coder_of(family) != block.coder or (block.coder == INTEGERS and header.quality is None):
        raise Damaged("it is of a coder that the model does not have")
    elif header.quality is not None:
        model = require(family, CodesWithLoss, "decompress with a loss")
        values = by_integers.decode(model, block.code, n, shape, header.levels, header.quality)
    else:
        way: Any = by_conditionals if block.coder == CONDITIONALS else by_latents
        values = way.decode(family, block.code, n, shape, header.levels)
    said = plain.unpress(block.names, MAX_NAMES) if block.names else b""
    if zlib.crc32(said, zlib.crc32(values.tobytes())) != block.content:
        raise Damaged("it does not decode to what was written")
    return Decoded(block.index * header.block, values, _names(said, n))


def _names(said: bytes, n: int) -> list[str] | None:
    if not said:
        return None
    try:
        names = parse_json(said)
    except ValueError as error:
        raise Damaged(f"its names are no JSON ({error})") from None
    if not isinstance(names, list) or len(names) != n or not all(isinstance(name, str) for name in names):
        raise Damaged("its names are not one for each record")
    return names
