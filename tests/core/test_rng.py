"""`Rng`: the generator's published vectors, addresses, and statistics.

Each statistical assertion has a fixed seed and was given a false-alarm rate of 10^-6: one correct
generator in a million would fail it.
"""

from __future__ import annotations

import hashlib
import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from morphogen.core import rng as rng_module
from morphogen.core.rng import Rng, philox

ALARM = 1e-6
SIGMAS = 4.9  # two-sided 10^-6 of a normal


# ----------------------------------------------------------------- Philox


@pytest.mark.parametrize(
    ("counter", "key", "want"),
    [  # from the known-answer file of Random123, the authors' own implementation
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_known_answers(counter: str, key: str, want: str) -> None:
    words = [torch.tensor([int(c, 16)]) for c in counter.split()]
    k0, k1 = (int(k, 16) for k in key.split())
    assert [f"{int(w):08x}" for w in philox(words, (k0, k1))] == want.split()


def reference_bits(seed: int, purpose: str, index: int, n: int) -> list[int]:
    """The documented addressing in Python's own integers: key = hash of (seed, purpose), counter = (block, index)."""
    digest = hashlib.blake2b(f"{seed}:{purpose}".encode(), digest_size=8).digest()
    out: list[int] = []
    for block in range(-(-n // 4)):
        c = [block, index & 0xFFFFFFFF, index >> 32, 0]
        k = [int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")]
        for _ in range(10):
            a, b = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
            c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
            k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
        out += c
    return out[:n]


def test_bits_equal_an_independent_implementation() -> None:
    """So the address of noise is fixed for ever: a change of it would change every old sample."""
    for seed, purpose, index in ((0, "z", 0), (1, "x_T", 7), (2**40 + 3, "z", 2**33 + 5), (2**64 - 1, "", 2**62)):
        assert Rng(seed).bits(purpose, [index], 11)[0].tolist() == reference_bits(seed, purpose, index, 11)


# --------------------------------------------------------------- addresses


def draws(rng: Rng, index: object) -> list[Tensor]:
    return [
        rng.normal("a", index, (3, 2)),  # type: ignore[arg-type]
        rng.normal("a", index, (5,), torch.float64),  # type: ignore[arg-type]
        rng.uniform("a", index),  # type: ignore[arg-type]
        rng.integers("a", index, 1000, (2,)),  # type: ignore[arg-type]
    ]


def test_a_draw_depends_on_seed_purpose_and_index_alone() -> None:
    whole = draws(Rng(4), 20)
    for index in ([17], [3, 19, 0], torch.arange(5, 9), torch.tensor([6, 6])):
        busy = Rng(4)
        busy.normal("b", 100, (7,))  # what was drawn before does not matter
        for all_of_them, some in zip(whole, draws(busy, index), strict=True):
            assert torch.equal(some, all_of_them[torch.as_tensor(index)])


def test_offset_shifts_every_index() -> None:
    whole = draws(Rng(4), 20)
    for rng in (Rng(4, offset=6), Rng(4).shifted(6), Rng(4).shifted(2).shifted(4)):
        for all_of_them, some in zip(whole, draws(rng, 5), strict=True):
            assert torch.equal(some, all_of_them[6:11])
        for all_of_them, some in zip(whole, draws(rng, [3, 1]), strict=True):
            assert torch.equal(some, all_of_them[[9, 7]])
    assert torch.equal(Rng(4).shifted(3).permutation("p", 2, 9), Rng(4).permutation("p", 5, 9))


def test_a_child_keeps_the_offset() -> None:
    """Chunks of a job that name a child generator must not repeat each other's noise."""
    whole = Rng(4).child("c").normal("a", 8, (2,))
    assert torch.equal(Rng(4).shifted(5).child("c").normal("a", 3, (2,)), whole[5:])


def test_shapes_and_types() -> None:
    rng = Rng(0)
    assert rng.normal("a", 4, ()).shape == (4,) and rng.normal("a", 0, (3,)).shape == (0, 3)
    assert rng.normal("a", 4, (3, 5)).dtype == torch.float32
    assert rng.normal("a", 4, (3,), torch.bfloat16).dtype == torch.bfloat16
    assert rng.uniform("a", [2], (1, 2)).shape == (1, 1, 2)
    assert rng.integers("a", 4, 9, (2, 2)).dtype == torch.int64
    narrow, wide = rng.normal("a", 50, (3,)), rng.normal("a", 50, (3,), torch.float64)
    assert (narrow - wide).abs().max() < 1e-5  # one draw in two precisions
    longer = rng.normal("a", 50, (5,), torch.float64)
    assert longer.shape == (50, 5)


# ------------------------------------------------------------- drawn ahead


def plain(rng: Rng, kind: str, purpose: str, index: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    fresh = Rng(rng.seed, offset=rng.offset)  # has drawn nothing, so it draws nothing ahead
    result: Tensor = getattr(fresh, kind)(purpose, index, shape, dtype)
    return result


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
@pytest.mark.parametrize("kind", ("normal", "uniform"))
def test_drawn_ahead_equals_plain_bit_for_bit(kind: str, dtype: torch.dtype) -> None:
    batch, stride, shape = 6, 10, (3,)  # a share of 6 in a global batch of 10
    starts = [stride * step for step in range(150)]  # past two blocks drawn ahead
    starts += [40, 50, 60, 61, 62, 63, 0, 0, 10, 5, 20]  # a resume, other strides, repeats, steps back
    rng = Rng(9, offset=1000)
    for start in starts:
        index = torch.arange(start, start + batch)
        got = getattr(rng, kind)("z", index, shape, dtype)
        assert torch.equal(got, plain(rng, kind, "z", index, shape, dtype))
        other = getattr(rng, kind)("dropout", index, (2,), dtype)  # interleaved with another purpose
        assert torch.equal(other, plain(rng, kind, "dropout", index, (2,), dtype))


def test_drawing_ahead_saves_calls_and_changing_a_result_changes_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = rng_module.philox
    monkeypatch.setattr(rng_module, "philox", lambda *a: calls.append(1) or original(*a))
    rng, kept = Rng(9), []
    for step in range(60):
        index = torch.arange(4 * step, 4 * step + 4)
        kept.append(rng.normal("z", index, (3,)))
    assert len(calls) <= 4  # two to learn the stride, then one for many
    kept[30].fill_(7.0)
    index = torch.arange(4 * 30, 4 * 30 + 4)
    assert torch.equal(rng.normal("z", index, (3,)), Rng(9).normal("z", index, (3,)))


# -------------------------------------------------------------- statistics


def test_normals_and_uniforms_follow_their_distribution() -> None:
    for dtype in (torch.float32, torch.float64):
        z = Rng(0).normal("ks", 1000, (100,), dtype).flatten().numpy()
        u = Rng(0).uniform("ks", 1000, (100,), dtype).flatten().numpy()
        assert scipy.stats.kstest(z, "norm").pvalue > ALARM
        assert scipy.stats.kstest(u, "uniform").pvalue > ALARM
        # Kolmogorov-Smirnov sees little of the tails: count them.
        tail = int((np.abs(z) > 3.5).sum())
        assert scipy.stats.binomtest(tail, z.size, 2 * scipy.stats.norm.sf(3.5)).pvalue > ALARM
    # down the samples as well as along them
    assert scipy.stats.kstest(Rng(0).normal("one", 50_000).numpy(), "norm").pvalue > ALARM


def test_both_normals_of_a_pair_are_independent() -> None:
    z = Rng(0).normal("pair", 50_000, (2,), torch.float64)
    for a, b in ((z[:, 0], z[:, 1]), (z[:, 0] ** 2, z[:, 1] ** 2), (z[:, 0].abs(), z[:, 1])):
        assert abs(float(torch.corrcoef(torch.stack((a, b)))[0, 1])) < SIGMAS / math.sqrt(50_000)


def test_uniforms_never_reach_0_or_1_and_normals_are_always_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    for word in (0, 0xFFFFFFFF, 0xFFFFFF80, 1):
        monkeypatch.setattr(Rng, "bits", lambda self, p, i, n, w=word: torch.full((len(i), n), w))
        for dtype in (torch.float32, torch.float64):
            u = Rng(0).uniform("edge", 1, (4,), dtype)
            assert ((u > 0) & (u < 1)).all()
            assert torch.isfinite(Rng(0).normal("edge", 1, (4,), dtype)).all()


@pytest.mark.parametrize("high", (2, 7, 1000))
def test_integers_are_uniform(high: int) -> None:
    n = 200_000
    counts = torch.bincount(Rng(0).integers("chi", n // 10, high, (10,)).flatten(), minlength=high)
    assert len(counts) == high
    assert scipy.stats.chisquare(counts.numpy()).pvalue > ALARM


def test_integers_reach_beyond_32_bits() -> None:
    high = 3 * 2**40
    x = Rng(0).integers("wide", 20_000, high).double() / high
    assert scipy.stats.kstest(x.numpy(), "uniform").pvalue > ALARM


def test_neighboring_addresses_are_uncorrelated() -> None:
    n = 50_000
    base = Rng(5).normal("p", n, (8,), torch.float64)  # two blocks of four words
    neighbors = {
        "index": (base[:-1], base[1:]),
        "element": (base[:, :-1], base[:, 1:]),
        "purpose": (base, Rng(5).normal("q", n, (8,), torch.float64)),
        "seed": (base, Rng(6).normal("p", n, (8,), torch.float64)),
        "child": (base, Rng(5).child("p").normal("p", n, (8,), torch.float64)),
        "far index": (base, Rng(5, offset=2**32).normal("p", n, (8,), torch.float64)),
    }
    for what, (a, b) in neighbors.items():
        for x, y in ((a, b), (a.square(), b.square())):
            r = float(torch.corrcoef(torch.stack((x.flatten(), y.flatten())))[0, 1])
            assert abs(r) < SIGMAS / math.sqrt(a.numel()), what


def test_permutations_are_uniform() -> None:
    rng, n = Rng(0), 2400
    orders = [tuple(rng.permutation("p", i, 4).tolist()) for i in range(n)]
    counts = [orders.count(p) for p in itertools.permutations(range(4))]
    assert sum(counts) == n  # each is a permutation
    assert scipy.stats.chisquare(counts).pvalue > ALARM


def test_a_long_permutation_holds_everything_once() -> None:
    order = Rng(0).permutation("p", 0, 60_000)
    assert torch.equal(order.sort().values, torch.arange(60_000))
    assert not torch.equal(order, Rng(0).permutation("p", 1, 60_000))
    moved = scipy.stats.spearmanr(order.numpy(), np.arange(60_000)).statistic
    assert abs(moved) < SIGMAS / math.sqrt(60_000)


# ------------------------------------------------------------------- forked


def test_forked_is_seeded_and_leaks_nothing() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    untouched = torch.rand(3), np.random.rand(3)
    torch.manual_seed(1)
    np.random.seed(1)
    with Rng(0).forked(5):
        first = torch.rand(3), np.random.rand(3)
    after = torch.rand(3), np.random.rand(3)
    with Rng(0).forked(5):
        again = torch.rand(3), np.random.rand(3)
    with Rng(0).forked(6):
        other = torch.rand(3)
    assert torch.equal(untouched[0], after[0]) and np.array_equal(untouched[1], after[1])
    assert torch.equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert not torch.equal(first[0], other)


def test_forked_restores_the_state_after_an_error() -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    with pytest.raises(ValueError, match="inside"), Rng(0).forked():
        torch.rand(3)
        np.random.rand(3)
        raise ValueError("inside")
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)


def test_drawing_never_touches_the_global_state() -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    draws(Rng(0), 10)
    Rng(0).permutation("p", 0, 10)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)
