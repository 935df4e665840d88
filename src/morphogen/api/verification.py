"""Whether a model directory is whole, and which model it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from morphogen import artifact
from morphogen.api.opened import OpenModel, fingerprint_of, path_of
from morphogen.report.html import escape
from morphogen.report.saving import chosen_format, json_file, write_whole

SHOWN = 20  # files that are not part of a model


@final
@dataclass(frozen=True)
class Verification:
    """A model directory that is whole and unaltered.

    Attributes:
        unlisted: files that lie in the folder and that nothing lists: no function reads them

    Example:
        >>> mg.verify("runs/first").unlisted
        ()
    """

    model: str
    family: str
    unlisted: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; at most 20 files of those that are not part of it."""
        facts = {"model": self.model, "family": self.family, "whole and unaltered": True}
        if not self.unlisted:
            return facts
        more = [f"and {len(self.unlisted) - SHOWN:,} more"] if len(self.unlisted) > SHOWN else []
        return {**facts, "not part of it": [*self.unlisted[:SHOWN], *more]}

    def save(self, path: Path | str) -> Path:
        """Write it as .json. Returns the path; raises `UsageError` for another suffix."""
        chosen_format(path, (".json",))
        return write_whole(path, json_file(self.to_dict()))

    def _repr_html_(self) -> str:
        others = f"; {len(self.unlisted):,} files in the folder are no part of it" if self.unlisted else ""
        return f"<p>{escape(self.model)} ({escape(self.family)}) is whole and unaltered{others}</p>"


def verify(model: OpenModel | Path | str) -> Verification:
    """Check every file of a model against its manifest, and every weight.

    Args:
        model: a held model, or the path of a model directory.

    Returns:
        Its family, and the files in the folder that are no part of it.

    Raises:
        ArtifactError: something is missing, altered or no number; the message names it.

    Example:
        >>> mg.verify("runs/first").family
        'vae'
    """
    where = path_of(model)
    found = artifact.verified(where)
    return Verification(str(where), found.family, tuple(found.unlisted))


def fingerprint(model: OpenModel | Path | str) -> str:
    """The sha256 of all that a model's drawings depend on: what it is, its weights, its tokenizer and its parts.

    Args:
        model: a held model, or the path of a model directory.

    Returns:
        64 hexadecimal digits. Evaluations and audits that are added later leave them as they are.

    Raises:
        ArtifactError: there is no model.

    Example:
        >>> len(mg.fingerprint("runs/first"))
        64
    """
    return model.fingerprint if isinstance(model, OpenModel) else fingerprint_of(model)
