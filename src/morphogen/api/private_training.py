"""What a private training refuses, and the batches that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from morphogen import data
from morphogen.api.resuming import Asked
from morphogen.core.errors import SpecError, UsageError
from morphogen.core.privacy import PrivacyTerms, parse_privacy
from morphogen.core.strong_noise import SeededSource, StrongSource
from morphogen.data.public_description import units
from morphogen.trainer import Recipe


def check_private(asked: Asked, terms: PrivacyTerms) -> None:
    """Raise `UsageError` for what spends privacy uncounted: other models, and a length that is not planned."""
    if (asked.start is not None or asked.started_from is not None) and "start" not in terms.public:
        raise UsageError(
            "a private training cannot start from a model, whose weights tell of the records that it has seen; if these"
            " are public, say so: --privacy ...,public=start."
        )
    if asked.prolonged:
        raise UsageError(
            "a private training cannot be made longer: its noise was planned for its length. Train another one."
        )


def with_fingerprint(asked: Asked, fingerprint: str) -> Asked:
    """Keep the fingerprint of the data in the checkpoint, as a private model does not tell it.

    Raises `UsageError` if the run that goes on was begun with other records.
    """
    if asked.fingerprint not in (None, fingerprint):
        raise UsageError(
            "the run cannot go on: the data hold other records than it was begun with, and its ledger counts those."
        )
    return replace(asked, fingerprint=fingerprint)


def one_pass(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of a family that reads the records once. Raises `SpecError` for another length."""
    if recipe.get("epochs") is not None or recipe.get("steps") not in (None, 1, "1"):
        raise SpecError("this family reads the records once and has no length: leave out steps and epochs.")
    return {**recipe, "steps": 1, "budget": None, "epochs": None}


def random_batches(records: data.Records, recipe: Recipe, device: torch.device) -> data.PoissonStream:
    """Batches of random units, as the accountant counts them."""
    terms = parse_privacy(recipe.privacy)
    if terms is None:  # all records, once
        return data.PoissonStream(records, min(recipe.batch_size, len(records)), StrongSource(), device=device)
    source = SeededSource(recipe.seed) if terms.seeded else StrongSource()
    groups = units(records, terms.unit)
    return data.PoissonStream(records, recipe.batch_size, source, groups, terms.copies, device)
