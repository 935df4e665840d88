"""Families by name. A family is imported when it is first used.

An entry point in the group `morphogen.families` announces a family: in this package's `pyproject.toml` or in that of
another package. `register` announces one at run time. The group `morphogen.parts` announces models that cannot be
trained alone and are only stored as parts of others.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from morphogen.core.errors import UsageError, unknown

if TYPE_CHECKING:
    from morphogen.core.family import Family

GROUP, PARTS = "morphogen.families", "morphogen.parts"
_registered: dict[str, str] = {}


def register(name: str, target: str) -> None:
    """Announce a family of one's own, for this process.

    Args:
        name: what to call it, as in `mg.train(name, ...)`.
        target: where it is, "package.module:Class"; it is imported when it is first used.

    Returns:
        Nothing.

    Raises:
        UsageError: the target is no "package.module:Class".

    Example:
        >>> mg.register("vae-again", "morphogen.families.vae:VAE")
    """
    module, _, attribute = target.partition(":")
    if not module or not attribute:
        raise UsageError(f"expected the place of a family as 'package.module:Class', got {target!r}.")
    _registered[name] = target


def names() -> list[str]:
    """The names of all announced families; imports none of them."""
    return sorted({*_announced(GROUP), *_registered})


def family(name: str) -> type[Family]:
    """The family class called `name`. Raises `UsageError` with the nearest names."""
    return _found(name, {**_announced(GROUP), **_registered})


def stored(name: str) -> type[Family]:
    """The family or the part called `name`. Raises `UsageError` with the nearest names."""
    return _found(name, {**_announced(PARTS), **_announced(GROUP), **_registered})


def parts() -> list[str]:
    """The names of the models that are only stored as parts of others."""
    return sorted({e.name for e in entry_points(group=PARTS)})


def having(capability: type) -> list[str]:
    """The names of the families that declare `capability`; imports all of them."""
    return [n for n in names() if capability in family(n).capabilities]


@functools.cache
def _announced(group: str) -> Mapping[str, str]:
    """Name -> target of a group's entry points. The search through all installed packages takes about 15 ms."""
    return {e.name: e.value for e in entry_points(group=group)}


def _found(name: str, targets: Mapping[str, str]) -> type[Family]:
    if name not in targets:
        raise UsageError(unknown("family", name, targets))
    module, _, attribute = targets[name].partition(":")
    found: type[Family] = getattr(importlib.import_module(module), attribute)
    return found
