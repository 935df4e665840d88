"""Measuring models, and records that anything made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from morphogen import artifact, data
from morphogen.api.opened import AnyModel, OpenModel, open_model
from morphogen.api.results import Alignment, AlignmentPoint, Comparison, Evaluation, Pictures
from morphogen.api.results.shown import warn_of
from morphogen.applications import prompt_alignment
from morphogen.core.capabilities import Samples
from morphogen.core.errors import MorphogenError, UsageError
from morphogen.data.in_memory import AnyData
from morphogen.data.load import IN_MEMORY
from morphogen.data.samples import load_samples
from morphogen.evaluation import Evaluation as Measured
from morphogen.evaluation import Reference, differences, judge_records
from morphogen.evaluation import evaluate as measure
from morphogen.evaluation.context.degradations import as_bytes
from morphogen.evaluation.features.extraction import Network
from morphogen.evaluation.features.frozen import NAMES, frozen
from morphogen.evaluation.features.local_networks import pretrained
from morphogen.evaluation.metrics import fidelity


def evaluate(
    model: AnyModel,
    data: AnyData,
    metrics: Sequence[str] | None = None,
    *,
    split: str = "test",
    n: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    network: str | None = None,
    device: str | None = None,
    save: bool = True,
) -> Evaluation:
    """Measure a model: its likelihood of held-out records, and the records that it makes.

    Args:
        model: a held model, or the path of a model directory.
        data: a source, arrays or a loaded `Dataset`, prepared as the model's data were.
        metrics: their names (`morphogen.evaluation.METRICS`); None is all that the model is capable of and the data
            allow.
        split: the held-out records, "test" or "validation".
        n: how many records; None is all of the split, and up to 10,000 made ones.
        samples: importance samples of each record's likelihood.
        seed: of the noise.
        network: a shipped feature network by name, or the path of one of your own.
        device: where to compute; None leaves a held model where it is.
        save: keep the results in the model's directory.

    Returns:
        One result a metric, each with its interval, n, seed, baselines and floor.

    Raises:
        UsageError: an unknown metric.
        CapabilityError: a named metric needs what the model cannot do.
        DataError: too few records.

    Example:
        >>> mg.evaluate("runs/first", "digits", ["nll"])["nll"].interval
    """
    more: dict[str, Any] = {"split": split, "n": n, "samples": samples, "seed": seed, "network": network}
    return compare([model], data, metrics, device=device, save=save, **more).models[0]


def compare(
    models: Sequence[AnyModel],
    data: AnyData,
    metrics: Sequence[str] | None = None,
    *,
    split: str = "test",
    n: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    network: str | None = None,
    device: str | None = None,
    save: bool = True,
) -> Comparison:
    """Measure several models on the same records with the same noise, and each pair's differences.

    Args:
        models: held models or paths; each is judged in the units of the first one's data.
        data, metrics, split, n, samples, seed, network, device, save: as of `evaluate`.

    Returns:
        What was measured of each model, and the differences with their intervals.

    Raises:
        UsageError: a model is given twice, or models records of another kind than the first one.

    Example:
        >>> mg.compare(["runs/first", "runs/second"], "digits", ["fd"]).differences
    """
    held = _by_name(models, device)
    first = next(iter(held.values())).data
    dataset = _load_like(data, first)
    given = _network(network)
    drawn = not metrics or set(metrics) & set(fidelity.METRICS)
    reference = None
    if drawn and any(Samples in one.module.capabilities for one in held.values()):
        try:
            reference = Reference(dataset, split=split, n=n, seed=seed, network=given)
        except MorphogenError:  # said for each model, among what is left out
            if metrics:
                raise
    measured = {
        name: measure(
            one.module,
            dataset,
            metrics,
            split=split,
            n=n,
            samples=samples,
            seed=seed,
            network=given,
            reference=reference,
        )
        for name, one in held.items()
    }
    if save:
        for name, one in held.items():
            for result in measured[name].results:
                artifact.write_evaluation(one.path, result.name, result.to_dict())
    found = [_evaluation(measured[name], data, model=name, family=one.family) for name, one in held.items()]
    return Comparison(tuple(found), tuple(differences(measured, reference)))


def evaluate_samples(
    samples: AnyData,
    data: AnyData,
    metrics: Sequence[str] | None = None,
    *,
    split: str = "test",
    n: int | None = None,
    seed: int = 0,
    network: str | None = None,
) -> Evaluation:
    """Judge records that any other program made beside the records of `data`.

    They are prepared as `data` are, and all of them are judged, or `n` that their content decides, so that no number
    depends on their order.

    Args:
        samples: a folder of pictures, an .npz file, or arrays. Real numbers in 0 to 1 or -1 to 1 are shades.
        data: the real records: a source, arrays or a loaded `Dataset`.
        metrics, split, n, seed, network: as of `evaluate`.

    Returns:
        One result a metric; its `notes` say what was taken for what.

    Raises:
        DataError: pictures of different sizes, or numbers of no known range.

    Example:
        >>> mg.evaluate_samples("made-by-others/", "digits", ["fd"])["FD"].value
    """
    dataset = _load(data)
    made = load_samples(samples, dataset.spec)
    found = judge_records(
        made.stored,
        made.spec,
        dataset,
        metrics,
        split=split,
        n=n,
        seed=seed,
        network=_network(network),
        labels=made.labels,
    )
    return _evaluation(found, data, notes=made.notes, samples=_named(samples))


def evaluate_alignment(
    model: AnyModel | None,
    data: AnyData,
    *,
    samples: AnyData | None = None,
    only: Sequence[str] | None = None,
    n: int = 1000,
    seed: int = 0,
    negative: str | None = None,
    guidance: float | None = None,
    stepper: str | None = None,
    steps: int | None = None,
    grid: str | None = None,
    temperature: float | None = None,
    truncation: float | None = None,
    candidates: int | None = None,
    options: Mapping[str, Any] | None = None,
    device: str | None = None,
    precision: str = "fp32",
    save: bool = True,
) -> Alignment:
    """Measure the share of prompts whose drawing shows what they say.

    `shapes` are judged by their parser, `emoji` by retrieval, skin tone and gender. Drawing i of a split depends on
    (seed, i, its caption) only.

    Args:
        model: a held model that reads text, or the path of its directory; None where `samples` are given.
        data: the source of prompts: `shapes` or `emoji`.
        samples: pictures with captions that anything drew, instead of a model's.
        only: some of the splits of prompts.
        n: captions of each split; where there are fewer, each is drawn several times, and intervals count prompts.
        seed, negative, guidance, stepper, steps, grid, temperature, truncation, candidates, options, device, precision:
            as of `sample`.
        save: keep the results in the model's directory.

    Returns:
        The results, the drawings, and the training pictures nearest to them.

    Raises:
        DataError: captions that cannot be checked.
        UsageError: a model that reads no text.

    Example:
        >>> mg.evaluate_alignment("runs/words", "shapes", n=100).results[0].value
    """
    given = {"negative": negative, "guidance": guidance, "stepper": stepper, "steps": steps, "grid": grid}
    given |= {"temperature": temperature, "truncation": truncation, "candidates": candidates, **(options or {})}
    if (model is None) == (samples is None):
        raise UsageError("alignment is that of a model or of samples: give one of them.")
    if model is None:
        if unused := [name for name, value in given.items() if value is not None]:
            raise UsageError(f"samples are drawn already: leave out {', '.join(unused)}.")
        return _alignment(prompt_alignment.align_samples(samples, data, only, seed), data, {"samples": _named(samples)})
    held = open_model(model, device)
    found = prompt_alignment.align_model(held.module, data, only, n, seed, precision, given)
    if save:
        for result in found.results:
            artifact.write_evaluation(held.path, result.name, result.to_dict())
    return _alignment(found, data, {"model": str(held.path), "family": held.family})


def alignment_curve(
    model: AnyModel,
    data: AnyData,
    scales: Sequence[float],
    *,
    only: Sequence[str] | None = None,
    n: int = 1000,
    seed: int = 0,
    negative: str | None = None,
    stepper: str | None = None,
    steps: int | None = None,
    grid: str | None = None,
    options: Mapping[str, Any] | None = None,
    device: str | None = None,
    precision: str = "fp32",
) -> tuple[AlignmentPoint, ...]:
    """Measure alignment against fidelity at scales of guidance, in one order of prompts and noise.

    Fidelity and copying, `fd` and `copied` of `evaluate`, are those of `n` drawings of training captions: there copies
    are made, if anywhere.

    Args:
        model, data, only, n, seed, negative, stepper, steps, grid, options, device, precision: as of
            `evaluate_alignment`.
        scales: of guidance.

    Returns:
        A point for each scale.

    Raises:
        DataError: fewer pictures than a Frechet distance needs.

    Example:
        >>> [point.guidance for point in mg.alignment_curve("runs/words", "shapes", [1, 4])]
        [1, 4]
    """
    given = {"negative": negative, "stepper": stepper, "steps": steps, "grid": grid, **(options or {})}
    family = open_model(model, device).module
    points = prompt_alignment.align_over_guidance(family, data, scales, only, n, seed, precision, given)
    return tuple(AlignmentPoint(p.guidance, tuple(p.alignment), tuple(p.fidelity)) for p in points)


def _by_name(models: Sequence[AnyModel], device: str | None) -> dict[str, OpenModel]:
    """Held models by their paths. Raises `UsageError` for those that cannot be compared."""
    held: dict[str, OpenModel] = {}
    for model in models:
        one = open_model(model, device)
        if str(one.path) in held:
            raise UsageError("a model is given twice: name each once.")
        held[str(one.path)] = one
    if not held:
        raise UsageError("there is no model to measure: name one at least.")
    first = next(iter(held.values()))
    for name, one in held.items():
        if (one.data.shape, one.data.kind, one.data.levels) != (first.data.shape, first.data.kind, first.data.levels):
            raise UsageError(
                f"{name} models {one.data.kind} records of shape {one.data.shape}, {first.path} {first.data.kind} ones"
                f" of shape {first.data.shape}: only models of the same kind of records can be compared."
            )
    return held


def _load(source: AnyData) -> data.Dataset:
    return data.load(source)


def _load_like(source: AnyData, like: Any) -> data.Dataset:
    return data.load(source, like=like)


def _network(name: str | None) -> Network | None:
    """A shipped feature network by name, or one's own by its path; None for the one that suits the data."""
    if name is None:
        return None
    return frozen(name) if name in NAMES or not Path(name).exists() else pretrained(name)


def _named(source: AnyData) -> str:
    """What data are called in a result."""
    if isinstance(source, data.Dataset):
        return source.spec.source or source.spec.name
    return str(source) if isinstance(source, str | Path) else IN_MEMORY


def _evaluation(found: Measured, source: AnyData, notes: Sequence[str] = (), **of: str) -> Evaluation:
    ladders = {
        name: {
            "n": ladder.n,
            "better": ladder.better,
            "tracks": {d: [(r.short, r.value) for r in track] for d, track in ladder.tracks().items()},
        }
        for name, ladder in found.ladders.items()
    }
    result = Evaluation(of, _named(source), tuple(found.results), found.left_out, ladders, tuple(notes))
    warn_of(result.warnings)
    return result


def _alignment(found: prompt_alignment.Aligned, source: AnyData, of: Mapping[str, str]) -> Alignment:
    nearest = None
    if found.nearest is not None:
        stored = as_bytes(found.nearest.stored, found.nearest.spec).numpy()
        nearest = Pictures(stored, found.spec, found.nearest.ids.numpy())
    return Alignment(
        of=of,
        data=_named(source),
        results=tuple(found.results),
        drawn=Pictures(found.drawn.numpy(), found.spec),
        captions=found.captions,
        asked=found.asked,
        compared=None if found.compared is None else found.compared.numpy(),
        nearest=nearest,
        left_out=found.left_out,
    )
