"""A whole design: which method, the search, and what is to be known of each molecule that it found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from morphogen.applications.design.oracle import Answer, CountedOracle
from morphogen.applications.design.searching import METHODS, run
from morphogen.core.capabilities import Encodes, Samples, Scores
from morphogen.core.errors import CapabilityError, UsageError, unknown
from morphogen.core.family import Family
from morphogen.data.molecules.alerts import alerts
from morphogen.data.molecules.similarity import fingerprints, nearest
from morphogen.data.molecules.standard_form import molecule_of

BEST = 10  # whose mean the curve shows


class Known(NamedTuple):
    """What is known of a designed molecule beside its answer."""

    nearest: str
    similarity: float | None
    alerts: tuple[str, ...]


def choose_method(family: Family, method: str | None) -> str:
    """The method to use: latents for models that encode, tuning for others with exact likelihoods.

    Raises `UsageError` for an unknown method, and `CapabilityError` where the model cannot be used in that way.
    """
    schema = family.data.sequence
    if schema is None or schema.content != "molecules":
        raise UsageError("this model does not make molecules: train one on a .smi file or a table with SMILES.")
    if method is not None and method not in METHODS:
        raise UsageError(unknown("method", method, METHODS))
    exact = Scores in family.capabilities and Encodes not in family.capabilities and Samples in family.capabilities
    found = method or ("latents" if Encodes in family.capabilities else "tuning" if exact else "neighbors")
    if found == "latents" and Encodes not in family.capabilities:
        raise CapabilityError(f"a {family.name!r} model has no latents to search: take tuning or neighbors.")
    if found == "tuning" and not exact:
        raise CapabilityError(f"a {family.name!r} model has no exact likelihood to tune: take latents or neighbors.")
    return found


def design(
    family: Family,
    oracle: CountedOracle,
    method: str,
    seed: int,
    start: str | None,
    watch: Callable[[int], None] = lambda calls: None,
) -> list[tuple[float, float]]:
    """Search; the best score after each call, and the mean of the ten best. `watch` is told the calls so far."""
    try:
        for calls in run(method, family, oracle, seed, start):
            watch(calls)
    finally:
        oracle.close()
    best: list[float] = []
    curve = []
    for answer in oracle.answers.values():
        best = sorted([*best, answer.score], reverse=True)[:BEST]
        curve.append((best[0], float(np.mean(best))))
    return curve


def describe(answers: Sequence[Answer], known: Sequence[str]) -> list[Known]:
    """The most similar known molecule of each answer, and its structural alerts."""
    said = [tuple(alerts(molecule_of(answer.smiles))) for answer in answers]
    if not known or not answers:
        return [Known("", None, found) for found in said]
    best, where = nearest(fingerprints([answer.smiles for answer in answers]), fingerprints(known))
    return [Known(known[j], float(s), found) for j, s, found in zip(where, best, said, strict=True)]
