"""Quantizers: nearest codes, exponential averages in closed form, digits, straight-through gradients, revival."""

import itertools
import math

import pytest
import torch
from scipy.stats import chi2
from sklearn.cluster import KMeans

from morphogen.core.rng import Rng
from morphogen.nn.quantization.quantizer import FSQ, Codebook, usage


def book(size=7, dim=3, residual=1, **options):
    with Rng(0).forked():
        return Codebook(size, dim, residual, **options).double()


def normal(purpose, *shape):
    return Rng(1).normal(purpose, shape[0], shape[1:], torch.float64)


def uniform(n, residual=1, seed=0):
    return Rng(seed).uniform("revival", n, (residual,))


def learn(quantizer, z, parts=1, seed=0):
    """One step of training, its batch in so many parts."""
    codes = quantizer(z).codes
    for z_part, codes_part, u in zip(
        z.chunk(parts), codes.chunk(parts), uniform(len(z), quantizer.residual, seed).chunk(parts), strict=True
    ):
        quantizer.observe(z_part, codes_part, u)
    quantizer.commit()
    return codes


# ------------------------------------------------------------------ codebook


def test_codes_are_the_nearest_by_brute_force():
    quantizer, z = book(), normal("z", 50, 3)
    codes, value, error = quantizer(z.reshape(5, 10, 3))
    for i, v in enumerate(z):
        distances = [float((v - e).square().sum()) for e in quantizer.vectors[0]]
        k = min(range(7), key=distances.__getitem__)
        assert int(codes.reshape(-1)[i]) == k
        assert float(error.reshape(-1)[i]) == pytest.approx(distances[k], rel=1e-12)
    assert codes.shape == (5, 10, 1)
    assert torch.allclose(value, quantizer.lookup(codes), atol=1e-15)


def test_residual_codes_are_the_nearest_to_what_is_left():
    quantizer, z = book(residual=3), normal("z", 20, 3)
    codes, value, _ = quantizer(z)
    left = z
    for r in range(3):
        assert torch.equal(codes[:, r], torch.cdist(left, quantizer.vectors[r]).argmin(1))
        left = left - quantizer.vectors[r][codes[:, r]]
    assert torch.allclose(value, z - left, atol=1e-14)
    assert torch.allclose(value, quantizer.lookup(codes), atol=1e-14)


def test_bf16_around_it_changes_no_code():
    quantizer, z = book(size=200).float(), normal("z", 500, 3).float()
    with torch.autocast("cpu", torch.bfloat16):
        inside = quantizer(z)
    assert torch.equal(inside.codes, quantizer(z).codes) and inside.value.dtype == torch.float32


@pytest.mark.parametrize("residual", [1, 2])
def test_vectors_are_the_exponential_averages_of_what_was_assigned(residual):
    """N_T = (1 - d) sum_t d^(T-t) n_t and e_T = m_T / N_T with m_T the same sum of s_t, over 30 steps."""
    decay, steps = 0.8, 30
    quantizer = book(size=3, dim=2, residual=residual, decay=decay, dead_below=1e-9)
    # From where every code has been used: an average of nothing is not defined.
    m = torch.rand(residual, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    n = torch.ones(residual, 3, dtype=torch.float64)
    quantizer.vectors.copy_(m)
    quantizer.counts.copy_(n)
    for step in range(steps):
        z = normal(f"z{step}", 40, 2)
        before = quantizer.vectors.clone()
        codes = learn(quantizer, z)
        left = z
        for r in range(residual):
            one_hot = torch.nn.functional.one_hot(codes[:, r], 3).double()
            n[r] = decay * n[r] + (1 - decay) * one_hot.sum(0)
            m[r] = decay * m[r] + (1 - decay) * one_hot.T @ left
            left = left - before[r][codes[:, r]]
        assert torch.allclose(quantizer.counts, n, rtol=1e-12)
        assert torch.allclose(quantizer.vectors, m / n[..., None], rtol=1e-9, atol=1e-12)


def test_a_step_in_parts_is_the_whole_step():
    """Also its revivals: a new codebook is dead at first."""
    z = normal("z", 240, 3)
    whole, parts = book(size=40, residual=2), book(size=40, residual=2)
    for step in range(5):
        learn(whole, z + step / 10, seed=step)
        learn(parts, z + step / 10, parts=4, seed=step)
        assert torch.allclose(whole.vectors, parts.vectors, rtol=0, atol=1e-12)
        assert torch.allclose(whole.counts, parts.counts, rtol=1e-12)
    assert not torch.allclose(whole.vectors, book(size=40, residual=2).vectors, atol=0.1)


def test_nothing_moves_without_an_observation_or_twice():
    quantizer, z = book(), normal("z", 50, 3)
    quantizer.commit()
    assert torch.equal(quantizer.vectors, book().vectors)
    learn(quantizer, z)
    after = quantizer.vectors.clone()
    quantizer.commit()
    assert torch.equal(quantizer.vectors, after)
    quantizer(z)
    quantizer.commit()
    assert torch.equal(quantizer.vectors, after)


def test_dead_codes_move_to_outputs_of_the_step_and_living_ones_stay():
    quantizer = book(size=6, dim=2, decay=0.5, dead_below=0.1)
    z = normal("z", 100, 2)
    quantizer.vectors[0, :3], quantizer.vectors[0, 3:] = 1e3, z[:3]  # three that nothing is near
    quantizer.counts.fill_(10.0)
    quantizer.counts[0, :3] = 1e-3
    learn(quantizer, z)
    is_output = (quantizer.vectors[0, :, None] == z).all(-1).any(-1)
    assert is_output.tolist() == [True] * 3 + [False] * 3
    assert len(quantizer.vectors[0, :3].unique(dim=0)) == 3  # without replacement
    assert torch.allclose(quantizer.counts[0, :3], torch.tensor((30.003 * 0.5 + 50.0) / 6, dtype=torch.float64))
    revived = quantizer.vectors.clone()
    learn(quantizer, z)
    assert (torch.cdist(quantizer.vectors[0, :3], revived[0, :3]).diagonal() < 2.0).all()  # not moved anew at once


def test_more_dead_codes_than_outputs_wait():
    quantizer, z = book(size=50), normal("z", 4, 3)
    before = quantizer.vectors.clone()
    learn(quantizer, z)
    moved = (quantizer.vectors != before).any(-1)
    assert 4 <= int(moved.sum()) <= 8  # each of four revived, and what the four were assigned to
    assert quantizer.vectors.isfinite().all()


def test_candidates_are_drawn_in_proportion_to_their_squared_error():
    """A chi-squared test of the first draw; it alarms falsely once in a million runs."""
    quantizer = book(size=2, dim=1, dead_below=0.5)
    z = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)
    codes = torch.zeros(3, 1, dtype=torch.int64)
    n, seen = 1500, torch.zeros(3)
    for seed in range(n):
        quantizer.vectors.zero_()
        quantizer.counts.copy_(torch.tensor([[100.0, 0.0]]))
        quantizer.observe(z, codes, uniform(3, seed=seed))
        quantizer.commit()
        seen[int(quantizer.vectors[0, 1, 0]) - 1] += 1
    expected = n * torch.tensor([1.0, 4.0, 9.0]) / 14.0
    assert float(((seen - expected).square() / expected).sum()) < chi2.isf(1e-6, 2)


def test_it_comes_to_the_error_of_k_means_and_uses_every_code():
    """From a start far away, where a single code is the nearest one of almost all."""
    quantizer = book(size=16, dim=2)
    assert len(quantizer(20.0 + normal("test", 4000, 2)).codes.unique()) <= 3
    for step in range(300):
        learn(quantizer, 20.0 + normal(f"z{step}", 256, 2), seed=step)
    test = 20.0 + normal("test", 4000, 2)
    codes, _, error = quantizer(test)
    best = KMeans(16, n_init=3, random_state=0).fit(test.numpy()).inertia_ / len(test)
    used, perplexity = usage(codes, 16)
    assert used.tolist() == [1.0] and float(perplexity) > 12.0
    assert float(error.mean()) < 1.15 * best


def test_each_level_of_k_means_lowers_the_error():
    z = normal("z", 2000, 4)
    quantizer, left, errors = book(size=8, dim=4, residual=4), z, [float(z.square().sum(-1).mean())]
    for r in range(4):
        fitted = KMeans(8, n_init=1, random_state=0).fit(left.numpy())
        quantizer.vectors[r] = torch.as_tensor(fitted.cluster_centers_)
        left = left - quantizer.vectors[r][torch.cdist(left, quantizer.vectors[r]).argmin(1)]
        one = book(size=8, dim=4, residual=r + 1)
        one.vectors.copy_(quantizer.vectors[: r + 1])
        errors.append(float(one(z).error.mean()))
    assert all(later < 0.8 * earlier for earlier, later in itertools.pairwise(errors))


# ----------------------------------------------------------------------- fsq


@pytest.mark.parametrize("levels, residual", [((3, 4, 5), 1), ((2, 3), 2), ((2,), 4)])
def test_codes_of_fsq_are_all_cells_once(levels, residual):
    quantizer = FSQ(levels, residual)
    size, d = math.prod(levels), len(levels)
    assert quantizer.size == size
    codes = torch.cartesian_prod(*[torch.arange(size)] * residual).reshape(-1, residual)
    value = quantizer.lookup(codes)
    assert value.shape == (size**residual, d) and len(value.unique(dim=0)) == size**residual
    assert torch.equal(quantizer(value.double().atanh()).codes, codes)
    for i, level in enumerate(levels):  # centers of equal cells
        n = level**residual
        expected = (2.0 * torch.arange(n) + 1.0) / n - 1.0
        assert torch.allclose(value[:, i].unique(), expected, atol=1e-6)


def test_fsq_takes_the_nearest_center_and_residual_digits_refine_it():
    z = 2.0 * normal("z", 300, 3)
    errors = []
    for residual in (1, 2, 3):
        quantizer = FSQ((3, 4, 2), residual)
        codes, value, error = quantizer(z)
        assert torch.allclose(value, quantizer.lookup(codes).double(), atol=1e-7)
        n = torch.tensor([3, 4, 2]) ** residual
        assert ((value - z.tanh()).abs() <= 1.0 / n + 1e-6).all()
        assert torch.equal(codes[:, 0], FSQ((3, 4, 2))(z).codes[:, 0])
        errors.append(float(error.mean()))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    extreme = FSQ((3, 4, 2))(torch.tensor([[-100.0, 100.0, 100.0]])).codes
    assert extreme.tolist() == [[0 + 3 * 3 + 12 * 1]]


# ---------------------------------------------------------------------- both


@pytest.mark.parametrize("residual", [1, 2])
@pytest.mark.parametrize("kind", ["codebook", "fsq"])
def test_the_gradient_passes_straight_through(kind, residual):
    z = normal("z", 10, 3).requires_grad_()
    quantizer = book(residual=residual) if kind == "codebook" else FSQ((3, 4, 5), residual)
    cotangent = normal("c", 10, 3)
    (through,) = torch.autograd.grad(quantizer(z).value, z, cotangent)
    inner = torch.ones_like(z) if kind == "codebook" else 1.0 - z.tanh().square()
    assert torch.allclose(through, cotangent * inner.detach(), rtol=1e-12)
    (pull,) = torch.autograd.grad(quantizer(z).error.sum(), z)
    bounded = z if kind == "codebook" else z.tanh()
    expected = 2.0 * (bounded - quantizer.lookup(quantizer(z).codes)) * inner
    assert torch.allclose(pull, expected.detach(), atol=1e-6)
    assert float(pull.abs().sum()) > 0


@pytest.mark.parametrize("quantizer", [book(residual=2), FSQ((3, 4, 2), 2)], ids=["codebook", "fsq"])
def test_tables_are_the_vectors_but_for_one_shift_and_scale(quantizer):
    table = quantizer.table().double()
    assert table.shape == (2, quantizer.size, 3)
    assert torch.allclose(table.mean(1), torch.zeros(2, 3, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(table.square().mean((1, 2)), torch.ones(2, dtype=torch.float64), atol=1e-6)
    k = torch.arange(quantizer.size)
    vectors = quantizer.lookup(torch.stack((k, torch.zeros_like(k)), dim=-1)).double()  # another level 2 shifts them
    centered = vectors - vectors.mean(0)
    scale = centered.square().mean(0 if isinstance(quantizer, FSQ) else (0, 1)).sqrt()
    assert torch.allclose(centered / scale, table[0], atol=1e-6)


def test_use_and_perplexity():
    codes = torch.tensor([[0, 3], [1, 3], [2, 3], [3, 3]]).repeat(5, 1)
    used, perplexity = usage(codes, 8)
    assert used.tolist() == [0.5, 0.125]
    assert torch.allclose(perplexity, torch.tensor([4.0, 1.0]))
