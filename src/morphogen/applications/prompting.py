"""Turn the classes and prompts of a user into the conditions that models read."""

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
    """Turn texts into the model's tokens. Raises `UsageError` if the model reads no text."""
    tokenizer, longest = _tokenizer(family)
    return tokenizer.read(texts, longest)


def read_weighted_prompt(family: Family, *texts: str) -> Read:
    """Turn prompts into the model's tokens; words may have weights, `(words:1.3)`.

    Raises `UsageError` if the model reads no text, and for a wrong weight.
    """
    tokenizer, longest = _tokenizer(family)
    return weighted_prompts.read(tokenizer, texts, longest)


def tokens_of_words(family: Family, text: str) -> list[tuple[str, list[int]]]:
    """The words of a prompt that the model knows, and the places of their tokens.

    Raises `UsageError` like `read_prompt`.
    """
    tokenizer, longest = _tokenizer(family)
    return weighted_prompts.words(tokenizer, text, longest)


def constant_condition(n: int, row: int | None, words: Read | None, device: torch.device) -> RawCondition | None:
    """Repeat one condition (a class, a prompt, or both) for `n` records; None without both.

    `words` is one prompt, which is repeated, or `n` prompts.
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
    """The index of a class from its name or position (`core/classes.py`); None for None.

    Raises `UsageError` if the model has no classes, or not this class.
    """
    if label is None:
        return None
    if not family.conditional or not family.data.classes:
        raise UsageError("this model knows no classes: train one on labelled data with --conditional.")
    return find_class(label, family.data.classes)


def class_notes(data: DataSpec, *labels: str | int | None) -> tuple[str, ...]:
    """Notes for the user about classes that were found by their position."""
    return tuple(sentence for label in labels for sentence in taken_by_position(label, data.classes))


def classes_in_turn(data: DataSpec, n: int) -> RawCondition | None:
    """The conditions of `n` records with all classes in turn; None for data without classes."""
    return RawCondition(label=torch.arange(n) % len(data.classes)) if data.classes else None


def _tokenizer(family: Family) -> tuple[Tokenizer, int]:
    schema = family.data.text
    if not family.conditional or schema is None or not schema.tokenizer:
        raise UsageError("this model reads no text: train one on captioned data with --conditional.")
    return Tokenizer.of(schema), schema.longest
