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


def one_pass(recipe: Mapping[str, Any], records: int) -> dict[str, Any]:
    """The recipe of a family that reads all records once, in one step. Raises `SpecError` for another length."""
    length, batch = recipe.get("steps"), recipe.get("batch_size")
    if recipe.get("epochs") is not None or str(length) not in ("None", "1") or str(batch) not in ("None", str(records)):
        raise SpecError("this family reads all records once: leave out steps, epochs and batch_size.")
    return {**recipe, "steps": 1, "budget": None, "epochs": None, "batch_size": records}


def random_batches(records: data.Records, recipe: Recipe, device: torch.device, reads_once: bool) -> data.PoissonStream:
    """Batches of random units, as the accountant counts them."""
    terms = parse_privacy(recipe.privacy)
    source = SeededSource(recipe.seed) if terms is not None and terms.seeded else StrongSource()
    groups = None if terms is None else units(records, terms.unit)
    size = recipe.batch_size
    if reads_once:  # what counts are the passes over all records
        size = min(size, len(records) if groups is None else len(set(groups)))
    return data.PoissonStream(records, size, source, groups, 1 if terms is None else terms.copies, device)
