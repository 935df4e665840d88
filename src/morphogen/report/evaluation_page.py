"""A page about one or several evaluated models: results, ladders, differences, and samples with equal seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from morphogen.report.html import Picture, Report
from morphogen.report.ladder_plot import ladder
from morphogen.report.tables import (
    DIFFERENCE_HEADERS,
    RESULT_HEADERS,
    difference_rows,
    number,
    results_rows,
    span,
)

HEADLINES = 4


def page(
    models: Sequence[Mapping[str, Any]],
    differences: Sequence[Mapping[str, Any]] = (),
    sheets: Mapping[str, Image.Image] | None = None,
    figures: Mapping[str, Sequence[tuple[Picture, str]]] | None = None,
) -> Report:
    """What `api.compare` found, as one page.

    Each of `models` has `model`, `data`, `results`, `left_out` and `ladders`, and of tables a `verdict`; `sheets` are
    their samples, and `figures` of tables stand each with its caption.
    """
    names = [str(m["model"]) for m in models]
    placed = any(m["ladders"] for m in models)
    places = " The place is among known degradations of real pictures." if placed else ""
    report = Report(
        "Evaluation of " + ", ".join(names),
        f"Measured on `{models[0]['data']}`. Each value stands with its 95 % interval, beside trivial models"
        " (baselines), and real records judged as if they were generated (floor)." + places,
    )
    if len(models) == 1:
        for result in models[0]["results"][:HEADLINES]:
            value = number(result["value"], result.get("interval"))
            report.headline(f"{value} {result['unit']}".strip(), result["name"], span(result.get("interval")))
    verdicts = [(str(m["model"]), m["verdict"]) for m in models if m.get("verdict")]
    if verdicts:
        report.section("Verdict", "Useful rests on fidelity, private on attacks. Neither rests on one number.")
        report.table(
            ("model", "useful", "because", "private", "because"),
            [(name, v["useful"], v["why_useful"], v["private"], v["why_private"]) for name, v in verdicts],
        )
    warnings = sorted({f"{m['model']}: {w}" for m in models for r in m["results"] for w in r["warnings"]})
    if warnings:
        report.section("Warnings", "\n\n".join(warnings))
    for one in models:
        report.section(str(one["model"]) if len(models) > 1 else "Results")
        if one.get("sentence"):
            report.text(str(one["sentence"]))
        report.table(RESULT_HEADERS, results_rows(one["results"]))
        for name, why in one["left_out"].items():
            report.text(f"Left out `{name}`: {why}")
    if differences:
        report.section(
            "Differences",
            "Paired over the same records where that is possible; each interval holds at 95 % by itself. Where it holds"
            " zero, the two models are not distinguishable on that measure.",
        )
        report.table(DIFFERENCE_HEADERS, difference_rows(differences))
    ladders(report, models)
    for name, drawn in (figures or {}).items():
        report.section("Real beside synthetic rows" + (f": {name}" if len(models) > 1 else ""))
        for picture, caption in drawn:
            report.figure(picture, caption)
    if sheets:
        report.section("Samples", "Drawn with equal seeds, none chosen.")
        report.figures([(picture, name) for name, picture in sheets.items()])
    report.section("How each number was measured")
    report.table(
        ("measure", "protocol", "network", "seed", "seconds"),
        [
            [r["name"], r["protocol"], r["network"], str(r["seed"]), number(r["duration_s"])]
            for r in models[0]["results"]
        ],
    )
    return report


def ladders(report: Report, models: Sequence[Mapping[str, Any]]) -> None:
    """A section with a ladder for each distance, and the models' places on it; none where there are no ladders."""
    measured = {name: found for m in models for name, found in m["ladders"].items()}
    if not measured:
        return
    report.section(
        "Where the distances stand",
        "Each dot is a set of real held-out pictures after one degradation, measured as the models are.",
    )
    for name, found in measured.items():
        values: dict[str, tuple[float, Any]] = {}
        result: Mapping[str, Any] = {}
        for one in models:
            for result_ in one["results"]:
                if result_["name"] == name:
                    values[str(one["model"])] = (result_["value"], result_["interval"])
                    result = result_
        floor = (result["floor"], result["floor_interval"]) if result.get("floor") is not None else None
        figure = ladder(
            found["tracks"],
            models=values,
            baselines=result.get("baselines"),
            floor=floor,
            better=found["better"],
            x_label=name,
        )
        report.figure(figure, f"{name}: models among degradations of real pictures, n = {found['n']:,}")
