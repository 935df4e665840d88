"""`parametrize_with_checks`: each check of each family as a pytest test of its own.

    from morphogen.testing import parametrize_with_checks

    @parametrize_with_checks(["mixture"])
    def test_the_contract(check):
        check()

The tests of one family share one model, which is trained when the first of them needs it.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphogen.core.family import Family
from morphogen.testing.checks import CHECKS
from morphogen.testing.contract import choose_checks, find_family
from morphogen.testing.subject import RECORDS, STEPS, NotApplicable, Subject

if TYPE_CHECKING:
    import pytest


def parametrize_with_checks(
    families: Iterable[str | type[Family]],
    options: Mapping[str, Any] | None = None,
    parts: Mapping[str, tuple[str, Mapping[str, Any]]] | None = None,
    *,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    steps: int = STEPS,
    records: int = RECORDS,
    texts: bool = False,
    table: bool = False,
) -> pytest.MarkDecorator:
    """Parametrize a pytest test by `check`, which the test calls; the other arguments are those of `check_family`.

    Args:
        families: registered families by name, or classes.
        options: fields of their Specs.
        parts: the models that they stand on, by name: a family and its options each.
        only: the names of the checks to run; empty for all of them.
        skip: the names of the checks to leave out.
        steps: training steps of the models that the checks look at, and of their parts.
        records: training records, at most; a step of training takes a sixteenth of so many.
        texts: check them on words, for families that also take other records.
        table: check them on the rows of a table, with categories and missing cells.

    Returns:
        A decorator for a test with the argument `check`. A check that does not apply to the family skips the test.

    Raises:
        UsageError: `only` or `skip` names a check that does not exist.

    Example:
        >>> @parametrize_with_checks(["vae"], skip=["conditions are obeyed"])
        ... def test_the_contract(check):
        ...     check()
    """
    import pytest

    cases = []
    for family in families:
        lazy = _LazySubject(family, dict(options or {}), dict(parts or {}), steps, records, texts, table)
        called = family if isinstance(family, str) else family.name
        for name in choose_checks(only, skip):
            cases.append(pytest.param(FamilyCheck(name, lazy), id=f"{called}: {name}"))
    return pytest.mark.parametrize("check", cases)


class FamilyCheck:
    """One check of one family: a call raises where the family fails."""

    def __init__(self, name: str, lazy: _LazySubject) -> None:
        self.name, self._lazy = name, lazy

    def __call__(self) -> None:
        """Run the check; it skips the test where it does not apply to the family."""
        import pytest

        try:
            CHECKS[self.name](self._lazy.subject)
        except NotApplicable as reason:
            pytest.skip(str(reason))

    def __repr__(self) -> str:
        return f"FamilyCheck({self.name!r})"


class _LazySubject:
    """A family whose parts and model are made when the first check needs them."""

    def __init__(
        self,
        family: str | type[Family],
        options: dict[str, Any],
        parts: Any,
        steps: int,
        records: int,
        texts: bool,
        table: bool,
    ) -> None:
        self.arguments = family, options, parts, steps, records, texts, table

    @cached_property
    def subject(self) -> Subject:
        family, options, parts, steps, records, texts, table = self.arguments
        folder = tempfile.mkdtemp(prefix="morphogen-checks-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return Subject(find_family(family), options, Path(folder), parts, steps, records, texts, table)
