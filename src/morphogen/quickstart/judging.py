"""All judged models, measured on the same digits with the same noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from morphogen.quickstart.chapter import DATA, Chapter
from morphogen.report.evaluation_page import ladders
from morphogen.report.html import Report
from morphogen.report.tables import (
    DIFFERENCE_HEADERS,
    RESULT_HEADERS,
    difference_rows,
    duration,
    number,
    results_rows,
    span,
)

DRAWN = ("fd", "coverage", "modes", "copied", "copied_pixels")
IMPORTANCE_SAMPLES = 500


def judge(out: Path, chapters: Sequence[Chapter]) -> dict[str, Any]:
    """What `api.compare` finds of the judged models, with the measures that are a chapter's own before the others."""
    from morphogen import api

    models = {c.judged: api.load(out / c.judged) for c in chapters}
    found = api.compare([models[c.judged] for c in chapters], DATA, DRAWN).to_dict()
    likely = api.compare([models[c.judged] for c in chapters if c.likelihood], DATA, ("bits_per_dim",)).to_dict()
    found["differences"] = likely["differences"] + found["differences"]
    bits = iter(likely["models"])
    for chapter, one in zip(chapters, found["models"], strict=True):
        own = next(bits)["results"] if chapter.likelihood else []
        if chapter.measures:
            measured = api.evaluate(models[chapter.judged], DATA, chapter.measures, samples=IMPORTANCE_SAMPLES)
            own = measured.to_dict()["results"] + own
        one["results"] = own + one["results"]
    return found


def headlines(report: Report, found: Mapping[str, Any], chapters: Sequence[Chapter], took: float) -> None:
    """The likelihood and the samples' distance of each model, and what trivial models reach."""
    bits = [_named(one, "bits_per_dim") for one, c in zip(found["models"], chapters, strict=True) if c.likelihood]
    distances = [_named(one, "FD") for one in found["models"]]
    for chapter, result in zip([c for c in chapters if c.likelihood], bits, strict=True):
        value = number(result["value"], result["interval"])
        report.headline(value, f"bits per pixel, {chapter.title}", span(result["interval"]))
    name, least = min(bits[0]["baselines"].items(), key=lambda item: item[1])
    report.headline(number(least), "bits per pixel, best trivial model", name)
    for chapter, result in zip(chapters, distances, strict=True):
        value = number(result["value"], result["interval"])
        report.headline(value, f"FD, {chapter.title}", beside(result))
    report.headline(duration(took), "in all")


def write_judgment(report: Report, found: Mapping[str, Any]) -> None:
    """A table for each model, their differences, and where their distances stand."""
    report.section(
        "How good they are",
        "How likely they find unseen digits: bits per pixel beside general compressors, and for the autoencoder the"
        " evidence lower bound (elbo) and the importance-sampled likelihood (nll) in nats. How good the digits are that"
        " they draw: the Frechet distance of their features to real ones (FD), the share of real digits that have a"
        " drawn one near by (coverage), the classes that they make, and whether they are copies of training digits"
        " (copied). Arrows say which direction is better; a model must beat its baselines to have learned anything, and"
        " cannot be expected to beat the floor, which is what held-out real digits get.",
    )
    for one in found["models"]:
        report.table(RESULT_HEADERS, results_rows(one["results"]), caption=f"{one['model']}, a {one['family']} model")
        for warning in sorted({w for result in one["results"] for w in result["warnings"]}):
            report.text(f"Warning: {warning}")
    report.table(DIFFERENCE_HEADERS, difference_rows(found["differences"]), caption="The differences")
    ladders(report, found["models"])


def beside(result: Mapping[str, Any]) -> str:
    """A result's interval, what the best trivial model reaches, and the floor."""
    best = min if result["better"] == "lower" else max
    parts = [span(result["interval"])]
    if result["baselines"]:
        name, value = best(result["baselines"].items(), key=lambda item: item[1])
        parts.append(f"{name}: {number(value)}")
    if result.get("floor") is not None:
        parts.append(f"real pictures: {number(result['floor'], result.get('floor_interval'))}")
    return "; ".join(parts)


def _named(one: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next(r for r in one["results"] if r["name"].split("-")[0] == name)
