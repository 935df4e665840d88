"""How a training begins: data, parts, weights to start from, and the sheets that it shows on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from morphogen import artifact, data
from morphogen.api.model_size import check_size
from morphogen.api.parts import named, part
from morphogen.api.resuming import Asked
from morphogen.applications.preview import preview
from morphogen.artifact.store import own_state
from morphogen.core import registry
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError
from morphogen.core.family import Family, resolve_preset
from morphogen.core.printable import one_line
from morphogen.core.rng import Rng
from morphogen.core.spec import Spec
from morphogen.nn.conditioning.conditioner import READER
from morphogen.report.sheets import sheet, to_bytes
from morphogen.trainer import Event, Recipe, fit
from morphogen.trainer.distributed import resolve_device
from morphogen.trainer.log import with_notes

LENGTHS = {"steps", "epochs", "budget"}  # of training; ten minutes where none is given
HEALTH_RECORDS = 1000  # validation records that a family's health is judged on


def begin(asked: Asked, out: Path, resume: bool, began: float) -> Iterator[Event]:
    """Everything before the first step; then the events of the training, one by one. A budget counts from `began`."""
    assert asked.family is not None and asked.data is not None  # the caller has seen to it
    found = registry.family(asked.family)
    spec = found.Spec.parse({**resolve_preset(found, asked.preset), **asked.options})
    plan = Recipe.parse({**({} if LENGTHS & set(asked.recipe) else {"budget": "10min"}), **asked.recipe})
    stages = {name: part(name, path) for name, path in asked.parts.items()}
    described, reader = stages.get(found.data_part or ""), stages.get(READER)
    if reader is not None and not spec.to_dict().get("conditional"):
        raise SpecError(f"the part {READER!r} reads captions, and this model has no condition: add --conditional.")
    like = None if described is None else described.data
    dataset = data.load(asked.data, like=like, tokenizer=None if reader is None or like else reader.data.text)
    check_size(found, spec, dataset.spec, stages)
    model = build(found, spec, dataset.spec, stages, plan.seed)
    if asked.start is not None:
        _begin_with(model, asked.start)
    stream = data.Stream(dataset.train, plan.batch_size, plan.seed, plan.flips, resolve_device(plan.device))
    held_out = dataset.validation or dataset.train

    def show(trained: Family, step: int) -> None:
        _write_sheet(trained, held_out, plan.seed, out / "samples", step)

    started_from = asked.started_from if asked.start is None else named(asked.start)
    events = fit(
        model,
        stream,
        plan,
        out,
        resume=resume,
        validation=held_out.batch(slice(0, HEALTH_RECORDS)),
        provenance=_provenance(asked, dataset, started_from),
        begun_with=replace(asked, started_from=started_from).kept(),
        on_sheet=show,
        began=began,
    )
    return with_notes(events, dataset.reading_notes())


def build(kind: type[Family], spec: Spec, described: DataSpec, parts: Mapping[str, nn.Module], seed: int) -> Family:
    """The family, with the weights that it begins with. Raises `SpecError` where no network has these sizes."""
    try:
        with Rng(seed).forked():
            return kind(spec, described, parts)
    except (ArithmeticError, IndexError, RuntimeError, ValueError) as error:
        reason = one_line(f"{type(error).__name__}: {error}")[:300]
        raise SpecError(f"no {kind.name!r} model of these options can be made for these data ({reason}).") from error


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


def _write_sheet(trained: Family, held_out: data.Records, seed: int, folder: Path, step: int) -> None:
    """What is to be seen of the model now, as folder/step-N.png, and the captions that it was drawn for."""
    seen = preview(trained, held_out, seed)
    if seen is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    if seen.captions:
        with artifact.replacing(folder / "captions.txt") as file:
            file.write_text("\n".join(map(one_line, seen.captions)) + "\n", encoding="utf-8")
    with artifact.replacing(folder / f"step-{step:07d}.png") as file:
        sheet(to_bytes(seen.x, held_out.spec)).save(file, "PNG")


def _begin_with(model: Family, start: Path | str) -> None:
    """Copy the weights of a trained model. Raises `SpecError` where the networks differ, or the words they read."""
    begun = artifact.load(start).family
    read = [family.data.text.fingerprint for family in (begun, model) if family.conditional and family.data.text]
    if len(set(read)) > 1:
        raise SpecError(f"cannot start from {start}: it has learned other words than these captions have.")
    weights = own_state(begun)
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    wanted = {name: tuple(value.shape) for name, value in own_state(model).items()}
    different = sorted(name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name))
    if different and model.data_part is not None:
        raise SpecError(
            f"cannot start from {start}: a {model.name!r} model begins as its {model.data_part}; give that model as"
            f" --part {model.data_part}=MODEL instead."
        )
    if different:
        raise SpecError(
            f"cannot start from {start}: {len(different)} weights differ in name or shape, such as {different[0]!r};"
            " give the same network options that it was trained with."
        )
    model.load_state_dict(weights, strict=False)  # its parts stay
