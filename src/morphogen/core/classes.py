"""Find a class by its name, or by its position where the number cannot be a name."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from morphogen.core.errors import UsageError, nearest
from morphogen.core.printable import listed, one_line


def find_class(label: str | int, classes: Sequence[str]) -> int:
    """Find the position of a class from its name or its position.

    If all names are numbers, a number is always a name and never a position. Raises `UsageError` for an unknown class;
    the message names the nearest ones.
    """
    name = str(label)
    if name in classes:
        return classes.index(name)
    if _is_position(name, classes):
        return int(name)
    value = _number(name)
    close = nearest(name, classes) if value is None else [c for c in classes if _number(c) == value][:3]
    hint = f"; did you mean {' or '.join(one_line(c) for c in close)}?" if close else "."
    shown = one_line(name if len(name) <= 80 else f"{name[:77]}...")
    raise UsageError(f"unknown class '{shown}': known are {listed(classes)}{hint}")


def taken_by_position(label: str | int | None, classes: Sequence[str]) -> tuple[str, ...]:
    """A note for the user if `label` is a position and no class has that name; otherwise an empty tuple."""
    if label is None or str(label) in classes or not _is_position(str(label), classes):
        return ()
    return (
        f"no class is called {label}: it was taken for the position of the class '{one_line(classes[int(label)])}'",
    )


def _is_position(name: str, classes: Sequence[str]) -> bool:
    if not (name.isascii() and name.isdecimal() and len(name) < 10) or int(name) >= len(classes):
        return False
    return any(_number(c) is None for c in classes)


def _number(name: str) -> Decimal | None:
    try:
        value = Decimal(name)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None
