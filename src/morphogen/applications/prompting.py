"""Classes and prompts as people give them, to the conditions that models read."""

from __future__ import annotations

import torch

from morphogen.core.batch import RawCondition
from morphogen.core.classes import find_class, taken_by_position
from morphogen.core.data_spec import PAD, DataSpec
from morphogen.core.errors import UsageError
from morphogen.core.family import Family
from morphogen.data import weighted_prompts
from morphogen.data.tokenizer import Read, Tokenizer


def read_prompt(family: Family, *texts: str) -> Read:
    """Texts as the model reads them, word by word. Raises `UsageError` for a model that reads none."""
    tokenizer, longest = _tokenizer(family)
    return tokenizer.read(texts, longest)


def read_weighted_prompt(family: Family, *texts: str) -> Read:
    """Prompts, whose words may have weights, `(words:1.3)`.

    Raises `UsageError` for a model that reads none, and for a wrong weight.
    """
    tokenizer, longest = _tokenizer(family)
    return weighted_prompts.read(tokenizer, texts, longest)


def tokens_of_words(family: Family, text: str) -> list[tuple[str, list[int]]]:
    """The words of a prompt that the model reads, and the places of their tokens. Raises `UsageError` likewise."""
    tokenizer, longest = _tokenizer(family)
    return weighted_prompts.words(tokenizer, text, longest)


def constant_condition(n: int, row: int | None, words: Read | None, device: torch.device) -> RawCondition | None:
    """One condition for `n` records: a class, a prompt, both or neither (None).

    `words` holds one prompt, which is repeated, or `n` of them.
    """
    if row is None and words is None:
        return None
    ids = mask = None
    if words is not None:
        shown = words.ids != PAD
        mask = (shown if words.weights is None else shown * words.weights).to(device).expand(n, -1)
        ids = words.ids.to(device).expand(n, -1)
    return RawCondition(label=None if row is None else torch.full((n,), row, device=device), text=ids, text_mask=mask)


def class_index(family: Family, label: str | int | None) -> int | None:
    """A class by its name or position (`core/classes.py`); None for None.

    Raises `UsageError` for a model that knows no classes, or a class that it does not know.
    """
    if label is None:
        return None
    if not family.conditional or not family.data.classes:
        raise UsageError("this model knows no classes: train one on labelled data with --conditional.")
    return find_class(label, family.data.classes)


def class_notes(data: DataSpec, *labels: str | int | None) -> tuple[str, ...]:
    """What is to be said about classes that were given: those that were taken by their position."""
    return tuple(sentence for label in labels for sentence in taken_by_position(label, data.classes))


def classes_in_turn(data: DataSpec, n: int) -> RawCondition | None:
    """`n` records of all classes in turn; None for data without classes."""
    return RawCondition(label=torch.arange(n) % len(data.classes)) if data.classes else None


def _tokenizer(family: Family) -> tuple[Tokenizer, int]:
    schema = family.data.text
    if not family.conditional or schema is None or not schema.tokenizer:
        raise UsageError("this model reads no text: train one on captioned data with --conditional.")
    return Tokenizer.of(schema), schema.longest
