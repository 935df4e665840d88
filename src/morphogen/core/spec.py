"""`Spec`: configuration is the constructor. Frozen, serialisable, and strict about names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import pydantic

from morphogen.core.errors import SpecError, unknown


class Spec(pydantic.BaseModel):
    """A frozen configuration. An unknown key is an error that names the nearest known one.

    Build one from untrusted input with `Spec.parse(mapping)`, which raises `SpecError`
    with one line per problem; the constructor itself raises pydantic's `ValidationError`.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Validate `values`. Raises `SpecError` that lists every problem in words."""
        try:
            return cls.model_validate(dict(values))
        except pydantic.ValidationError as error:
            lines = [_in_words(cls, e) for e in error.errors()]
            raise SpecError(f"{cls.__qualname__}: " + "; ".join(lines)) from None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, so that `parse(to_dict())` gives an equal Spec."""
        return self.model_dump(mode="json")

    def replace(self, **changes: Any) -> Self:
        """A validated copy with some fields changed."""
        return self.parse({**self.model_dump(), **changes})


def _in_words(cls: type[Spec], error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return unknown("option", where, cls.model_fields)
    if error["type"] == "missing" and isinstance(error["loc"][-1], int):  # a tuple that ends too early
        *names, n = error["loc"]
        return (
            f"option {'.'.join(map(str, names))!r} takes more than {n} value{'s' * (n != 1)} (got {error['input']!r})"
        )
    if error["type"] == "missing":
        return f"option {where!r} is missing"
    message = error["msg"].removeprefix("Value error, ")
    if not where:
        return message
    return f"option {where!r}: {message} (got {error['input']!r})"
