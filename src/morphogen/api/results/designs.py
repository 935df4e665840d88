"""Designed molecules."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from morphogen.api.results.shown import Brief
from morphogen.core.errors import UsageError
from morphogen.data.molecules.drawing import structure_sheet
from morphogen.report.canvas import figure, png
from morphogen.report.html import Report
from morphogen.report.saving import json_file, write_whole

SHOWN = 30  # structures on the sheet


@final
@dataclass(frozen=True)
class DesignedMolecule:
    """One molecule that the oracle was asked about.

    Attributes:
        smiles: canonical
        score: the geometric mean of how well each want is met, 0 to 1, times the oracle of the user's own
        met: whether every want is met
        values: the wanted properties
        nearest, similarity: the most similar known molecule, and how similar it is; "" and None where none is known
        alerts: its structural alerts
    """

    smiles: str
    score: float
    met: bool
    values: Mapping[str, float]
    nearest: str = ""
    similarity: float | None = None
    alerts: tuple[str, ...] = ()


@final
@dataclass(frozen=True, eq=False)
class Design(Brief):
    """What a design found.

    Attributes:
        molecules: the best first
        wants: what was wanted, in words
        method: how it was searched
        calls: how often the oracle was asked, of how many
        curve: the best score after each call, and the mean of the best ten
        failures: molecules without a value, and why
        refused: molecules of refused classes that were left out, and which
        warnings: what is to be said about the result

    Example:
        >>> found = mg.design("runs/molecules", "qed>=0.9, logp in 2..3", calls=500)
        >>> found.molecules[0].smiles, found.molecules[0].values["qed"]
    """

    molecules: tuple[DesignedMolecule, ...]
    wants: tuple[str, ...]
    method: str
    calls: tuple[int, int]
    curve: tuple[tuple[float, float], ...]
    failures: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.molecules)

    def __iter__(self) -> Iterator[DesignedMolecule]:
        return iter(self.molecules)

    @property
    def met(self) -> int:
        """How many molecules meet every want."""
        return sum(m.met for m in self.molecules)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "wants": list(self.wants),
            "method": self.method,
            "calls": self.calls[0],
            "calls_allowed": self.calls[1],
            "met": self.met,
            "best": [{"smiles": m.smiles, "score": m.score, "values": dict(m.values)} for m in self.molecules[:10]],
            "failures": dict(self.failures),
            "refused": {smiles: list(classes) for smiles, classes in self.refused.items()},
            "warnings": list(self.warnings),
        }

    def table(self) -> str:
        """molecules.csv: all molecules, the best first."""
        names = list(dict.fromkeys(name for m in self.molecules for name in m.values))
        out = io.StringIO()
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(["rank", "smiles", "score", "met", *names, "nearest_known", "similarity_to_it", "alerts"])
        for rank, m in enumerate(self.molecules, start=1):
            values = [f"{m.values[name]:.6g}" if name in m.values else "" for name in names]
            near = "" if m.similarity is None else f"{m.similarity:.4f}"
            rows.writerow([rank, m.smiles, f"{m.score:.6f}", int(m.met), *values, m.nearest, near, "; ".join(m.alerts)])
        return out.getvalue()

    def report(self) -> Report:
        """A page with the structures, their properties, the curve, and what was left out."""
        best = self.molecules[:SHOWN]
        page = Report("Designed molecules", f"Wanted: {', '.join(self.wants)}. Searched by {self.method}.")
        page.headline(f"{self.met:,}", "molecules meet every want", f"of {len(self.molecules):,} asked about")
        page.headline(f"{self.calls[0]:,}", "oracle calls", f"of {self.calls[1]:,}")
        legends = [f"{i}: {m.score:.3f}" for i, m in enumerate(best, start=1)]
        page.section("Structures", "The best first, each with its score.")
        page.svg(structure_sheet([m.smiles for m in best], legends), "The best molecules.")
        fig, plot = figure()
        plot.plot([a for a, _ in self.curve], label="best")
        plot.plot([b for _, b in self.curve], label="mean of the ten best")
        plot.set_xlabel("oracle calls")
        plot.set_ylabel("score")
        plot.legend()
        page.section("Progress").figure(png(fig), "The best score, and the mean of the ten best, against calls.")
        names = list(dict.fromkeys(name for m in best for name in m.values))
        rows = [
            [
                i,
                f"`{m.smiles}`",
                m.score,
                *(m.values.get(name) for name in names),
                m.similarity,
                "; ".join(m.alerts) or "–",
            ]
            for i, m in enumerate(best, start=1)
        ]
        page.section("Properties").table(["", "molecule", "score", *names, "nearest known", "alerts"], rows)
        if self.failures:
            page.section("Failures").table(["molecule", "reason"], list(self.failures.items())[:100])
        page.section(
            "What was left out",
            f"{len(self.refused):,} molecules belong to classes that are not designed. The list of classes is short:"
            " it knows scaffolds and not effects, so what it lets pass is not thereby safe. Alerts are warnings of"
            " chemists, and approved drugs have some, too.",
        )
        return page

    def save(self, path: Path | str) -> Path:
        """Write a folder: molecules.csv, structures.svg, report.html, design.json and failures.csv.

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
        best = self.molecules[:SHOWN]
        legends = [f"{i}: {m.score:.3f}" for i, m in enumerate(best, start=1)]
        write_whole(folder / "molecules.csv", self.table().encode())
        write_whole(folder / "structures.svg", structure_sheet([m.smiles for m in best], legends).encode())
        write_whole(folder / "design.json", json_file({**self.to_dict(), "curve": [list(p) for p in self.curve]}))
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([["smiles", "reason"], *self.failures.items()])
        write_whole(folder / "failures.csv", out.getvalue().encode())
        write_whole(folder / "report.html", self.report().html().encode())
        return Path(path)
