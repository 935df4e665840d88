"""A model that draws what it is told: colored shapes, also such as no training picture had."""

from __future__ import annotations

from pathlib import Path

from morphogen.quickstart.chapter import Chapter, Training
from morphogen.quickstart.judging import beside
from morphogen.report.html import Report
from morphogen.report.overlays import overlays
from morphogen.report.sheets import sheet, to_bytes
from morphogen.report.tables import RESULT_HEADERS, number, results_rows

SHAPES = "shapes:size=16,n=8000,objects=one"  # how two lie to each other takes several times as long to learn
PROMPTS, EACH = 4, 6  # of each split
SPLITS = {"test": "of pictures held out", "test_withheld": "of things that no training picture shows"}
ASKED = 150  # captions of each split that the alignment is measured on
JUDGED = Training(
    "words",
    "diffusion",
    steps=4500,
    share=0.26,
    options={
        "conditional": True,
        "schedule": "edm",
        "parametrization": "x0",  # flat colors are far simpler than the noise on them
        "times": "log-normal",
        "time_mean": -0.7,
        "time_std": 1.5,
        "widths": (32, 64),
        "blocks": (1, 1),
        "fold": 2,
        "lr": 4e-3,
        "ema": 0.995,
        "guidance": 2.0,
        "steps": 20,
    },
    batch_size=32,
    look_every=20.0,
    data=SHAPES,
)


def write_chapter(report: Report, out: Path) -> None:
    from morphogen import api

    model = api.load(out / JUDGED.name)
    report.section(
        "From words to pictures",
        "Procedural pictures of a shape, with captions that are exactly true. Some size, color and shape go together"
        " in prompts alone, never in training: who draws those has understood the words one by one.",
    )
    data = api.load_data(SHAPES)
    figures = []
    for split, what in SPLITS.items():
        prompts = list(dict.fromkeys(data.split(split).captions or []))[:PROMPTS]
        pictures = model.draw(prompts, EACH, seed=1).pixels
        figures.append((sheet(pictures, columns=EACH, row_labels=prompts), f"Prompts {what}; none was chosen"))
    maps = model.attention_maps(prompts[0], seed=1)
    layers = overlays(to_bytes(maps.x, maps.spec), maps.maps)
    figures.append(
        (
            sheet(layers.reshape(-1, *layers.shape[2:]), columns=len(maps.words) + 1, column_labels=["", *maps.words]),
            "Which word each place looked at",
        )
    )
    report.figures(figures)
    found = model.evaluate_alignment(SHAPES, n=ASKED).to_dict()
    report.table(
        RESULT_HEADERS,
        results_rows(found["results"]),
        caption="The share of drawings on which a parser finds what was asked for; the floor is that of real pictures,"
        " the baseline that of captions of others",
    )
    new = next(r for r in found["results"] if r["name"] == "aligned-everything-test_withheld")
    report.headline(number(new["value"], new["interval"]), "things never shown, drawn as told", beside(new))


CHAPTER = Chapter("words", (JUDGED,), write_chapter, compared=False)
