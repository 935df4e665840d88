"""`Rng`: addressed noise, a function of (seed, purpose, sample index).

A counter-based generator (Philox4x32-10; Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", SC 2011) maps (key, counter) to four 32-bit words with no state in between. The key is
a hash of (seed, purpose), the counter is (block, sample index). So a draw depends on
(seed, purpose, sample index) alone. It does not depend on the batch size, the order of calls, the
number of processes, or earlier draws.

The integers are identical on every device. Normals come from them by the Box-Muller transform,

    z_0 = sqrt(-2 log u_0) cos(2 pi u_1),   z_1 = sqrt(-2 log u_0) sin(2 pi u_1),

and so are bit-equal on one device and within an ulp of log, sqrt, sin and cos across devices.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, final

import numpy as np
import torch
from torch import Tensor

from morphogen.core.limits import MAX_SEED, check_numbers

_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_MASK = 0xFFFFFFFF
_AHEAD_ELEMENTS = 1 << 16  # one computation serves several calls if their draws are smaller than this
_AHEAD_CALLS = 64

Index = int | Sequence[int] | Tensor


def philox(counter: Sequence[Tensor], key: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ten rounds of Philox4x32 on int64 tensors that hold unsigned 32-bit words.

    A product of two 32-bit words overflows a signed 64-bit integer, but wraps modulo 2^64, so
    shifting right and masking still gives its exact high word.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (
            ((p1 >> 32) & _MASK) ^ c1 ^ k0,
            p1 & _MASK,
            ((p0 >> 32) & _MASK) ^ c3 ^ k1,
            p0 & _MASK,
        )
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    return c0, c1, c2, c3


class Noise(Protocol):
    """The protocol of addressed noise: an `Rng`, or an object that derives its noise from another `Noise`.

    `index` is a number of samples (0 .. n-1), or their indices. Draws have shape `(len(index), *shape)`.
    """

    @property
    def seed(self) -> int: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def offset(self) -> int: ...
    def shifted(self, offset: int) -> Noise: ...
    def child(self, name: str) -> Noise: ...
    def bits(self, purpose: str, index: Index, n: int) -> Tensor: ...
    def uniform(
        self, purpose: str, index: Index, shape: Sequence[int] = (), dtype: torch.dtype = torch.float32
    ) -> Tensor: ...
    def normal(
        self, purpose: str, index: Index, shape: Sequence[int] = (), dtype: torch.dtype = torch.float32
    ) -> Tensor: ...
    def integers(self, purpose: str, index: Index, high: int, shape: Sequence[int] = ()) -> Tensor: ...
    def permutation(self, purpose: str, index: int, n: int) -> Tensor: ...
    def forked(self, step: int = 0) -> AbstractContextManager[None]: ...


@final
class Rng:
    """Addressed noise: `rng.normal("x_T", index, shape)` is a function of its arguments and the seed.

    `index` is a number of samples (meaning 0 .. n-1), or their indices. `offset` is added to it, so a long job in
    chunks draws the same noise as one call. Results have shape `(len(index), *shape)` and lie on `device`. Use one
    shape for each purpose: draws of the same purpose and index with two shapes share random words, so they are not
    independent.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu", offset: int = 0) -> None:
        if not 0 <= seed <= MAX_SEED:
            check_numbers(seed=seed)
        self._seed, self._offset = int(seed), int(offset)
        self._device = torch.device(device)
        self._ahead: dict[Any, tuple[int, int, int, Tensor]] = {}

    @property
    def seed(self) -> int:
        """The seed of all draws."""
        return self._seed

    @property
    def device(self) -> torch.device:
        """The device that computes and holds the draws."""
        return self._device

    @property
    def offset(self) -> int:
        """The number that is added to every index."""
        return self._offset

    def shifted(self, offset: int) -> Rng:
        """The same noise with `offset` added to every index."""
        return Rng(self.seed, self.device, self.offset + offset)

    def child(self, name: str) -> Rng:
        """An independent generator, a function of this seed and `name`."""
        return Rng(int.from_bytes(_digest(self.seed, "child:" + name), "little") >> 1, self.device, self.offset)

    def bits(self, purpose: str, index: Index, n: int) -> Tensor:
        """`(len(index), n)` int64 words, uniform on 0 .. 2^32 - 1."""
        at = self._indices(index).to(self.device)
        blocks = -(-n // 4)
        block = torch.arange(blocks, device=self.device).expand(len(at), blocks)
        low = (at & _MASK)[:, None].expand_as(block)
        high = ((at >> 32) & _MASK)[:, None].expand_as(block)
        digest = _digest(self.seed, purpose)
        key = int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")
        words = philox((block, low, high, torch.zeros_like(block)), key)
        return torch.stack(words, dim=-1).reshape(len(at), blocks * 4)[:, :n]

    def uniform(
        self, purpose: str, index: Index, shape: Sequence[int] = (), dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Uniform on the open interval (0, 1); shape `(len(index), *shape)`."""
        n = math.prod(shape)
        u = self._drawn_ahead(purpose, "uniform", index, n, dtype)
        return u.reshape(-1, *shape)

    def normal(
        self, purpose: str, index: Index, shape: Sequence[int] = (), dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Standard normal; shape `(len(index), *shape)`."""
        n = math.prod(shape)
        z = self._drawn_ahead(purpose, "normal", index, n, dtype)
        return z.reshape(-1, *shape)

    def integers(self, purpose: str, index: Index, high: int, shape: Sequence[int] = ()) -> Tensor:
        """Integers 0 .. high - 1; shape `(len(index), *shape)`. Bias below high / 2^63."""
        n = math.prod(shape)
        words = self.bits(purpose, index, 2 * n)
        wide = ((words[:, :n] << 31) ^ words[:, n:]) & 0x7FFFFFFFFFFFFFFF
        return (wide % high).reshape(-1, *shape)

    def permutation(self, purpose: str, index: int, n: int) -> Tensor:
        """A uniform random order of 0 .. n-1, one per (purpose, index); on the CPU."""
        words = Rng(self.seed, "cpu", self.offset).bits(purpose, [index], 2 * n)[0]
        return torch.argsort((words[:n] << 31) ^ words[n:], stable=True)

    @contextlib.contextmanager
    def forked(self, step: int = 0) -> Iterator[None]:
        """Seed the global states of torch, numpy and cuda from (seed, step) within the block; then restore them.

        Dropout and weight initialization need this, because they cannot use addressed noise.
        """
        seed = int.from_bytes(_digest(self.seed, f"forked:{step}"), "little") >> 1
        devices = [self.device] if self.device.type == "cuda" else []
        numpy_state = np.random.get_state()
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            np.random.seed(seed & _MASK)
            try:
                yield
            finally:
                np.random.set_state(numpy_state)

    def _indices(self, index: Index) -> Tensor:
        if isinstance(index, int):
            return torch.arange(self.offset, self.offset + index)
        at = torch.as_tensor(index, dtype=torch.int64).reshape(-1)
        return at + self.offset if self.offset else at

    def _drawn_ahead(self, purpose: str, kind: str, index: Index, n: int, dtype: torch.dtype) -> Tensor:
        """Compute small draws for several calls at once, if the indices are contiguous and evenly spaced over calls.

        The values are the same; only the number of small tensor operations falls.
        """
        at = self._indices(index)
        count = len(at)
        if isinstance(index, int) or at.device.type != "cpu" or not 0 < count * n <= _AHEAD_ELEMENTS:
            return self._draw(purpose, kind, at, n, dtype)
        start = int(at[0])
        if int(at[-1]) - start != count - 1 or not torch.equal(at, torch.arange(start, start + count)):
            return self._draw(purpose, kind, at, n, dtype)
        name = (purpose, kind, n, count, dtype)
        first, stride, calls, block = self._ahead.get(name, (start, 0, 0, at))
        if stride and (start - first) % stride == 0 and 0 <= (start - first) // stride < calls:
            return block[(start - first) // stride].clone()  # a caller may write into it
        # Two calls in a row give the stride; before that nothing is drawn ahead.
        last = first + stride * (calls - 1) if calls else first
        stride, calls = start - last, min(_AHEAD_CALLS, max(1, 8 * _AHEAD_ELEMENTS // (count * n)))
        if stride <= 0 or name not in self._ahead:
            self._ahead[name] = (start, 0, 0, at)
            return self._draw(purpose, kind, at, n, dtype)
        many = (torch.arange(calls)[:, None] * stride + at).reshape(-1)
        block = self._draw(purpose, kind, many, n, dtype).reshape(calls, count, n)
        self._ahead[name] = (start, stride, calls, block)
        return block[0].clone()

    def _draw(self, purpose: str, kind: str, at: Tensor, n: int, dtype: torch.dtype) -> Tensor:
        plain = Rng(self.seed, self.device)  # `at` already has the offset
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        if kind == "uniform":
            # 23 bits in float32 and 32 in float64, centered, so that 0 and 1 never occur.
            words = plain.bits(purpose, at, n)
            bits = 32 if wide == torch.float64 else 23
            return (((words >> (32 - bits)).to(wide) + 0.5) * 2.0**-bits).to(dtype)
        pairs = -(-n // 2)
        words = plain.bits(purpose, at, 2 * pairs).to(wide)
        u, v = (words[:, :pairs] + 0.5) * 2.0**-32, words[:, pairs:] * 2.0**-32
        radius = torch.sqrt(-2.0 * torch.log(u.clamp_max(1.0)))
        angle = (2.0 * math.pi) * v
        z = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=-1)
        return z.reshape(len(at), 2 * pairs)[:, :n].to(dtype)


def _digest(seed: int, purpose: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{purpose}".encode(), digest_size=8).digest()
