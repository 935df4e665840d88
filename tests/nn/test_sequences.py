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
from morphogen.nn.smiles_grammar import SmilesGrammar, State, valence_of

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


def network(schema: SequenceSchema, *, cond: int = 0, grammar: str = "none", seed: int = 0) -> CausalSequences:
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


@pytest.mark.parametrize("rules", ["syntax", "valence"])
def test_under_a_grammar_the_mass_is_one_too(rules):
    schema = schema_of("C(=)1", 7, "smiles")
    net = network(schema, grammar=rules)
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
    sets, features = grammar(ids)
    assert bool(sets[0, :n].gather(-1, x[0, :n, None].long()).all()) == right
    states = [State()]
    for t in range(n):
        one, said = grammar.follow(states, ids[:, t] if t else None)
        assert torch.equal(one[0], sets[0, t]) and torch.equal(said[0], features[0, t])


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("CC(C)(C)C", True),
        ("CC(C)(C)(C)C", False),
        ("FC", True),
        ("CFC", False),
        ("C=F", False),
        ("O=C=O", True),
        ("CO=C", False),
        ("C#N", True),
        ("C#O", False),
        ("C1CCC=1", True),
        ("C=1CCC=1", True),
        ("C=1CCC#1", False),
        ("C1=CC=CC=C1", True),
        ("C1=CC=CC=C1=C", False),
        ("C12CC12", False),
        ("C12CCC1C2", True),
        ("C1(C)C1", False),
        ("F1CC1", False),
        ("C1F", False),
        ("N1CCN1(C)C", False),
        ("[N+]1CCN(C)1", False),
        ("C[N+](C)(C)C", True),
        ("C[O-]", True),
        ("C[O-]C", False),
        ("C1C(F)C1", True),
        ("c1cc[nH]c1", True),
    ],
)
def test_valences_are_kept(text, right):
    schema = schema_of("CNOF(=#)12[N+][O-]c[nH]", 16, "smiles")
    x, refused = to_ids(schema, [text])
    assert not refused
    ids = torch.cat((torch.full((1, 1), BEGIN), x[:, :-1].long()), 1)
    n = int((x == END).int().argmax()) + 1
    allowed, _ = SmilesGrammar(json.loads(schema.definition), schema.longest, valence=True)(ids)
    assert bool(allowed[0, :n].gather(-1, x[0, :n, None].long()).all()) == right


def test_most_random_draws_under_valences_are_molecules():
    chem = pytest.importorskip("rdkit.Chem", reason="needs the extra molecules")
    schema = schema_of("CNOF(=#)12", 40, "smiles")
    net = network(schema, grammar="valence", seed=1)
    texts = to_texts(schema, net.sample(torch.rand(400, 40, generator=torch.Generator().manual_seed(0)).double()))
    assert sum(chem.MolFromSmiles(text) is not None for text in texts) > 340  # others met a dead end at the last place
    assert len(set(texts)) > 100


@pytest.mark.parametrize(
    ("token", "bonds"),
    [("C", 4), ("[nH]", 2), ("[N+]", 4), ("[NH3+]", 1), ("[O-]", 1), ("[C@@H]", 3), ("[13CH3]", 1), ("[Fe+2]", 8)],
)
def test_the_most_bonds_of_a_token(token, bonds):
    assert valence_of(token) == bonds


def test_features_say_how_large_a_ring_would_be():
    schema = schema_of("C(1)", 16, "smiles")
    grammar, states = SmilesGrammar(json.loads(schema.definition), 16, valence=True), [State()]
    x, _ = to_ids(schema, ["C1CC(C)CCC1"])
    sizes = []
    for token in x[0, :10].long():
        grammar.read(states[0], int(token))
        sizes.append(grammar.said(states[0])[0])
    assert sizes == [0, 1, 2, 3, 3, 4, 3, 4, 5, 6]


def test_draws_under_a_grammar_close_what_they_open():
    schema = schema_of("CN(=)12", 14, "smiles")
    net = network(schema, grammar="syntax")
    texts = to_texts(schema, net.sample(torch.rand(500, 14).double()))
    for text in texts:
        assert text.count("(") == text.count(")") and text.count("1") % 2 == 0 and text.count("2") % 2 == 0
        assert "()" not in text and not text.endswith("=")
    assert len(set(texts)) > 50
