"""`Spec`: a frozen, serializable configuration that refuses unknown names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sized
from typing import Annotated, Any, ClassVar, Self

import pydantic

from morphogen.core.errors import SpecError, unknown
from morphogen.core.printable import one_line

Width = Annotated[int, pydantic.Field(ge=1)]
"""The number of channels or units of a layer."""

LARGEST = 1e30
"""The largest number of an option: a float32 holds it, and a product with a loss."""

_SHOWN = 8  # the most problems in a message
_LONGEST = 200  # the most characters of a value in a message


class Spec(pydantic.BaseModel):
    """A frozen configuration. An unknown key is an error that names the nearest known one.

    Build one from untrusted input with `Spec.parse(mapping)`, which raises `SpecError`
    with one line per problem; the constructor itself raises pydantic's `ValidationError`.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)
    most_values: ClassVar[int] = 256  # the most values of a field that is a list
    unsigned: ClassVar[frozenset[str]] = frozenset()  # fields whose numbers may have 64 bits

    @pydantic.model_validator(mode="after")
    def _bounded(self) -> Self:
        for name, value in self:
            numbers = value if isinstance(value, tuple | list) else (value,)
            if name not in self.unsigned and any(isinstance(n, int) and not -(1 << 63) <= n < 1 << 63 for n in numbers):
                raise ValueError(f"option {name!r} takes whole numbers of at most 63 bits")
            if any(isinstance(n, float) and abs(n) > LARGEST for n in numbers):
                raise ValueError(f"option {name!r} takes numbers from -{LARGEST:g} to {LARGEST:g}")
            if isinstance(value, Sized) and not isinstance(value, str) and len(value) > self.most_values:
                raise ValueError(f"option {name!r} takes at most {self.most_values:,} values (got {len(value):,})")
        return self

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Validate `values`. Raises `SpecError` that lists the problems."""
        try:
            return cls.model_validate(dict(values))
        except pydantic.ValidationError as error:
            raise _refused(cls, error) from None

    @classmethod
    def parse_stored(cls, values: Mapping[str, Any]) -> Self:
        """Validate the output of `to_dict` that a file kept. Types must match: "5" is not 5. Raises `SpecError`."""
        try:
            return cls.model_validate_json(json.dumps(dict(values)), strict=True)
        except pydantic.ValidationError as error:
            raise _refused(cls, error) from None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, so that `parse(to_dict())` gives an equal Spec."""
        return self.model_dump(mode="json")

    def replace(self, **changes: Any) -> Self:
        """A validated copy with some fields changed."""
        return self.parse({**self.model_dump(), **changes})


def _refused(cls: type[Spec], error: pydantic.ValidationError) -> SpecError:
    lines = [_in_words(cls, e) for e in error.errors()]
    more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return SpecError(f"{cls.__qualname__}: " + one_line("; ".join(lines[:_SHOWN])) + more)


def _in_words(cls: type[Spec], error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return unknown("option", where, cls.model_fields)
    if error["type"] == "missing" and isinstance(error["loc"][-1], int):  # the tuple is too short
        *names, n = error["loc"]
        listed, values = ".".join(map(str, names)), f"value{'s' * (n != 1)}"
        return f"option {listed!r} takes more than {n} {values} (got {_short(error['input'])})"
    if error["type"] == "missing":
        return f"option {where!r} is missing"
    message = error["msg"].removeprefix("Value error, ")
    if not where:
        return message
    return f"option {where!r}: {message} (got {_short(error['input'])})"


def _short(value: Any) -> str:
    said = repr(value)
    return said if len(said) <= _LONGEST else said[:_LONGEST] + "..."
