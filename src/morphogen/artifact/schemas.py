"""The JSON files of an artifact: one strict schema for each, so that later code needs no further checks."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import pydantic
from pydantic import Field, StringConstraints

from morphogen.core.errors import ArtifactError
from morphogen.core.printable import one_line
from morphogen.core.reading import parse_json

FORMAT = 1
MAX_FILES = 10_000  # that a manifest lists
MAX_PARTS = 32  # that a model stands on

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
PartName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][\w-]{0,63}$")]
Word = Annotated[str, StringConstraints(max_length=200)]


class _Stored(pydantic.BaseModel):
    """Strict in its types; it ignores fields of later versions."""

    model_config = pydantic.ConfigDict(strict=True, frozen=True, extra="ignore")


class Entry(_Stored):
    """Size and hash of one file."""

    bytes: int = Field(ge=0, lt=1 << 63)
    sha256: Sha256


class Manifest(_Stored):
    """manifest.json: path within the folder -> `Entry`."""

    format: int
    files: dict[str, Entry] = Field(max_length=MAX_FILES)


class Provenance(pydantic.BaseModel):
    """The fields of the provenance that code reads; the others are for people."""

    model_config = pydantic.ConfigDict(strict=True, frozen=True, extra="allow")

    complete: bool = True
    source: str | None = None
    preset: str | None = None


class Stored(_Stored):
    """spec.json. `spec` and `data` are checked by the family's Spec and by `DataSpec`."""

    format: int
    morphogen: Word = "an unknown version"
    family: Word
    spec: dict[str, Any]
    data: dict[str, Any]
    recipe: dict[str, Any] = Field(default_factory=dict)
    provenance: Provenance = Field(default_factory=Provenance)
    parts: dict[PartName, Sha256] = Field(default_factory=dict, max_length=MAX_PARTS)
    capabilities: list[Word] | None = Field(None, max_length=100)


Number = int | float


class Result(pydantic.BaseModel):
    """The fields of a measurement that are shown; each may be missing, and other fields are ignored."""

    model_config = pydantic.ConfigDict(strict=True, frozen=True, extra="allow")

    name: str = ""
    value: Number | str | None = None
    interval: tuple[Number, Number] | None = None
    n: int | None = None
    unit: str | None = None
    better: str | None = None
    baselines: dict[str, Number | None] | None = None
    floor: Number | None = None
    floor_interval: tuple[Number, Number] | None = None
    place: str | None = None


class Evaluation(_Stored):
    """evaluation/*.json."""

    name: Annotated[str, StringConstraints(pattern=r"^[\w-]{1,100}$")]
    written: Word
    result: Result


Schema = TypeVar("Schema", bound=_Stored)


def checked(schema: type[Schema], where: str, data: bytes) -> tuple[Schema, dict[str, Any]]:
    """Check the file `where` against its schema; returns both forms. Raises `ArtifactError` if it does not fit."""
    try:
        content = parse_json(data)
    except ValueError as error:
        raise ArtifactError(f"{where}: expected JSON, got something unreadable ({one_line(str(error))}).") from None
    if "format" in schema.model_fields:
        _check_format(where, content)
    try:
        return schema.model_validate_json(data), content
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part)[:80] for part in first["loc"])
        said = f"{place}: {first['msg']}" if place else first["msg"]
        raise ArtifactError(f"{where}: this is not what a model directory holds there ({one_line(said)}).") from None


def _check_format(where: str, content: Any) -> None:
    number = content.get("format") if isinstance(content, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        shown = one_line(repr(number))[:80]
        raise ArtifactError(f"{where}: expected a format number, got {shown}; this is no model directory.")
    if number > FORMAT:
        raise ArtifactError(
            f"{where}: written in format {number}, this version of morphogen reads formats up to {FORMAT}."
            " Install a newer morphogen to use this model."
        )
