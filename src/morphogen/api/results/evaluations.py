"""What was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from morphogen.api.results.shown import Brief
from morphogen.core.errors import unknown
from morphogen.evaluation.compare import Difference
from morphogen.evaluation.result import Result
from morphogen.evaluation.tables.verdict import Verdict
from morphogen.evaluation.tables.views import TableViews
from morphogen.report.html import Picture, escape
from morphogen.report.saving import chosen_format, json_file, write_whole
from morphogen.report.tables import DIFFERENCE_HEADERS, RESULT_HEADERS, difference_rows, results_rows


@final
@dataclass(frozen=True, eq=False)
class Evaluation(Brief):
    """What was measured of one model, or of records that anything made.

    Attributes:
        of: {"model": path, "family": name} or {"samples": source}
        data: the source of the real records
        results: one for each metric: value, interval, n, seed, baselines, floor, protocol
        left_out: why a metric is missing that nobody named
        ladders: the ladder of known corruptions that results were placed on, by metric
        notes: what was taken for what in the records that were judged
        sentence: what generated pictures look like and whether some are copied, in words; empty for other records
        verdict: of a table: whether its rows are useful and private, in words
        views: of a table: what its figures show, as arrays

    Example:
        >>> found = mg.evaluate("runs/first", "digits", ["nll"])
        >>> found["nll"].value
        >>> found.save("evaluation.json")
    """

    of: Mapping[str, str]
    data: str
    results: tuple[Result, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    ladders: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    verdict: Verdict | None = None
    views: TableViews | None = None
    sentence: str = ""

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __contains__(self, name: object) -> bool:
        """Whether there is a result of this name, as `[name]` finds it."""
        return any(name in (result, result.name, result.name.split("-")[0]) for result in self.results)

    def __getitem__(self, name: str) -> Result:
        """The result of this name, or of the metric in it: `["FD"]` is FD-mnist-...; raises `KeyError`."""
        for result in self.results:
            if name in (result.name, result.name.split("-")[0]):
                return result
        raise KeyError(unknown("result", name, [result.name for result in self.results]))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why a number may not mean what it seems to, each sentence once."""
        return tuple(dict.fromkeys(w for result in self.results for w in result.warnings))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        about = {**self.of, "data": self.data, "results": [result.to_dict() for result in self.results]}
        notes = {"notes": list(self.notes)} if "samples" in self.of or self.notes else {}
        verdict: dict[str, Any] = {} if self.verdict is None else {"verdict": self.verdict.to_dict()}
        verdict |= {"sentence": self.sentence} if self.sentence else {}
        return {**about, "left_out": dict(self.left_out), "ladders": dict(self.ladders), **notes, **verdict}

    def figures(self) -> list[tuple[Picture, str]]:
        """Of a table: its marginals, associations and a projection beside the real rows', each with a caption."""
        if self.views is None:
            return []
        from morphogen.report import table_plots  # matplotlib takes a second to import

        v = self.views
        return [
            (
                table_plots.marginals(v.marginals),
                "Marginals, real rows in gray and synthetic ones in blue; those that differ most come first. Values"
                " that fewer than five real rows hold are among the others.",
            ),
            (
                table_plots.associations(v.names, v.associations_real, v.associations_made),
                "Associations of pairs of columns: Spearman's correlation of numbers, Cramer's V of categories, the"
                " correlation ratio of one of each.",
            ),
            (
                table_plots.projection(v.points_real, v.points_made, v.explained),
                "Real and synthetic rows on the first two principal components of the real ones.",
            ),
        ]

    def save(self, path: Path | str) -> Path:
        """Write it as .json. Returns the path; raises `UsageError` for another suffix."""
        chosen_format(path, (".json",))
        return write_whole(path, json_file(self.to_dict()))

    def _repr_html_(self) -> str:
        words = self.sentence if self.verdict is None else str(self.verdict)
        said = f"<p>{escape(words)}</p>" if words else ""
        return said + html_table(RESULT_HEADERS, results_rows(result.to_dict() for result in self.results))


@final
@dataclass(frozen=True, eq=False)
class Comparison:
    """Several models measured on the same records with the same noise.

    Attributes:
        models: what was measured of each
        differences: of each pair, by metric, each with its interval and what follows from it

    Example:
        >>> found = mg.compare(["runs/first", "runs/second"], "digits", ["nll"])
        >>> [difference.verdict for difference in found.differences]
    """

    models: tuple[Evaluation, ...]
    differences: tuple[Difference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        differences = [difference.to_dict() for difference in self.differences]
        return {"models": [model.to_dict() for model in self.models], "differences": differences}

    def save(self, path: Path | str) -> Path:
        """Write it as .json. Returns the path; raises `UsageError` for another suffix."""
        chosen_format(path, (".json",))
        return write_whole(path, json_file(self.to_dict()))

    def _repr_html_(self) -> str:
        tables = [f"<p>{escape(m.of.get('model', ''))}</p>{m._repr_html_()}" for m in self.models]
        rows = difference_rows(difference.to_dict() for difference in self.differences)
        return "".join(tables) + html_table(DIFFERENCE_HEADERS, rows)


def html_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in headers)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
