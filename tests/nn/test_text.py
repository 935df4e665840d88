"""Encoders of captions: what is not there never counts. And conditions made of captions."""

import pytest
import torch
import torch.nn.functional as F

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import DataSpec, TextSchema
from morphogen.core.errors import DataError, SpecError
from morphogen.core.rng import Rng
from morphogen.nn.conditioning.conditioner import Conditioner, drop_conditions
from morphogen.nn.conditioning.text import TextEncoder, places

NAMES = ("transformer", "recurrent")
VOCABULARY, LONGEST = 30, 7
TEXT = TextSchema(longest=LONGEST, vocabulary=VOCABULARY)
CAPTIONED = DataSpec(name="d", shape=(2,), kind="continuous", text=TEXT)
BOTH = DataSpec(name="d", shape=(2,), kind="continuous", classes=("a", "b", "c"), text=TEXT)


def texts(lengths, width=LONGEST, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, VOCABULARY, (len(lengths), width), generator=generator)
    return ids, torch.arange(width) < torch.tensor(lengths)[:, None]


def encoder(name, dim=32):
    torch.manual_seed(0)
    net = TextEncoder(VOCABULARY, dim, name)
    torch.nn.init.normal_(net.out.weight, std=dim**-0.5)  # as if the context had been learned
    return net


@pytest.mark.parametrize("name", NAMES)
def test_padding_never_counts(name):
    """The same output and the same gradients, whatever the padding's ids and length, alone or beside longer texts."""
    net, (ids, mask) = encoder(name), texts([7, 4, 1, 0, 6])
    weights = torch.randn(5, LONGEST, 32), torch.randn(5, 32)

    def gradients(ids, mask):
        tokens, shown, pooled = net(ids, mask)
        loss = (tokens[:, :LONGEST] * weights[0][:, : tokens.shape[1]]).sum() + (pooled * weights[1]).sum()
        return tokens, shown, pooled, torch.autograd.grad(loss, list(net.parameters()))

    tokens, shown, pooled, grads = gradients(ids, mask)
    for extra, filling in ((0, 9), (3, 0), (11, 29)):
        other = F.pad(torch.where(mask, ids, filling), (0, extra), value=filling)
        tokens2, shown2, pooled2, grads2 = gradients(other, F.pad(mask, (0, extra)))
        assert torch.allclose(tokens2[:, :LONGEST], tokens, atol=1e-6, rtol=0) and not tokens2[:, LONGEST:].any()
        assert torch.allclose(pooled2, pooled, atol=1e-6, rtol=0)
        assert torch.equal(shown2[:, :LONGEST], shown) and not shown2[:, LONGEST:].any()
        for a, b in zip(grads, grads2, strict=True):
            assert torch.allclose(a, b, atol=1e-5 * float(a.abs().max()) + 1e-7, rtol=0)
    for row, n in enumerate([7, 4, 1]):
        alone = net(ids[row : row + 1, :n], mask[row : row + 1, :n])
        assert torch.allclose(alone[0][0], tokens[row, :n], atol=1e-6, rtol=0)
        assert torch.allclose(alone[2][0], pooled[row], atol=1e-6, rtol=0)
    assert not grads[0][:4].any(), "ids that stand nowhere but in the padding learn nothing"


@pytest.mark.parametrize("name", NAMES)
def test_words_and_their_order_count_everywhere(name):
    net, (ids, mask) = encoder(name), texts([5])
    tokens, _, pooled = net(ids, mask)
    swapped = ids.clone()
    swapped[0, 1], swapped[0, 2] = ids[0, 2], ids[0, 1]
    assert ids[0, 1] != ids[0, 2]
    moved, _, moved_pooled = net(swapped, mask)
    for place in (0, 3, 4):  # also tokens that stayed, before and after, see the difference
        assert (moved[0, place] - tokens[0, place]).abs().max() > 1e-3
    assert (moved_pooled - pooled).abs().max() > 1e-3
    assert torch.allclose(pooled[0], tokens[0, :5].sum(0) / 5**0.5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_text_starts_as_the_bag_of_its_words_at_unit_scale(name):
    torch.manual_seed(0)
    net, (ids, mask) = TextEncoder(VOCABULARY, 64, name), texts([3, 5, 7])
    tokens, _, pooled = net(ids, mask)
    assert torch.equal(tokens, net.embedding(ids) * mask[..., None])
    backwards = ids.flip(1).gather(1, torch.where(mask, torch.arange(7) + 7 - mask.sum(1, keepdim=True), 0))
    assert torch.allclose(net(backwards, mask)[2], pooled, atol=1e-6)
    many = net(*texts([3] * 500 + [7] * 500))[2].detach().square().mean(1)
    assert 0.7 < float(many[:500].mean()) < 1.6 and 0.7 < float(many[500:].mean()) < 1.6


@pytest.mark.parametrize("name", NAMES)
def test_no_text_is_one_learned_token(name):
    net, (ids, mask) = encoder(name), texts([0, 0, 3])
    tokens, shown, pooled = net(ids, mask)
    assert torch.equal(shown.sum(1), torch.tensor([1, 1, 3]))
    assert torch.equal(tokens[0], tokens[1]) and torch.equal(pooled[0], tokens[0, 0])
    (gradient,) = torch.autograd.grad(pooled[0].square().sum(), net.embedding.weight)
    assert gradient[-1].any() and not gradient[:-1].any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dim", (8, 33, 64))
def test_any_width_and_precision(name, dim):
    net, (ids, mask) = encoder(name, dim), texts([7, 2])
    exact = encoder(name, dim).double()(ids, mask)[2]
    assert exact.dtype == torch.float64 and torch.allclose(net(ids, mask)[2].double(), exact, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(net(ids, mask)[2].double(), exact, atol=0.1)


def test_places_differ_and_two_of_one_distance_have_one_product():
    p = places(20, 16).double()
    products = p @ p.T
    for distance in (1, 5):
        along = torch.diagonal(products, distance)
        assert torch.allclose(along, along[0].expand_as(along), atol=1e-5)
        assert (along < products[0, 0] - 1e-2).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", (CAPTIONED, BOTH))
def test_no_condition_equals_an_all_null_one_bit_for_bit(name, data):
    net, (ids, _) = Conditioner(data, 16, name), texts([5, 5, 5, 5])
    nothing = net(None, 4)
    none = torch.zeros(4, LONGEST, dtype=torch.bool)
    label = torch.full((4,), -1) if data.classes else None
    for width in (LONGEST, 2):
        given = net(RawCondition(label, text=ids[:, :width], text_mask=none[:, :width]), 4)
        assert torch.equal(given.tokens, nothing.tokens) and torch.equal(given.pooled, nothing.pooled)
        assert torch.equal(given.mask, nothing.mask) and given.mask.any(1).all()
    assert nothing.tokens.shape == (4, bool(data.classes) + LONGEST, 16)


def test_fields_come_first_and_then_the_words():
    net, (ids, mask) = Conditioner(BOTH, 16), texts([5, 2])
    given = net(RawCondition(torch.tensor([2, 0]), text=ids, text_mask=mask), 2)
    assert given.mask.sum(1).tolist() == [6, 3] and given.mask[:, 0].all()
    assert torch.equal(given.tokens[:, 0], net.label(torch.tensor([2, 0])))
    words, _, whole = net.text(ids, mask)
    assert torch.allclose(given.tokens[:, 1:], words)
    assert torch.allclose(given.pooled, net.act(net.pool(net.label(torch.tensor([2, 0])) + whole)))
    shorter = net(RawCondition(torch.tensor([2, 0]), text=ids[:, :5], text_mask=mask[:, :5]), 2)
    assert torch.equal(shorter.tokens, given.tokens) and torch.equal(shorter.pooled, given.pooled)


def test_what_cannot_be_read_is_refused():
    ids, mask = texts([3], width=LONGEST + 1)
    with pytest.raises(DataError, match="at most 7"):
        Conditioner(CAPTIONED, 16)(RawCondition(text=ids, text_mask=mask), 1)
    untrained = DataSpec(name="d", shape=(2,), kind="continuous", text=TextSchema(longest=4))
    with pytest.raises(SpecError, match="captions, but 'd' has none"):
        Conditioner(untrained, 16)


def test_hidden_conditions_teach_each_kind_without_the_other():
    n, share = 3000, 0.1
    ids, mask = texts([4] * n)
    cond = RawCondition(torch.zeros(n, dtype=torch.int64), text=ids, text_mask=mask)
    hidden = drop_conditions(Batch(torch.zeros(n, 2), torch.arange(n), cond), Rng(0), share)
    label, words = hidden.label == 0, hidden.text_mask.any(1)
    assert torch.equal(hidden.text_mask, mask & words[:, None]), "words are hidden whole"
    kinds = (label & words, label & ~words, ~label & words, ~label & ~words)
    counts = torch.stack([kind.sum() for kind in kinds])
    expected = torch.tensor([0.3, 0.3, 0.3, 0.1]) * n
    chi2 = float(((counts - expected).square() / expected).sum())
    assert chi2 < 21.1  # 1 in 10,000 with three degrees of freedom
    alone = Batch(torch.zeros(n, 2), torch.arange(n), RawCondition(text=ids, text_mask=mask))
    assert torch.equal(drop_conditions(alone, Rng(0), 0.0).text_mask, mask), "words with nothing beside them stay"
