"""Named sets that are a .tar of picture files, with a table beside it."""

from __future__ import annotations

import csv
import dataclasses
import io
import tarfile
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from morphogen.core.errors import DataError
from morphogen.data.arrays import pictures_from, read_arrays
from morphogen.data.options import Carved, Options, Resize, Size
from morphogen.data.pictures import collect, prepared
from morphogen.data.raw import Raw
from morphogen.data.split import SPLIT_NAMES


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
    rows = {f"{row['split']}/{row['file']}": row for row in table(folder / "labels.csv")}
    raw = _tar(folder / "images.tar", options)
    assert raw.names is not None
    classes = sorted({row["class"] for row in rows.values()})
    return dataclasses.replace(
        raw,
        split=[rows[name]["split"] for name in raw.names],
        labels=torch.tensor([classes.index(rows[name]["class"]) for name in raw.names]),
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
        return Raw(
            stored=prepared(pictures_from(cells["images"]), options),
            split=[SPLIT_NAMES[s] for s in cells["split"].tolist()],
            labels=torch.from_numpy(cells["labels"].astype("int64")),
            classes=tuple(cells["class_names"].tolist()),
            license=license,
        )
    split = {row["image"]: SPLIT_NAMES[row["split"]] for row in table(folder / "boxes.csv")}
    raw = _tar(folder / "images.tar", options)
    assert raw.names is not None
    return dataclasses.replace(raw, split=[split[Path(name).stem] for name in raw.names], license=license)


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a .csv file that belongs to a named set."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from None


def _tar(path: Path, options: Options) -> Raw:
    """All pictures of a .tar in the order of their names."""
    try:
        with tarfile.open(path) as archive:
            members = sorted((m for m in archive if m.isfile()), key=lambda m: m.name)
            files = {m.name: file.read() for m in members if (file := archive.extractfile(m)) is not None}
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{path} cannot be read ({error}).") from None
    names = list(files)
    stored, kept, problems = collect(names, [partial(io.BytesIO, data) for data in files.values()], options)
    return Raw(stored, ids=torch.tensor(kept), names=[names[i] for i in kept], problems=problems)
