"""All models, measured on held-out digits and portraits with the same noise; in words, then in tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from morphogen.quickstart.chapter import DIGITS, Chapter
from morphogen.report.evaluation_page import ladders
from morphogen.report.html import Report
from morphogen.report.tables import DIFFERENCE_HEADERS, RESULT_HEADERS, difference_rows, results_rows

OF_DIGITS = ("fd", "coverage", "modes", "copied", "copied_pixels")
OF_PORTRAITS = ("fd", "coverage", "copied")
CAPTIONED = "portraits"
PORTRAITS_DRAWN = 400  # by each model
IMPORTANCE_SAMPLES = 500
EXPLAINED = (
    "How likely they find unseen digits: bits per pixel beside general compressors, and for the autoencoder the"
    " evidence lower bound (elbo) and the importance-sampled likelihood (nll) in nats. How good what they draw is: the"
    " Fréchet distance of its features to real ones (FD), the share of real pictures that have a drawn one near by"
    " (coverage), and whether drawings are copies of training pictures (copied). Arrows say which direction is better."
    " A model must beat its baselines to have learned anything, and cannot be expected to beat the floor, which is what"
    " held-out real pictures get."
)

Found = Mapping[str, Any]


def tasks(out: Path, chapters: Sequence[Chapter]) -> list[tuple[str, Callable[[], Found]]]:
    """What is to be judged, each by its name, in the order of its worth."""
    return [
        ("judging digits", lambda: _digits(out, [c for c in chapters if c.classes])),
        ("judging portraits", lambda: _portraits(out, chapters)),
    ]


def _digits(out: Path, chapters: Sequence[Chapter]) -> Found:
    """What `api.compare` finds of the models of digits, with a chapter's own measures before the others."""
    from morphogen import api

    models = {c.of_digits.name: api.load(out / c.of_digits.name) for c in chapters}
    found = api.compare(list(models.values()), DIGITS, OF_DIGITS).to_dict()
    likely = [models[c.of_digits.name] for c in chapters if c.likelihood]
    bits = api.compare(likely, DIGITS, ("bits_per_dim",)).to_dict()
    found["differences"] = bits["differences"] + found["differences"]
    measured = iter(bits["models"])
    for chapter, one in zip(chapters, found["models"], strict=True):
        own = next(measured)["results"] if chapter.likelihood else []
        if chapter.measures:
            more = api.evaluate(models[chapter.of_digits.name], DIGITS, chapter.measures, samples=IMPORTANCE_SAMPLES)
            own = more.to_dict()["results"] + own
        one["results"] = own + one["results"]
    return {**found, "of": "digits", "titles": [c.title for c in chapters]}


def _portraits(out: Path, chapters: Sequence[Chapter]) -> Found:
    """The same of the models of portraits; the one that reads comes first, as records are prepared for the first."""
    from morphogen import api

    reading_last = sorted(chapters, key=lambda c: c.classes)
    models = [api.load(out / c.of_portraits.name) for c in reading_last]
    found = api.compare(models, CAPTIONED, OF_PORTRAITS, n=PORTRAITS_DRAWN).to_dict()
    return {**found, "of": "portraits", "titles": [c.title for c in reading_last]}


def in_words(found: Found) -> str:
    """Whose pictures are nearest to real ones, and whether any look copied."""
    distances = {title: _named(one, "FD")["value"] for title, one in zip(found["titles"], found["models"], strict=True)}
    first, *others = (_inside(title) for title in sorted(distances, key=lambda title: distances[title]))
    copies = any(w.startswith("copying: ") for one in found["models"] for r in one["results"] for w in r["warnings"])
    copied = "Some drawings look copied: see the warnings." if copies else "None of their drawings looks copied."
    return (
        f"Of {found['of']}, {first} draws those nearest to real ones, by the Fréchet distance of their features; then"
        f" come {' and '.join(others)}. {copied}"
    )


def write_judgment(report: Report, judged: Sequence[Found], left_out: Sequence[str]) -> None:
    """A sentence for each set; tables, differences and ladders below."""
    said = [in_words(found) for found in judged]
    said += [f"Time was too short for {what}." for what in left_out]
    report.section("How good they are", "\n\n".join(said))
    with report.folded("All numbers, with intervals, baselines and differences"):
        report.text(EXPLAINED)
        for found in judged:
            for one in found["models"]:
                report.table(
                    RESULT_HEADERS, results_rows(one["results"]), caption=f"{one['model']}, a {one['family']} model"
                )
                for warning in sorted({w for result in one["results"] for w in result["warnings"]}):
                    report.text(f"Warning: {warning}")
            report.table(DIFFERENCE_HEADERS, difference_rows(found["differences"]), caption=f"Of {found['of']}")
            ladders(report, found["models"])


def _named(one: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next(r for r in one["results"] if r["name"].split("-")[0] == name)


def _inside(title: str) -> str:
    """A chapter's title within a sentence."""
    return "the model that reads" if title.startswith("From") else title[0].lower() + title[1:]
