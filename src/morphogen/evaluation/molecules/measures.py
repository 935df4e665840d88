r"""Measures of drawn molecules (MOSES; Polykovskiy et al., 2020), each with a 95 % interval.

    valid           share of all drawn texts that are molecules
    unique          share of the molecules that are different from each other
    novel           share of the different ones that are not in training
    product         different novel molecules in all that was drawn: valid x unique x novel
    filters         share of the molecules without a structural alert (PAINS, Brenk)
    diversity       1 - mean Tanimoto similarity of two molecules
    snn             mean similarity to the nearest held-out molecule
    fragments       cosine between the counts of BRICS fragments, drawn and held out
    scaffolds       cosine between the counts of Bemis-Murcko scaffolds
    qed, logp, sa, mol_wt      1-Wasserstein distance between the two distributions of a property
    fcd             Frechet distance of ChemNet's features, its bias removed

Shares have exact binomial intervals. Means have normal ones; that of `diversity` is of a mean over pairs. Cosines and
distances have those of a jackknife over 20 groups of the drawn molecules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch

from morphogen.core.errors import DataError
from morphogen.data.molecules.alerts import passes_filters
from morphogen.data.molecules.chemistry import quiet, rdkit
from morphogen.data.molecules.inspection import scaffold
from morphogen.data.molecules.properties import compute
from morphogen.data.molecules.similarity import fingerprints, mean_similarities, nearest
from morphogen.data.molecules.standard_form import canonical, molecule_of
from morphogen.evaluation.metrics.frechet import frechet, least
from morphogen.evaluation.molecules import chemnet
from morphogen.theory.statistics.intervals import Estimate, binomial_interval, group_jackknife, normal

PROPERTIES = ("qed", "logp", "sa", "mol_wt")
GROUPS = 20


class Molecules:
    """A list of texts, and what is computed of it once: canonical forms, fingerprints, counts, properties."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = list(texts)

    @cached_property
    def canonical(self) -> list[str]:
        """The canonical SMILES of those that are molecules, in their order."""
        return [found for text in self.texts if (found := canonical(text)) is not None]

    @cached_property
    def different(self) -> list[str]:
        """Each molecule once, in the order of its first."""
        return list(dict.fromkeys(self.canonical))

    @cached_property
    def fingerprints(self) -> np.ndarray:
        return fingerprints(self.canonical)

    @cached_property
    def fragments(self) -> list[list[str]]:
        """The BRICS fragments of each molecule."""
        with quiet():
            cut = rdkit("Chem.BRICS").BreakBRICSBonds
            return [rdkit().MolToSmiles(cut(molecule_of(text))).split(".") for text in self.canonical]

    @cached_property
    def scaffolds(self) -> list[list[str]]:
        """The scaffold of each molecule that has one."""
        return [[found] if (found := scaffold(text)) else [] for text in self.canonical]

    @cached_property
    def properties(self) -> np.ndarray:
        """(N, 4)."""
        return compute(PROPERTIES, self.canonical)

    @cached_property
    def chemnet(self) -> torch.Tensor:
        return chemnet.features(self.canonical)


Measure = Callable[[Molecules, Molecules, frozenset[str]], Estimate]


def valid(made: Molecules, held_out: Molecules, train: frozenset[str]) -> Estimate:
    return _share(len(made.canonical), len(made.texts))


def unique(made: Molecules, held_out: Molecules, train: frozenset[str]) -> Estimate:
    return _share(len(made.different), len(made.canonical))


def novel(made: Molecules, held_out: Molecules, train: frozenset[str]) -> Estimate:
    return _share(len([m for m in made.different if m not in train]), len(made.different))


def product(made: Molecules, held_out: Molecules, train: frozenset[str]) -> Estimate:
    return _share(len([m for m in made.different if m not in train]), len(made.texts))


def filters(made: Molecules, held_out: Molecules, train: frozenset[str]) -> Estimate:
    return _share(sum(passes_filters(made.canonical)), len(made.canonical))


def diversity(made: Molecules, held_out: Molecules, train: frozenset[str]) -> Estimate:
    _need(made, 2)
    similar = mean_similarities(made.fingerprints)
    return normal(1.0 - float(similar.mean()), 4.0 * float(similar.var(ddof=1)) / len(similar))


def snn(made: Molecules, held_out: Molecules, train: frozenset[str]) -> Estimate:
    _need(made, 2)
    best, _ = nearest(made.fingerprints, held_out.fingerprints)
    return normal(float(best.mean()), float(best.var(ddof=1)) / len(best))


def fragments(made: Molecules, held_out: Molecules, train: frozenset[str]) -> Estimate:
    return _cosine(made.fragments, held_out.fragments)


def scaffolds(made: Molecules, held_out: Molecules, train: frozenset[str]) -> Estimate:
    return _cosine(made.scaffolds, held_out.scaffolds)


def fcd(made: Molecules, held_out: Molecules, train: frozenset[str]) -> Estimate:
    _need(made, least(chemnet.DIMENSIONS, GROUPS))
    _need(held_out, least(chemnet.DIMENSIONS, GROUPS))
    return frechet(made.chemnet, held_out.chemnet, GROUPS)


def _distance(name: str) -> Measure:
    column = PROPERTIES.index(name)

    def measure(made: Molecules, held_out: Molecules, train: frozenset[str]) -> Estimate:
        _need(made, GROUPS)
        a, b = made.properties[:, column], held_out.properties[:, column]
        return _jackknifed(len(a), lambda keep: wasserstein(a[keep], b))

    return measure


MEASURES: dict[str, tuple[str, Measure]] = {
    "valid": ("higher", valid),
    "unique": ("higher", unique),
    "novel": ("higher", novel),
    "product": ("higher", product),
    "filters": ("higher", filters),
    "diversity": ("higher", diversity),
    "snn": ("higher", snn),
    "fragments": ("higher", fragments),
    "scaffolds": ("higher", scaffolds),
    **{name: ("lower", _distance(name)) for name in PROPERTIES},
    "fcd": ("lower", fcd),
}


def wasserstein(a: np.ndarray, b: np.ndarray) -> float:
    """int |F_a - F_b|, the 1-Wasserstein distance of two samples of numbers."""
    a, b = np.sort(a), np.sort(b)
    every = np.sort(np.concatenate((a, b)))
    below = [np.searchsorted(v, every[:-1], side="right") / len(v) for v in (a, b)]
    return float((np.abs(below[0] - below[1]) * np.diff(every)).sum())


def cosine(a: Counter[str], b: Counter[str]) -> float:
    """The cosine of the angle between two vectors of counts; 0 where one of them is empty."""
    length = (sum(v * v for v in a.values()) * sum(v * v for v in b.values())) ** 0.5
    return sum(v * b[k] for k, v in a.items()) / length if length else 0.0


def _cosine(made: Sequence[Sequence[str]], held_out: Sequence[Sequence[str]]) -> Estimate:
    reference = Counter(name for names in held_out for name in names)

    def of(keep: np.ndarray) -> float:
        return cosine(Counter(name for i in keep for name in made[i]), reference)

    return _jackknifed(len(made), of)


def _jackknifed(n: int, statistic: Callable[[np.ndarray], float]) -> Estimate:
    """A statistic of the rows of a sample, with the interval of a jackknife over groups; its bias is not taken off."""
    rows = np.arange(n)
    value = statistic(rows)
    if n < GROUPS:
        return Estimate(value, None)
    left = torch.tensor([statistic(rows[rows % GROUPS != g]) for g in range(GROUPS)])
    found = group_jackknife(value, left)
    if found.interval is None:
        return Estimate(value, None)
    low, high = found.interval
    return Estimate(value, (low + found.bias, high + found.bias))


def _share(k: int, n: int) -> Estimate:
    return Estimate(k / n if n else 0.0, binomial_interval(k, n) if n else None)


def _need(some: Molecules, least: int) -> None:
    if len(some.canonical) < least:
        raise DataError(f"this needs {least:,} molecules, and there are {len(some.canonical):,} among the texts.")


__all__ = ["MEASURES", "Measure", "Molecules", "cosine", "wasserstein"]
