"""Metrics of generated records: fidelity, diversity, classes, and copying.

All compare n records with n training records (`Reference`) in the features of a frozen network. `copied` compares with
the whole training set.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import torch

from morphogen.core.errors import DataError, MorphogenError
from morphogen.core.rng import Rng
from morphogen.core.telling import told
from morphogen.evaluation.context.degradations import drawn
from morphogen.evaluation.context.reference import SEARCHED, Reference
from morphogen.evaluation.metrics import tables
from morphogen.evaluation.metrics.copying import Copying, by_distances, cells, copying
from morphogen.evaluation.metrics.frechet import frechet
from morphogen.evaluation.metrics.kernel import kid
from morphogen.evaluation.metrics.metric import Measured, SampleMetric, SampleSet
from morphogen.evaluation.metrics.modes import class_conditional_frechet, modes
from morphogen.evaluation.metrics.obedience import sentences
from morphogen.evaluation.metrics.two_sample import two_sample_test
from morphogen.evaluation.result import Result
from morphogen.theory.statistics.intervals import Estimate

MATERIAL = 0.01  # a smaller share of copies is no reason for a warning


def judge(
    made: SampleSet, reference: Reference, metrics: Sequence[SampleMetric], *, strict: bool = True, made_by: str = ""
) -> tuple[list[Result], dict[str, str]]:
    """Measure each metric of `made`. Returns the results and, if not `strict`, the reasons for leaving out others.

    `made_by` describes the records in the protocol. Copying is always checked. Where its interval excludes 0 and
    the share is material, every result has a warning.
    """
    results, left_out = [], {}
    scales = reference.scales([m for m in metrics if m.scaled])
    found, copied = {}, []
    unchecked: dict[str, list[str]] = {}
    for metric in told(metrics, lambda one: one.name):
        start = time.perf_counter()
        try:
            found[metric.name] = (metric.measure(made, reference), time.perf_counter() - start)
        except MorphogenError as error:
            if strict:
                raise
            left_out[metric.name] = str(error)
    for name in told(checks_of_copying(reference)):
        try:
            (value, details), _ = found.get(name) or (METRICS[name].measure(made, reference), 0.0)
        except MorphogenError as error:
            if name not in left_out:  # the reason is given already
                unchecked.setdefault(str(error), []).append(METRICS[name].what)
            continue
        if details["flagged"] and value.interval and value.interval[0] > 0.0 and value.value >= MATERIAL:
            copied.append(
                f"copying: {value.value:.1%} of the records are nearer to a training record than new ones would be"
                f" ({METRICS[name].what}); fidelity says little about a copy."
            )
    copied += sentences(made.labels, made.classes, reference.real.classes, reference.dataset.spec.classes)
    copied += [f"copying is not checked ({'; '.join(names)}): {why}" for why, names in unchecked.items()]
    for metric in metrics:
        if metric.name not in found:
            continue
        (value, details), seconds = found[metric.name]
        scale = scales.get(metric.name)
        results.append(
            Result(
                name=f"{metric.title}-{reference.features.name}" if metric.name not in COPIED[1:] else metric.title,
                value=value.value,
                interval=value.interval,
                unit=metric.unit,
                n=len(made),
                seed=reference.seed,
                better=metric.better,
                protocol=f"{metric.what}; {len(made):,} records{made_by} against {_against(metric, reference)};"
                f" {metric.interval_of}",
                baselines={} if scale is None else dict(scale.baselines),
                floor=None if scale is None else scale.floor,
                floor_interval=None if scale is None else scale.floor_interval,
                place="" if scale is None else scale.place(value.value),
                network=reference.features.sha256 and reference.features.name,
                warnings=tuple(copied),
                details={**details, **({"bias_removed": value.bias} if value.bias else {})},
                data=f"{reference.dataset.spec.source or reference.dataset.spec.name} (train, {reference.split})",
                fingerprint=reference.dataset.spec.fingerprint,
                duration_s=round(seconds, 2),
            )
        )
    return results, left_out


def _against(metric: SampleMetric, reference: Reference) -> str:
    if metric.name in COPIED:
        n = len(reference.held_out)
        beside = f"{n:,} held out" if metric.name in COPIED[:2] else f"{len(reference.searched_rows):,} held out"
        return f"all {len(reference.train):,} training records, beside {beside}"
    return f"{reference.n:,} training records drawn with seed {reference.seed}"


def _fd(made: SampleSet, reference: Reference) -> Measured:
    return frechet(made.features, reference.real.features), {}


def _kid(made: SampleSet, reference: Reference) -> Measured:
    return kid(made.features, reference.real.features), {}


def _precision(made: SampleSet, reference: Reference) -> Measured:
    return made.neighborhoods(reference.real).precision, {"k": made.neighborhoods(reference.real).k}


def _recall(made: SampleSet, reference: Reference) -> Measured:
    return made.neighborhoods(reference.real).recall, {"k": made.neighborhoods(reference.real).k}


def _density(made: SampleSet, reference: Reference) -> Measured:
    return made.neighborhoods(reference.real).density, {"k": made.neighborhoods(reference.real).k}


def _coverage(made: SampleSet, reference: Reference) -> Measured:
    return made.neighborhoods(reference.real).coverage, {"k": made.neighborhoods(reference.real).k}


def _two_sample(made: SampleSet, reference: Reference) -> Measured:
    n, rng = min(len(made), reference.n), Rng(reference.seed).child("two-sample")
    if reference.dataset.spec.is_picture:
        found = two_sample_test(made.features[:n], reference.real.features[:n], rng)
    else:
        found = tables.table_test(_rows(made)[:n], _rows(reference.real)[:n], _numbers(made), rng)
    return found.accuracy, {"p_value": found.p_value, "auc": found.auc, "judged": found.n}


def _modes(made: SampleSet, reference: Reference) -> Measured:
    ours, theirs = made.classes, reference.real.classes
    if ours is None or theirs is None:
        raise DataError(
            f"modes are counted by a classifier of the data's own classes; the network {reference.features.name!r} has"
            " none. Give one that has."
        )
    names = reference.dataset.spec.classes
    found = modes(ours, theirs, len(names))
    shares = {name: round(float(share), 4) for name, share in zip(names, found.shares[0], strict=True)}
    details = {
        "of": found.there,
        "missing": [names[k] for k in found.missing],
        "kl": found.kl.value,
        "kl_interval": found.kl.interval,
        "shares": shares,
    }
    return found.found, details


def _class_fd(made: SampleSet, reference: Reference) -> Measured:
    """Use the classes of the conditions, or else the classifier's classes on both sides."""
    if made.labels is not None and reference.real.labels is not None:
        ours, theirs, by = made.labels, reference.real.labels, "as asked for"
    elif made.classes is not None and reference.real.classes is not None:
        ours, theirs, by = made.classes, reference.real.classes, "by the network's classifier"
    else:
        raise DataError("distances within classes need a conditional model, or a network with the data's classes.")
    found = class_conditional_frechet(made.features, ours, reference.real.features, theirs)
    names = reference.dataset.spec.classes
    details = {
        "classes": by,
        "each": {names[k]: e.value for k, e in found.each.items()},
        "worst": names[found.worst_class],
        "worst_value": found.worst.value,
        "worst_interval": found.worst.interval,
        "left_out": {names[k]: why for k, why in found.left_out.items()},
    }
    return found.mean, details


def _copied(made: SampleSet, reference: Reference) -> Measured:
    found = copying(made.features, reference.held_out_features, reference.train_features, level=_level(reference))
    return _copies(found, made)


def _copied_pixels(made: SampleSet, reference: Reference) -> Measured:
    _require_pictures(reference)
    made_, held_out, train = (x.float() / 255.0 for x in (made.judged, reference.held_out, reference.train))
    return _copies(copying(made_, held_out, train, level=_level(reference)), made)


def _copied_moved(made: SampleSet, reference: Reference) -> Measured:
    return _disguised(made, reference, "moved")


def _copied_mixed(made: SampleSet, reference: Reference) -> Measured:
    return _disguised(made, reference, "mixed")


def _disguised(made: SampleSet, reference: Reference, how: Literal["moved", "mixed"]) -> Measured:
    """Up to 500 of the records, always the same ones, beside as many held-out ones."""
    _require_pictures(reference)
    rows = drawn(len(made), min(SEARCHED, len(made)), Rng(reference.seed).child("searched"))
    search, theirs = reference.disguises, reference.searched(how)
    pictures, held_out = made.judged[rows], reference.held_out[reference.searched_rows]
    distances, twins = search.moved(pictures) if how == "moved" else search.mixed(pictures)
    cell = cells(search.components(pictures), search.components(held_out), search.low)
    found = by_distances(distances, twins, theirs, cell, level=_level(reference))
    value, details = _copies(found, made, rows)
    return value, {**details, "searched": len(rows)}


def _require_pictures(reference: Reference) -> None:
    if not reference.dataset.spec.is_picture:
        raise DataError("records that are no pictures are compared as they are; see `copied`.")


def _level(reference: Reference) -> float:
    """The level of each check of copying: all of them together alarm in at most 5 % of sets of new records."""
    return _FALSE_ALARMS / len(checks_of_copying(reference))


def checks_of_copying(reference: Reference) -> tuple[str, ...]:
    """The names of the checks that these records allow."""
    return COPIED if reference.dataset.spec.is_picture else COPIED[:1]


def _copies(found: Copying, made: SampleSet, rows: torch.Tensor | None = None) -> Measured:
    """`rows` are the judged records among all, if not all were."""
    closest = found.closest[:8].tolist()
    at = torch.arange(len(made)) if rows is None else rows
    details = {
        "flagged": found.flagged,
        "p_value": found.p_value,
        "false_alarm_rate": found.level,
        "near": found.near,
        "near_if_new": found.expected,
        "held_out_in_training": found.duplicates,
        "closest": [[made.place(int(at[i])), found.twins[i].tolist(), float(found.distances[i])] for i in closest],
    }
    return found.copied, details


def _marginals(made: SampleSet, reference: Reference) -> Measured:
    found = tables.marginals(_rows(made), _rows(reference.real), _numbers(made))
    value = sum(e.value for e in found) / len(found)
    worst = max(range(len(found)), key=lambda c: found[c].value)
    details = {"each": [e.value for e in found], "worst": worst, "worst_interval": found[worst].interval}
    return Estimate(value, None), details


def _associations(made: SampleSet, reference: Reference) -> Measured:
    found = tables.associations(_rows(made), _rows(reference.real), _numbers(made))
    return found.mean, {}


def _rows(made: SampleSet) -> torch.Tensor:
    return made.judged.flatten(1)


def _numbers(made: SampleSet) -> list[tables.Kind]:
    return ["number"] * _rows(made).shape[1]


_OF_MADE = "95 % interval over new records of the generator, against these real ones"
_OF_REAL = "95 % interval over new real records, against these generated ones"
_NEAR = "improved precision and recall, and density and coverage, with 5 neighbors"
_AMONG_REAL = f"share of records among real ones ({_NEAR})"
_AMONG_MADE = f"share of real records among these ({_NEAR})"
_AROUND, _MET = f"real neighborhoods around a record ({_NEAR})", f"share of real neighborhoods met ({_NEAR})"
METRICS: dict[str, SampleMetric] = {
    m.name: m
    for m in (
        SampleMetric("fd", "FD", "squared Frechet distance of features, bias removed", _fd, placed=True),
        SampleMetric("kid", "KID", "unbiased squared MMD of features, cubic kernel, all pairs", _kid, placed=True),
        SampleMetric(
            "precision",
            "precision",
            _AMONG_REAL,
            _precision,
            "higher",
            interval_of=_OF_MADE,
        ),
        SampleMetric("recall", "recall", _AMONG_MADE, _recall, "higher", interval_of=_OF_REAL),
        SampleMetric(
            "density",
            "density",
            _AROUND,
            _density,
            "higher",
            interval_of=_OF_MADE,
        ),
        SampleMetric(
            "coverage",
            "coverage",
            _MET,
            _coverage,
            "higher",
            interval_of=_OF_REAL,
        ),
        SampleMetric(
            "two_sample", "two-sample", "held-out accuracy of telling real from generated; 0.5 is chance", _two_sample
        ),
        SampleMetric("modes", "modes", "classes found, by the network's classifier", _modes, "higher", "classes"),
        SampleMetric("class_fd", "class-FD", "mean Frechet distance within classes", _class_fd),
        SampleMetric("copied", "copied", "estimated share of copies, by features", _copied, scaled=False),
        SampleMetric(
            "copied_pixels", "copied-pixels", "estimated share of copies, by pixels", _copied_pixels, scaled=False
        ),
        SampleMetric(
            "copied_moved",
            "copied-moved",
            "estimated share of copies that are shifted, turned, cut or mirrored, by pixels",
            _copied_moved,
            scaled=False,
        ),
        SampleMetric(
            "copied_mixed",
            "copied-mixed",
            "estimated share of averages of two training records, by pixels",
            _copied_mixed,
            scaled=False,
        ),
        SampleMetric("marginals", "marginals", "mean Kolmogorov-Smirnov distance of columns", _marginals),
        SampleMetric("associations", "associations", "mean difference of pairwise correlations", _associations),
    )
}
COPIED = ("copied", "copied_pixels", "copied_moved", "copied_mixed")
_FALSE_ALARMS = 0.05
_OF_TABLES = ("marginals", "associations")
_OF_PICTURES = ("modes", "class_fd", *COPIED[1:])


def applicable(reference: Reference) -> list[str]:
    """The metrics that are measured by default."""
    picture = reference.dataset.spec.is_picture
    return [name for name in METRICS if name not in (_OF_TABLES if picture else _OF_PICTURES)]
