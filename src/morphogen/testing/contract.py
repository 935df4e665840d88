"""`check_family`: run the checks that every family has to pass, ours or anybody's.

    from morphogen.testing import check_family
    assert not check_family("vae").failures

Each check runs only where the family declares the capability it needs. A model of points in the plane is trained
for some seconds (of 8 x 8 digits for families that need pictures), then looked at from all sides. Compilation is
off and the precision is float32, so that "bit for bit" means it.

A Spec with a boolean field `conditional` is checked conditionally, too, and one with a field `text_encoder` also with
words: then each record comes with the name of its class as a caption.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morphogen.core import registry
from morphogen.core.errors import UsageError, unknown
from morphogen.core.family import Family
from morphogen.testing.checks import CHECKS
from morphogen.testing.subject import RECORDS, STEPS, NotApplicable, Subject


@dataclass(frozen=True)
class Check:
    """One check: whether it passed, or why it did not apply (`passed` None)."""

    name: str
    passed: bool | None
    detail: str
    seconds: float


@dataclass(frozen=True)
class Checked:
    """All checks of one family."""

    family: str
    checks: tuple[Check, ...]

    @property
    def failures(self) -> list[Check]:
        """Those that failed."""
        return [c for c in self.checks if c.passed is False]

    def to_dict(self) -> dict[str, Any]:
        """check -> "passed", "not applicable: why", or "FAILED: why"."""
        words = {True: "passed", None: "not applicable", False: "FAILED"}
        return {c.name: words[c.passed] + (f": {c.detail}" if c.detail else "") for c in self.checks}

    def __str__(self) -> str:
        return f"family {self.family!r}: " + "; ".join(f"{c.name} failed: {c.detail}" for c in self.failures)


def check_family(
    family: str | type[Family],
    options: Mapping[str, Any] | None = None,
    parts: Mapping[str, tuple[str, Mapping[str, Any]]] | None = None,
    *,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    steps: int = STEPS,
    records: int = RECORDS,
    texts: bool = False,
    table: bool = False,
) -> Checked:
    """Run the checks on a family; about 25 seconds.

    A family that fails raises nothing: look at `failures`.

    Args:
        family: a registered family by name, or a class, which is registered.
        options: fields of its Spec.
        parts: the models that it stands on, by name: a family and its options each, trained first, on the same data.
        only: the names of the checks to run; empty for all of them.
        skip: the names of the checks to leave out.
        steps: training steps of the model that the checks look at, and of its parts.
        records: training records, at most; a step of training takes a sixteenth of so many.
        texts: check it on words, for families that also take other records.
        table: check it on the rows of a table, with categories and missing cells.

    Returns:
        Each check, in the order of `CHECKS`, with its outcome.

    Raises:
        UsageError: `only` or `skip` names a check that does not exist.

    Example:
        >>> checked = check_family("vae", only=["players cover every trainable parameter once"])
        >>> checked.failures
        []
    """
    names = choose_checks(only, skip)
    found = find_family(family)
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(found, dict(options or {}), Path(folder), parts or {}, steps, records, texts, table)
        return Checked(found.name, tuple(_run(name, subject) for name in names))


def choose_checks(only: Collection[str], skip: Collection[str]) -> list[str]:
    """The names of the checks to run, in their order."""
    for name in (*only, *skip):
        if name not in CHECKS:
            raise UsageError(unknown("check", name, CHECKS))
    return [name for name in CHECKS if (not only or name in only) and name not in skip]


def find_family(family: str | type[Family]) -> type[Family]:
    """The class of a registered family; a class is registered."""
    if isinstance(family, str):
        return registry.family(family)
    registry.register(family.name, f"{family.__module__}:{family.__qualname__}")
    return family


def _run(name: str, subject: Subject) -> Check:
    start = time.perf_counter()
    passed: bool | None
    try:
        passed, detail = True, CHECKS[name](subject) or ""
    except NotApplicable as reason:
        passed, detail = None, str(reason)
    except AssertionError as error:
        passed, detail = False, str(error)
    except Exception as error:  # a family may fail in any way, and the other checks still tell something
        passed, detail = False, f"{type(error).__name__}: {error}"
    return Check(name, passed, detail, time.perf_counter() - start)
