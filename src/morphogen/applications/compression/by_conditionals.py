"""Coding by the distribution of each symbol given the earlier ones: range coding, all records of a block in lockstep.

The code of a symbol of frequency f of 2^24 takes 24 - log2 f bits; all symbols of a block are one code, whose end takes
fewer than 8 bytes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from morphogen.applications.compression.container import Damaged
from morphogen.applications.compression.frequency_coding import by_frequencies, read_words, stream, words
from morphogen.core.capabilities import Conditionals


def encode(model: Conditionals, stored: Tensor, levels: int) -> tuple[bytes, float]:
    """The code of records (n, *shape) and the bits that the model's probabilities ask for."""
    symbols = model.symbols(stored)
    coder, bits = stream().queue.RangeEncoder(), 0.0
    walk = model.conditionals(len(stored))
    frequencies = next(walk)
    for t in range(symbols.shape[1]):
        s = symbols[:, t]
        coder.encode(s.numpy().astype(np.int32), by_frequencies(), _given(frequencies))
        bits += float((24.0 - frequencies.gather(1, s[:, None]).log2()).sum())
        if t + 1 < symbols.shape[1]:
            frequencies = walk.send(s)
    return words(coder.get_compressed()), bits


def decode(model: Conditionals, code: bytes, n: int, shape: tuple[int, ...], levels: int) -> np.ndarray:
    """The records (n, *shape) of a code, as bytes. Raises `Damaged`."""
    length = int(model.symbols(torch.zeros(1, *shape, dtype=torch.int64)).shape[1])
    symbols = torch.zeros(n, length, dtype=torch.int64)
    try:
        coder = stream().queue.RangeDecoder(read_words(code))
        walk = model.conditionals(n)
        frequencies = next(walk)
        for t in range(length):
            symbols[:, t] = torch.from_numpy(coder.decode(by_frequencies(), _given(frequencies)).astype(np.int64))
            if t + 1 < length:
                frequencies = walk.send(symbols[:, t])
    except (AssertionError, LookupError, RuntimeError, ValueError) as error:  # also of a model that anybody made
        raise Damaged(f"its code is no code of this model ({error})") from None
    stored = model.stored(symbols)
    if int(stored.max()) >= levels:
        raise Damaged("its code gives values that there are not")
    return stored.numpy().astype(np.uint8)


def _given(frequencies: Tensor) -> np.ndarray:
    """What constriction takes for these frequencies: it adds 1 to each."""
    return frequencies.numpy() - 1.0
