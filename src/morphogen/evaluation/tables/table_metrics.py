"""The measures of synthetic rows: name, definition, measurement and floor of each.

fidelity   accuracy, associations, missingness, two_sample
utility    tstr_linear, tstr_boosting
privacy    duplicates, nearest, membership, membership_tpr, interpolation
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from morphogen.core.errors import DataError
from morphogen.evaluation.tables.reference import TableReference, TableSample
from morphogen.theory.statistics.intervals import Estimate

Measured = tuple[Estimate, Mapping[str, Any]]


@dataclass(frozen=True)
class TableMetric:
    """A measure of synthetic rows.

    name      the name in calls
    what      the whole definition, for the protocol
    measure   returns the estimate and further numbers; raises `DataError` if the rows do not allow it
    floor     the value of fresh real rows
    axis      what it is about
    """

    name: str
    what: str
    measure: Callable[[TableSample], Measured]
    floor: Callable[[TableReference], Estimate]
    axis: Literal["fidelity", "utility", "privacy"]
    better: Literal["lower", "higher"] = "lower"


def _accuracy(made: TableSample) -> Measured:
    found = made.accuracy
    names = made.rows.layout.names
    worst = min(range(len(names)), key=lambda c: found.columns[c])
    details = {
        "by_columns": dict(zip(("one", "two", "three"), found.by_size, strict=False)),
        "worst_column": names[worst],
        "worst": found.columns[worst],
    }
    return found.mean, details


def _associations(made: TableSample) -> Measured:
    found = made.associations
    if len(found.made) < 2:
        raise DataError("an association needs two columns; the table has one.")
    return found.mean, {"pearson": made.correlations.mean.value}


def _missingness(made: TableSample) -> Measured:
    found = made.missingness
    if not any(found.made) and not any(found.real):
        raise DataError("no cell is missing, neither in made nor in real rows.")
    return found.distance, {
        "worst_column": made.rows.layout.names[found.worst],
        "missing_made": found.made[found.worst],
        "missing_real": found.real[found.worst],
    }


def _two_sample(made: TableSample) -> Measured:
    found = made.separation
    return found.boosting, {"logistic": found.logistic.value, "logistic_interval": found.logistic.interval}


def _tstr(which: str) -> Callable[[TableSample], Measured]:
    def measure(made: TableSample) -> Measured:
        ours, real = made.utility[which], made.reference.fresh.utility[which]
        details: dict[str, Any] = {"of_real": ours.value.value / real.value.value if real.value.value else None}
        if ours.f1 is not None and real.f1 is not None:
            details |= {"f1": ours.f1.value, "f1_interval": ours.f1.interval, "f1_real": real.f1.value}
            details["f1_of_real"] = ours.f1.value / real.f1.value if real.f1.value else None
        return ours.value, details

    return measure


def _real(which: str) -> Callable[[TableReference], Estimate]:
    return lambda reference: reference.fresh.utility[which].value


def _duplicates(made: TableSample) -> Measured:
    found = made.duplicates
    details = {
        "p_value": found.p_value,
        "repeated": found.repeated,
        "held_out": found.held_out,
        "m": len(made.reference.halves.train),
    }
    return found.share, details


def _held_out_duplicates(reference: TableReference) -> Estimate:
    return Estimate(reference.fresh.duplicates.held_out, None)


def _nearest(made: TableSample) -> Measured:
    found = made.nearest
    return found.share, {"p_value": found.p_value, "m": found.m}


def _membership(made: TableSample) -> Measured:
    found = made.membership
    return found.auc, {"p_value": found.p_auc, "m": found.m}


def _membership_tpr(made: TableSample) -> Measured:
    found = made.membership
    return found.found, {"p_value": found.p_found, "m": found.m}


def _interpolation(made: TableSample) -> Measured:
    found = made.interpolation
    return found.share, {"p_value": found.p_value, "held_out": found.held_out}


def _chance(value: float) -> Callable[[TableReference], Estimate]:
    return lambda reference: Estimate(value, None)


_DISTANCE = "Euclidean distance of numbers standardized by the training rows and one-hot categories (a difference is 1)"
_TREES = "gradient boosting (100 trees of depth 3)"
METRICS: dict[str, TableMetric] = {
    m.name: m
    for m in (
        TableMetric(
            "accuracy",
            "1 - total variation distance of binned marginals, mean of the means over one, two and three columns"
            " (at most 1,000 triples); 10 bins at quantiles of the real rows, the 10 most frequent categories and all"
            " others, missing a bin of its own",
            _accuracy,
            lambda reference: reference.fresh.accuracy.mean,
            "fidelity",
            "higher",
        ),
        TableMetric(
            "associations",
            "mean absolute difference of the associations of all pairs of columns: Spearman's correlation of numbers,"
            " Cramer's V of categories, the correlation ratio of one of each",
            _associations,
            lambda reference: reference.fresh.associations.mean,
            "fidelity",
        ),
        TableMetric(
            "missingness",
            "total variation distance of the patterns of missing cells, the 50 most frequent and all others as one",
            _missingness,
            lambda reference: reference.fresh.missingness.distance,
            "fidelity",
        ),
        TableMetric(
            "two_sample",
            f"AUC of telling made from real rows by {_TREES}, mean of 5 held-out folds; 0.5 is chance",
            _two_sample,
            lambda reference: reference.fresh.separation.boosting,
            "fidelity",
        ),
        TableMetric(
            "tstr_linear",
            "trained on made rows, tested on real ones: AUC (mean over classes) of logistic regression, or R2 of ridge"
            " regression, on standardized numbers and one-hot categories; alone it says nearly nothing",
            _tstr("linear"),
            _real("linear"),
            "utility",
            "higher",
        ),
        TableMetric(
            "tstr_boosting",
            f"trained on made rows, tested on real ones: AUC (mean over classes) or R2 of {_TREES}; alone it says"
            " nearly nothing",
            _tstr("boosting"),
            _real("boosting"),
            "utility",
            "higher",
        ),
        TableMetric(
            "duplicates",
            "share of made rows that equal a training row in every cell; the floor is that of held-out rows",
            _duplicates,
            _held_out_duplicates,
            "privacy",
        ),
        TableMetric(
            "nearest",
            f"share of made rows nearer to a training row than to a held-out row, of equally many of both; {_DISTANCE};"
            " 0.5 is chance",
            _nearest,
            _chance(0.5),
            "privacy",
        ),
        TableMetric(
            "membership",
            "AUC of an attack that takes rows for training rows if a made row is near, on equally many training and"
            f" held-out rows; {_DISTANCE}; 0.5 is chance",
            _membership,
            _chance(0.5),
            "privacy",
        ),
        TableMetric(
            "membership_tpr",
            "share of training rows that the same attack finds while it accuses 1 % of held-out rows; 0.01 is chance",
            _membership_tpr,
            _chance(0.01),
            "privacy",
        ),
        TableMetric(
            "interpolation",
            "share of made rows on a line between two of their 10 nearest training rows, within a tenth of the distance"
            " to the nearer one, in the columns of numbers; the floor is that of held-out rows",
            _interpolation,
            lambda reference: Estimate(reference.fresh.interpolation.held_out, None),
            "privacy",
        ),
    )
}
