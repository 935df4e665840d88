"""Write `api/training_options.py`: every option that `mg.train` takes, with its type, for editors and type checkers.

    python -m tools.training_options

The options are the fields of `Recipe` and of the Specs of all families of the package. A test compares the file with
what this program writes.
"""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any

from morphogen.core import registry
from morphogen.core.spec import Spec
from morphogen.trainer import Recipe

FILE = Path(__file__).parents[1] / "src" / "morphogen" / "api" / "training_options.py"
_HEAD = '''"""The options of `mg.train` by name and type. Written by `python -m tools.training_options`; do not edit."""

from __future__ import annotations

from typing import Any, Literal, TypedDict


class TrainingOptions(TypedDict, total=False):
    """Options of training (`Recipe`) and of the families (their Specs), as keyword arguments of `mg.train`."""

'''


def source() -> str:
    """The file's content."""
    fields: dict[str, list[str]] = {}
    specs: list[type[Spec]] = [Recipe, *(registry.family(name).Spec for name in registry.names())]
    for spec in specs:
        for name, field in spec.model_fields.items():
            written = _written(field.annotation)
            if written not in fields.setdefault(name, []):
                fields[name].append(written)
    recipe = set(Recipe.model_fields)
    lines = []
    for name, kinds in sorted(fields.items()):
        parts = kinds[:1] if name in recipe else kinds
        if name == "budget":
            parts = ["str", *parts]  # "10min"
        union = dict.fromkeys(part for kind in parts for part in _parts(kind))
        lines.append(f"    {name}: {' | '.join(union)}\n")
    body = "".join(lines)
    return (_HEAD if "Any" in body else _HEAD.replace("Any, ", "")) + body


def _parts(kind: str) -> list[str]:
    """The members of a union at its top level."""
    parts, depth, start = [], 0, 0
    for i, character in enumerate(kind):
        depth += (character == "[") - (character == "]")
        if character == "|" and depth == 0:
            parts.append(kind[start:i].strip())
            start = i + 1
    return [*parts, kind[start:].strip()]


def _written(annotation: Any) -> str:
    """A type as it is written: without the bounds that pydantic checks, and lists for tuples too."""
    origin, of = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _written(of[0])
    if origin in (typing.Union, types.UnionType):
        return " | ".join(dict.fromkeys(_written(one) for one in of))
    if origin is typing.Literal:
        return f"Literal[{', '.join(_quoted(one) for one in of)}]"
    if origin is tuple:
        inner = ", ".join("..." if one is Ellipsis else _written(one) for one in of)
        one = " | ".join(dict.fromkeys(_written(one) for one in of if one is not Ellipsis))
        return f"tuple[{inner}] | list[{one}]"
    if origin is dict or annotation is dict:
        return "dict[str, Any]"
    if annotation is type(None):
        return "None"
    return annotation.__name__ if isinstance(annotation, type) else "Any"


def _quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


if __name__ == "__main__":
    FILE.write_text(source(), encoding="utf-8")
