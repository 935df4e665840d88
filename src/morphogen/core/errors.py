"""Errors. Each message says what was expected, what came, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from morphogen.core.printable import listed, shortened

_COMPARED = 100  # the most characters of a name that are compared


class MorphogenWarning(UserWarning):
    """A result exists, and the user should know something about it."""


class MorphogenError(Exception):
    """The work failed, and the user can remove the cause (exit status 1)."""


class UsageError(MorphogenError):
    """The call has a wrong name, flag or value and must change (exit status 2)."""


class SpecError(UsageError):
    """A configuration has an unknown key or an impossible value."""


class DataError(MorphogenError):
    """Records are missing, unreadable, inconsistent or out of range."""


class ArtifactError(MorphogenError):
    """A model folder is missing, cut off, altered or of another format."""


class CapabilityError(MorphogenError):
    """A call needs a capability that this family of models does not have."""


class NonFiniteError(MorphogenError):
    """A loss or a sample is NaN or infinite. In training the message names the term and the records."""


def nearest(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """The known names closest to `name`, best first; empty if none is close."""
    if len(name) > _COMPARED:  # a comparison takes quadratic time
        return []
    by_lower = {k.lower(): k for k in sorted(known) if len(k) <= _COMPARED}
    close = difflib.get_close_matches(name.lower(), list(by_lower), n=n, cutoff=0.6)
    return [by_lower[c] for c in close]


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """A message about an unknown name. It suggests the nearest known names, or lists all if none is near."""
    known = sorted(known)
    close = nearest(name, known)
    if close:
        hint = "did you mean " + " or ".join(repr(c) for c in close) + "?"
    elif known:
        hint = f"known are {listed([shortened(k, _COMPARED) for k in known], 40)}."
    else:
        hint = "none is known."
    return f"unknown {what} {shortened(name, _COMPARED)!r}: {hint}"
