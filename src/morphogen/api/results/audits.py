"""What an audit found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from morphogen.api.results.evaluations import html_table
from morphogen.core.errors import UsageError, unknown
from morphogen.evaluation.result import Result
from morphogen.report.audit_page import page
from morphogen.report.html import Report, escape
from morphogen.report.saving import json_file, write_whole
from morphogen.report.tables import AUDIT_HEADERS, audit_rows
from morphogen.safeguards.audit import Finding


@final
@dataclass(frozen=True, eq=False)
class Audit:
    """What the checks of an audit found of one model.

    Attributes:
        of: {"model": path, "family": name}
        data: the source of the records
        checks: what each check found: results, curves, violations, and what it left out
        notes: what to know about the audit as a whole

    Example:
        >>> found = mg.audit("runs/first", "digits", "privacy", n=50, samples=200)
        >>> found["membership-nearest"].baselines["planted copies"] > 0.9
        True
    """

    of: Mapping[str, str]
    data: str
    checks: Mapping[str, Finding]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __getitem__(self, name: str) -> Result:
        """The result of this name; raises `KeyError`."""
        for result in self.results:
            if result.name == name:
                return result
        raise KeyError(unknown("result", name, [result.name for result in self.results]))

    @property
    def results(self) -> tuple[Result, ...]:
        """The results of all checks."""
        return tuple(result for finding in self.checks.values() for result in finding.results)

    @property
    def violations(self) -> tuple[str, ...]:
        """What must not be, a sentence each."""
        return tuple(said for finding in self.checks.values() for said in finding.violations)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Violations, what attacks have found, and why a number may not mean what it seems to, each sentence once."""
        notes = (note for finding in self.checks.values() for note in finding.notes)
        found = (w for result in self.results for w in result.warnings)
        return tuple(dict.fromkeys((*self.violations, *self.notes, *notes, *found)))

    @property
    def left_out(self) -> Mapping[str, str]:
        """Why a part of a check is missing, by "check: part"."""
        return {
            f"{check}: {part}": why for check, finding in self.checks.items() for part, why in finding.left_out.items()
        }

    def with_notes(self, notes: list[str]) -> Audit:
        """The same with further notes."""
        return replace(self, notes=(*self.notes, *notes))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        checks = {
            name: {
                "results": [result.to_dict() for result in finding.results],
                "violations": list(finding.violations),
                "left_out": dict(finding.left_out),
                "notes": list(finding.notes),
                **finding.facts,
            }
            for name, finding in self.checks.items()
        }
        return {**self.of, "data": self.data, "checks": checks, "notes": list(self.notes)}

    def report(self) -> Report:
        """A page with the violations, each attack beside its controls, and their curves."""
        curves = {
            name: (curve.false.numpy(), curve.true.numpy())
            for finding in self.checks.values()
            for name, curve in finding.curves.items()
        }
        return page(self.to_dict(), curves)

    def save(self, path: Path | str) -> Path:
        """Write a folder: audit.json and report.html.

        Args:
            path: the folder; files of these names are replaced.

        Returns:
            The path of the folder.

        Raises:
            UsageError: a file is in the way.
        """
        folder = Path(path).expanduser()
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{path} is a file: give the folder to write.")
        write_whole(folder / "audit.json", json_file(self.to_dict()))
        write_whole(folder / "report.html", self.report().html().encode())
        return Path(path)

    def _repr_html_(self) -> str:
        said = "".join(f"<p><b>{escape(violation)}</b></p>" for violation in self.violations)
        return said + html_table(AUDIT_HEADERS, audit_rows(result.to_dict() for result in self.results))
