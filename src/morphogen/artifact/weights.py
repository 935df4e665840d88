"""Weights in a safetensors file: compared with what a model has by the header alone, and only then read into it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from morphogen.artifact.files import replacing
from morphogen.core.errors import ArtifactError
from morphogen.core.printable import one_line
from morphogen.core.reading import open_regular
from morphogen.core.tensor_header import METADATA, Header, Held, read_header

_TYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "U16": torch.uint16, "I16": torch.int16,
    "F16": torch.float16, "BF16": torch.bfloat16, "U32": torch.uint32, "I32": torch.int32, "F32": torch.float32,
    "U64": torch.uint64, "I64": torch.int64, "F64": torch.float64,
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _TYPES.items()}
_SHOWN = 5  # differences


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Replace the file at `path`. Raises `OSError`."""
    with replacing(path) as sibling, open(sibling, "wb") as file:
        write_to(file, tensors, metadata or {})


def write_to(file: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """A safetensors file: the largest elements first, so that each lies at a multiple of its size."""
    said: dict[str, object] = {METADATA: dict(metadata)} if metadata else {}
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    at = 0
    for name in order:
        tensor = tensors[name]
        end = at + tensor.numel() * tensor.element_size()
        said[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(said, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in order:
        value = tensors[name].detach().to("cpu").contiguous()
        file.write(value.reshape(-1).view(torch.uint8).numpy().data)


def header(file: io.BufferedReader, where: Path) -> Header:
    """What the file holds. Raises `ArtifactError`."""
    try:
        return read_header(file)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{where}: expected weights, got something unreadable ({one_line(str(error))}).") from None


def compare(held: Header, own: Mapping[str, Tensor], where: Path) -> None:
    """Raise `ArtifactError` unless the file holds just the tensors `own`, in their shapes; reads none of them."""
    stored = held.tensors
    wrong = [f"{n} is missing" for n in own if n not in stored]
    wrong += [f"{n} is unknown" for n in stored if n not in own]
    wrong += [
        f"{n} has shape {stored[n].shape}, expected {tuple(own[n].shape)}"
        for n in own
        if n in stored and stored[n].shape != tuple(own[n].shape)
    ]
    wrong += [
        f"{n} is of the type {stored[n].dtype}, expected {str(own[n].dtype).removeprefix('torch.')}"
        for n in own
        if n in stored and stored[n].is_floating != own[n].is_floating_point()
    ]
    if wrong:
        more = f" and {len(wrong) - _SHOWN:,} more" if len(wrong) > _SHOWN else ""
        said = "; ".join(one_line(line) for line in wrong[:_SHOWN])
        raise ArtifactError(f"{where} does not fit the model in spec.json: {said}{more}.")


def fill(own: Mapping[str, Tensor], file: io.BufferedReader, held: Header, where: Path) -> None:
    """Copy the file's tensors into `own`. Raises `ArtifactError` for NaN, infinity and a file that is cut off."""
    with torch.no_grad():
        for name, value in read(file, held, where):
            check_finite(name, value, where)
            own[name].copy_(value)


def read(file: io.BufferedReader, held: Header, where: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a file, one after the other."""
    for name, about in held.tensors.items():
        file.seek(about.begin)
        data = bytearray(about.end - about.begin)
        if file.readinto(data) != len(data):
            raise ArtifactError(f"{where}: it is cut off in {one_line(name)}.")
        yield name, _tensor(about, data)


def read_all(path: Path) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """All tensors of the file at `path`, and the texts of its header.

    Raises `OSError` or `ValueError` where it is no such file, and `ArtifactError` where it is cut off.
    """
    with open_regular(path) as file:
        held = read_header(file)
        return dict(read(file, held, path)), held.metadata


def check_finite(name: str, value: Tensor, where: Path) -> None:
    """Raise `ArtifactError` where a tensor holds NaN or infinity."""
    if value.is_floating_point() and not bool(torch.isfinite(value).all()):
        raise ArtifactError(
            f"{where} holds NaN or infinite values, first in {one_line(name)}: this model draws nothing. Go back to an"
            " earlier one, or train it again."
        )


def _tensor(about: Held, data: bytearray) -> Tensor:
    if not data:
        return torch.empty(about.shape, dtype=_TYPES[about.dtype])
    return torch.frombuffer(data, dtype=_TYPES[about.dtype]).reshape(about.shape)
