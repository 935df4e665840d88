"""Molecules that need no model of chemistry, to be judged beside a model's.

characters       the next character given the nine before it, as often as in training (a 10-gram)
selfies          uniformly random SELFIES symbols, as many as a training molecule has: always molecules
copies           training molecules
neighbors        training molecules with one edit
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from morphogen.data.molecules.chemistry import selfies
from morphogen.data.molecules.edits import neighbor
from morphogen.data.molecules.reading import from_selfies

ORDER = 10
_END = "\n"
_LONGEST = 300
_ALPHABET_OF = 2000  # training molecules that give the symbols of SELFIES


def characters(train: Sequence[str], n: int, seed: int, order: int = ORDER) -> list[str]:
    """Texts of a model of `order` characters."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for text in train:
        whole = text + _END
        for i, character in enumerate(whole):
            counts[whole[max(0, i - order + 1) : i]][character] += 1
    tables = {context: _table(found) for context, found in counts.items()}
    rng, out = np.random.default_rng(seed), []
    for _ in range(n):
        text = ""
        while len(text) < _LONGEST:
            symbols, cumulative = tables[text[max(0, len(text) - order + 1) :]]  # what was drawn stands in training
            drawn = symbols[int(np.searchsorted(cumulative, rng.random(), side="right"))]
            if drawn == _END:
                break
            text += drawn
        out.append(text)
    return out


def random_selfies(train: Sequence[str], n: int, seed: int) -> list[str]:
    """SMILES of random SELFIES strings."""
    rng, lengths, symbols = np.random.default_rng(seed), [], set()
    for text in train[:_ALPHABET_OF]:
        try:
            found = list(selfies().split_selfies(selfies().encoder(text)))
        except selfies().EncoderError:
            continue
        lengths.append(len(found))
        symbols |= set(found)
    alphabet = sorted(symbols)
    return [
        from_selfies("".join(alphabet[i] for i in rng.integers(len(alphabet), size=int(rng.choice(lengths)))))
        for _ in range(n)
    ]


def copies(train: Sequence[str], n: int, seed: int) -> list[str]:
    """Random training molecules."""
    return [train[i] for i in np.random.default_rng(seed).integers(len(train), size=n)]


def neighbors(train: Sequence[str], n: int, seed: int) -> list[str]:
    """One-edit neighbors of random training molecules."""
    rng = np.random.default_rng(seed)
    return [neighbor(train[i], rng) for i in rng.integers(len(train), size=n)]


def _table(found: Counter[str]) -> tuple[list[str], np.ndarray]:
    symbols = sorted(found)
    weights = np.array([found[s] for s in symbols], float).cumsum()
    return symbols, weights / weights[-1]


BASELINES: Mapping[str, Callable[[Sequence[str], int, int], list[str]]] = {
    "characters": characters,
    "selfies": random_selfies,
    "copies": copies,
    "neighbors": neighbors,
}
