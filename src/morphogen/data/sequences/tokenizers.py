r"""Texts to token ids and back, exactly: `texts(ids(text)) == text`.

    characters   each character is a token
    smiles       an atom is a token: "[nH]", "Br", "Cl" and ring bonds such as "%12" are one each
    selfies      a symbol in brackets is a token (Krenn et al., 2020); the texts are SELFIES strings
    trained      byte pairs (Sennrich et al., 2016), learned from the training texts; any text has tokens

The first three have a vocabulary: the tokens of the training texts. A text with another token cannot be read. That is
an error which names the record, because a token for "unknown" would have no inverse.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers, trainers
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.core.printable import listed, one_line
from morphogen.core.reading import parse_json
from morphogen.core.sequences import END, PADDING, SPECIAL, SequenceSchema, TokenizerName, lengths
from morphogen.data.tokenizer_patterns import check_patterns

_MARKS = ("[pad]", "[begin]", "[end]")
_ATOM = re.compile(r"\[[^\[\]]*\]|Br|Cl|%\d\d|.", re.DOTALL)
_SYMBOL = re.compile(r"\[[^\[\]]*\]|\.|.", re.DOTALL)
_SEEN = 2  # times that a pair of pieces must occur to be joined
SPLITS: Mapping[str, Callable[[str], list[str]]] = {
    "characters": list,
    "smiles": _ATOM.findall,
    "selfies": _SYMBOL.findall,
}


class SequenceTokenizer(Protocol):
    """Turns texts into tokens, and tokens into texts."""

    vocabulary: int

    def tokens(self, text: str) -> list[int] | None:
        """The ids of a text, without its end; None where it has a token that is not in the vocabulary."""

    def text(self, tokens: Sequence[int]) -> str:
        """The inverse of `tokens`, for any ids from `SPECIAL` on."""

    def strange(self, text: str) -> list[str]:
        """The tokens of a text that are not in the vocabulary."""


class _OfVocabulary:
    """Tokens of a list, split by a rule."""

    def __init__(self, names: Sequence[str], split: Callable[[str], list[str]]) -> None:
        self._names, self._split = list(names), split
        self._ids = {name: SPECIAL + i for i, name in enumerate(self._names)}
        self.vocabulary = SPECIAL + len(self._names)

    def tokens(self, text: str) -> list[int] | None:
        try:
            return [self._ids[token] for token in self._split(text)]
        except KeyError:
            return None

    def text(self, tokens: Sequence[int]) -> str:
        return "".join(self._names[i - SPECIAL] for i in tokens)

    def strange(self, text: str) -> list[str]:
        return list(dict.fromkeys(token for token in self._split(text) if token not in self._ids))


class _OfBytes:
    """Byte pairs: 256 bytes are tokens, so any text has tokens, and the joined bytes give it back."""

    def __init__(self, definition: str) -> None:
        check_patterns(definition)
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(definition)
            if self.text(self.tokens("a b") or []) != "a b":
                raise ValueError("it does not give a text back")
        except BaseException as error:  # the library raises nothing more specific, and panics are no Exception
            if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
                raise
            raise DataError(
                f"expected a tokenizer of byte pairs, got another ({one_line(str(error))[:200]})."
            ) from None
        self._tokenizer.encode_special_tokens = True  # "[end]" in a text is five characters
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.vocabulary = self._tokenizer.get_vocab_size()

    def tokens(self, text: str) -> list[int] | None:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def text(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))

    def strange(self, text: str) -> list[str]:
        return []


def describe(kind: TokenizerName, texts: Sequence[str], longest: int | None, vocabulary: int = 1024) -> SequenceSchema:
    """The schema of texts: a tokenizer made of them, and the most tokens that one has, or `longest` if that is fewer.

    `vocabulary` is the most ids of byte pairs.
    """
    if kind == "trained":
        definition = _trained(texts, max(vocabulary, SPECIAL + 256))
    else:
        names = sorted({token for text in texts for token in SPLITS[kind](text)})
        definition = json.dumps(names)
    tokenizer = _made(kind, definition)
    most = 1 + max((len(tokenizer.tokens(text) or ()) for text in texts), default=1)
    return SequenceSchema(
        tokenizer=kind,
        vocabulary=tokenizer.vocabulary,
        longest=max(2, most if longest is None else min(longest, most)),
        fingerprint=hashlib.sha256(definition.encode()).hexdigest(),
        definition=definition,
    )


def tokenizer_of(schema: SequenceSchema) -> SequenceTokenizer:
    """The tokenizer of a schema. Raises `DataError` where its definition is missing, or is none."""
    if not schema.definition:
        raise DataError("these sequences have no tokenizer: their description lacks its definition.")
    tokenizer = _made(schema.tokenizer, schema.definition)
    if tokenizer.vocabulary != schema.vocabulary:
        raise DataError(f"expected a tokenizer of {schema.vocabulary} ids, got one of {tokenizer.vocabulary}.")
    return tokenizer


def to_ids(schema: SequenceSchema, texts: Sequence[str]) -> tuple[Tensor, dict[int, str]]:
    """The records (N, L) of texts, in the smallest type of bytes, and why a text has none: row -> reason.

    The row of a text without a record is all padding.
    """
    tokenizer, longest = tokenizer_of(schema), schema.longest
    stored = np.full((len(texts), longest), PADDING, np.uint8 if schema.vocabulary <= 256 else np.int32)
    refused = {}
    for row, text in enumerate(texts):
        tokens = tokenizer.tokens(text)
        if tokens is None:
            refused[row] = f"has tokens that the vocabulary lacks: {listed(tokenizer.strange(text), 5)}"
        elif len(tokens) >= longest:
            refused[row] = f"has {len(tokens):,} tokens, and at most {longest - 1:,} are read"
        else:
            stored[row, : len(tokens)] = tokens
            stored[row, len(tokens)] = END
    return torch.from_numpy(stored), refused


def to_texts(schema: SequenceSchema, x: Tensor | np.ndarray) -> list[str]:
    """The texts of records x (N, L). Begin and padding before the end say nothing, and are left out."""
    tokenizer, ids = tokenizer_of(schema), torch.as_tensor(x).long()
    rows, ends = ids.tolist(), lengths(ids).tolist()
    return [tokenizer.text([i for i in row[:n] if i >= SPECIAL]) for row, n in zip(rows, ends, strict=True)]


@lru_cache(maxsize=8)
def _made(kind: str, definition: str) -> SequenceTokenizer:
    if kind == "trained":
        return _OfBytes(definition)
    try:
        names = parse_json(definition)
    except ValueError as error:
        raise DataError(f"expected a list of tokens, got something unreadable ({one_line(str(error))}).") from None
    whole = isinstance(names, list) and all(isinstance(name, str) and name for name in names)
    if not whole or len(set(names)) != len(names):
        raise DataError("expected a list of tokens: texts that differ, none of them empty.")
    return _OfVocabulary(names, SPLITS[kind])


def _trained(texts: Iterable[str], vocabulary: int) -> str:
    model = tokenizers.Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=_SEEN,
        special_tokens=list(_MARKS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    model.train_from_iterator(texts, trainer)
    return model.to_str()
