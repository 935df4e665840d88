"""Training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from morphogen import artifact, data
from morphogen.api.drawing import grid_of_classes
from morphogen.api.model_size import check_size
from morphogen.api.parts import named, part
from morphogen.api.records import as_stored, device_of, load_data, load_like
from morphogen.api.resuming import Asked, completed, holds_run
from morphogen.artifact.store import own_state
from morphogen.core import capabilities, registry
from morphogen.core.batch import RawCondition
from morphogen.core.errors import SpecError, UsageError
from morphogen.core.family import Family, resolve_preset
from morphogen.core.printable import one_line
from morphogen.core.rng import Rng
from morphogen.nn.conditioning.conditioner import READER
from morphogen.report.sheets import sheet, to_bytes
from morphogen.training import Event, Recipe, fit
from morphogen.training.distributed import resolve_device
from morphogen.training.log import with_notes

LENGTHS = {"steps", "epochs", "budget"}  # of training; ten minutes where none is given
HEALTH_RECORDS = 1000  # validation records that a family's health is judged on


def train(
    family: str | None = None,
    data: str | None = None,
    out: Path | str | None = None,
    *,
    preset: str | None = None,
    options: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    resume: bool = False,
    start: Path | str | None = None,
    parts: Mapping[str, Path | str] | None = None,
) -> Iterator[Event]:
    """Train a model; iterate over the events, and `out` holds its artifact.

    `start` is a trained model whose weights to begin with, for fine-tuning; its networks must be the same.
    `parts` are trained models that this one stands on, by name, such as the "autoencoder" of latent diffusion: they
    stay as they are and are stored in its artifact. The part "text", which reads captions, is a directory of
    `transformers` with a text encoder and its tokenizer.

    `resume` goes on with the run in `out`, bit for bit, and needs nothing but `out`: the checkpoint tells the rest.
    What is given again has to be the same; data may have moved, if they hold the same records. Where there is no run
    yet, one begins.

    `options` are fields of the family's Spec, on top of the preset's; `recipe` are fields of `train.Recipe`.
    Raises `UsageError` or `DataError` before any work is done where the call or the data are wrong.
    """
    if out is None:
        raise UsageError("say which folder the model is to be written to: out, or --out DIR.")
    asked = Asked(family, data, preset, options or {}, recipe or {}, start, parts or {})
    goes_on = resume and holds_run(out)
    if goes_on:
        asked = completed(asked, Path(out))
    if asked.family is None or asked.data is None:
        none = f"{out} holds no run to resume; to begin one, " if resume else ""
        raise UsageError(f"{none}say which family to train and on which data: morphogen train FAMILY --data SOURCE.")
    return _train(asked, Path(out), resume)


def _train(asked: Asked, out: Path, resume: bool) -> Iterator[Event]:
    data, start, parts = asked.data, asked.start, asked.parts
    assert asked.family is not None and data is not None  # `train` has seen to it
    found = registry.family(asked.family)
    spec = found.Spec.parse({**resolve_preset(found, asked.preset), **asked.options})
    plan = Recipe.parse({**({} if LENGTHS & set(asked.recipe) else {"budget": "10min"}), **asked.recipe})
    stages = {name: part(name, path) for name, path in parts.items()}
    described, reader = stages.get(found.data_part or ""), stages.get(READER)
    if reader is not None and not spec.to_dict().get("conditional"):
        raise SpecError(f"the part {READER!r} reads captions, and this model has no condition: add --conditional.")
    if described is not None:
        dataset = load_like(data, described.data)
    else:
        dataset = load_data(data, None if reader is None else reader.data.text)
    check_size(found, spec, dataset.spec, stages)
    with Rng(plan.seed).forked():
        model = found(spec, dataset.spec, stages)
    if start is not None:
        _begin_with(model, start)
    stream = _stream(dataset, plan)
    watched = dataset.validation or dataset.train
    validation = watched.batch(slice(0, HEALTH_RECORDS))
    sheets = out / "samples"

    def draw(trained: Family, step: int) -> None:
        if not dataset.spec.is_picture:
            return
        on, cond = device_of(trained), None
        seen = validation[:32].to(on)
        if capabilities.Samples in trained.capabilities and seen.cond is not None and seen.cond.context is not None:
            # rows of pictures to start from, each above what is made of it
            made = cast(Any, trained).sample(len(seen), seen.cond, Rng(plan.seed, on))
            given = F.interpolate(seen.cond.context, size=made.shape[2:], mode="nearest").expand_as(made)
            x = _above(given, made)
        elif capabilities.Samples in trained.capabilities:
            n = 64
            cond = _shown(watched, n) if trained.conditional else None
            cond = None if cond is None else cond.to(on)
            x = cast(Any, trained).sample(n, cond, Rng(plan.seed, on))
        elif capabilities.Encodes in trained.capabilities:  # rows of held-out pictures, each above what is made of it
            made = cast(Any, trained).decode(cast(Any, trained).encode(seen.x, seen.cond).mean, seen.cond).mean
            x = _above(seen.x, made)
        else:
            return
        sheets.mkdir(parents=True, exist_ok=True)
        if cond is not None and cond.text is not None:
            lines = [one_line(caption) for caption in _captions(watched, len(x))]
            with artifact.replacing(sheets / "captions.txt") as file:
                file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        with artifact.replacing(sheets / f"step-{step:07d}.png") as file:
            sheet(to_bytes(as_stored(x, dataset.spec), dataset.spec)).save(file, "PNG")

    provenance: dict[str, Any] = {"source": data, "preset": asked.preset}
    started_from = asked.started_from if start is None else named(start)
    if started_from is not None:
        provenance["started_from"] = started_from
    if parts:
        provenance["parts"] = {name: named(path) for name, path in parts.items()}
    provenance["problems"] = [str(p) for p in dataset.problems]
    if dataset.files is not None:
        provenance["files"] = dataset.files.to_dict()
    if dataset.notes:
        provenance["notes"] = list(dataset.notes)
    events = fit(
        model,
        stream,
        plan,
        out,
        resume=resume,
        validation=validation,
        provenance=provenance,
        begun_with=replace(asked, started_from=started_from).kept(),
        on_sheet=draw,
    )
    return with_notes(events, dataset.reading_notes())


def _shown(held_out: data.Records, n: int) -> RawCondition | None:
    """What a sheet of `n` samples is asked for: held-out records where there are captions, else classes in turn."""
    if held_out.text is None:
        return grid_of_classes(held_out.spec, n)
    return held_out.batch(torch.arange(n) % len(held_out)).cond


def _captions(held_out: data.Records, n: int) -> list[str]:
    """Those of `_shown`."""
    captions = held_out.captions or []
    return [captions[i % len(captions)] for i in range(n)]


def _above(first: Tensor, second: Tensor) -> Tensor:
    """Rows of eight pictures of `first`, each above its row of `second` (B, C, H, W)."""
    rows = zip(first.to(second.dtype).split(8), second.split(8), strict=True)
    return torch.cat([row for pair in rows for row in pair])


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


def _stream(dataset: data.Dataset, plan: Recipe) -> data.Stream:
    return data.Stream(dataset.train, plan.batch_size, plan.seed, plan.flips, resolve_device(plan.device))
