"""Errors that say what was expected, what came, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from morphogen.core.printable import listed, shortened

_COMPARED = 100  # characters of a name


class MorphogenWarning(UserWarning):
    """Something to know about a result, which is there all the same."""


class MorphogenError(Exception):
    """Work that failed for a reason that a user can act on (exit status 1)."""


class UsageError(MorphogenError):
    """A wrong name, flag or value: the call itself must change (exit status 2)."""


class SpecError(UsageError):
    """A configuration with an unknown key or an impossible value."""


class DataError(MorphogenError):
    """Records that are missing, unreadable, inconsistent or out of range."""


class ArtifactError(MorphogenError):
    """A model directory that is missing, truncated, tampered with or of another format."""


class CapabilityError(MorphogenError):
    """A call that needs something which this family of models does not offer."""


class NonFiniteError(MorphogenError):
    """A NaN or an infinity: in training, whose message names the term and the records, or in what a model made."""


def nearest(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """The known names closest to `name`, best first; empty if none is close."""
    if len(name) > _COMPARED:  # a comparison takes quadratic time
        return []
    by_lower = {k.lower(): k for k in sorted(known) if len(k) <= _COMPARED}
    close = difflib.get_close_matches(name.lower(), list(by_lower), n=n, cutoff=0.6)
    return [by_lower[c] for c in close]


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """One sentence for a name that is not known: the nearest ones, or all if none is near."""
    known = sorted(known)
    close = nearest(name, known)
    if close:
        hint = "did you mean " + " or ".join(repr(c) for c in close) + "?"
    elif known:
        hint = f"known are {listed([shortened(k, _COMPARED) for k in known], 40)}."
    else:
        hint = "none is known."
    return f"unknown {what} {shortened(name, _COMPARED)!r}: {hint}"
