"""The first five minutes: train on real digits, judge, and write a report to look at.

A chapter for each family (`vae.py`, `gan.py`, `diffusion.py`) says which models learn scikit-learn's 1,797 handwritten
digits, and what the report shows of them; `judging.py` measures them all alike. That of text-to-image (`words.py`)
learns from procedural pictures with captions, by which its own measure goes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphogen.core.durations import seconds
from morphogen.core.errors import UsageError
from morphogen.quickstart import diffusion, gan, judging, vae, words
from morphogen.report.html import Report

if TYPE_CHECKING:
    from morphogen.api import Event

MIN_SECONDS = 20.0  # seconds; less makes no digit
CHAPTERS = (vae.CHAPTER, gan.CHAPTER, diffusion.CHAPTER, words.CHAPTER)


def quickstart(out: Path, budget: str) -> Iterator[Event]:
    """Make `out`/report.html in about `budget`; iterate over the events of all trainings.

    Raises `UsageError` for a budget below 20 seconds, or where `out` is occupied.
    """
    start = time.perf_counter()
    try:
        allowed = float(seconds(budget))
    except ValueError as error:
        raise UsageError(f"--budget {budget}: {error}.") from None
    if allowed < MIN_SECONDS:
        raise UsageError(f"--budget {budget}: at least {MIN_SECONDS:.0f} seconds are needed; try --budget 6min.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not an empty folder: choose another --out, or remove it.")
    return _run(out, allowed, start)


def next_commands(out: Path) -> tuple[str, ...]:
    """What to try once `out` holds a quickstart."""
    return (
        f"morphogen sample {out / diffusion.CHAPTER.judged} --n 64 --seed 7 --class 3 --out threes.png",
        f'morphogen draw {out / words.CHAPTER.judged} "a small red circle" --n 8 --seed 7 --out circles.png',
        "morphogen train vae --data PATH/TO/YOUR/PICTURES:size=32,resize=crop --out runs/mine --budget 10min",
    )


def _run(out: Path, allowed: float, start: float) -> Iterator[Event]:
    from morphogen import api

    for chapter in CHAPTERS:
        for one in chapter.trainings:
            options: dict[str, Any] = {"preset": one.preset, "options": one.options, "recipe": one.recipe(allowed)}
            for event in api.training(one.family, one.data, out / one.name, **options):
                yield replace(event, elapsed_s=time.perf_counter() - start)
    compared = [chapter for chapter in CHAPTERS if chapter.compared]
    found = judging.judge(out, compared)
    report = Report(
        "Four ways to make pictures",
        "Trained just now: a variational autoencoder, a generative adversarial network and a diffusion model on real"
        " handwritten digits (8 by 8 pixels, 17 gray levels), and one more diffusion model that draws what it is told."
        " Every number stands beside what trivial models reach, and is of pictures that no model here has seen.",
    )
    for chapter in compared:
        chapter.write(report, out)
    judging.write_judgment(report, found)
    for chapter in CHAPTERS:
        if chapter not in compared:
            chapter.write(report, out)
    report.section("Next")
    report.code("\n".join(next_commands(out)))
    judging.headlines(report, found, compared, time.perf_counter() - start)
    report.write(out / "report.html")
