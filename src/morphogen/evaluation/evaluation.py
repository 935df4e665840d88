"""`evaluate`: measure the likelihood of held-out records under a model, and the quality of its samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from morphogen.core.batch import RawCondition
from morphogen.core.capabilities import Samples, Scores
from morphogen.core.chunks import chunks
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import CapabilityError, DataError, MorphogenError, UsageError, unknown
from morphogen.core.family import Family, require
from morphogen.core.rng import Rng
from morphogen.core.telling import tell
from morphogen.data import Dataset
from morphogen.data.split import keys
from morphogen.evaluation.context.ladder import Ladder
from morphogen.evaluation.context.reference import Reference
from morphogen.evaluation.features.extraction import Network
from morphogen.evaluation.in_words import sentence
from morphogen.evaluation.metrics import fidelity, likelihood
from morphogen.evaluation.metrics.metric import SampleSet
from morphogen.evaluation.result import Result
from morphogen.evaluation.tables.judge import judge_table
from morphogen.evaluation.tables.reference import TableReference, TableSample
from morphogen.evaluation.tables.rows import Rows
from morphogen.evaluation.tables.table_metrics import METRICS as TABLE_METRICS
from morphogen.evaluation.tables.verdict import Verdict

OF_SAMPLES = tuple(dict.fromkeys((*fidelity.METRICS, *TABLE_METRICS)))
METRICS = (*likelihood.METRICS, *OF_SAMPLES)
AnyReference = Reference | TableReference
SAMPLE_CHUNK = 250


class Evaluation(NamedTuple):
    """The measurements of one model or one set of records.

    results   one for each metric
    left_out  the reasons for leaving out metrics that the caller did not name
    ladders   the ladder of each placed result, by its name
    values    the values of single records, by metric, for likelihoods
    made      the generated records
    verdict   what the measures of a table say, in words
    sentence  what generated pictures look like, in words; empty where that cannot be said
    """

    results: list[Result]
    left_out: dict[str, str]
    ladders: dict[str, Ladder]
    values: dict[str, Tensor]
    made: SampleSet | TableSample | None
    verdict: Verdict | None = None
    sentence: str = ""


def make_reference(
    dataset: Dataset, *, split: str = "test", n: int | None = None, seed: int = 0, network: Network | None = None
) -> AnyReference:
    """The reference that suits the data: rows for tables, features for other records."""
    if dataset.spec.kind == "columns":
        return TableReference.of(dataset, split=split, n=n, seed=seed)
    return Reference(dataset, split=split, n=n, seed=seed, network=network)


def evaluate(
    family: Family,
    dataset: Dataset,
    metrics: Sequence[str] | None = None,
    *,
    split: str = "test",
    n: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    network: Network | None = None,
    reference: AnyReference | None = None,
) -> Evaluation:
    """Measure `metrics` of a model; by default all metrics that the model and the data allow.

    split, samples  for likelihoods: the records, and the number of importance samples for each. Generated records are
                    compared with training records, and with this split for copies and the floor
    n               number of records: the first n of the split for likelihoods (all by default), and n generated ones
                    (10,000 by default, or the number of training records if that is smaller)
    network         a feature network of the caller instead of the shipped one
    reference       the common reference of several models, made with the same split, n, seed and network

    Raises `UsageError` for an unknown metric or an impossible number, `CapabilityError` for a model that cannot do what
    a named metric needs, `DataError` for too few records.
    """
    for name in metrics or ():
        if name not in METRICS:
            raise UsageError(unknown("metric", name, METRICS))
    for what, number in {"n": n, "samples": samples}.items():
        if number is not None and number < 1:
            raise UsageError(f"cannot measure with {what} = {number}: it is at least 1.")
    suited = TABLE_METRICS if dataset.spec.kind == "columns" else fidelity.METRICS
    wanted = [name for name in METRICS if (not metrics or name in metrics)]
    of_records = [name for name in wanted if name in likelihood.METRICS and name not in unsuited(dataset.spec)]
    of_samples = [name for name in wanted if name in suited]
    if metrics:
        _suited(dataset.spec, metrics)
        _capable(family, of_records, of_samples)
    likelihoods: list[tuple[Result, Tensor]] = []
    if of_records and Scores in family.capabilities:
        options: dict[str, Any] = {"split": split, "n": n, "samples": samples, "seed": seed}
        likelihoods = likelihood.measure(family, dataset, of_records, **options)
    of_made = Evaluation([], {}, {}, {}, None)
    if of_samples and Samples in family.capabilities:
        try:
            reference = reference or make_reference(dataset, split=split, n=n, seed=seed, network=network)
        except MorphogenError as error:
            if metrics:
                raise
            of_made = of_made._replace(left_out=dict.fromkeys(of_samples, str(error)))
        else:
            made_by, chosen = " that the model made", of_samples if metrics else None
            if isinstance(reference, TableReference):
                of_made = _measure_rows(draw_rows(family, reference), dataset, chosen, made_by)
            else:
                of_made = _measure_samples(draw(family, reference), reference, chosen, made_by)
    return of_made._replace(
        results=[result for result, _ in likelihoods] + of_made.results,
        values={result.name: values for result, values in likelihoods},
    )


def judge_records(
    stored: Tensor,
    spec: DataSpec,
    dataset: Dataset,
    metrics: Sequence[str] | None = None,
    *,
    split: str = "test",
    n: int | None = None,
    seed: int = 0,
    network: Network | None = None,
    labels: Tensor | None = None,
    reference: AnyReference | None = None,
) -> Evaluation:
    """Measure records (N, *shape) of another program, stored as `spec` says.

    The records are sorted by their content, and the first `n` are taken (at most the number of training records of
    `dataset`), so the results do not depend on the caller's order. `labels` (N,) are the classes of the conditions.
    `reference` is the common reference of several sets; as many records as it has are then taken.
    Raises the same errors as `evaluate`.
    """
    for name in metrics or ():
        if name not in OF_SAMPLES:
            raise UsageError(unknown("metric of generated records", name, OF_SAMPLES))
    if n is not None and n < 1:
        raise UsageError(f"cannot judge {n} records: n is at least 1.")
    _suited(dataset.spec, metrics or ())
    if dataset.spec.kind == "columns":
        if isinstance(reference, TableReference):
            n = reference.n
        rows = torch.from_numpy(np.argsort(keys(stored.cpu(), None), kind="stable"))[: n or len(stored)]
        by = reference
        if not isinstance(by, TableReference):
            by = TableReference.of(dataset, split=split, n=len(rows), seed=seed)
        made_rows = TableSample(Rows(stored.cpu().double()[rows].numpy(), by.layout), by)
        return _measure_rows(made_rows, dataset, metrics, "")
    if not isinstance(reference, Reference):
        n = min(len(stored), len(dataset.train), n or len(stored))
        reference = Reference(dataset, split=split, n=n, seed=seed, network=network)
    if spec.shape != dataset.spec.shape:
        raise DataError(f"the records have shape {spec.shape}, those of {dataset.spec.name} {dataset.spec.shape}.")
    rows = torch.from_numpy(np.argsort(keys(stored.cpu(), None), kind="stable"))[: reference.n]
    judged = reference.features.judged(stored.cpu()[rows], spec)
    made = reference.made(judged, None if labels is None else labels[rows], rows)
    return _measure_samples(made, reference, metrics, "")


def _measure_samples(made: SampleSet, reference: Reference, metrics: Sequence[str] | None, made_by: str) -> Evaluation:
    chosen = [fidelity.METRICS[m] for m in (metrics or fidelity.applicable(reference))]
    results, left_out = fidelity.judge(made, reference, chosen, strict=bool(metrics), made_by=made_by)
    scales = reference.scales([m for m in chosen if m.placed])
    ladders = {
        result.name: scale.ladder
        for result, metric in zip(results, (m for m in chosen if m.name not in left_out), strict=True)
        if (scale := scales.get(metric.name)) is not None and scale.ladder is not None
    }
    unchecked = any(name in left_out for name in fidelity.COPIED)
    words = sentence(made, reference, results[0].warnings, unchecked) if results else ""
    return Evaluation(results, left_out, ladders, {}, made, sentence=words)


@torch.no_grad()
def draw(family: Family, reference: Reference) -> SampleSet:
    """Sample as many records as the reference has, under the conditions of its records that the model reads."""
    parameter = next(family.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    rng = Rng(reference.seed, device)
    known = reference.condition()
    cond = known if family.conditional else None
    if cond is None and known is not None and known.context is not None:
        cond = RawCondition(context=known.context)
    sampler = require(family, Samples, "sample")
    parts = []
    for rows in chunks(reference.n, SAMPLE_CHUNK):
        tell(f"drawing {rows.stop:,} of {reference.n:,}")
        part = None if cond is None else cond[rows].to(device)
        x = sampler.sample(rows.stop - rows.start, part, rng.shifted(rows.start))
        parts.append(reference.features.judged_samples(x))
    labels = None if cond is None or cond.label is None else cond.label.cpu()
    return reference.made(torch.cat(parts), labels)


def _measure_rows(made: TableSample, dataset: Dataset, metrics: Sequence[str] | None, made_by: str) -> Evaluation:
    results, left_out, verdict = judge_table(
        made,
        metrics,
        made_by=made_by,
        data=dataset.spec.source or dataset.spec.name,
        fingerprint=dataset.spec.fingerprint,
    )
    return Evaluation(results, left_out, {}, {}, made, verdict)


@torch.no_grad()
def draw_rows(family: Family, reference: TableReference) -> TableSample:
    """Sample as many rows as the reference asks for, as cells by the description of the model's own data."""
    parameter = next(family.parameters(), None)
    rng = Rng(reference.seed, torch.device("cpu") if parameter is None else parameter.device)
    sampler = require(family, Samples, "sample")
    parts = [
        family.data.decode(sampler.sample(rows.stop - rows.start, None, rng.shifted(rows.start)).cpu()).double()
        for rows in chunks(reference.n, SAMPLE_CHUNK)
    ]
    return TableSample(Rows(torch.cat(parts).numpy(), reference.layout), reference)


def _suited(spec: DataSpec, metrics: Sequence[str]) -> None:
    """Raise `UsageError` for a metric of another kind of data."""
    wrong = unsuited(spec)
    for name in metrics:
        if name in wrong:
            what = "tables" if spec.kind == "columns" else f"records of kind {spec.kind!r}"
            others = ", ".join(other for other in METRICS if other not in wrong)
            raise UsageError(f"the metric {name!r} does not apply to {what}; these do: {others}.")


def unsuited(spec: DataSpec) -> set[str]:
    """The metrics of other kinds of data. A table has no bits per dimension: its columns differ in kind."""
    if spec.kind == "columns":
        return {"bits_per_dim", *fidelity.METRICS} - set(TABLE_METRICS)
    return set(TABLE_METRICS) - set(fidelity.METRICS)


def _capable(family: Family, of_records: Sequence[str], of_samples: Sequence[str]) -> None:
    for names, capability, what in (
        (of_records, Scores, "give no likelihoods (Scores)"),
        (of_samples, Samples, "draw no records (Samples)"),
    ):
        if names and capability not in family.capabilities:
            raise CapabilityError(f"cannot measure {', '.join(names)}: {family.name!r} models {what}.")
