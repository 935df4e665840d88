"""Captions beside pictures: 00.txt, 00.caption or 00.json for 00.png, as trainers of adapters write them.

A text is one caption, its lines joined. A .json holds it under text or caption, as a text or a list of texts; another
.json is no caption. Numbers alone, such as boxes of detectors, are none either.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from morphogen.core.errors import DataError
from morphogen.core.printable import listed
from morphogen.data.folder.listing import Listing
from morphogen.data.folder.texts import as_texts, read_object, read_text

_SUFFIXES = ("txt", "caption", "json")
_KEYS = ("text", "caption")
_MAX_BYTES = 16 << 20
_NUMBERS = re.compile(r"[\d\s.,;:+\-eE]*")


@dataclass
class Beside:
    """`texts` by picture; `used`, the files that they were read from; `bad`, what is wrong by picture; and `notes`."""

    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    bad: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def matches(found: Listing, pictures: Sequence[str]) -> dict[str, list[str]]:
    """The files beside each picture that have its name."""
    by_stem = defaultdict(list)
    for name in found.others:
        stem, _, suffix = name.rpartition(".")
        if suffix.lower() in _SUFFIXES:
            by_stem[stem].append(name)
    there = {p: by_stem.get(_stem(p), []) + (by_stem.get(p, []) if p != _stem(p) else []) for p in pictures}
    return {picture: files for picture, files in there.items() if files}


def read_beside(found: Listing, pictures: Sequence[str]) -> Beside:
    """The captions of `pictures` that lie beside them."""
    beside, numbers = Beside(), []
    unread: set[str] = set()
    for picture, files in matches(found, pictures).items():
        texts = {}
        for name in files:
            try:
                read = _captions(found, name, unread)
            except (DataError, ValueError) as error:
                beside.bad[picture] = f"its caption {name.rpartition('/')[2]}: {error}"
                beside.used.add(name)
                continue
            if read and all(t and _NUMBERS.fullmatch(t) for t in read):
                numbers.append(name)
            elif read is not None:
                texts[name] = read
        beside.used.update(texts)
        if len(texts) > 1:
            names = " and ".join(name.rpartition("/")[2] for name in texts)
            beside.bad[picture] = f"has captions in {names}; keep one of them"
        if texts:
            beside.texts[picture] = next(iter(texts.values()))
    if beside.texts and (without := [p for p in pictures if p not in beside.texts and p not in beside.bad]):
        beside.notes.append(f"pictures without a caption beside them: {len(without):,} ({listed(without, 5)})")
    if numbers:
        beside.notes.append(f"texts of numbers alone, which are no captions: {len(numbers):,} ({listed(numbers, 5)})")
    if unread:
        beside.notes.append(f"captions beside pictures: the keys {listed(sorted(unread), 10)} are not read")
    return beside


def _captions(found: Listing, name: str, unread: set[str]) -> tuple[str, ...] | None:
    """The captions in a file; None where it is no file of captions."""
    text = read_text(found.path(name), _MAX_BYTES)
    if not name.lower().endswith(".json"):
        return (" ".join(text.split()),)
    if not text.lstrip().startswith("{"):
        return None
    value = read_object(text)
    keys = [key for key in _KEYS if key in value]
    if not keys:
        return None
    if len(keys) > 1:
        raise ValueError("has text and caption; keep one of them")
    unread |= value.keys() - set(keys)
    return as_texts(value[keys[0]])


def _stem(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return folder + slash + (base.rpartition(".")[0] or base)
