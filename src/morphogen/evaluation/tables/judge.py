"""Judge made rows: every measure with interval, floor and baselines, then the verdict."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from morphogen.core.errors import MorphogenError
from morphogen.core.telling import told
from morphogen.evaluation.context import cache
from morphogen.evaluation.result import Result
from morphogen.evaluation.tables.reference import TableReference, TableSample
from morphogen.evaluation.tables.table_metrics import METRICS, TableMetric
from morphogen.evaluation.tables.verdict import Verdict, decide

Interval = tuple[float, float] | None


def judge_table(
    made: TableSample,
    metrics: Sequence[str] | None = None,
    *,
    baselines: bool = True,
    made_by: str = "",
    data: str = "",
    fingerprint: str = "",
) -> tuple[list[Result], dict[str, str], Verdict]:
    """Measure `metrics` of made rows, by default all; returns results, reasons for what is left out, and the verdict.

    `baselines` are measured, too, unless it is false. A named metric that these rows do not allow raises its
    `DataError`.
    """
    reference, results, left_out = made.reference, [], {}
    chosen = [METRICS[name] for name in metrics] if metrics else list(METRICS.values())
    for metric in told(chosen, lambda one: one.name):
        start = time.perf_counter()
        try:
            value, details = metric.measure(made)
        except MorphogenError as error:
            if metrics:
                raise
            left_out[metric.name] = str(error)
            continue
        scale = _scale(reference, metric, baselines)
        results.append(
            Result(
                name=metric.name,
                value=value.value,
                interval=value.interval,
                unit="",
                n=len(made) if metric.axis != "fidelity" else len(made.compared),
                seed=reference.seed,
                better=metric.better,
                protocol=f"{metric.what}; {_compared(metric, made)}{made_by}; 95 % interval",
                baselines=scale["baselines"],
                floor=scale["floor"],
                floor_interval=scale["interval"],
                details={"axis": metric.axis, **details},
                data=data,
                fingerprint=fingerprint,
                duration_s=round(time.perf_counter() - start, 2),
            )
        )
    verdict = decide(results)
    warnings = _warnings(verdict)
    return [result.replace(warnings=warnings) for result in results], left_out, verdict


def _compared(metric: TableMetric, made: TableSample) -> str:
    reference = made.reference
    if metric.axis == "fidelity":
        return f"{len(made.compared):,} made rows against {len(reference.real):,} held-out rows"
    if metric.axis == "utility":
        tested = f"tested on {len(reference.held_out):,} held-out rows"
        return f"{len(made):,} made rows, {tested}; the floor is of as many training rows"
    m = min(len(reference.train), len(reference.held_out))
    return f"{len(made):,} made rows beside {m:,} training and {m:,} held-out rows"


def _scale(reference: TableReference, metric: TableMetric, baselines: bool) -> Mapping[str, Any]:
    """The floor with its interval, and the baselines, from the cache if they were measured before."""

    def make() -> dict[str, Any]:
        found: dict[str, Any] = {"baselines": {}, "floor": None, "interval": None}
        with suppress(MorphogenError):
            floor = metric.floor(reference)
            found["floor"], found["interval"] = floor.value, floor.interval
        for name, sample in reference.trivial.items() if baselines else ():
            with suppress(MorphogenError):
                found["baselines"][name] = metric.measure(sample)[0].value
        return found

    key = cache.key("table scale", reference.key, metric.name, baselines)
    known: Mapping[str, Any] = cache.record(key, make)
    return known


def _warnings(verdict: Verdict) -> tuple[str, ...]:
    if verdict.private in ("private against the attacks tried", "not decided"):
        return ()
    said = f"privacy: the rows are {verdict.private}" if verdict.private != "leaks" else "privacy: the rows leak"
    return (f"{said}: {verdict.why_private}.",)
