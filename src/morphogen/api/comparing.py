"""Several models measured on the same records."""

from __future__ import annotations

from collections.abc import Sequence

from morphogen import artifact
from morphogen.api.measuring import evaluation_of, find_network
from morphogen.api.opened import AnyModel, OpenModel, open_model
from morphogen.api.results import Comparison
from morphogen.core.capabilities import Samples
from morphogen.core.errors import ArtifactError, MorphogenError, UsageError
from morphogen.data import load
from morphogen.data.in_memory import AnyData
from morphogen.evaluation import OF_SAMPLES, differences, make_reference
from morphogen.evaluation import Evaluation as Measured
from morphogen.evaluation import evaluate as measure


def compare(
    models: Sequence[AnyModel],
    data: AnyData,
    metrics: str | Sequence[str] | None = None,
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
        >>> mg.compare(["runs/first", "runs/second"], "digits", ["nll"]).differences
    """
    held = _by_name(models, device)
    first = next(iter(held.values())).data
    dataset = load(data, like=first)
    given = find_network(network)
    metrics = [metrics] if isinstance(metrics, str) else metrics
    drawn = not metrics or set(metrics) & set(OF_SAMPLES)
    reference = None
    if drawn and any(Samples in one.module.capabilities for one in held.values()):
        try:
            reference = make_reference(dataset, split=split, n=n, seed=seed, network=given)
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
    found = []
    for name, one in held.items():
        notes = _keep(one, measured[name]) if save else []
        found.append(evaluation_of(measured[name], data, notes, model=name, family=one.family))
    return Comparison(tuple(found), tuple(differences(measured, reference)))


def _keep(model: OpenModel, measured: Measured) -> list[str]:
    """Write the results into the model's folder. Returns a note, and the numbers live on, where that fails."""
    try:
        for result in measured.results:
            artifact.write_evaluation(model.path, result.name, result.to_dict())
        if measured.verdict is not None:
            artifact.write_evaluation(model.path, "verdict", {"name": "verdict", **measured.verdict.to_dict()})
    except ArtifactError as error:
        return [f"the numbers are not kept in the model's folder: {error}"]
    return []


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
