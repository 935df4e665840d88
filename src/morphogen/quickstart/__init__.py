"""The first six minutes: draw with models of the package, train all families, judge them, and write a report.

A chapter for each family (`vae.py`, `gan.py`, `diffusion.py`, `words.py`) says which models learn scikit-learn's 1,797
handwritten digits and the embedded portraits, and what the report shows of them; `judging.py` measures them all alike.
The report is written at once, with what the models of the package draw, and again after each chapter.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from morphogen.core.durations import seconds
from morphogen.core.errors import UsageError
from morphogen.quickstart import diffusion, gan, judging, vae, words
from morphogen.quickstart.chapter import Chapter, Trained, Training
from morphogen.quickstart.clock import Clock, Moment
from morphogen.quickstart.page import Page
from morphogen.quickstart.welcome import COMMAND

MIN_SECONDS = 20.0  # seconds; less makes no digit
CHAPTERS = (vae.CHAPTER, gan.CHAPTER, diffusion.CHAPTER, words.CHAPTER)


def quickstart(out: Path, budget: str) -> Iterator[Moment]:
    """Make `out`/report.html in about `budget`; iterate over the moments of all that is done.

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
    return _run(out, Clock(start, allowed, [one.share for chapter in CHAPTERS for one in chapter.trainings]))


def next_commands(out: Path) -> tuple[str, ...]:
    """What to try once `out` holds a quickstart."""
    reading = words.CHAPTER.of_portraits.name
    return (
        COMMAND,
        f'morphogen draw {out / reading} "a person with dark skin, a blond bun, in a red dress" --n 8 --out drawn.png',
        f"morphogen sample {out / diffusion.CHAPTER.of_digits.name} --n 64 --seed 7 --class 3 --out threes.png",
        "morphogen train vae --data PATH/TO/YOUR/PICTURES:size=32,resize=crop --out runs/mine --budget 10min",
    )


def _run(out: Path, clock: Clock) -> Iterator[Moment]:
    page = Page(out)
    yield clock.moment("drawing with models of the package", 0, 1)
    page.begin()
    for chapter in CHAPTERS:
        trained: dict[str, Trained] = {}
        for one in chapter.trainings:
            trained[one.name] = yield from _train(out, one, clock)
        yield clock.moment(f"drawing: {chapter.title}", 0, 1)
        page.add(chapter, trained)
    yield from _judge(out, CHAPTERS, page, clock)
    page.end(next_commands(out), clock.elapsed_s)
    yield clock.moment("the report is whole", 1, 1)


def _train(out: Path, one: Training, clock: Clock) -> Generator[Moment, None, Trained]:
    """Train one model within its share of the time; returns how that went."""
    from morphogen import api

    options: dict[str, Any] = {"preset": one.preset, "options": one.options}
    yield clock.moment(one.label, 0, None)
    standing: dict[str, None] = {}  # warnings, in their order
    budget, began, step = clock.next_budget(), time.perf_counter(), 0
    for event in api.training(one.family, one.data, out / one.name, recipe=one.recipe(budget), **options):
        step = event.step
        standing |= dict.fromkeys(event.warnings)
        for mended in event.mended:
            standing.pop(mended, None)
        yield Moment(one.label, step, event.total, clock.elapsed_s, clock.left_s, event.terms, event.images_per_s)
    return Trained(step, time.perf_counter() - began, tuple(standing))


def _judge(out: Path, chapters: tuple[Chapter, ...], page: Page, clock: Clock) -> Iterator[Moment]:
    """Judge what there is time for: a task is left out where the time that is left is less than the last one took."""
    tasks = judging.tasks(out, chapters)
    judged, left_out, took = [], [], 0.0
    for done, (label, task) in enumerate(tasks):
        if clock.left_s <= took:
            left_out.append(label)
            continue
        yield clock.moment(label, done, len(tasks))
        began = time.perf_counter()
        judged.append(task())
        took = time.perf_counter() - began
    page.judge(judged, left_out)


__all__ = ["CHAPTERS", "MIN_SECONDS", "next_commands", "quickstart"]
