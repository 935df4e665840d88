"""A page about the audit of a model: what must not be, attacks beside their controls, curves, and how it was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from morphogen.report.canvas import figure, plain_ticks, png, styled
from morphogen.report.html import Report
from morphogen.report.tables import AUDIT_HEADERS, audit_rows, number, span

Curves = Mapping[str, tuple[Any, Any]]  # false and true positives (K,)
_LEAST = 1e-3  # rate of false positives at the left end of a logarithmic plot


def page(found: Mapping[str, Any], curves: Curves) -> Report:
    """What `api.audit` found, as one page; `curves` by the names of results."""
    checks: Mapping[str, Any] = found["checks"]
    violations = [said for check in checks.values() for said in check["violations"]]
    report = Report(
        f"Audit of {found['model']}",
        f"A {found['family']} model, attacked with records of `{found['data']}`. Each number stands with its 95 %"
        " interval and beside its controls. An attack that finds nobody does not show that no other one would.",
    )
    for check in checks.values():
        for result in check["results"][:4]:
            report.headline(number(result["value"], result["interval"]), result["name"], span(result["interval"]))
    if violations:
        report.section("Violations", "\n\n".join(violations))
    for name, check in checks.items():
        _check(report, name, check, {r["name"]: curves[r["name"]] for r in check["results"] if r["name"] in curves})
    return report


def _check(report: Report, name: str, check: Mapping[str, Any], curves: Curves) -> None:
    report.section(name.capitalize())
    results: Sequence[Mapping[str, Any]] = check["results"]
    if results:
        report.table(AUDIT_HEADERS, audit_rows(results))
    said = dict.fromkeys((*check["notes"], *(w for result in results for w in result["warnings"])))
    report.text("\n\n".join(said))
    for part, why in check["left_out"].items():
        report.text(f"Left out `{part}`: {why}")
    if curves:
        report.figure(png(_plot(curves)), "True against false positives of each attack; gray is chance.")
    report.table(("measure", "protocol", "seconds"), [[r["name"], r["protocol"], r["duration_s"]] for r in results])


@styled
def _plot(curves: Curves) -> Any:
    fig, plot = figure(6.0, 4.6)
    diagonal = [_LEAST, 1.0]
    plot.plot(diagonal, diagonal, color="#9aa0a6", linewidth=1.0)
    for name, (false, true) in curves.items():
        plot.step(false.clip(_LEAST), true.clip(_LEAST), where="post", label=name, linewidth=1.4)
    plot.set_xscale("log")
    plot.set_yscale("log")
    plain_ticks(plot.xaxis, plot.yaxis)
    plot.set_xlim(_LEAST, 1.0)
    plot.set_ylim(_LEAST, 1.05)
    plot.set_xlabel("false positives")
    plot.set_ylabel("true positives")
    plot.legend(fontsize=8)
    return fig
