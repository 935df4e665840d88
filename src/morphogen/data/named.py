"""The named sets in the folder that the environment variable MORPHOGEN_DATA gives."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from morphogen.core.errors import DataError
from morphogen.data import archives, emoji
from morphogen.data.arrays import pictures_from, read_arrays
from morphogen.data.labels import class_numbers, texts
from morphogen.data.molecules.named_sets import read_named
from morphogen.data.molecules.options import MoleculeOptions
from morphogen.data.options import Carved, Options, SourceOptions
from morphogen.data.pictures import prepared
from morphogen.data.raw import Raw, SourceReader

VARIABLE = "MORPHOGEN_DATA"


def folder(name: str) -> Path:
    """Where the set `name` lies. Raises `DataError` that says what to set or to fetch."""
    root = os.environ.get(VARIABLE)
    if not root:
        raise DataError(
            f"the data set {name!r} is not embedded; set the environment variable {VARIABLE} to the folder that"
            f" holds it as {name}/."
        )
    path = Path(root) / name
    if not path.is_dir():
        there = ", ".join(sorted(n for n in READERS if (Path(root) / n).is_dir())) or "none of the known sets"
        raise DataError(f"the data set {name!r} is not in the folder {root!r} that {VARIABLE} names; it has {there}.")
    return path


def _npz(license: str, files: Mapping[str, str], folder: Path, options: Options) -> Raw:
    """A set of one .npz file a split, with `images`, `labels` and `class_names`.

    Ids count on from file to file, by the published position where the file tells it.
    """
    parts: list[dict[str, Any]] = [
        read_arrays(folder / file, "images", "labels", "class_names", optional=("index", "source_image"))
        for file in files.values()
    ]
    split: list[str] = []
    ids, base = [], 0
    for which, part in zip(files, parts, strict=True):
        if part["images"].ndim == 0 or any(
            a.shape[:1] != part["images"].shape[:1] for name, a in part.items() if name != "class_names"
        ):
            shapes = ", ".join(f"{name} {a.shape}" for name, a in part.items())
            raise DataError(f"{folder / files[which]}: expected one entry a record in each array, got {shapes}.")
        n = len(part["images"])
        index = part.get("index", np.arange(n)).astype(np.int64)
        split += [which] * n
        ids.append(base + index)
        base += int(index.max()) + 1
    groups = None
    if all("source_image" in p for p in parts):  # patches of one picture are no independent records
        groups = [g for p in parts for g in texts(p["source_image"].astype(str), "source_image")]
    names = parts[0]["class_names"]
    numbered = [class_numbers(p["labels"], names) for p in parts]
    return Raw(
        stored=prepared(torch.cat([pictures_from(p["images"]) for p in parts]), options),
        split=split,
        ids=torch.from_numpy(np.concatenate(ids)),
        labels=torch.cat([numbers for numbers, _ in numbered]),
        classes=numbered[0][1],
        groups=groups,
        license=license,
    )


def _found(name: str, read: Callable[[Path, Any], Raw], options: Any) -> Raw:
    return read(folder(name), options)


def _reader(name: str, read: Callable[[Path, Any], Raw], options: type[SourceOptions], summary: str) -> SourceReader:
    return SourceReader(options, partial(_found, name, read), summary)


def _molecules(file: str, summary: str) -> SourceReader:
    return _reader("molecules", partial(read_named, file), MoleculeOptions, summary)


def _mnist_like(license: str, **files: str) -> Callable[[Path, Options], Raw]:
    return partial(_npz, license, files)


_MNIST = _mnist_like("CC BY-SA 3.0 (Y. LeCun, C. Cortes, C. J. C. Burges)", train="train.npz", test="test.npz")
_FASHION = _mnist_like("MIT (c) 2017 Zalando SE", train="train.npz", test="test.npz")
_PNEUMONIA = _mnist_like(
    "CC BY 4.0 (MedMNIST v2, J. Yang et al. 2023; D. Kermany et al. 2018)",
    train="train.npz",
    validation="val.npz",
    test="test.npz",
)
_BOARDS = _mnist_like("MIT (c) 2018 tangsanli5201", train="train_normal.npz", test="test.npz")

READERS: dict[str, SourceReader] = {
    "bccd": _reader("bccd", archives.bccd, archives.BloodOptions, "blood cells, 32x32 RGB, 3 classes; what=pictures"),
    "chembl": _molecules("chembl.csv.gz", "74,247 drug-like molecules with computed properties"),
    "deeppcb": _reader("deeppcb", _BOARDS, Carved, "printed circuit boards, 64x64 gray; defects in the test split"),
    "emoji": _reader("emoji", emoji.read, emoji.EmojiOptions, "captioned emoji, 64x64; vendor=noto|openmoji|both"),
    "esol": _molecules("esol.csv", "molecules with measured solubility in water, log10 mol/l"),
    "fashion_mnist": _reader("fashion_mnist", _FASHION, Carved, "pictures of clothing, 28x28 gray, 10 classes"),
    "kodak": _reader("kodak", archives.kodak, archives.PhotographOptions, "24 photographs, 512x768 RGB; test only"),
    "lipophilicity": _molecules("lipophilicity.csv", "molecules with measured distribution coefficient, logD"),
    "mnist": _reader("mnist", _MNIST, Carved, "handwritten digits, 28x28 gray, 10 classes"),
    "molecules": _molecules("chembl.csv.gz", "the same as chembl"),
    "pneumonia_mnist": _reader("pneumonia_mnist", _PNEUMONIA, Options, "chest X-rays, 28x28 gray, 2 classes"),
    "ucmerced": _reader("ucmerced", archives.ucmerced, archives.AerialOptions, "land use from the air, 64x64 RGB"),
}
