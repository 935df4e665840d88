"""Several models, or sets of samples, measured on the same records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from morphogen import artifact
from morphogen.api.contestants import at_common, by_name, common
from morphogen.api.measuring import evaluation_of, find_network
from morphogen.api.opened import AnyModel, OpenModel
from morphogen.api.private_evaluation import NOT_KEPT, check_no_choice, is_private
from morphogen.api.results import Comparison
from morphogen.core.capabilities import Samples
from morphogen.core.chunks import limited
from morphogen.core.errors import ArtifactError, MorphogenError, UsageError
from morphogen.data import load
from morphogen.data.in_memory import AnyData
from morphogen.data.samples import load_samples
from morphogen.evaluation import OF_SAMPLES, differences, judge_records, make_reference
from morphogen.evaluation import Evaluation as Measured
from morphogen.evaluation import evaluate as measure
from morphogen.evaluation.context.reference import Reference


@limited
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
    batch_size: int | None = None,
    save: bool = True,
) -> Comparison:
    """Measure several models, or sets of samples, on the same records, and each pair's differences.

    Models draw with the same noise. Samples are files or folders of any program, as `evaluate_samples` takes them. All
    sets of samples are cut to one size, which their content decides. What models of larger pictures draw is brought to
    the preparation of the model of the smallest ones; `notes` say so, and likelihoods are left out there.

    Args:
        models: held models, their paths, or the paths of samples; each is judged in the units of the first model's
            data.
        data, metrics, split, n, samples, seed, network, device, save: as of `evaluate`.
        batch_size: how many records are computed together, at most; None: as many as are fast.

    Returns:
        What was measured of each, and the differences with their intervals.

    Raises:
        UsageError: a model is given twice, or models records of another kind than the first one.

    Example:
        >>> mg.compare(["runs/first", "runs/second"], "digits", ["nll"]).differences
    """
    held = by_name(models, device)
    opened = {name: one for name, one in held.items() if isinstance(one, OpenModel)}
    base = common(opened) if opened else None
    dataset = load(data, like=base.data) if base is not None else load(data)
    made = {name: load_samples(name, dataset.spec) for name in held if name not in opened}
    given = find_network(network)
    metrics = [metrics] if isinstance(metrics, str) else metrics
    drawn = not metrics or set(metrics) & set(OF_SAMPLES)
    check_no_choice(opened, dataset.spec, network, bool(drawn))
    reference = None
    if drawn and (made or any(Samples in one.module.capabilities for one in opened.values())):
        sizes = [len(one.stored) for one in made.values()] + [len(dataset.train)] * bool(made)
        size = n if not sizes else min(sizes) if n is None else min(n, *sizes)
        try:
            reference = make_reference(dataset, split=split, n=size, seed=seed, network=given)
        except MorphogenError:  # said for each model, among what is left out
            if metrics:
                raise
    of_samples = None if metrics is None else [name for name in metrics if name in OF_SAMPLES] if opened else metrics
    measured, found = {}, []
    for name, one in held.items():
        given_to_all: dict[str, Any] = {"split": split, "n": n, "seed": seed, "network": given, "reference": reference}
        if isinstance(one, OpenModel) and base is not None and _alike(one, base):
            measured[name] = measure(one.module, dataset, metrics, samples=samples, **given_to_all)
            private = is_private(one)
            notes = [NOT_KEPT] * save if private else _keep(one, measured[name]) if save else []
            found.append(evaluation_of(measured[name], data, notes, model=name, family=one.family))
        else:
            if isinstance(one, OpenModel):
                if base is None or not isinstance(reference, Reference):
                    raise UsageError(f"{name} makes pictures of another size: name metrics of samples, such as kid.")
                theirs, of = at_common(one, base, data, reference), {"model": name, "family": one.family}
            else:
                theirs, of = made[name], {"model": name, "samples": name}
            options = {**given_to_all, "labels": theirs.labels}
            measured[name] = judge_records(theirs.stored, theirs.spec, dataset, of_samples, **options)
            found.append(evaluation_of(measured[name], data, theirs.notes, **of))
    return Comparison(tuple(found), tuple(differences(measured, reference)))


def _alike(one: OpenModel, other: OpenModel) -> bool:
    """Whether two models have records of one form."""
    a, b = one.data, other.data
    return (a.shape, a.kind, a.levels) == (b.shape, b.kind, b.levels)


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
