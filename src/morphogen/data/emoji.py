"""`emoji`: captioned pictograms with skin tone and gender, split by concept."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from morphogen.core.data_spec import Attribute
from morphogen.core.errors import DataError
from morphogen.core.printable import listed
from morphogen.data.archives import table
from morphogen.data.arrays import pictures_from, read_arrays
from morphogen.data.labels import texts
from morphogen.data.options import Captioned, Carved
from morphogen.data.pictures import prepared
from morphogen.data.raw import Raw

_LICENSE = {
    "noto": "Apache 2.0 (noto-emoji, (c) Google)",
    "openmoji": "CC BY-SA 4.0 (OpenMoji, HfG Schwaebisch Gmuend)",
}
_NAMES = "names: Unicode License v3 and MIT (c) Miles Johnson"
_SCHEMA = (
    Attribute(name="tone", values=("light", "medium-light", "medium", "medium-dark", "dark")),
    Attribute(name="gender", values=("female", "male", "mixed")),
)
_IDS_PER_VENDOR = 100_000  # so that a record has one id, whichever vendors are loaded


class EmojiOptions(Captioned, Carved):
    """`vendor`: who drew them."""

    captions: Literal["all", "first", "none"] = "first"
    vendor: Literal["noto", "openmoji", "both"] = "noto"


def read(folder: Path, options: EmojiOptions) -> Raw:
    """The pictures of a vendor or both; a caption is the CLDR short name, a class its group.

    Paraphrases, which captions=all adds, say less than the name or say it otherwise: see `_paraphrases`.

    The tones of two people are no single tone: that attribute counts as not known.
    """
    columns = ("hexcode", "group", "label", "tags", "concept", *(a.name for a in _SCHEMA))
    rows = {row["hexcode"]: row for row in table(folder / "annotations.csv", *columns)}
    stored, ids, found, names, split = [], [], [], [], []
    for number, vendor in enumerate(_LICENSE):
        if options.vendor not in (vendor, "both"):
            continue
        arrays = read_arrays(folder / f"{vendor}_64.npz", "images", "hexcode", "split")
        codes = texts(arrays["hexcode"], "hexcode")
        missing = [code for code in codes if code not in rows]
        if missing:
            raise DataError(f"annotations.csv does not list {listed(missing)}.")
        stored.append(prepared(pictures_from(arrays["images"]), options))
        ids.append(torch.arange(len(codes)) + number * _IDS_PER_VENDOR)
        found += [rows[code] for code in codes]
        names += [f"{vendor}/{code}" for code in codes]
        split += texts(arrays["split"], "split")
    classes = sorted({row["group"] for row in rows.values()})
    known = [[row[a.name] in a.values for a in _SCHEMA] for row in found]
    values = [[a.values.index(row[a.name]) if row[a.name] in a.values else 0 for a in _SCHEMA] for row in found]
    licenses = [_LICENSE[v] for v in _LICENSE if options.vendor in (v, "both")]
    return Raw(
        stored=torch.cat(stored),
        split=split,
        ids=torch.cat(ids),
        labels=torch.tensor([classes.index(row["group"]) for row in found]),
        classes=tuple(classes),
        captions=[row["label"] for row in found],
        paraphrases=[_paraphrases(row["label"], row["tags"].split(";")) for row in found],
        names=names,
        attributes=torch.tensor(values, dtype=torch.float32),
        present=torch.tensor(known),
        schema=_SCHEMA,
        groups=[row["concept"] for row in found],
        license="; ".join([*licenses, _NAMES]),
    )


def _paraphrases(name: str, keywords: list[str]) -> tuple[str, ...]:
    """The name in a sentence; with half of its keywords; and the other half alone, without tone and often gender."""
    some, others = ", ".join(keywords[1::2]), ", ".join(keywords[::2])
    return (f"a picture of {name}", f"{name}, {some}" if some else name, others or name)
