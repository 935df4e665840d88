"""Distributions over sequences: they sum to one by enumeration, ignore padding, and draw what they say."""

from __future__ import annotations

import itertools
import json

import pytest
import torch

from morphogen.core.sequences import BEGIN, END, PADDING, SPECIAL, SequenceSchema, well_formed
from morphogen.data.sequences.tokenizers import describe, to_ids, to_texts
from morphogen.nn.backbones.sequence_transformer import SequenceTransformer, rotated
from morphogen.nn.sequences import CausalSequences
from morphogen.nn.smiles_grammar import SmilesGrammar

LONGEST = 5


def schema_of(letters: str, longest: int = LONGEST, kind: str = "characters") -> SequenceSchema:
    return describe(kind, [letters], None).replace(longest=longest)  # type: ignore[arg-type]


def every(schema: SequenceSchema) -> torch.Tensor:
    """All sequences of fewer than L tokens."""
    tokens = range(SPECIAL, schema.vocabulary)
    rows = [
        [*text, END] + [PADDING] * (schema.longest - n - 1)
        for n in range(schema.longest)
        for text in itertools.product(tokens, repeat=n)
    ]
    return torch.tensor(rows)


def network(schema: SequenceSchema, *, cond: int = 0, grammar: bool = False, seed: int = 0) -> CausalSequences:
    torch.manual_seed(seed)
    net = CausalSequences(schema, width=16, blocks=2, cond=cond, grammar=grammar).double().eval()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.4)
    return net.requires_grad_(False)


def test_the_mass_of_all_sequences_is_one():
    schema = schema_of("abc")
    net, x = network(schema, cond=3), every(schema)
    for seed in range(3):
        c = torch.randn(1, 3, generator=torch.Generator().manual_seed(seed)).double()
        assert net(x, c.expand(len(x), -1)).exp().sum() == pytest.approx(1.0, abs=1e-12)


def test_what_is_no_sequence_has_no_mass():
    net = network(schema_of("abc"))
    x = torch.tensor([[3, 0, 2, 0, 0], [3, 3, 3, 3, 3], [2, 3, 0, 0, 0], [BEGIN, 2, 0, 0, 0]])
    assert (net(x) == -torch.inf).all()


def test_a_likelihood_does_not_depend_on_the_batch_or_its_padding():
    net = network(schema_of("abc"))
    x = every(schema_of("abc"))
    whole = net(x)
    for row in (0, 1, 7, 40, 100):
        assert net(x[row : row + 1])[0] == pytest.approx(float(whole[row]), abs=1e-12)


def test_draws_have_the_frequencies_of_their_mass_cached_and_in_any_batch():
    schema = schema_of("ab", 4)
    net, x = network(schema), every(schema)
    n = 40_000
    u = torch.rand(n, 4, generator=torch.Generator().manual_seed(0)).double()
    drawn = net.sample(u)
    assert well_formed(drawn).all()
    seen = torch.stack([(drawn == row).all(-1).double().mean() for row in x])
    p = net(x).exp()
    deviation = (p * (1 - p) / n).sqrt()
    assert ((seen - p).abs() <= 4.5 * deviation + 1e-9).all()
    parts = torch.cat([net.sample(rows) for rows in u[:300].split(7)])
    assert torch.equal(parts, drawn[:300])


def test_temperature_zero_takes_the_likeliest_token_of_each_place():
    schema = schema_of("ab", 4)
    net = network(schema)
    one = net.sample(torch.rand(3, 4).double(), temperature=0.0)
    assert (one == one[0]).all()
    cooler = net(net.sample(torch.rand(2000, 4).double(), temperature=0.5)).mean()
    assert cooler > net(net.sample(torch.rand(2000, 4).double())).mean()


def test_guidance_is_the_power_of_the_ratio_and_one_is_none():
    schema = schema_of("ab", 2)  # one token or none: then guided probabilities are proportional by sequence
    net, x = network(schema, cond=2), every(schema)
    c, null = torch.tensor([[1.0, -2.0]]).double(), torch.zeros(1, 2).double()
    n = 40_000
    u = torch.rand(n, 2, generator=torch.Generator().manual_seed(1)).double()
    given, away = c.expand(n, -1), null.expand(n, -1)
    assert torch.equal(net.sample(u, given, away_from=away, guidance=1.0), net.sample(u, given))
    drawn = net.sample(u, given, away_from=away, guidance=2.5)
    l_c, l_0 = (net(x, v.expand(len(x), -1)) for v in (c, null))
    p = (l_0 + 2.5 * (l_c - l_0)).softmax(0)
    seen = torch.stack([(drawn == row).all(-1).double().mean() for row in x])
    assert ((seen - p).abs() <= 4.5 * (p * (1 - p) / n).sqrt() + 1e-9).all()


def test_rotations_depend_on_the_difference_of_places_alone():
    g = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, 8, generator=g).double() for _ in range(2))
    angle = torch.arange(12).double()[:, None] * torch.tensor([1.0, 0.3, 0.1, 0.01]).double()
    cos, sin = angle.cos(), angle.sin()
    product = rotated(q.expand(12, -1), cos, sin) @ rotated(k.expand(12, -1), cos, sin).T
    for shift in range(1, 12):
        diagonal = product.diagonal(shift)
        assert torch.allclose(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-12)


def test_places_that_are_not_kept_change_nothing():
    torch.manual_seed(0)
    net = SequenceTransformer(9, 8, width=16, blocks=2, causal=False).double()
    ids = torch.randint(0, 9, (3, 8))
    keep = torch.arange(8) < torch.tensor([[8], [5], [2]])
    features, packing = net(ids, keep)
    changed, _ = net(torch.where(keep, ids, 1), keep)
    assert torch.equal(features, changed) and len(features) == 15
    alone, _ = net(ids[2:, :2], keep[2:, :2])
    assert torch.allclose(packing.spread(features)[2, :2], alone, atol=1e-12)


# ------------------------------------------------------------------- grammar


def test_under_a_grammar_the_mass_is_one_too():
    schema = schema_of("C(=)1", 7, "smiles")
    net = network(schema, grammar=True)
    x = every(schema)
    total = sum(float(net(rows).exp().sum()) for rows in x.split(4096))
    assert total == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("CC(C)C", True),
        ("C1CC1", True),
        ("C1=CC=1C", True),
        ("C(=C)C", True),
        ("C12CC1C2", True),
        ("C(C", False),
        ("C)C", False),
        ("C1CC", False),
        ("C11", False),
        ("C1C1", False),
        ("CC=", False),
        ("C==C", False),
        ("C()C", False),
        ("(C)C", False),
        ("=CC", False),
        ("C(=1)C1", False),
        ("", False),
    ],
)
def test_the_grammar_knows_what_is_open(text, right):
    schema = schema_of("C(=)12", 12, "smiles")
    x, refused = to_ids(schema, [text])
    assert not refused
    ids = torch.cat((torch.full((1, 1), BEGIN), x[:, :-1].long()), 1)
    grammar = SmilesGrammar(json.loads(schema.definition), schema.longest)
    n = len(text) + 1
    allowed = grammar(ids)[0, :n].gather(-1, x[0, :n, None].long())
    assert bool(allowed.all()) == right
    for t in range(n):
        assert torch.equal(grammar(ids[:, : t + 1], last_only=True)[0, 0], grammar(ids)[0, t])


def test_draws_under_a_grammar_close_what_they_open():
    schema = schema_of("CN(=)12", 14, "smiles")
    net = network(schema, grammar=True)
    texts = to_texts(schema, net.sample(torch.rand(500, 14).double()))
    for text in texts:
        assert text.count("(") == text.count(")") and text.count("1") % 2 == 0 and text.count("2") % 2 == 0
        assert "()" not in text and not text.endswith("=")
    assert len(set(texts)) > 50
