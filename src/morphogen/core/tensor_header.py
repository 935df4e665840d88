"""Read the header of a safetensors file: the names, types, shapes and places of its tensors.

    8 bytes: N, little-endian | N bytes: JSON | the tensors, one after the other

The JSON maps each name to {"dtype", "shape", "data_offsets": [begin, end]}, and "__metadata__" to texts by name. This
module reads it instead of the library, so that every fault is a clear error before any memory is allocated: offsets
that overlap, leave holes or end outside of the file, sizes that do not fit the shape, unknown types.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pydantic
from pydantic import Field

from morphogen.core.reading import open_regular, parse_json

MAX_HEADER_BYTES = 32 << 20
METADATA = "__metadata__"
BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4, "U64": 8,
    "I64": 8, "F64": 8,
}  # fmt: skip


@dataclass(frozen=True)
class Held:
    """One tensor of a file: `begin` and `end` are in bytes from the file's beginning."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def is_floating(self) -> bool:
        """Whether it holds real numbers."""
        return self.dtype in ("F16", "BF16", "F32", "F64")


@dataclass(frozen=True)
class Header:
    """Tensors by name, in their order in the file, and the texts of the metadata."""

    tensors: Mapping[str, Held]
    metadata: Mapping[str, str]


class _Said(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, extra="forbid")

    dtype: str
    shape: tuple[Annotated[int, Field(ge=0, lt=1 << 48)], ...] = Field(max_length=32)
    data_offsets: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]


_METADATA = pydantic.TypeAdapter(dict[str, str], config=pydantic.ConfigDict(strict=True))


def read_header(file: io.BufferedReader) -> Header:
    """Read and check the header at the beginning of `file`. Raises `ValueError` that names the fault."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
        raise ValueError("its header is cut off or larger than any header is")
    said = parse_json(file.read(length))
    if not isinstance(said, dict):
        raise ValueError("its header is no JSON object")
    try:
        metadata = _METADATA.validate_python(said.pop(METADATA, {}))
        held = {name: _held(name, about, 8 + length) for name, about in said.items()}
    except pydantic.ValidationError as error:
        raise ValueError(f"its header is wrong: {error.errors(include_url=False)[0]['msg']}") from None
    ordered = dict(sorted(held.items(), key=lambda item: (item[1].begin, item[1].end)))
    at = 8 + length
    for name, tensor in ordered.items():
        if tensor.begin != at:
            raise ValueError(f"{name!r} overlaps another tensor, or leaves a hole")
        at = tensor.end
    if at != size:
        raise ValueError(f"it has {size:,} bytes, and its header says {at:,}")
    return Header(ordered, metadata)


def read_metadata(path: Path) -> Mapping[str, str]:
    """The texts in the header of the file at `path`. Raises `OSError` or `ValueError`."""
    with open_regular(path) as file:
        return read_header(file).metadata


def _held(name: str, about: object, origin: int) -> Held:
    said = _Said.model_validate(about if not isinstance(about, dict) else {**about, **_tuples(about)})
    begin, end = said.data_offsets
    if said.dtype not in BYTES:
        raise ValueError(f"{name!r} is of the type {said.dtype[:20]!r}, which is not read")
    if end - begin != math.prod(said.shape) * BYTES[said.dtype]:
        raise ValueError(f"the bytes of {name!r} do not fit its shape {said.shape}")
    return Held(said.dtype, said.shape, origin + begin, origin + end)


def _tuples(about: Mapping[str, object]) -> dict[str, object]:
    return {name: tuple(value) for name, value in about.items() if isinstance(value, list)}
