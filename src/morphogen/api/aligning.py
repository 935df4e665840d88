"""Do drawings show what their prompts say? Of a model, or of pictures that anything drew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from morphogen import artifact
from morphogen.api.drawing import CHUNK, PRECISIONS, condition, drawn_how, prompt
from morphogen.api.records import Pictures, as_stored, device_of, load_data, load_like, load_model
from morphogen.core import capabilities, registry
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError, MorphogenError, UsageError, unknown
from morphogen.core.family import Family, require
from morphogen.core.rng import Rng
from morphogen.data import Dataset
from morphogen.data.samples import load_samples
from morphogen.data.tokenizer import Read
from morphogen.evaluation import Result, judge_records
from morphogen.evaluation.alignment.alignment import AlignmentTask, copies, splits
from morphogen.evaluation.alignment.prompts import chosen, matched
from morphogen.evaluation.context.degradations import as_bytes, drawn
from morphogen.evaluation.metrics.copying import MIN_RECORDS
from morphogen.training.precision import autocast, resolve


@dataclass(frozen=True)
class Alignment:
    """What was found of drawings, and the drawings.

    of        {"model": path, "family": name} or {"samples": source}
    results   shares of drawings that show what was asked for, split by split, then of copies
    left_out  why a result is missing
    drawn     as bytes, those of one split after the other; `captions` what was asked for, `asked` the split of each
    compared  (k,) the drawings that were compared with training pictures, one a prompt; `nearest` the training picture
              nearest to each of them, None where there were too few
    """

    of: Mapping[str, str]
    data: str
    results: list[Result]
    drawn: Pictures
    captions: list[str]
    asked: list[str]
    compared: np.ndarray | None = None
    nearest: Pictures | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """All but the pictures, as `evaluate` gives it."""
        results = [result.to_dict() for result in self.results]
        return {**self.of, "data": self.data, "results": results, "left_out": dict(self.left_out), "ladders": {}}


def evaluate_alignment(
    model: Path | str | None,
    data: str,
    *,
    samples: str | None = None,
    only: Sequence[str] | None = None,
    n: int = 1000,
    seed: int = 0,
    device: str = "cpu",
    precision: str = "fp32",
    save: bool = True,
    **how: Any,
) -> Alignment:
    """The share of prompts whose drawing shows what they say: of `shapes` by its parser, of `emoji` by retrieval, skin
    tone and gender.

    `n` captions of each split of prompts (`only` some of them) are drawn; where there are fewer, each several times,
    and intervals count them by prompt. Drawing i of a split depends on (seed, i, its caption) only. `how` are options
    of the family's own `sample`, such as guidance, steps or stepper. The results are kept in the artifact unless `save`
    is false.

    Instead of a model, `samples` is a source of pictures that anything drew, with captions: a folder, or an .npz file
    with arrays `x` and `captions`. Those whose caption a split of prompts has are judged, all of them.

    Raises `DataError` for data whose captions cannot be checked, `UsageError` for a model that reads no text.
    """
    if (model is None) == (samples is None):
        raise UsageError("alignment is that of a model or of samples: give one of them.")
    if model is None:
        if how := {name: value for name, value in how.items() if value is not None}:
            raise UsageError(f"samples are drawn already: leave out {', '.join(how)}.")
        return _of_samples(cast(str, samples), data, only, seed)
    family = _reader(model, device)
    dataset = load_like(data, family.data)
    how = drawn_how(family, how)
    tasks = _tasks(dataset, only, n, seed)
    stored = [
        _drawn(family, task.prompts.captions, seed, f"alignment/{task.prompts.split}", how, precision) for task in tasks
    ]
    of = {"model": str(model), "family": family.name}
    found = _judged(of, data, tasks, stored, dataset.spec, " that the model drew", how)
    if save:
        for result in found.results:
            artifact.write_evaluation(model, result.name, result.to_dict())
    return found


def alignment_curve(
    model: Path | str,
    data: str,
    scales: Sequence[float],
    *,
    only: Sequence[str] | None = None,
    n: int = 1000,
    seed: int = 0,
    device: str = "cpu",
    precision: str = "fp32",
    **how: Any,
) -> list[dict[str, Any]]:
    """Alignment against fidelity: for each scale of guidance the results of both, in one order of prompts and noise.

    Fidelity and copying, `fd` and `copied` of `evaluate`, are those of `n` drawings of training captions: there copies
    are made, if anywhere. Each point is {"guidance": scale, "alignment": results, "fidelity": results}. Raises as
    `evaluate_alignment`, and `DataError` for fewer pictures than a Frechet distance needs.
    """
    family = _reader(model, device)
    dataset = load_like(data, family.data)
    tasks = _tasks(dataset, only, n, seed)
    train = dataset.train
    rows = drawn(len(train), min(n, len(train)), Rng(seed).child("alignment/training captions")).tolist()
    captions = [(train.captions or [])[i] for i in rows]
    tests = splits(dataset)
    held_out = next((split for split in tests if len(dataset.split(split)) >= MIN_RECORDS), tests[0])
    points = []
    for scale in scales:
        options = drawn_how(family, {**how, "guidance": scale})
        aligned = []
        for task in tasks:
            asked = task.prompts
            made = _drawn(family, asked.captions, seed, f"alignment/{asked.split}", options, precision)
            aligned += task.results(as_bytes(made, dataset.spec), " that the model drew", options)
        made = _drawn(family, captions, seed, "alignment/train", options, precision)
        judged = judge_records(made, dataset.spec, dataset, ["fd", "copied"], split=held_out, seed=seed)
        points.append(
            {
                "guidance": scale,
                "alignment": [result.to_dict() for result in aligned],
                "fidelity": [result.to_dict() for result in judged.results],
            }
        )
    return points


def _reader(model: Path | str, device: str) -> Family:
    """A model that draws from words."""
    family = load_model(model, device).family
    require(family, capabilities.Samples, "draw", registry.having(capabilities.Samples))
    prompt(family)  # raises for a model that reads none
    return family


def _tasks(dataset: Dataset, only: Sequence[str] | None, n: int, seed: int) -> list[AlignmentTask]:
    if n < 1:
        raise UsageError(f"cannot draw {n} prompts: --n is at least 1.")
    rng = Rng(seed).child("alignment")
    prompts = [chosen(dataset.split(split), split, n, rng) for split in splits(dataset, only)]
    return [AlignmentTask(dataset, some, seed) for some in prompts]


@torch.no_grad()
def _drawn(
    family: Family, captions: Sequence[str], seed: int, noise: str, how: Mapping[str, Any], precision: str
) -> Tensor:
    """One picture for each caption, (n, *shape) as stored; `noise` names that of these drawings."""
    if precision not in PRECISIONS:
        raise UsageError(unknown("precision", precision, PRECISIONS))
    on = device_of(family)
    words, rng = prompt(family, *captions), Rng(seed, on).child(noise)
    parts = []
    for start in range(0, len(captions), CHUNK):
        some = Read(words.ids[start : start + CHUNK], ())
        cond = condition(len(some.ids), None, some, on)
        with autocast(resolve(cast(Any, precision), on), on):
            parts.append(cast(Any, family).sample(len(some.ids), cond, rng.shifted(start), **how))
    return torch.from_numpy(as_stored(torch.cat(parts), family.data))


def _of_samples(samples: str, data: str, only: Sequence[str] | None, seed: int) -> Alignment:
    dataset = load_data(data)
    made = load_samples(samples, dataset.spec)
    if made.captions is None:
        raise DataError(
            f"{samples} has no captions: a folder has them in text files, an .npz file in an array `captions`, one for"
            " each picture of `x`."
        )
    tasks, pictures = [], []
    for split in splits(dataset, only):
        prompts, places = matched(dataset.split(split), split, made.captions)
        if len(prompts):
            tasks.append(AlignmentTask(dataset, prompts, seed))
            pictures.append(made.stored[places])
    if not tasks:
        raise DataError(f"no caption of {samples} is one of {', '.join(splits(dataset, only))} of {data}.")
    return _judged({"samples": samples}, data, tasks, pictures, made.spec, f" of {samples}", {})


def _judged(
    of: Mapping[str, str],
    data: str,
    tasks: Sequence[AlignmentTask],
    stored: Sequence[Tensor],
    spec: DataSpec,
    made_by: str,
    how: Mapping[str, Any],
) -> Alignment:
    made = [as_bytes(part, spec) for part in stored]
    results = [r for task, part in zip(tasks, made, strict=True) for r in task.results(part, made_by, how)]
    left_out, compared, nearest = {}, None, None
    as_pictures = spec.model_copy(update={"kind": "continuous", "levels": 256})
    try:
        found = copies(tasks, made, made_by)
    except MorphogenError as error:
        left_out["aligned-copied"] = str(error)
    else:
        results += found.results
        train = tasks[0].dataset.train
        compared = found.drawn.numpy()
        nearest = Pictures(
            as_bytes(train.stored[found.twins], train.spec).numpy(), as_pictures, train.ids[found.twins].numpy()
        )
    return Alignment(
        of=of,
        data=data,
        results=results,
        drawn=Pictures(torch.cat(made).numpy(), as_pictures),
        captions=[caption for task in tasks for caption in task.prompts.captions],
        asked=[task.prompts.split for task in tasks for _ in task.prompts.captions],
        compared=compared,
        nearest=nearest,
        left_out=left_out,
    )
