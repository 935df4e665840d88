"""Coding with a loss: range coding of integers, group by group, from which a model makes similar pictures.

All pictures of a block are one code. The pictures that the model makes are known when the code is written, and the
checksum of the block is theirs.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morphogen.applications.compression.container import Damaged
from morphogen.applications.compression.frequency_coding import by_frequencies, read_words, stream, words
from morphogen.core.capabilities import CodedIntegers, CodesWithLoss

AT_ONCE = 1 << 14  # integers whose frequencies are in memory

Digits = Generator[tuple[Tensor, Tensor], Tensor, None]


def encode(model: CodesWithLoss, stored: Tensor, quality: int) -> tuple[bytes, float, np.ndarray]:
    """The code of pictures (n, *shape), the bits that its frequencies ask for, and the pictures that it decodes to."""
    coder, bits = stream().queue.RangeEncoder(), 0.0
    walk = model.code_walk(len(stored), quality, stored)
    try:
        group: CodedIntegers = next(walk)
        while True:
            assert group.known is not None
            for digit, (frequencies, rows) in zip(group.known, _given(group.digits, group.known), strict=True):
                for part in torch.arange(len(digit)).split(AT_ONCE):
                    f, d = frequencies[rows[part]], digit[part]
                    coder.encode(d.numpy().astype(np.int32), by_frequencies(), f.numpy() - 1.0)
                    bits += float((24.0 - f.gather(1, d[:, None]).log2()).sum())
            group = walk.send(group.known)
    except StopIteration as end:
        return words(coder.get_compressed()), bits, end.value.numpy().astype(np.uint8)


def decode(model: CodesWithLoss, code: bytes, n: int, shape: tuple[int, ...], levels: int, quality: int) -> np.ndarray:
    """The pictures (n, *shape) of a code, as bytes. Raises `Damaged`."""
    try:
        coder = stream().queue.RangeDecoder(read_words(code))
        walk = model.code_walk(n, quality, None)
        group = next(walk)
        while True:
            group = walk.send(_read(coder, group.digits))
    except StopIteration as end:
        made: Tensor = end.value
    except (AssertionError, LookupError, RuntimeError, ValueError) as error:  # also of a model that anybody made
        raise Damaged(f"its code is no code of this model ({error})") from None
    if tuple(made.shape[1:]) != shape or int(made.max()) >= levels:
        raise Damaged("its code gives pictures of another kind")
    return made.numpy().astype(np.uint8)


def _given(digits: Digits, known: list[Tensor]) -> Generator[tuple[Tensor, Tensor], None, None]:
    """What is known of each digit, where the digits themselves are known."""
    yield next(digits)
    for digit in known[:-1]:
        yield digits.send(digit)


def _read(coder: Any, digits: Digits) -> list[Tensor]:
    """The digits that a code gives."""
    found, (frequencies, rows) = list[Tensor](), next(digits)
    while True:
        parts = [
            torch.from_numpy(coder.decode(by_frequencies(), frequencies[part].numpy() - 1.0).astype(np.int64))
            for part in rows.split(AT_ONCE)
            if len(part)
        ]
        found.append(torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64))
        try:
            frequencies, rows = digits.send(found[-1])
        except StopIteration:
            return found
