"""A training as its folder tells it, while it runs and afterwards: where it stands, its curves, its newest sheet."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morphogen.core.errors import DataError
from morphogen.report.curves import curves, series
from morphogen.report.html import Report
from morphogen.report.log import read_log
from morphogen.report.tables import duration

_REFRESH_S = 5


@dataclass(frozen=True)
class Standing:
    """Where a training stands.

    step, total   steps done, and planned; total is None where that is not known
    elapsed_s     when it last said something
    ended         whether it has left a complete folder
    sheet         its newest sheet of samples
    entries       of its log
    """

    folder: Path
    step: int
    total: int | None
    elapsed_s: float
    ended: bool
    sheet: Path | None
    entries: Sequence[Mapping[str, Any]]

    def sentence(self) -> str:
        """In words."""
        of = f" of {self.total:,}" if self.total else ""
        if self.ended:
            return f"trained for {self.step:,} steps in {duration(self.elapsed_s)}"
        newest = "" if self.sheet is None else f"; the newest sheet is {self.sheet}"
        return f"training, step {self.step:,}{of} after {duration(self.elapsed_s)}{newest}"

    def figure(self) -> Any:
        """Curves of the loss and its parts. Raises `DataError` where there are no values yet."""
        return curves(series(self.entries), title=self.folder.name)

    def table(self) -> str:
        """The lines of the log as comma-separated values: step, time, speed, then each term and number by its name."""
        rows = [
            {
                "step": e["step"],
                "elapsed_s": e.get("elapsed_s"),
                "records_per_s": e.get("images_per_s"),
                **{name: value for group in ("terms", "metrics") for name, value in dict(e.get(group) or {}).items()},
            }
            for e in self.entries
            if "terms" in e
        ]
        names = list(dict.fromkeys(name for row in rows for name, value in row.items() if not isinstance(value, list)))
        out = io.StringIO()
        writer = csv.DictWriter(out, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return out.getvalue()

    def page(self) -> str:
        """A page with the newest sheet and the curves; it loads itself again while the training runs."""
        report = Report(self.folder.name, self.sentence() + ".")
        if self.sheet is not None:
            report.section("Newest samples").figure(self.sheet, self.sheet.name)
        try:
            figure = self.figure()
        except DataError:
            report.section("Curves", "No line of the log yet.")
        else:
            report.section("Curves").figure(figure, "loss and its parts, against the step")
        said = [str(e.get("message")) for e in self.entries if e.get("kind") == "warning"]
        if said:
            report.section("Warnings", "\n\n".join(said))
        if self.ended:
            return report.html()
        again = f'<meta http-equiv="refresh" content="{_REFRESH_S}">\n'
        return report.html().replace("<head>\n", f"<head>\n{again}", 1)


def follow(folder: Path) -> Standing:
    """Read the folder of a training. Raises `DataError` where there is none."""
    ended = (folder / "log.jsonl").is_file()
    log = folder / "log.jsonl" if ended else folder / "checkpoint" / "log.jsonl"
    if not log.is_file():
        raise DataError(f"{folder} holds no training: give the folder that `morphogen train` writes to (--out).")
    entries = read_log(log)
    step = max((int(e["step"]) for e in entries if "terms" in e), default=0)
    total = next((e["total"] for e in reversed(entries) if e.get("kind") in ("budget", "prolonged")), None)
    if total is None:
        total = next((e["steps"] for e in reversed(entries) if e.get("kind") == "plan"), None)
    elapsed = max((float(e["elapsed_s"]) for e in entries if "elapsed_s" in e), default=0.0)
    if not ended and elapsed == 0.0:
        elapsed = max(0.0, time.time() - log.stat().st_mtime)
    sheets = sorted((folder / "samples").glob("step-*.png"))
    return Standing(folder, step, total, elapsed, ended, sheets[-1] if sheets else None, entries)
