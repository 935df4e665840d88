"""Results as the judging verbs print and write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from morphogen.cli.console import print_table, print_text
from morphogen.cli.outputs import Output
from morphogen.report.json_text import as_json
from morphogen.report.tables import RESULT_HEADERS, results_rows

if TYPE_CHECKING:
    from morphogen.api import Evaluation, Pictures


def read_names(metrics: str | None) -> list[str] | None:
    """A,B,... as names; None for none."""
    return [name.strip() for name in metrics.split(",") if name.strip()] if metrics else None


def tell(found: dict[str, Any]) -> None:
    """The verdict or sentence, results, then why some are missing, then what to beware of."""
    if verdict := found.get("verdict"):
        print_text(f"{verdict['useful']}: {verdict['why_useful']}")
        print_text(f"{verdict['private']}: {verdict['why_private']}")
    if words := found.get("sentence"):
        print_text(words)
    print_table(RESULT_HEADERS, results_rows(found["results"]))
    reasons: dict[str, list[str]] = {}
    for name, why in found["left_out"].items():
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        print_text(f"left out {', '.join(names)}: {why}")
    for note in found.get("notes", ()):
        print_text(f"note: {note}")
    for warning in sorted({w for result in found["results"] for w in result["warnings"]}):
        print_text(f"warning: {warning}")


def write_results(
    target: Output | None,
    result: dict[str, Any],
    found: dict[str, Any],
    samples: Callable[[], Mapping[str, Pictures]] = dict,
    judged: Mapping[str, Evaluation] | None = None,
) -> None:
    """The results as JSON, or all of them as one page with sheets of samples of equal seeds, or figures of tables."""
    if target is None:
        return
    if target.format == ".json":
        target.write((as_json(result) + "\n").encode())
        return
    from morphogen.report.evaluation_page import page

    figures = {name: one.figures() for name, one in (judged or {}).items() if one.views is not None}
    sheets = {} if figures else {name: made.image() for name, made in samples().items() if made.spec.is_picture}
    target.write(page(found["models"], found["differences"], sheets, figures).html().encode())
