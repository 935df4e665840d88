"""A generative adversarial network: what the generator learns while the game goes on, and a walk between its digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from morphogen.quickstart.chapter import Chapter, Training, eight_bit
from morphogen.report.animations import animation
from morphogen.report.curves import curves, read_log, series
from morphogen.report.html import Report
from morphogen.report.sheets import sheet

JUDGED = Training(
    "gan",
    "gan",
    steps=3900,
    rate=100.0,
    share=0.11,
    options={"conditional": True},
    look_every=4.0,
)


def tell(report: Report, out: Path) -> None:
    from morphogen import api

    model = out / JUDGED.name
    drawn = api.sample(model, 100, seed=1)
    by_class = np.concatenate([eight_bit(api.sample(model, 10, seed=2, label=k)) for k in range(10)])
    report.section(
        "A generative adversarial network: samples",
        "A generator makes digits of noise, in one step, and a discriminator compares them with real ones. Neither is"
        " told how likely a digit is, so that there is no likelihood to measure. None was chosen.",
    )
    report.figures(
        [
            (sheet(eight_bit(drawn), columns=10), "100 samples, no class given"),
            (
                sheet(by_class, columns=10, row_labels=[str(k) for k in range(10)]),
                "10 samples of each class; those of a column are of the same latent",
            ),
        ]
    )
    report.section(
        "The game",
        "Each step is a move of the discriminator, then one of the generator. The share of pairs that the discriminator"
        " tells apart falls towards a half as samples get better; that it stays above is what the generator learns"
        " from. Diversity is the mean distance of two samples over that of two real digits, and coverage the share of"
        " real digits that have a sample like them, over the same for real ones.",
    )
    moves = [Image.open(path) for path in sorted((model / "samples").glob("step-*.png"))]
    figures: list[tuple[Any, str]] = [
        (animation(moves, frames_per_second=3, hold_s=2), "The same latents, from the first steps to the last")
    ]
    watched = series(read_log(model / "log.jsonl"), "metrics")
    health = {name: v for name, v in watched.items() if name in ("told_apart", "diversity", "coverage")}
    if health:
        lines = curves(health, title="The game, on held-out digits", x_label="step")
        figures.append((lines, "Shares and ratios, beside 1 for real digits"))
    steps = api.walk(model, 60, 6, seed=3)
    figures.append((sheet(eight_bit(steps), columns=12), "A closed walk through six latents, line by line"))
    report.figures(figures)


CHAPTER = Chapter("adversarial", (JUDGED,), tell, likelihood=False)
