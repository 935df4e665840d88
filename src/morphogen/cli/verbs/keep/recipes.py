"""The recipe in a picture: what `recall` believes of a file that anybody may have made.

One schema says which entries there are, of which types, and how large; whatever else a file says is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from morphogen.core.errors import DataError
from morphogen.core.limits import MAX_SEED, REAL, WHOLE
from morphogen.core.printable import shortened

MAX_PICTURES = 100_000  # that one file has drawn
Word = Annotated[str, Field(max_length=1024)]
Prompt = Annotated[str, Field(max_length=100_000)]
Index = Annotated[int, Field(ge=0, lt=MAX_PICTURES)]  # of one of them
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Steps = Annotated[int, Field(ge=WHOLE["steps"][0], le=WHOLE["steps"][1])]
Candidates = Annotated[int, Field(ge=WHOLE["candidates"][0], le=WHOLE["candidates"][1])]
Scale = Annotated[float, Field(ge=REAL["guidance"][0], le=REAL["guidance"][1])]
Degree = Annotated[float, Field(ge=REAL["temperature"][0], le=REAL["temperature"][1])]


class _Recipe(pydantic.BaseModel):
    """What every recipe holds."""

    model_config = pydantic.ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    verb: Word
    model: Word
    fingerprint: Word
    version: Word | None = None
    torch: Word | None = None
    n: int = Field(ge=1, le=MAX_PICTURES)
    seed: Seed
    label: Word | None = Field(default=None, alias="class")
    exact: bool
    precision: Literal["fp32", "bf16", "auto"]
    stepper: Word | None = None
    steps: Steps | None = None
    guidance: Scale | None = None
    truncation: Degree | None = None
    candidates: Candidates | None = None
    temperature: Degree | None = None


class _Sample(_Recipe):
    index: Index | Word
    text: Prompt | None = None
    compile: bool = False
    grid: Word | None = None
    avoid: Word | None = None
    guidance_interval: list[float] | None = Field(default=None, min_length=2, max_length=2)
    autoguidance: Scale | None = None
    attribute: Word | None = None


class _Draw(_Recipe):
    index: Index | None
    prompts: list[Prompt] = Field(min_length=1, max_length=10_000)
    negative: Prompt | None = None
    to: Prompt | None = None
    frames: int = Field(ge=2, le=MAX_PICTURES)
    grid: dict[Literal["guidance", "seed"], list[int | float]] | None = Field(default=None, min_length=1, max_length=1)


def parse(found: Mapping[str, Any], file: str) -> dict[str, Any]:
    """The entries of a recipe that are known. Raises `DataError` where they cannot be."""
    kind: type[_Recipe] = _Draw if found["verb"] == "draw" else _Sample
    try:
        recipe = kind.model_validate(found)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        came = shortened(repr(first["input"]))
        raise DataError(f"{file}: its recipe cannot be: {where}: {first['msg']} (got {came}).") from None
    if isinstance(recipe, _Draw):
        values = [value for row in (recipe.grid or {}).values() for value in row]
        pictures = (
            len(recipe.prompts) * max(1, len(values)) * recipe.n * (recipe.frames if recipe.to is not None else 1)
        )
        if pictures > MAX_PICTURES:
            raise DataError(f"{file}: its recipe asks for {pictures:,} pictures, at most {MAX_PICTURES:,} are drawn.")
    return recipe.model_dump(by_alias=True)
