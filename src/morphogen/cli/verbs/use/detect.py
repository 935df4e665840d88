"""The verb detect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from morphogen import UsageError
from morphogen.cli.console import busy, print_table
from morphogen.cli.models import limit_threads, require_folder
from morphogen.cli.options import BatchSize, Data, Device, Json, Overwrite, Seed, Threads
from morphogen.cli.outputs import FOLDER, Output, emit
from morphogen.core.limits import check_numbers

if TYPE_CHECKING:
    from morphogen.api import Detections

EXAMPLE = "morphogen detect runs/normal --data new/ --normal held-out/ --alpha 0.05 --out runs/alarms/"
FILES = ("detections.csv", "detections.json", "report.html", "sheet.png")


def detect(
    data: Data,
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL", help="A model of normal records; without one, plain scores.")
    ] = None,
    out: Annotated[str, typer.Option("--out", metavar="DIR/", help="detections.csv, a report, a sheet.")] = "alarms/",
    normal: Annotated[
        str | None, typer.Option("--normal", metavar="SOURCE", help="Normal records that were not trained on.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", metavar="SOURCE", help="Normal records that scores learn from.")
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Of the data; all records by default.")] = None,
    alpha: Annotated[float, typer.Option("--alpha", metavar="A", help="The rate of false alarms to keep.")] = 0.05,
    confidence: Annotated[
        float | None, typer.Option("--confidence", metavar="C", help="Keep it so surely, not only in the mean.")
    ] = None,
    discoveries: Annotated[
        bool, typer.Option("--discoveries", help="Keep the share of false alarms among all alarms instead.")
    ] = False,
    score: Annotated[
        str, typer.Option("--score", metavar="NAME+NAME", help="One, or several joined by +.")
    ] = "default",
    compare: Annotated[bool, typer.Option("--compare", help="Judge by every other score, too.")] = False,
    known: Annotated[
        str | None,
        typer.Option("--known", metavar="CLASS,...|COLUMN=VALUE", help="Known anomalies, to measure scores by."),
    ] = None,
    window: Annotated[
        int | None, typer.Option("--window", metavar="PX", min=4, help="Large pictures by windows of this side.")
    ] = None,
    maps: Annotated[int, typer.Option("--maps", metavar="K", min=1, help="Records on the sheet.")] = 24,
    seed: Seed = 0,
    device: Device = "auto",
    batch_size: BatchSize = None,
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Find anomalous records; the rate of false alarms is kept, and checked on further normal records."""
    check_numbers(alpha=alpha, confidence=confidence)
    target = _target(out, overwrite)
    if model is not None:
        require_folder(model)
    limit_threads(threads)
    from morphogen import api

    with busy("detecting"):
        found = api.detect(
            model,
            data,
            normal=normal,
            reference=reference,
            split=split,
            alpha=alpha,
            confidence=confidence,
            discoveries=discoveries,
            score=score,
            compare=compare,
            known=known,
            window=window,
            maps=maps,
            seed=seed,
            device=device,
            batch_size=batch_size,
        )
        target.write_with(found.save)
    if found.compared and not json:
        from morphogen.report.detection_page import COMPARED_HEADERS, compared_rows

        print_table(COMPARED_HEADERS, compared_rows(found.to_dict()["compared"]))
    emit(target, found.to_dict(), json, warnings=found.warnings, lines=_lines(found))


def _target(out: str, overwrite: bool) -> Output:
    """The folder to write; one that holds an earlier detection and nothing else is replaced with --overwrite."""
    place = Path(out)
    there = {entry.name for entry in place.iterdir()} if place.is_dir() else set()
    if not there or not there <= set(FILES):
        return Output.parse(out, [FOLDER], overwrite)
    if not overwrite:
        raise UsageError(f"--out {out} holds a detection: choose another folder, or add --overwrite to replace it.")
    return Output(place, FOLDER)


def _lines(found: Detections) -> list[str]:
    kept = "of false alarms among all alarms" if found.discoveries else "of false alarms"
    said = [
        f"{int(found.alarms.sum()):,} alarms among {len(found):,} records by {found.score}; the share {kept} is at most"
        f" {found.alpha:.3g}"
    ]
    if found.realized is not None:
        rate = found.realized.rate
        low, high = rate.interval or (0.0, 1.0)
        said.append(
            f"of {found.realized.n:,} further normal records {found.realized.alarms:,} raised an alarm:"
            f" {rate.value:.1%} ({low:.1%} to {high:.1%})"
        )
    return said
