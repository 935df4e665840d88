"""Turn the records of a reader into a `Dataset`: splits, binarization, scaling, description, fingerprint."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from morphogen.core.chunks import chunks
from morphogen.core.data_spec import DataSpec, TextSchema
from morphogen.core.errors import DataError, unknown
from morphogen.core.rng import Rng
from morphogen.data import tokenizer
from morphogen.data.context import Degradation
from morphogen.data.options import Captioned, Options, SourceOptions
from morphogen.data.raw import Raw
from morphogen.data.records import Dataset, Records
from morphogen.data.sequences.encoding import encoded, with_ranges
from morphogen.data.split import ORDER, amount, keys, set_aside, validation_count
from morphogen.data.tables.fitting import fitted
from morphogen.data.tokenizer import Tokenizer

_CHUNK = 512
_MAX_LISTED = 10


def prepare(
    raw: Raw,
    name: str,
    source: str,
    options: SourceOptions,
    like: DataSpec | None = None,
    reader: TextSchema | None = None,
    strict: bool = True,
) -> Dataset:
    """Split `raw`, bring it to its final form and describe it.

    Equal records stay in one split. Where so many are equal that none would be left to train on, that is a `DataError`
    if `strict`, and else a note, and nothing is set aside.

    With `like`, scale and classes are those of that description, and records of another shape or kind
    are a `DataError`. Without, captions are read by the tokenizer of `reader`, if it is given, or teach one.
    """
    sequence = None
    if isinstance(options, Options) and options.only is not None:
        raw = _of_classes(raw, options.only, source)
    if raw.sequences is not None and raw.sequences:
        raw, sequence = encoded(raw, source, options, like, strict)
    if len(raw.stored) == 0:
        lines = [f"\n  {problem}" for problem in raw.problems[:_MAX_LISTED]]
        lines += [f"\n  and {len(raw.problems) - _MAX_LISTED:,} more"] * (len(raw.problems) > _MAX_LISTED)
        raise DataError(f"{source}: no record could be read.{''.join(lines)}")
    split, notes = _assigned(raw, source, options, strict), list(raw.notes)
    if split is None:
        split = np.full(len(raw.stored), "train", dtype=object)
        notes.append("nothing is set aside for test or validation: equal records stay together, and none would be left")
    members = {s: torch.from_numpy(np.flatnonzero(split == s)) for s in _ordered(set(split))}
    if raw.table is not None:
        return _table(raw, members, notes, name, source, options, like)
    stored, levels = raw.stored, raw.levels
    if like is not None and levels is None and tuple(stored.shape[1:]) == (1, *like.shape):
        stored = stored[:, 0]  # models of earlier versions know real-valued gray pictures as (H, W)
    if _is_as_stored(raw, like):
        levels = like.levels if like is not None else levels
        raw = dataclasses.replace(raw, notes=[*raw.notes, f"values of 0 to {int(stored.max())} are taken as they are"])
    elif isinstance(options, Options) and options.binary is not None:
        if levels is None:
            raise DataError(f"{source}: only pictures with a number of levels can be binarized, not real numbers.")
        stored, levels = binarized(stored, raw.all_ids, levels, options.binary), 2
    shift, scale = 0.0, 1.0
    if levels is None:
        shift, scale = (like.shift, like.scale) if like is not None else _scaling(stored[next(iter(members.values()))])
    labels, classes = raw.labels, raw.classes
    if like is not None:
        labels, classes = _like_classes(raw, like, source), like.classes
        if sequence is None and raw.schema != like.attributes:
            raw = dataclasses.replace(raw, attributes=None, present=None, schema=())
    else:
        raw = with_ranges(raw, next(iter(members.values())))
    raw = _captioned(raw, options)
    spec = DataSpec(
        name=name,
        source=source,
        shape=tuple(stored.shape[1:]),
        kind="sequence" if sequence is not None else "binary" if levels == 2 else "continuous",
        levels=levels,
        shift=shift,
        scale=scale,
        preprocessing=_resolved(options, stored, raw.bits),
        classes=classes,
        attributes=raw.schema,
        text=_text(raw, next(iter(members.values())), options, like, reader),
        sequence=sequence,
        context_shape=_context_shape(options, tuple(stored.shape[1:]), levels, source),
        splits={s: len(rows) for s, rows in members.items()},
        license=options.license or raw.license,
    )
    if like is not None:
        _require_alike(spec, like)
    whole = Records(
        spec=spec,
        stored=stored,
        ids=raw.all_ids,
        labels=labels,
        captions=raw.captions,
        paraphrases=raw.paraphrases,
        text=_token_ids(raw, spec.text),
        names=raw.names,
        attributes=raw.attributes,
        present=raw.present,
        groups=raw.groups,
    )
    splits = {s: whole.select(rows) for s, rows in members.items()}
    spec = spec.replace(fingerprint=fingerprint(splits))
    return Dataset(
        spec,
        {s: dataclasses.replace(r, spec=spec) for s, r in splits.items()},
        raw.problems,
        notes,
        raw.files,
        raw.changes,
    )


def _table(
    raw: Raw,
    members: Mapping[str, Tensor],
    notes: list[str],
    name: str,
    source: str,
    options: SourceOptions,
    like: DataSpec | None,
) -> Dataset:
    """A table: its schema is that of `like`, or gets the quantiles of the first split."""
    assert raw.table is not None
    if like is not None and like.table is None:
        raise DataError(f"{source} is a table, and the model's data {like.source!r} are none: give records like those.")
    table = like.table if like is not None else fitted(raw.table, raw.stored[next(iter(members.values()))])
    assert table is not None
    spec = DataSpec(
        name=name,
        source=source,
        shape=(table.width,),
        kind="columns",
        preprocessing=options.model_dump(mode="json"),
        table=table,
        splits={s: len(rows) for s, rows in members.items()},
        license=options.license or raw.license,
    )
    groups = None if raw.table.group is None else raw.groups
    whole = Records(spec=spec, stored=raw.stored, ids=raw.all_ids, groups=groups)
    splits = {s: whole.select(rows) for s, rows in members.items()}
    spec = spec.replace(fingerprint=fingerprint(splits))
    return Dataset(spec, {s: dataclasses.replace(r, spec=spec) for s, r in splits.items()}, raw.problems, notes)


def _of_classes(raw: Raw, only: str, source: str) -> Raw:
    """The records of these classes, joined by +. Raises `DataError` for a class that there is not."""
    wanted = only.split("+")
    for name in wanted:
        if name not in raw.classes:
            raise DataError(f"{source}: {unknown('class', name, raw.classes)}")
    assert raw.labels is not None  # they have classes
    numbers = torch.tensor([raw.classes.index(name) for name in wanted])
    return raw.without(~torch.isin(raw.labels, numbers), [])


def _is_as_stored(raw: Raw, like: DataSpec | None) -> bool:
    """Whether arrays of bytes are already in the fewer levels of a model's data, as what the model makes is."""
    if like is None or like.levels is None or raw.levels != 256 or raw.names is not None or like.kind == "sequence":
        return False
    return like.levels < 256 and int(raw.stored.max()) < like.levels


def binarized(stored: Tensor, ids: Tensor, levels: int, binary: str | float) -> Tensor:
    """uint8 {0, 1} of the shape of `stored`, fixed once and for all.

    "stochastic": 1 with probability u / (levels - 1), by noise whose address is the record's id, so the
    picture is the same in every epoch and every process (the fixed binarization of Salakhutdinov &
    Murray, "On the quantitative analysis of deep belief networks", 2008). A number is a threshold on
    u / (levels - 1).
    """
    rng = Rng(0)
    out = torch.empty_like(stored)
    for rows in chunks(len(stored), _CHUNK):  # a whole set of floats would not be small
        part = stored[rows].to(torch.float32) / (levels - 1)
        noise = rng.uniform("binarize", ids[rows], stored.shape[1:]) if binary == "stochastic" else float(binary)
        out[rows] = part > noise
    return out


def fingerprint(splits: Mapping[str, Records]) -> str:
    """sha256 over the content: stored values, labels, captions, and who is in which split."""
    digest = hashlib.sha256()
    for name, records in splits.items():
        digest.update(f"{name}:{tuple(records.stored.shape)}:{records.stored.dtype}".encode())
        for values in (records.ids, records.stored, records.labels, records.attributes, records.present):
            if values is not None:
                digest.update(np.ascontiguousarray(values.numpy()).data)
        for caption in records.captions or ():
            digest.update(caption.encode() + b"\n")
        for others in records.paraphrases or ():
            digest.update("\n".join(others).encode() + b"\n\n")
    return digest.hexdigest()


def _assigned(raw: Raw, source: str, options: SourceOptions, strict: bool) -> np.ndarray | None:
    """(N,) the split of each record, as it comes or set aside; None where that leaves nothing to train on.

    Raises `DataError` for that if `strict`.
    """
    validation, n = getattr(options, "validation", 0.0), len(raw.stored)
    if raw.split is None:
        counts = {"test": round(getattr(options, "test", 0.0) * n), "validation": round(validation * n)}
        counts["calibration"] = amount(n, options.calibration)
        split = set_aside(keys(raw.stored, raw.groups), counts)
    else:
        split = np.array(raw.split, dtype=object)
        train = np.flatnonzero(split == "train")
        watched = 0 if "validation" in raw.split else validation_count(len(train), validation)
        counts = {"validation": watched, "calibration": amount(len(train), options.calibration)}
        if not len(train) or not any(counts.values()):
            return split
        groups = None if raw.groups is None else [raw.groups[i] for i in train]
        split[train] = set_aside(keys(raw.stored[torch.from_numpy(train)], groups), counts)
    if "train" not in split and not strict:
        return None
    if "train" not in split:
        sizes = " and ".join(f"{count} for {name}" for name, count in counts.items() if count)
        raise DataError(
            f"{source}: setting aside {sizes} of {n} records (equal ones stay together) leaves nothing to train on;"
            f" set aside fewer, such as {','.join(f'{name}=0' for name in counts)}."
        )
    return split


def _ordered(names: set[str]) -> list[str]:
    return [n for n in ORDER if n in names] + sorted(names - set(ORDER))


def _scaling(train: Tensor) -> tuple[float, float]:
    """shift and scale, exact in float32, such that (u - shift) / scale lies in [-1, 1]."""
    low, high = train.min().double(), train.max().double()
    shift = ((low + high) / 2.0).float()
    scale = torch.maximum(train.max() - shift, shift - train.min())
    return float(shift), float(scale) or 1.0


def _resolved(options: SourceOptions, stored: Tensor, bits: int | None) -> dict[str, object]:
    """The options with the values that reading has determined, so that other data can be prepared alike."""
    if isinstance(options, Options) and stored.dtype == torch.uint8 and stored.ndim == 4:
        channels = {1: "gray", 3: "rgb", 4: "rgba"}.get(stored.shape[1], "auto")
        options = options.replace(size=f"{stored.shape[2]}x{stored.shape[3]}", channels=channels)
    if isinstance(options, Options) and bits is not None:
        options = options.replace(bits=bits)
    return options.model_dump(mode="json")


def _context_shape(
    options: SourceOptions, shape: tuple[int, ...], levels: int | None, source: str
) -> tuple[int, ...] | None:
    """The shape of the degraded copies that the records come with, if they are to."""
    if not isinstance(options, Options) or options.context is None:
        return None
    try:
        return Degradation.parse(options.context).shape(shape, levels)
    except DataError as error:
        raise DataError(f"{source}: {error}") from None


def _captioned(raw: Raw, options: SourceOptions) -> Raw:
    """Keep as many captions as the options say."""
    wanted = options.captions if isinstance(options, Captioned) else "all"
    if wanted == "none":
        return dataclasses.replace(raw, captions=None, paraphrases=None)
    return dataclasses.replace(raw, paraphrases=None) if wanted == "first" else raw


def _text(
    raw: Raw, train: Tensor, options: SourceOptions, like: DataSpec | None, reader: TextSchema | None
) -> TextSchema | None:
    """The schema of captions: that of `like`, that of `reader`, or one learned from `train`."""
    if raw.captions is None or like is not None:
        return None if like is None else _read_alike(raw, train, like.text)
    texts = [raw.captions[i] for i in train.tolist()]
    texts += [text for i in train.tolist() for text in (raw.paraphrases[i] if raw.paraphrases else ())]
    read = options if isinstance(options, Captioned) else Captioned()
    if reader is not None:
        return tokenizer.data_part(reader, texts, read.longest)
    return tokenizer.describe(texts, read.vocabulary, read.longest)


def _read_alike(raw: Raw, train: Tensor, text: TextSchema | None) -> TextSchema | None:
    """`text`, how many of these captions lose their end to it, and their words that it has only in parts."""
    if raw.captions is None or text is None or not text.tokenizer:
        return text
    read, texts = Tokenizer.of(text), [raw.captions[i] for i in train.tolist()]
    cut = sum(length > text.longest for length in read.lengths(texts))
    return text.replace(cut=cut, more_words=tuple(sorted({*text.more_words, *read.in_parts(texts)})))


def _token_ids(raw: Raw, schema: TextSchema | None) -> Tensor | None:
    """(N, V, L): V the largest number of texts of a record; others repeat theirs."""
    if raw.captions is None or schema is None or not schema.vocabulary:
        return None
    forms = [(c, *(raw.paraphrases[i] if raw.paraphrases else ())) for i, c in enumerate(raw.captions)]
    most = max(len(texts) for texts in forms)
    flat = [texts[j % len(texts)] for texts in forms for j in range(most)]
    return Tokenizer.of(schema).ids(flat, schema.longest).unflatten(0, (len(forms), most))


def _like_classes(raw: Raw, like: DataSpec, source: str) -> Tensor | None:
    """Labels by the class numbers of `like`, matched by name."""
    if raw.labels is None or not like.classes:
        return None
    strange = [c for c in raw.classes if c not in like.classes]
    if strange:
        raise DataError(f"{source}: {unknown('class', strange[0], like.classes)} (of {like.source!r})")
    table = torch.tensor([like.classes.index(c) for c in raw.classes] + [-1])  # the last one for label -1
    return table[raw.labels]


def _require_alike(spec: DataSpec, like: DataSpec) -> None:
    for what in ("shape", "kind", "levels"):
        ours, theirs = getattr(spec, what), getattr(like, what)
        if ours != theirs:
            raise DataError(
                f"{spec.source}: {what} is {ours}, but the model's data {like.source!r} have {what} {theirs};"
                f" these records cannot be prepared alike; give data with {what} {theirs}, or a model trained on such."
            )
