"""Weights of words: what is written, what the tokens get, and what networks make of it. 1 is nothing, 2 is twice."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from morphogen.core.batch import Condition, RawCondition
from morphogen.core.data_spec import PAD, DataSpec, TextSchema
from morphogen.core.errors import UsageError
from morphogen.core.rng import Rng
from morphogen.data.tokenizer import Read, Tokenizer
from morphogen.data.weighted_prompts import parts, read, words
from morphogen.nn.conditioning.conditioner import Conditioner
from morphogen.nn.conditioning.text import TextEncoder
from morphogen.nn.layers import attention as attention_module
from morphogen.nn.layers.attention import CrossAttention, attention, attention_weights

CAPTIONS = ["a small red circle", "a large green square", "a small green circle above a large red square"]
LONGEST = 14
TOKENIZER = Tokenizer.trained(CAPTIONS * 2, 300)
SCHEMA = TextSchema(longest=LONGEST, vocabulary=TOKENIZER.vocabulary)
NAMES = ("transformer", "recurrent")


@pytest.fixture(autouse=True)
def _seeded():
    with Rng(0).forked():
        yield


def counted(prompt: str) -> Read:
    return read(TOKENIZER, [prompt], LONGEST)


def plain(prompt: str) -> Read:
    return TOKENIZER.read([prompt], LONGEST)


# ----------------------------------------------------------------- the grammar


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red circle", [("a red circle", 1.0)]),
        ("a (red:1.5) circle", [("a ", 1.0), ("red", 1.5), (" circle", 1.0)]),
        ("(a red circle: 2 )", [("a red circle", 2.0)]),
        ("(a:0) (red:.5)(b:1e1)", [(" ", 1.0), ("red", 0.5), ("b", 10.0)]),
        ("a (red) circle", [("a (red) circle", 1.0)]),
        (r"a \(red:2\) circle\\", [("a (red:2) circle\\", 1.0)]),
        (r"(\(a\):2)", [("(a)", 2.0)]),
        ("", []),
    ],
)
def test_the_grammar(prompt, expected):
    assert parts(prompt) == expected


@pytest.mark.parametrize("prompt", ["(red:-1)", "(red:much)", "(red:)", "(red:nan)", "(red:inf)", "((red:2) circle:3)"])
def test_weights_that_are_none_are_refused_with_advice(prompt):
    with pytest.raises(UsageError, match=r"plain\s+parentheses"):
        parts(prompt)


# ------------------------------------------------------------ weights of tokens


def test_each_token_of_the_words_gets_the_weight():
    found = counted("a (small crimson:1.5) circle")
    assert torch.equal(found.ids, plain("a small crimson circle").ids)
    assert found.warnings == plain("a small crimson circle").warnings and "'crimson'" in found.warnings[0]
    places = dict(words(TOKENIZER, "a (small crimson:1.5) circle", LONGEST))
    assert len(places["crimson"]) > 1, "a word in pieces"
    heavy = [*places["small"], *places["crimson"]]
    assert set(found.weights[0, heavy].tolist()) == {1.5}
    others = [i for i in range(LONGEST) if i not in heavy]
    assert set(found.weights[0, others].tolist()) == {1.0}


def test_a_weight_of_1_is_no_weight_and_0_no_word():
    for same in ("a (red:1) circle", "(a red circle:1.0)"):
        assert torch.equal(counted(same).ids, plain("a red circle").ids) and counted(same).weights is None
    for gone in ("a (red:0) circle", "a (very very red:0)circle"):
        assert torch.equal(counted(gone).ids, plain("a circle").ids) and counted(gone).weights is None
    assert not counted("(red:0)").ids.any(), "no words, no text"


def test_of_a_prompt_that_is_too_long_the_weights_are_cut_with_the_words():
    short = read(TOKENIZER, ["a small (red circle above a large:3) square"], 6)
    assert short.ids.shape == short.weights.shape == (1, 6)
    assert short.weights.tolist() == [[1.0, 1.0, 1.0, 3.0, 3.0, 1.0]], "the mark of the end counts once"
    assert [word for word, _ in words(TOKENIZER, "a small (red circle:3) square", 6)] == ["a", "small", "red", "circle"]


def test_prompts_with_and_without_weights_are_read_together():
    found = read(TOKENIZER, ["a red circle", "a (red:2) circle", ""], LONGEST)
    assert found.weights[0].eq(1).all() and found.weights[1, 2] == 2.0 and found.weights[2].eq(1).all()


# ------------------------------------------------------------------- attention


def keys(length: int = 5):
    q, k, v = (torch.randn(3, 2, n, 4, dtype=torch.float64) for n in (6, length, length))
    return q, k, v


@pytest.mark.parametrize("fused", [False, True])
def test_a_weight_of_2_is_the_key_twice_and_0_is_no_key(fused, monkeypatch):
    q, k, v = keys()
    if fused:
        monkeypatch.setattr(attention_module, "_WRITTEN_OUT", 0)
    counts = torch.tensor([1.0, 2.0, 0.0, 3.0, 1.0], dtype=torch.float64)
    repeated = counts.long()
    expected = attention(q, k.repeat_interleave(repeated, dim=2), v.repeat_interleave(repeated, dim=2))
    assert torch.allclose(attention(q, k, v, counts.expand(3, -1)), expected, atol=1e-12)


def test_a_weight_of_1_everywhere_is_no_mask_bit_for_bit():
    q, k, v = (x.float() for x in keys())
    assert torch.equal(attention(q, k, v, torch.ones(3, 5)), attention(q, k, v))
    shown = torch.arange(5) < torch.tensor([[5], [2], [1]])
    assert torch.equal(attention(q, k, v, shown.float()), attention(q, k, v, shown))


def test_weights_multiply_the_odds():
    """With weight w on one key, the odds of that key against any other are w times what they were."""
    q, k, _ = keys()
    before, after = attention_weights(q, k), attention_weights(q, k, torch.tensor([[1.0, 1.7, 1.0, 1.0, 1.0]] * 3))
    odds = (after[..., 1] / after[..., 3]) / (before[..., 1] / before[..., 3])
    assert torch.allclose(odds, torch.full_like(odds, 1.7), atol=1e-6)
    assert torch.allclose(after.sum(-1), torch.ones(3, 2, 6, dtype=torch.float64), atol=1e-12)


def test_a_key_that_counts_0_times_has_a_gradient_of_zero_and_no_nan():
    net = CrossAttention(8, 6, head_width=4)
    x, counts = torch.randn(2, 5, 8), torch.tensor([[1.0, 0.0, 2.5], [0.0, 0.0, 0.0]])
    tokens = torch.randn(2, 3, 6, requires_grad=True)
    out = net(x, tokens, counts)
    out.square().sum().backward()
    assert tokens.grad.isfinite().all() and not tokens.grad[counts == 0].any() and tokens.grad[counts > 0].all()
    assert torch.allclose(net(x[1:], None), out[1:], atol=1e-6), "what counts nowhere is as no tokens"


# ------------------------------------------------------------- texts, conditions


def encoder(name: str) -> TextEncoder:
    net = TextEncoder(TOKENIZER.vocabulary, 32, name)
    torch.nn.init.normal_(net.out.weight, std=32**-0.5)  # as if the context had been learned
    return net.double()


@pytest.mark.parametrize("name", NAMES)
def test_a_text_of_weights_1_and_padding_is_the_text(name):
    net, ids = encoder(name), TOKENIZER.ids(["a small red circle", "a circle", ""], LONGEST)
    expected = net(ids, ids != PAD)
    tokens, counts, pooled = net(ids, (ids != PAD).double())
    assert torch.equal(tokens, expected[0]) and torch.equal(counts, expected[1].double())
    assert torch.allclose(pooled, expected[2], atol=1e-12)


def test_the_whole_text_counts_its_tokens_by_weight():
    net, ids = encoder("transformer"), TOKENIZER.ids(["a small red circle"], LONGEST)
    counts = (ids != PAD).double()
    counts[0, 3] = 2.5
    tokens, _, pooled = net(ids, counts)
    expected = (tokens * counts[..., None]).sum(1) / counts.sum() ** 0.5
    assert torch.allclose(pooled, expected, atol=1e-12)


def test_a_bag_of_words_with_one_that_counts_twice_is_the_bag_with_it_twice():
    """Before anything is learned of context, a text is the bag of its words."""
    net = TextEncoder(TOKENIZER.vocabulary, 32).double()
    twice = TOKENIZER.ids(["a red red circle"], LONGEST)
    found = counted("a (red:2) circle")
    pooled = net(found.ids, (found.ids != PAD) * found.weights)[2]
    assert torch.allclose(pooled, net(twice, twice != PAD)[2], atol=1e-6)


def conditions(name: str) -> tuple[Conditioner, RawCondition, RawCondition]:
    net = Conditioner(DataSpec(name="d", shape=(2,), kind="continuous", classes=("a", "b"), text=SCHEMA), 16, name)
    torch.nn.init.normal_(net.text.out.weight, std=0.25)
    here, there = (TOKENIZER.ids([text], LONGEST) for text in ("a small red circle", "a large green square"))
    label = torch.tensor([1])
    return net, *(RawCondition(label, text=ids, text_mask=ids != PAD) for ids in (here, there))


def between(here: RawCondition, there: RawCondition, share: list[float]) -> RawCondition:
    n = len(share)
    return dataclasses.replace(here.repeated(n), towards=there.repeated(n), share=torch.tensor(share))


def seen(net: CrossAttention, x: torch.Tensor, condition: Condition) -> torch.Tensor:
    return net(x, condition.tokens, condition.mask)


@pytest.mark.parametrize("name", NAMES)
def test_the_way_from_one_condition_to_another_ends_at_both(name):
    net, here, there = conditions(name)
    words_seen, x = CrossAttention(8, 16, head_width=4), torch.randn(1, 5, 8)
    for share, end in ((0.0, here), (1.0, there)):
        on_the_way = net(between(here, there, [share]), 1)
        assert torch.allclose(on_the_way.pooled, net(end, 1).pooled, atol=1e-6)
        assert torch.allclose(seen(words_seen, x, on_the_way), seen(words_seen, x, net(end, 1)), atol=1e-6)


def test_half_way_both_texts_count_half():
    net, here, there = conditions("transformer")
    a, b = net(here, 1), net(there, 1)
    half = a.blended(b, torch.tensor([0.5]))
    assert half.mask.sum() == (a.mask.sum() + b.mask.sum()) / 2
    assert torch.allclose(half.pooled, (a.pooled + b.pooled) / 2)
    words_seen, x = CrossAttention(8, 16, head_width=4), torch.randn(1, 5, 8)
    weights = words_seen.weights(x, half.tokens, half.mask)  # (1, heads, places, 1 + both texts), the learned key first
    odds, whole = weights[..., 1:] / weights[..., :1], words_seen.weights(x, a.tokens, a.mask)
    n = a.tokens.shape[1]
    assert torch.allclose(odds[..., :n], 0.5 * whole[..., 1:] / whole[..., :1], atol=1e-5)


def test_rows_of_a_condition_keep_what_they_lead_to():
    net, here, there = conditions("transformer")
    ends = between(here, there, [0.0, 0.5, 1.0])
    assert torch.allclose(net(ends[1:], 2).pooled, net(ends, 3).pooled[1:], atol=1e-6)
    assert torch.equal(ends.repeated(2).share, torch.tensor([0.0, 0.0, 0.5, 0.5, 1.0, 1.0]))
    assert len(ends.repeated(2).towards.text) == 6
