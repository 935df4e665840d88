"""Measuring models, and pictures that anything made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from morphogen import artifact
from morphogen.api.records import load_data, load_like, load_model
from morphogen.core import capabilities
from morphogen.core.errors import MorphogenError, UsageError
from morphogen.data.samples import load_samples
from morphogen.evaluation import Evaluation, Reference, differences, judge_records
from morphogen.evaluation import evaluate as measure
from morphogen.evaluation.features.frozen import NAMES, frozen
from morphogen.evaluation.metrics import fidelity


def evaluate(
    model: Path | str,
    data: str,
    metrics: Sequence[str] | None = None,
    *,
    split: str = "test",
    n: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    network: str | None = None,
    device: str = "cpu",
    save: bool = True,
) -> dict[str, Any]:
    """Measure a model: its likelihood of held-out records, and the records that it makes.

    Each number stands with its interval, n, seed and baselines. `metrics` are names in `evaluate.METRICS` (default: all
    that the model is capable of and the data allow); `n` is how many records, `samples` how many importance samples;
    `network` is a shipped feature network or a file of one's own. The results are kept in the artifact unless `save`
    is false.
    """
    how: dict[str, Any] = {"split": split, "n": n, "samples": samples, "seed": seed}
    found = compare([model], data, metrics, network=network, device=device, save=save, **how)
    return found["models"][0]


def compare(
    models: Sequence[Path | str],
    data: str,
    metrics: Sequence[str] | None = None,
    *,
    split: str = "test",
    n: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    network: str | None = None,
    device: str = "cpu",
    save: bool = True,
) -> dict[str, Any]:
    """Measure several models on the same records with the same noise, and each pair's differences with intervals.

    Every model is judged in the units of the first one's data. The rest is as in `evaluate`.
    """
    if len({str(m) for m in models}) < len(models):
        raise UsageError("a model is given twice: name each once.")
    loaded = {str(model): load_model(model, device) for model in models}
    first, *others = (one.family.data for one in loaded.values())
    for name, other in zip(list(loaded)[1:], others, strict=True):
        if (other.shape, other.kind, other.levels) != (first.shape, first.kind, first.levels):
            raise UsageError(
                f"{name} models {other.kind} records of shape {other.shape}, {models[0]} {first.kind} ones of shape"
                f" {first.shape}: only models of the same kind of records can be compared."
            )
    dataset = load_like(data, first)
    given = _network(network)
    drawn = not metrics or set(metrics) & set(fidelity.METRICS)
    draws = any(capabilities.Samples in one.family.capabilities for one in loaded.values())
    reference = None
    if drawn and draws:
        try:
            reference = Reference(dataset, split=split, n=n, seed=seed, network=given)
        except MorphogenError:  # said for each model, among what is left out
            if metrics:
                raise
    how: dict[str, Any] = {"split": split, "n": n, "samples": samples, "seed": seed}
    measured = {
        name: measure(one.family, dataset, metrics, network=given, reference=reference, **how)
        for name, one in loaded.items()
    }
    described = [_described(measured[name], data, model=name, family=one.family.name) for name, one in loaded.items()]
    if save:
        for name, evaluation in measured.items():
            for result in evaluation.results:
                artifact.write_evaluation(name, result.name, result.to_dict())
    return {"models": described, "differences": [d.to_dict() for d in differences(measured, reference)]}


def evaluate_samples(
    pictures: str,
    data: str,
    metrics: Sequence[str] | None = None,
    *,
    split: str = "test",
    n: int | None = None,
    seed: int = 0,
    network: str | None = None,
) -> dict[str, Any]:
    """Judge records that any other program made, a folder of pictures or an .npz file, beside the records of `data`.

    They are prepared as `data` are (size, channels), and all of them are judged, or `n` that their content decides, so
    that no number depends on their order. Real numbers in 0 to 1 or -1 to 1 are shades; `notes` of the result say what
    was taken for what (`data/samples.py`). Raises as `evaluate` does.
    """
    dataset = load_data(data)
    made = load_samples(pictures, dataset.spec)
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
    return {**_described(found, data, samples=pictures), "notes": list(made.notes)}


def _network(name: str | None) -> Any:
    """A shipped feature network by name, or one's own by its path; None for the one that suits the data."""
    if name is None:
        return None
    from morphogen.evaluation.features.local_networks import pretrained

    return frozen(name) if name in NAMES or not Path(name).exists() else pretrained(name)


def _described(found: Evaluation, data: str, **of: str) -> dict[str, Any]:
    return {
        **of,
        "data": data,
        "results": [r.to_dict() for r in found.results],
        "left_out": found.left_out,
        "ladders": {
            name: {
                "n": ladder.n,
                "better": ladder.better,
                "tracks": {d: [(r.short, r.value) for r in track] for d, track in ladder.tracks().items()},
            }
            for name, ladder in found.ladders.items()
        },
    }
