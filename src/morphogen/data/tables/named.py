"""Named tables: those in the folder that the environment variable MORPHOGEN_DATA gives, and one that is embedded."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from morphogen.core.columns import Table
from morphogen.core.errors import DataError, UsageError, unknown
from morphogen.data.arrays import read_arrays
from morphogen.data.raw import Raw, SourceReader
from morphogen.data.tables.options import Names, TableOptions
from morphogen.data.tables.reading import polars_module, read_table
from morphogen.data.tables.source import from_read

if TYPE_CHECKING:
    import polars

_UCI = "CC BY 4.0 (UCI Machine Learning Repository"
_VARIABLE = "MORPHOGEN_DATA"


class _Adult(TableOptions):
    target: str | None = "income"


class _Heart(TableOptions):
    target: str | None = "num"


class _Liver(TableOptions):
    target: str | None = "disease"


class _HeartFailure(TableOptions):
    target: str | None = "DEATH_EVENT"


class _Support(TableOptions):
    target: str | None = "death"


class _Diabetes(TableOptions):
    target: str | None = "readmitted"
    group: str | None = "patient"
    category: Names = (
        "admission_type_id",
        "discharge_disposition_id",
        "admission_source_id",
        "diag_1",
        "diag_2",
        "diag_3",
    )


class _Visits(TableOptions):
    group: str | None = "id"


class _Patients(TableOptions):
    target: str | None = "status"


class _BreastCancer(TableOptions):
    target: str | None = "diagnosis"


class _Anomalies(TableOptions):
    """what  which of the sets, such as cardio, by the name of its file."""

    target: str | None = "anomaly"
    what: str = "cardio"


def _folder(name: str, inside: str) -> Path:
    root = os.environ.get(_VARIABLE)
    if not root:
        raise DataError(
            f"the data set {name!r} is not embedded; set the environment variable {_VARIABLE} to the folder that holds"
            f" it as {inside}."
        )
    path = Path(root) / inside
    if not path.exists():
        raise DataError(f"the data set {name!r} is not in the folder {root!r} that {_VARIABLE} names, as {inside}.")
    return path


def _file(name: str, inside: str, license: str, options: TableOptions, known: Table | None) -> Raw:
    path = _folder(name, inside)
    return from_read(read_table(path, options), name, options, known, license=license)


def _breast_cancer(options: TableOptions, known: Table | None) -> Raw:
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in found.feature_names]
    columns: dict[str, Any] = {name: found.data[:, j] for j, name in enumerate(names)}
    columns["diagnosis"] = [str(found.target_names[t]) for t in found.target]
    frame = polars_module().DataFrame(columns)
    license = f"{_UCI} 17; W. Wolberg, O. Mangasarian, N. Street, W. Street 1995)"
    return from_read(frame, "breast_cancer", options, known, license=license)


def _anomalies(options: _Anomalies, known: Table | None) -> Raw:
    folder = _folder("adbench", "adbench")
    sets = {path.stem.partition("_")[2].lower(): path for path in sorted(folder.glob("*.npz"))}
    if options.what.lower() not in sets:
        raise UsageError(f"source 'adbench': {unknown('set', options.what, sets)}")
    arrays = read_arrays(sets[options.what.lower()], "X", "y")
    x, y = np.asarray(arrays["X"], dtype=np.float64), arrays["y"]
    columns: dict[str, Any] = {f"x{j + 1}": x[:, j] for j in range(x.shape[1])}
    columns["anomaly"] = [str(int(flag)) for flag in y]
    frame: polars.DataFrame = polars_module().DataFrame(columns)
    license = "BSD 2-Clause (c) 2022 Mickey (ADBench; Han et al. 2022)"
    return from_read(frame, f"adbench {options.what}", options, known, license=license)


def _reader(options: type[TableOptions], read: Callable[..., Raw], summary: str) -> SourceReader:
    return SourceReader(options, read, summary, is_table=True)


def _of_file(name: str, inside: str, license: str) -> Callable[..., Raw]:
    return partial(_file, name, inside, license)


_MEDICAL = {
    "diabetes130": _of_file(
        "diabetes130", "medical_tables/diabetes130.csv.gz", f"{_UCI} 296; B. Strack and others 2014)"
    ),
    "heart_failure": _of_file(
        "heart_failure", "medical_tables/heart_failure.csv", f"{_UCI} 519; D. Chicco, G. Jurman 2020)"
    ),
    "pbc": _of_file("pbc", "medical_tables/pbc_visits.csv", "LGPL (>= 2), R package survival (T. Therneau)"),
    "pbc_patients": _of_file(
        "pbc_patients", "medical_tables/pbc_patients.csv", "LGPL (>= 2), R package survival (T. Therneau)"
    ),
    "support2": _of_file("support2", "medical_tables/support2.csv.gz", f"{_UCI} 880; F. Harrell 1995)"),
}

READERS: dict[str, SourceReader] = {
    "adbench": _reader(_Anomalies, _anomalies, "tables with anomalies; what=cardio, thyroid, ..."),
    "adult": _reader(
        _Adult,
        _of_file("adult", "tabular/adult.csv.gz", f"{_UCI}; B. Becker, R. Kohavi 1996)"),
        "a table: census income, 15 columns",
    ),
    "breast_cancer": _reader(_BreastCancer, _breast_cancer, "a table: 569 tumors, 30 measures; embedded"),
    "diabetes130": _reader(_Diabetes, _MEDICAL["diabetes130"], "a table: encounters in hospitals, by patient; n=20000"),
    "heart": _reader(
        _Heart,
        _of_file("heart", "tabular/heart.csv", f"{_UCI}; A. Janosi, W. Steinbrunn, M. Pfisterer, R. Detrano 1988)"),
        "a table: heart disease at four hospitals",
    ),
    "heart_failure": _reader(_HeartFailure, _MEDICAL["heart_failure"], "a table: 299 patients with heart failure"),
    "ilpd": _reader(
        _Liver,
        _of_file("ilpd", "tabular/ilpd.csv", f"{_UCI}; B. Ramana, N. Venkateswarlu 2012)"),
        "a table: Indian liver patients",
    ),
    "pbc": _reader(_Visits, _MEDICAL["pbc"], "a table: visits of patients with biliary cholangitis, by patient"),
    "pbc_patients": _reader(_Patients, _MEDICAL["pbc_patients"], "a table: those patients, one row each"),
    "support2": _reader(
        _Support, _MEDICAL["support2"], "a table: critically ill patients, a tenth of the cells missing"
    ),
}
