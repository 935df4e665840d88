"""Attention: equal to the dense formula, blind to padding, differentiable forwards; the embedding of noise levels."""

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from morphogen.core.batch import Condition
from morphogen.core.rng import Rng
from morphogen.nn.conditioning.time_embedding import TimeEmbedding
from morphogen.nn.layers import attention as module
from morphogen.nn.layers.attention import CrossAttention, SelfAttention, attention, attention_weights


@pytest.fixture(autouse=True)
def _seeded():
    with Rng(0).forked():
        yield


def inputs(n=6, length=5, dtype=torch.float64):
    """q, k, v and a mask under which the records see 5, 2 and 1 keys."""
    q, k, v = (torch.randn(3, 2, size, 4, dtype=dtype) for size in (n, length, length))
    return q, k, v, torch.arange(length) < torch.tensor([[5], [2], [1]])


def test_attention_equals_the_formula_key_by_key():
    q, k, v, mask = inputs()
    out = attention(q, k, v, mask)
    for b, h, i in ((0, 0, 0), (1, 1, 3), (2, 0, 5)):
        seen = [j for j in range(5) if mask[b, j]]
        weights = [math.exp(float(q[b, h, i] @ k[b, h, j]) / 2.0) for j in seen]
        expected = sum(w * v[b, h, j] for w, j in zip(weights, seen, strict=True)) / sum(weights)
        assert torch.allclose(out[b, h, i], expected, atol=1e-12)


@pytest.mark.parametrize("masked", (False, True))
def test_both_ways_to_compute_attention_agree(masked, monkeypatch):
    q, k, v, mask = inputs()
    mask = mask if masked else None
    written_out = attention(q, k, v, mask)
    monkeypatch.setattr(module, "_WRITTEN_OUT", 0)
    called = []
    monkeypatch.setattr(
        module.F, "scaled_dot_product_attention", lambda *a: called.append(1) or scaled_dot_product_attention(*a)
    )
    assert torch.allclose(attention(q, k, v, mask), written_out, atol=1e-12)
    assert called, "the second way is the fused kernel"


def test_weights_are_a_distribution_over_what_is_not_hidden():
    q, k, _, mask = inputs()
    weights = attention_weights(q, k, mask)
    assert torch.allclose(weights.sum(-1), torch.ones(3, 2, 6, dtype=torch.float64), atol=1e-12)
    assert not weights.masked_select(~mask[:, None, None]).any() and (weights[0] > 0).all()


def test_forward_mode_derivatives_work_where_the_fused_kernel_would_be_taken(monkeypatch):
    q, k, v, mask = inputs()
    dq = torch.randn_like(q)
    monkeypatch.setattr(module, "_WRITTEN_OUT", 0)
    _, derivative = torch.func.jvp(lambda x: attention(x, k, v, mask), (q,), (dq,))
    difference = (attention(q + 1e-6 * dq, k, v, mask) - attention(q - 1e-6 * dq, k, v, mask)) / 2e-6
    assert torch.allclose(derivative, difference, atol=1e-8)


def test_self_attention_is_the_dense_formula_and_knows_no_order():
    net = SelfAttention(12, head_width=4).double()
    assert net.heads == 3
    x = torch.randn(2, 7, 12, dtype=torch.float64)
    q, k, v = net.qkv(x).chunk(3, dim=-1)
    heads = [
        torch.softmax(q[..., part] @ k[..., part].mT / 2.0, -1) @ v[..., part]
        for part in (slice(0, 4), slice(4, 8), slice(8, 12))
    ]
    assert torch.allclose(net(x), net.out(torch.cat(heads, -1)), atol=1e-12)
    order = torch.randperm(7)
    assert torch.allclose(net(x[:, order]), net(x)[:, order], atol=1e-12)


@pytest.mark.parametrize("width, heads", [(16, 1), (64, 1), (96, 1), (128, 2), (160, 2), (192, 3), (256, 4)])
def test_heads_are_at_least_as_wide_as_asked_and_divide_the_width(width, heads):
    assert SelfAttention(width).heads == heads


def test_padding_never_changes_cross_attention_nor_gets_a_gradient():
    net = CrossAttention(8, 6, head_width=4)
    x, mask = torch.randn(3, 5, 8), torch.arange(4) < torch.tensor([[4], [2], [0]])
    tokens = torch.randn(3, 4, 6, requires_grad=True)
    out = net(x, tokens, mask)
    out.square().sum().backward()
    assert not tokens.grad[~mask].any() and tokens.grad[mask].abs().sum(-1).all()
    with torch.no_grad():
        noise = torch.where(mask[..., None], tokens, 1e6 * torch.randn_like(tokens))
        assert torch.equal(net(x, noise, mask), out), "whatever the padding holds"
        assert torch.allclose(net(x[1:2], tokens[1:2, :2]), out[1:2], atol=1e-6), "however much of it there is"
        assert torch.allclose(net(x[2:], None), out[2:], atol=1e-6), "no word is as no tokens"


def test_cross_attention_weights_say_what_the_output_is_made_of():
    net = CrossAttention(8, 6, head_width=4).double()
    x, tokens = torch.randn(2, 5, 8, dtype=torch.float64), torch.randn(2, 3, 6, dtype=torch.float64)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    weights = net.weights(x, tokens, mask)  # (B, heads, N, 1 + L)
    assert weights.shape == (2, 2, 5, 4) and not weights[1, :, :, 2:].any()
    values = torch.cat((net.null.expand(2, 1, -1), net.kv(tokens)), dim=1)[..., 8:]
    mixed = torch.cat([weights[:, h] @ values[..., 4 * h : 4 * h + 4] for h in range(2)], -1)
    assert torch.allclose(net(x, tokens, mask), net.out(mixed), atol=1e-12)


def test_time_embedding_separates_noise_levels_and_stays_precise_under_autocast():
    net = TimeEmbedding(16)
    u = torch.linspace(-20, 20, 401)
    e = net(u)
    distance = torch.cdist(e, e) + torch.eye(len(u))
    assert distance.min() > 0.05 * distance.diagonal(1).median(), "no two levels look alike"
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(net(u), e) and net(u).dtype == torch.float32


def test_time_embedding_takes_several_numbers_and_a_condition():
    net = TimeEmbedding(16, cond=3, inputs=2)
    u, pooled = torch.randn(4, 2), torch.randn(4, 3)
    plain = net(u)
    assert plain.shape == (4, 16)
    assert not torch.allclose(plain, net(u.flip(1)), atol=1e-3), "each number has its meaning"
    tokens = Condition(torch.zeros(4, 1, 3), torch.ones(4, 1, dtype=torch.bool), pooled)
    moved = net(u, tokens)
    assert not torch.isclose(moved, plain, atol=1e-4).all(1).any()
    with torch.no_grad():
        net.pooled.weight.zero_(), net.pooled.bias.zero_()
    assert torch.equal(net(u, tokens), plain)
