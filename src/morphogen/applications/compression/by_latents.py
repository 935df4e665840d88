r"""Bits-back coding with asymmetric numeral systems (Townsend, Bird and Barber, 2019; "BB-ANS").

A stack of bits is both where codes go and where random choices come from. For a record x with latents z,

    pop z with q(z | x),    push x with p(x | z),    push z with p(z),

changes its length by -log2 q + ... = the negative of the evidence lower bound at z, on average the bound itself. The
reader undoes the steps in the reverse order and gets back the bits of the first step. Records follow each other in a
chain; a few go through the networks together.

The first pop needs bits on the stack. The plain code of the block's first records is put there. It comes back at the
end and is read by the plain coder, so no bit is wasted.

A code: the number of records that are coded plainly, and of the bytes of their code, each in 4 bytes; then the stack.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morphogen.applications.compression import plain
from morphogen.applications.compression.container import Damaged
from morphogen.applications.compression.frequency_coding import by_frequencies, read_words, stream, words
from morphogen.core.capabilities import Coded, LatentFrequencies

BITS_OF_A_LATENT = 13  # that a pop takes, at most on average: a bin has 12
AT_ONCE = 640  # latents of the records that go through the networks together, about

Digits = Generator[Tensor, Tensor, None]


def encode(model: LatentFrequencies, stored: Tensor, levels: int) -> tuple[bytes | None, float]:
    """The code of records (n, *shape), and the bits by which those that are not coded plainly made the stack longer.

    None where the records are too few to begin with.
    """
    at_once = _at_once(model)
    needed = at_once * model.latents * BITS_OF_A_LATENT + 64
    n, first = len(stored), 1
    while True:
        begin = plain.encode(stored[:first].numpy(), levels)
        if 8 * len(begin) >= needed or first == n:
            break
        first = min(n, 2 * first if 16 * len(begin) < needed else first + 1)
    if 8 * len(begin) < needed:
        return None, 0.0
    coder = stream().stack.AnsCoder(read_words(begin + bytes(-len(begin) % 4)), seal=True)
    before = coder.num_valid_bits()
    for rows in torch.arange(first, n).split(at_once):
        _push_records(coder, model, stored[rows])
    code = words(coder.get_compressed())
    head = first.to_bytes(4, "little") + len(begin).to_bytes(4, "little")
    return head + code, float(coder.num_valid_bits() - before)


def decode(model: LatentFrequencies, code: bytes, n: int, shape: tuple[int, ...], levels: int) -> np.ndarray:
    """The records (n, *shape) of a code, as bytes. Raises `Damaged`."""
    first, size = int.from_bytes(code[:4], "little"), int.from_bytes(code[4:8], "little")
    if len(code) < 8 or not 1 <= first <= n:
        raise Damaged("its code does not begin as one of latents")
    found = torch.zeros(n, *shape, dtype=torch.uint8)
    try:
        coder = stream().stack.AnsCoder(read_words(code[8:]))
        for rows in reversed(torch.arange(first, n).split(_at_once(model))):
            values = _pop_records(coder, model, len(rows))
            if int(values.max()) >= levels:
                raise Damaged("its code gives values that there are not")
            found[rows] = values.unflatten(1, shape).to(torch.uint8)
        begin = words(coder.get_compressed(unseal=True))
    except (AssertionError, LookupError, RuntimeError, ValueError) as error:  # also of a model that anybody made
        raise Damaged(f"its code is no code of this model ({error})") from None
    if not size <= len(begin) < size + 4:
        raise Damaged("its code does not end as one of latents")
    found[:first] = torch.from_numpy(plain.decode(begin[:size], first, shape, levels).copy())
    return found.numpy()


def _at_once(model: LatentFrequencies) -> int:
    return max(1, AT_ONCE // model.latents)


def _push_records(coder: Any, model: LatentFrequencies, stored: Tensor) -> None:
    """Pop latents by their posteriors, push the records given them, push the latents by their priors."""
    walk, priors = model.latent_walk(len(stored), stored), list[tuple[Digits, list[Tensor]]]()
    element: Coded = next(walk)
    while element.prior is not None:
        assert element.own is not None
        digits = _pop(coder, element.own)
        priors.append((element.prior, digits))
        element = walk.send(digits)
    assert element.own is not None
    _push(coder, element.own, model.digits(stored.flatten(1)))
    for prior, digits in reversed(priors):
        _push(coder, prior, digits)


def _pop_records(coder: Any, model: LatentFrequencies, n: int) -> Tensor:
    """Undo `_push_records`: the values (n, D)."""
    walk, found = model.latent_walk(n, None), list[list[Tensor]]()
    element: Coded = next(walk)
    while element.prior is not None:
        digits = _pop(coder, element.prior)
        found.append(digits)
        element = walk.send(digits)
    assert element.own is not None
    values = model.values(_pop(coder, element.own)).unflatten(0, element.shape)
    again = model.latent_walk(n, values)  # now that the records are known, their posteriors are
    element = next(again)
    posteriors = list[Digits]()
    for digits in found:
        assert element.own is not None
        posteriors.append(element.own)
        element = again.send(digits)
    for own, digits in reversed(list(zip(posteriors, found, strict=True))):
        _push(coder, own, digits)
    return values


def _pop(coder: Any, frequencies: Digits) -> list[Tensor]:
    """The digits that the stack gives for these frequencies."""
    digits, f = list[Tensor](), next(frequencies)
    while True:
        digits.append(torch.from_numpy(coder.decode(by_frequencies(), f.numpy() - 1.0).astype(np.int64)))
        try:
            f = frequencies.send(digits[-1])
        except StopIteration:
            return digits


def _push(coder: Any, frequencies: Digits, digits: list[Tensor]) -> None:
    """Put digits on the stack, so that `_pop` gives them."""
    known = [next(frequencies)]
    known += [frequencies.send(digit) for digit in digits[:-1]]
    for digit, f in reversed(list(zip(digits, known, strict=True))):
        coder.encode_reverse(digit.numpy().astype(np.int32), by_frequencies(), f.numpy() - 1.0)
