"""What there is to train."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from morphogen.core import registry
from morphogen.core.errors import MorphogenError
from morphogen.core.family import Family
from morphogen.core.spec import Spec
from morphogen.core.type_words import in_words
from morphogen.testing import check_family as run_checks
from morphogen.trainer import Recipe


def list_families() -> list[dict[str, Any]]:
    """List all families.

    Returns:
        The name, summary, capabilities and presets of each, by name.

    Raises:
        ImportError: an installed package announces a family that it does not have.

    Example:
        >>> [family["name"] for family in mg.list_families()]
    """
    return [_describe(registry.family(name)) for name in registry.names()]


def describe_family(name: str) -> dict[str, Any]:
    """Describe one family, with its options and those of training.

    Args:
        name: a registered family.

    Returns:
        What `list_families` says of it, and "options" and "recipe": name, type (`in_words` for people), default and
            description of each.

    Raises:
        UsageError: there is no such family; the message names the nearest ones.

    Example:
        >>> mg.describe_family("vae")["summary"]
    """
    found = registry.family(name)
    return {**_describe(found), "options": _fields(found.Spec), "recipe": _fields(Recipe)}


def check_family(
    name: str,
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    table: bool = False,
) -> dict[str, Any]:
    """Put a family to the tests that all families must pass; about 25 seconds.

    Args:
        name: a registered family.
        only: the names of the checks to run; empty for all of them.
        skip: the names of the checks to leave out.
        table: check it on the rows of a table, with categories and missing cells.

    Returns:
        Check by check "passed", or why it did not apply.

    Raises:
        MorphogenError: some checks failed; the message says which and why.
        UsageError: `only` or `skip` names a check that does not exist.

    Example:
        >>> mg.check_family("vae")  # doctest: +SKIP
    """
    found = run_checks(name, only=only, skip=skip, table=table)
    if found.failures:
        raise MorphogenError(str(found))
    return found.to_dict()


def _describe(family: type[Family]) -> dict[str, Any]:
    return {
        "name": family.name,
        "summary": family.summary,
        "capabilities": sorted(c.__name__ for c in family.capabilities),
        "presets": {name: dict(options) for name, options in family.presets.items()},
    }


def _fields(spec: type[Spec]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "type": str(getattr(field.annotation, "__name__", field.annotation))
            if isinstance(field.annotation, type)
            else str(field.annotation).replace("typing.", ""),
            "in_words": in_words(field.annotation),
            "default": field.default,
            "description": field.description,
        }
        for name, field in spec.model_fields.items()
    ]
