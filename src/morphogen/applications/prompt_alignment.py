"""Measure whether pictures show what their prompts say: for a model, over scales of guidance, or for given pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from morphogen import data
from morphogen.applications.prompting import constant_condition, read_prompt
from morphogen.applications.records import as_stored
from morphogen.applications.sampling import resolve_sampling_options, sample_in_chunks
from morphogen.core.capabilities import Samples
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError, MorphogenError
from morphogen.core.family import Family, require
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Rng
from morphogen.data import Dataset, Records
from morphogen.data.in_memory import AnyData
from morphogen.data.samples import load_samples
from morphogen.data.tokenizer import Read
from morphogen.evaluation import Result, judge_records
from morphogen.evaluation.alignment.alignment import AlignmentTask, copies, splits
from morphogen.evaluation.alignment.prompts import chosen, matched
from morphogen.evaluation.context.degradations import as_bytes, drawn
from morphogen.evaluation.metrics.copying import MIN_RECORDS


class Aligned(NamedTuple):
    """The results for drawings, and the drawings (n, C, H, W) uint8, described by `spec`.

    compared  (k,) the drawings that were compared with training pictures, one per prompt; `nearest` are their nearest
              training records; None if there were too few
    """

    results: list[Result]
    drawn: Tensor
    spec: DataSpec
    captions: tuple[str, ...]
    asked: tuple[str, ...]
    compared: Tensor | None
    nearest: Records | None
    left_out: dict[str, str]


class CurvePoint(NamedTuple):
    """Alignment and fidelity at one scale of guidance."""

    guidance: float
    alignment: list[Result]
    fidelity: list[Result]


def align_model(
    family: Family,
    source: AnyData,
    only: Sequence[str] | None,
    n: int,
    seed: int,
    precision: str,
    options: Mapping[str, Any],
) -> Aligned:
    """Draw `n` captions of each split of prompts and measure the alignment; see `mg.evaluate_alignment`."""
    _require_reader(family)
    dataset = data.load(source, like=family.data)
    given = resolve_sampling_options(family, options)
    tasks = _tasks(dataset, only, n, seed)
    stored = [
        _draw_captions(family, task.prompts.captions, seed, task.prompts.split, given, precision) for task in tasks
    ]
    return _measure_alignment(tasks, stored, dataset.spec, " that the model drew", given)


def align_samples(samples: AnyData, source: AnyData, only: Sequence[str] | None, seed: int) -> Aligned:
    """Measure the alignment of given pictures with captions. Raises `DataError` if no caption is one of the prompts."""
    dataset = data.load(source)
    made = load_samples(samples, dataset.spec)
    name = samples if isinstance(samples, str) else "the source of samples"
    if made.captions is None:
        raise DataError(
            f"{name} has no captions: a folder has them in text files, an .npz file in an array `captions`, one for"
            " each picture of `x`."
        )
    tasks, pictures = [], []
    for split in splits(dataset, only):
        prompts, places = matched(dataset.split(split), split, made.captions)
        if len(prompts):
            tasks.append(AlignmentTask(dataset, prompts, seed))
            pictures.append(made.stored[places])
    if not tasks:
        there = ", ".join(splits(dataset, only))
        raise DataError(f"no caption of {name} is one of {there} of {dataset.spec.name}.")
    return _measure_alignment(tasks, pictures, made.spec, f" of {name}", {})


def align_over_guidance(
    family: Family,
    source: AnyData,
    scales: Sequence[float],
    only: Sequence[str] | None,
    n: int,
    seed: int,
    precision: str,
    options: Mapping[str, Any],
) -> list[CurvePoint]:
    """Alignment and fidelity for each scale of guidance, with the same prompts and noise.

    Fidelity and copying are measured on `n` drawings of training captions, because copies are most likely there.
    """
    _require_reader(family)
    dataset = data.load(source, like=family.data)
    tasks = _tasks(dataset, only, n, seed)
    train = dataset.train
    rows = drawn(len(train), min(n, len(train)), Rng(seed).child("alignment/training captions")).tolist()
    captions = [(train.captions or [])[i] for i in rows]
    tests = splits(dataset)
    held_out = next((split for split in tests if len(dataset.split(split)) >= MIN_RECORDS), tests[0])
    points = []
    for scale in scales:
        given = resolve_sampling_options(family, {**options, "guidance": scale})
        aligned = []
        for task in tasks:
            made = _draw_captions(family, task.prompts.captions, seed, task.prompts.split, given, precision)
            aligned += task.results(as_bytes(made, dataset.spec), " that the model drew", given)
        made = _draw_captions(family, captions, seed, "train", given, precision)
        judged = judge_records(made, dataset.spec, dataset, ["fd", "copied"], split=held_out, seed=seed)
        points.append(CurvePoint(scale, aligned, judged.results))
    return points


def _require_reader(family: Family) -> None:
    """Raise `CapabilityError` or `UsageError` if the model does not read words."""
    require(family, Samples, "draw")
    read_prompt(family)


def _tasks(dataset: Dataset, only: Sequence[str] | None, n: int, seed: int) -> list[AlignmentTask]:
    check_numbers(n=n, seed=seed)
    rng = Rng(seed).child("alignment")
    prompts = [chosen(dataset.split(split), split, n, rng) for split in splits(dataset, only)]
    return [AlignmentTask(dataset, some, seed) for some in prompts]


@torch.no_grad()
def _draw_captions(
    family: Family, captions: Sequence[str], seed: int, of: str, options: Mapping[str, Any], precision: str
) -> Tensor:
    """Draw one picture for each caption, (n, *shape) in stored units; the noise is named after the split of prompts."""
    on = family.device
    ids = read_prompt(family, *captions).ids
    x = sample_in_chunks(
        family,
        len(captions),
        lambda rows: constant_condition(len(rows), None, Read(ids[rows.cpu()], ()), on),
        Rng(seed, on).child(f"alignment/{of}"),
        options,
        precision=precision,
    )
    return torch.from_numpy(as_stored(x, family.data))


def _measure_alignment(
    tasks: Sequence[AlignmentTask],
    stored: Sequence[Tensor],
    spec: DataSpec,
    made_by: str,
    options: Mapping[str, Any],
) -> Aligned:
    made = [as_bytes(part, spec) for part in stored]
    results = [r for task, part in zip(tasks, made, strict=True) for r in task.results(part, made_by, options)]
    left_out: dict[str, str] = {}
    compared = nearest = None
    try:
        found = copies(tasks, made, made_by)
    except MorphogenError as error:
        left_out["aligned-copied"] = str(error)
    else:
        results += found.results
        compared, nearest = found.drawn, tasks[0].dataset.train.select(found.twins)
    return Aligned(
        results=results,
        drawn=torch.cat(made),
        spec=spec.model_copy(update={"kind": "continuous", "levels": 256}),
        captions=tuple(caption for task in tasks for caption in task.prompts.captions),
        asked=tuple(task.prompts.split for task in tasks for _ in task.prompts.captions),
        compared=compared,
        nearest=nearest,
        left_out=left_out,
    )
