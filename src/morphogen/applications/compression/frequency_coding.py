"""Integer frequencies for the coders of `constriction`, exactly, and their codes as little-endian bytes.

constriction turns given probabilities p_k, k < K, into frequencies of sum 2^24. Without `perfect`, value k begins at
floor((p_0 + ... + p_{k-1}) (2^24 - K) / sum p) + k. For integers p_k = f_k - 1 of sum 2^24 - K the quotient is 1, so no
operation rounds and the frequencies are f_k: tests probe this with single states of the coder.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from morphogen.applications.compression.container import Damaged
from morphogen.core.errors import UsageError


@functools.cache
def stream() -> Any:
    """constriction's stream coders. Raises `UsageError` where it is not installed."""
    try:
        import constriction
    except ImportError:
        raise UsageError("compression needs the package constriction: pip install 'morphogen[compression]'.") from None
    return constriction.stream


@functools.cache
def by_frequencies() -> Any:
    """Distributions given by frequencies less 1, a row for each symbol."""
    return stream().model.Categorical(perfect=False)


def words(code: np.ndarray) -> bytes:
    """Words of a code as bytes."""
    return code.astype("<u4").tobytes()


def read_words(code: bytes) -> np.ndarray:
    """The words of a code. Raises `Damaged`."""
    if len(code) % 4:
        raise Damaged("its code is no whole number of words")
    return np.frombuffer(code, "<u4").astype(np.uint32)
