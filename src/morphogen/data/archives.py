"""Named sets in the form of a .tar of picture files with a table beside it."""

from __future__ import annotations

import csv
import dataclasses
import io
import tarfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from morphogen.core.errors import DataError
from morphogen.core.memory import available_bytes
from morphogen.core.printable import listed, one_line
from morphogen.core.reading import read_bytes
from morphogen.data.arrays import pictures_from, read_arrays
from morphogen.data.labels import class_numbers, texts
from morphogen.data.options import Carved, Options, Resize, Size
from morphogen.data.picture_files.collecting import collect
from morphogen.data.pictures import prepared
from morphogen.data.raw import Raw
from morphogen.data.split import SPLIT_NAMES

_MAX_TABLE = 256 << 20  # bytes of a table


class AerialOptions(Carved):
    """The pictures are of slightly different sizes, so they are scaled and cut unless told otherwise."""

    size: Size | None = "64x64"
    resize: Resize = "crop"


class PhotographOptions(Options):
    """Portrait pictures are turned, which changes no pixel."""

    resize: Resize = "rotate"


class BloodOptions(Options):
    """`what`: single cells of 32x32 with their class, or whole pictures of 480x640."""

    what: Literal["cells", "pictures"] = "cells"


def ucmerced(folder: Path, options: AerialOptions) -> Raw:
    """Aerial pictures of 21 kinds of land use."""
    rows = {f"{row['split']}/{row['file']}": row for row in table(folder / "labels.csv", "split", "file", "class")}
    raw = _tar(folder / "images.tar", options)
    classes = sorted({row["class"] for row in rows.values()})
    found = _listed(raw, rows, folder / "labels.csv", {name: name for name in raw.names or ()})
    return dataclasses.replace(
        raw,
        split=[row["split"] for row in found],
        labels=torch.tensor([classes.index(row["class"]) for row in found]),
        classes=tuple(classes),
        license="public domain (USGS National Map; set by Y. Yang and S. Newsam, UC Merced 2010)",
    )


def kodak(folder: Path, options: PhotographOptions) -> Raw:
    """The 24 Kodak photographs, for testing only."""
    raw = _tar(folder / "images.tar", options)
    license = "unrestricted usage (Eastman Kodak Company, as stated by r0k.us/graphics/kodak)"
    return dataclasses.replace(raw, split=["test"] * len(raw.stored), license=license)


def bccd(folder: Path, options: BloodOptions) -> Raw:
    """Blood cells, split by the picture that they come from."""
    license = "MIT (c) 2017 shenggan"
    if options.what == "cells":
        cells = read_arrays(folder / "cells_32.npz", "images", "split", "labels", "class_names")
        labels, classes = class_numbers(cells["labels"], cells["class_names"])
        splits = texts(cells["split"], "split")
        return Raw(
            stored=prepared(pictures_from(cells["images"]), options),
            split=[SPLIT_NAMES.get(s, s) for s in splits],
            labels=labels,
            classes=classes,
            license=license,
        )
    rows = {row["image"]: row for row in table(folder / "boxes.csv", "image", "split")}
    raw = _tar(folder / "images.tar", options)
    found = _listed(raw, rows, folder / "boxes.csv", {name: Path(name).stem for name in raw.names or ()})
    return dataclasses.replace(raw, split=[SPLIT_NAMES.get(r["split"], r["split"]) for r in found], license=license)


def _listed(raw: Raw, rows: Mapping[str, dict[str, str]], path: Path, keys: Mapping[str, str]) -> list[dict[str, str]]:
    """The row of each picture. Raises `DataError` for a picture that the table `path` does not list."""
    missing = [name for name, key in keys.items() if key not in rows]
    if missing:
        raise DataError(f"{path} does not list {listed(missing)}.")
    return [rows[keys[name]] for name in raw.names or ()]


def table(path: Path, *columns: str) -> list[dict[str, str]]:
    """The rows of a .csv file that belongs to a named set. Raises `DataError` if it lacks one of `columns`."""
    try:
        rows = list(csv.DictReader(io.StringIO(read_bytes(path, _MAX_TABLE).decode("utf-8"), newline="")))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({one_line(str(error))}).") from None
    for number, row in enumerate(rows, start=1):
        lacking = [column for column in columns if row.get(column) is None]
        if lacking:
            raise DataError(f"{path}: record {number} has no {lacking[0]}.")
    return rows


def _tar(path: Path, options: Options) -> Raw:
    """All pictures of a .tar in the order of their names."""
    try:
        # Never through a packer, so that all members together are no larger than the file itself.
        with tarfile.open(fileobj=io.BytesIO(read_bytes(path, available_bytes() // 3)), mode="r:") as archive:
            members = sorted((m for m in archive if m.isreg() and not m.issparse()), key=lambda m: m.name)
            files = {m.name: file.read() for m in members if (file := archive.extractfile(m)) is not None}
    except (OSError, ValueError, OverflowError, tarfile.TarError) as error:
        raise DataError(f"{path} cannot be read ({one_line(str(error))}).") from None
    names = list(files)
    found = collect(names, [partial(io.BytesIO, data) for data in files.values()], options)
    return Raw(
        stored=found.stored,
        ids=torch.tensor(found.kept),
        names=[names[i] for i in found.kept],
        problems=found.problems,
        notes=found.notes,
        bits=found.bits,
    )
