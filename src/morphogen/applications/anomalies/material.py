"""The records that a detection works with: what is judged, what calibrates, what detectors learn from.

What is trained on never calibrates. Normal records of the same source as the training or the judged ones are told apart
by their ids. Of other sources equal content tells, but only of pictures, and where more than half of them are equal:
rows of few columns and blank pictures are equal by nature, and to leave those out would change what is normal.

The normal records are parted at random. A fifth (at most 1,000) checks the rate of false alarms and is used for nothing
else. Where detectors have to learn and the training records are not at hand, half of the others are what they learn
from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from morphogen import data
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError, MorphogenError, UsageError
from morphogen.core.rng import Rng
from morphogen.data import Dataset, Records
from morphogen.data.in_memory import AnyData, all_as_test, is_source
from morphogen.data.load import IN_MEMORY
from morphogen.data.records import picked
from morphogen.data.source import parse
from morphogen.data.split import keys

CALIBRATION = "calibration"
CHECKED, CHECK_SHARE = 1000, 5  # normal records that check the rate: a fifth, and at most so many
LEAST_CHECKED = 20


@dataclass(frozen=True)
class Material:
    """Records (each None where there are none) and notes for the user."""

    judged: Records
    calibration: Records
    further: Records | None
    reference: Records | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Normal:
    """Normal records, those that a model was trained on if they are at hand, and the description of both."""

    spec: DataSpec
    records: Records
    trained: Records | None
    notes: tuple[str, ...]
    source: str = ""  # the name of their source


def bare(spec: DataSpec) -> DataSpec:
    """The description without conditions: anomalies may have classes and words that normal records have not."""
    return spec.replace(classes=(), attributes=(), text=None, context_shape=None)


def whole(dataset: Dataset, splits: Sequence[str] | None = None) -> Records:
    """The records of some splits (all for None) in the order of their source, without conditions."""
    parts = [records for name, records in dataset.splits.items() if splits is None or name in splits]
    ids = torch.cat([part.ids for part in parts])
    order = ids.argsort()
    named = [part.names for part in parts]
    names = None if any(n is None for n in named) else [name for n in named for name in n or ()]
    stored = torch.cat([part.stored for part in parts])
    return Records(bare(dataset.spec), stored[order], ids[order], names=picked(names, order))


def normal_records(
    model: DataSpec | None, normal: AnyData | None, reference: AnyData | None, window: int | None = None
) -> Normal:
    """The normal records: those of `normal`, or the calibration split of the model's own data.

    With a `window`, pictures are larger than it, and are read at their own size.

    Raises `UsageError` where there are neither, or no model and no `normal`.
    """
    notes: list[str] = []
    if window is not None and model is not None:
        _check_window(model, normal, window)
    own = None if model is None else _own(model, notes)
    if reference is not None:
        given = data.load(all_as_test(reference), like=None if model is None else bare(model))
        trained: Records | None = whole(given, ("train",) if is_source(reference) and "train" in given.splits else None)
    else:
        trained = None if own is None else whole(own, ("train",))
    if normal is None:
        if own is None or CALIBRATION not in own.splits:
            _refuse(model)
            raise AssertionError  # _refuse does not return
        return Normal(bare(own.spec), whole(own, (CALIBRATION,)), trained, tuple(notes), name_of(own.spec.source))
    like = bare(model) if model is not None else None if trained is None else trained.spec
    given = data.load(all_as_test(normal), like=None if window is not None else like)
    records = whole(given, (CALIBRATION,) if CALIBRATION in given.splits else None)
    if window is not None:
        _check_alike(records.spec, like)
        return Normal(records.spec, records, trained, tuple(notes))
    source = name_of(normal)
    if own is not None:
        used = whole(own, ("train", "validation"))
        records = without(records, used, "trained on or chosen by", notes, "" != source == name_of(own.spec.source))
    elif trained is not None:
        records = without(records, trained, "learned from", notes, "" != source == name_of(reference))
    return Normal(records.spec, records, trained, tuple(notes), source)


def _check_window(model: DataSpec, normal: AnyData | None, window: int) -> None:
    if not model.is_picture or model.shape[1:] != (window, window):
        raise UsageError(f"the model knows records of shape {model.shape}: --window is their side in pixels.")
    if normal is None:
        raise UsageError("with --window, give normal pictures of the same size as those to judge: --normal SOURCE.")


def _check_alike(spec: DataSpec, like: DataSpec | None) -> None:
    """Raise `DataError` where pictures of any size differ from `like` in channels or levels."""
    if like is not None and (spec.shape[:1], spec.levels) != (like.shape[:1], like.levels):
        raise DataError(
            f"{spec.name}: {spec.shape[0]} channels of {spec.levels} levels, and the windows have {like.shape[0]} of"
            f" {like.levels}: give pictures like those, such as SOURCE:channels=gray."
        )


def _refuse(model: DataSpec | None) -> None:
    if model is None:
        raise UsageError("without a model, give normal records: --normal SOURCE.")
    raise UsageError(
        "p-values need normal records that the model was not trained on, and its data have no calibration split: give"
        " --normal SOURCE, or train with a source such as"
        f" {model.source or model.name}{',' if ':' in model.source else ':'}calibration=0.1."
    )


def _own(model: DataSpec, notes: list[str]) -> Dataset | None:
    """The data that a model was trained on; None where they are not found or have changed."""
    if not model.source or model.source == IN_MEMORY:
        return None
    try:
        found = data.load(model.source, like=model)
    except MorphogenError as error:
        notes.append(f"the training records are not found, so detectors learn from a part of the normal ones ({error})")
        return None
    if found.spec.fingerprint != model.fingerprint:
        notes.append(f"the records of {model.source} have changed since the training, and are not used")
        return None
    return found


def judged_records(source: AnyData, like: DataSpec, own: str, split: str | None, window: int | None = None) -> Records:
    """The records to judge: a split, the test split of the model's own data, or all records of other data.

    own  the source that normal records come from, whose other splits are no new records
    """
    found = data.load(all_as_test(source), like=like if window is None else None)
    if window is not None:
        _check_alike(found.spec, like)
    if split is None and name_of(source) == name_of(own) != "" and "test" in found.splits:
        split = "test"
    if split is not None:
        found.split(split)  # raises for one that there is not
    return whole(found, None if split is None else (split,))


def name_of(source: AnyData | None) -> str:
    """The name or path of a source without its options; "" for data in memory."""
    named = is_source(source) and str(source) != ""
    return parse(str(source), tuple(data.sources())).name if named else ""


def without(records: Records, others: Records, what: str, notes: list[str], same: bool) -> Records:
    """The records that are none of `others`, by their ids if both have the `same` source, else by what they hold.

    Raises `DataError` if none is left.
    """
    if same:
        equal = np.isin(records.ids.numpy(), others.ids.numpy())
    else:
        equal = np.isin(keys(records.stored.contiguous(), None), keys(others.stored.contiguous(), None))
    count = int(equal.sum())
    natural = not records.spec.is_picture or count <= len(records) // 2
    if not same and natural and 0 < count < len(records):
        notes.append(f"{count:,} of {len(records):,} normal records equal some that are {what}; they are kept")
        return records
    if not count:
        return records
    if count == len(records):
        raise DataError(f"all {count:,} normal records are {what}: give others, which p-values can be measured by.")
    notes.append(f"{count:,} of {len(records):,} normal records are {what}, and were left out")
    return records.select(torch.from_numpy(np.flatnonzero(~equal)))


def parted(normal: Normal, judged: Records, learns: bool, fewest: int, seed: int, source: str = "") -> Material:
    """Part the normal records; `fewest` of them have to calibrate. `source` is the name of the judged ones' source."""
    notes = list(normal.notes)
    records = without(normal.records, judged, "among the judged ones", notes, source == normal.source != "")
    order = Rng(seed).permutation("normal records", 0, len(records))
    reference = normal.trained if learns else None
    if learns and reference is None:
        reference, order = records.select(order[: len(order) // 2]), order[len(order) // 2 :]
    checked = min(CHECKED, len(order) // CHECK_SHARE)
    if checked < LEAST_CHECKED or len(order) - checked < fewest:
        notes.append(f"{len(order):,} normal records are too few to check the rate of false alarms by some of them")
        checked = 0
    further = records.select(order[:checked]) if checked else None
    return Material(judged, records.select(order[checked:]), further, reference, tuple(notes))
