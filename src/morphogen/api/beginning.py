"""How a training begins, and the sheets that it shows on the way."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from morphogen import artifact, data
from morphogen.api.parts import named
from morphogen.api.preparing import prepare
from morphogen.api.resuming import Asked
from morphogen.applications.preview import preview
from morphogen.applications.sample_health import look_at
from morphogen.core.family import Family
from morphogen.core.printable import one_line
from morphogen.report.sheets import sheet, to_bytes
from morphogen.trainer import Event, fit
from morphogen.trainer.log import with_notes

LOOKED_AT = 256  # records that samples are compared with
HEALTH_RECORDS = 1000  # validation records that a family's health is judged on


def begin(
    asked: Asked, out: Path, resume: bool, began: float, tell: Callable[[str], object] | None = None
) -> Generator[Event, None, None]:
    """Everything before the first step; then the events of the training, one by one. A budget counts from `began`."""
    ready = prepare(asked, began, tell)
    asked, dataset, recipe = ready.asked, ready.dataset, ready.recipe
    private = recipe.privacy is not None  # then no sheet and no health check reads records
    held_out = dataset.validation or dataset.train

    def show(trained: Family, step: int) -> Mapping[str, str]:
        return _write_sheet(trained, held_out, recipe.seed, out / "samples", step)

    started_from = asked.started_from if asked.start is None else named(asked.start)
    events = fit(
        ready.model,
        ready.stream,
        recipe,
        out,
        resume=resume,
        prolonged=asked.prolonged,
        validation=None if private else held_out.batch(slice(0, HEALTH_RECORDS)),
        provenance=_provenance(asked, dataset, started_from),
        begun_with=replace(asked, started_from=started_from).kept(),
        on_sheet=None if private else show,
        began=began,
        advice=ready.advice,
        moments=ready.moments,
    )
    return with_notes(events, dataset.reading_notes())


def _provenance(asked: Asked, dataset: data.Dataset, started_from: Mapping[str, Any] | None) -> dict[str, Any]:
    """Where a model comes from, for its card."""
    source = str(asked.data) if isinstance(asked.data, str | Path) else dataset.spec.source
    found: dict[str, Any] = {"source": source, "preset": asked.preset}
    if started_from is not None:
        found["started_from"] = started_from
    if asked.parts:
        found["parts"] = {name: named(path) for name, path in asked.parts.items()}
    found["problems"] = [str(p) for p in dataset.problems]
    if dataset.files is not None:
        found["files"] = dataset.files.to_dict()
    if dataset.notes:
        found["notes"] = list(dataset.notes)
    return found


def _write_sheet(trained: Family, held_out: data.Records, seed: int, folder: Path, step: int) -> Mapping[str, str]:
    """What is to be seen of the model now, as folder/step-N.png, and the captions that it was drawn for.

    Returns what is wrong with the samples, by its cause.
    """
    seen = preview(trained, held_out, seed)
    if seen is None:
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    if seen.captions:
        with artifact.replacing(folder / "captions.txt") as file:
            file.write_text("\n".join(map(one_line, seen.captions)) + "\n", encoding="utf-8")
    with artifact.replacing(folder / f"step-{step:07d}.png") as file:
        sheet(to_bytes(seen.x, held_out.spec)).save(file, "PNG")
    if not seen.samples:
        return {}
    found = look_at(seen.x, held_out.stored[:LOOKED_AT].numpy())
    return {} if found is None else found.causes
