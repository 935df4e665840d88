"""The autoregressive family on texts: exact likelihoods, guidance, artifacts, and the contract."""

from __future__ import annotations

import math

import pytest
import torch

import morphogen as mg
from morphogen.core.batch import RawCondition
from morphogen.core.data_spec import Attribute, DataSpec
from morphogen.core.errors import SpecError, UsageError
from morphogen.core.recommendation import Situation
from morphogen.core.rng import Rng
from morphogen.data.sequences.tokenizers import describe, to_ids
from morphogen.families.autoregressive import Autoregressive, AutoregressiveSpec
from morphogen.testing import parametrize_with_checks
from tests.nn.test_sequences import every

SMALL = {"token_width": 32, "token_blocks": 2}
SCHEMA = describe("characters", ["abc"], None).replace(longest=4)
DATA = DataSpec(
    name="letters",
    shape=(4,),
    kind="sequence",
    levels=SCHEMA.vocabulary,
    sequence=SCHEMA,
    attributes=(Attribute(name="size", low=100.0, high=500.0),),
)


def build(data: DataSpec = DATA, **options: object) -> Autoregressive:
    with Rng(0).forked():
        model = Autoregressive(AutoregressiveSpec.parse({**SMALL, **options}), data)
        for p in model.parameters():
            p.data.add_(0.3 * torch.randn_like(p))
    return model.eval().requires_grad_(False)


def test_likelihoods_sum_to_one_and_samples_follow_them():
    model, x = build(), every(SCHEMA)
    p = model.double().score(x, None, Rng(0)).value.exp()
    assert float(p.sum()) == pytest.approx(1.0, abs=1e-10)
    n = 20_000
    drawn = build().sample(n, None, Rng(1))
    seen = torch.stack([(drawn == row).all(-1).double().mean() for row in x])
    assert ((seen - p).abs() <= 4.5 * (p * (1 - p) / n).sqrt() + 1e-4).all()


def test_a_condition_changes_the_law_and_its_range_is_the_scale():
    model = build(conditional=True)
    x = every(SCHEMA)
    given = [RawCondition(attributes=torch.full((len(x), 1), v)) for v in (100.0, 500.0)]
    a, b = (model.double().score(x, cond, Rng(0)).value.exp() for cond in given)
    assert float(a.sum()) == pytest.approx(1.0, abs=1e-10) and float((a - b).abs().max()) > 1e-4
    field = model.conditioner.fields[0]  # type: ignore[union-attr]
    scaled = DATA.replace(attributes=(Attribute(name="size"),))
    other = build(scaled, conditional=True)
    one, two = torch.tensor([500.0]).double(), torch.tensor([1.0]).double()
    known = torch.tensor([True])
    assert torch.allclose(field(one, known), other.double().conditioner.fields[0](two, known))  # type: ignore[union-attr]


def test_guidance_needs_texts_and_conditions():
    with pytest.raises(UsageError, match="conditional"):
        build().sample(2, None, Rng(0), guidance=2.0)
    model = build(conditional=True)
    cond = RawCondition(attributes=torch.full((64, 1), 480.0))
    assert torch.equal(model.sample(64, cond, Rng(0), guidance=1.0), model.sample(64, cond, Rng(0)))
    assert not torch.equal(model.sample(64, cond, Rng(0), guidance=6.0), model.sample(64, cond, Rng(0)))


def test_sequences_of_other_software_are_refused():
    with pytest.raises(SpecError, match="needs texts"):
        build(DataSpec(name="tokens", shape=(4,), kind="sequence", levels=9))


def test_a_text_of_known_entropy_is_learned(tmp_path):
    """Words of a uniform letter, one to four times: log 3 + log 4 nats are their entropy."""
    rng = Rng(0)
    letters, times = rng.integers("letter", 3000, 3), 1 + rng.integers("times", 3000, 4)
    path = tmp_path / "words.txt"
    path.write_text("".join("abc"[k] * m + "\n" for k, m in zip(letters.tolist(), times.tolist(), strict=True)))
    model = mg.train("autoregressive", f"{path}:validation=0,test=0", tmp_path / "m", steps=300, batch_size=64, **SMALL)
    x, _ = to_ids(model.data.sequence, ["abc"[k] * m for k in range(3) for m in range(1, 5)])  # type: ignore[arg-type]
    nats = -float(model.module.score(x.long(), None, Rng(0)).value.mean())
    assert math.log(12.0) <= nats + 1e-6 and nats < math.log(12.0) + 0.05
    drawn = model.sample(200, seed=1)
    assert len(drawn.texts) == 200 and sum(len(set(t)) == 1 and len(t) <= 4 for t in drawn.texts) >= 195
    drawn.save(tmp_path / "drawn.txt")
    assert (tmp_path / "drawn.txt").read_text().splitlines() == drawn.texts
    again = mg.load(tmp_path / "m")
    assert again.data.sequence == model.data.sequence and again.sample(5, seed=1).texts == drawn.texts[:5]
    found = mg.evaluate(model, f"{path}:validation=0,test=0.2", metrics=["nll"])
    assert found.to_dict()


@parametrize_with_checks(["autoregressive"], SMALL, texts=True, steps=300, records=2048)
def test_the_contract_on_texts(check):
    check()


@pytest.mark.parametrize(("stored", "today"), [(True, "syntax"), (False, "none"), ("valence", "valence")])
def test_grammars_of_earlier_versions_are_read_and_keep_their_networks(stored, today):
    schema = describe("smiles", ["C1CC1(=O)N"], None)
    data = DataSpec(
        name="molecules", shape=(schema.longest,), kind="sequence", levels=schema.vocabulary, sequence=schema
    )
    model = build(data, grammar=stored)
    assert model.spec.grammar == today
    assert any(name.startswith("tokens.state") for name in model.state_dict()) == (today == "valence")


def test_texts_that_are_not_in_standard_form_keep_their_mass(tmp_path):
    pytest.importorskip("rdkit", reason="needs the extra molecules")
    path = tmp_path / "m.smi"
    path.write_text("\n".join(f"{'C' * n}N(=O)=O" for n in range(1, 40)))
    for source, bonds in ((f"{path}:standardize=false", False), (str(path), True)):
        data = mg.load_data(source)
        model = build(data.spec)
        x = data.spec.encode(data.train.stored)
        assert model.score(x, None, Rng(0)).value.isfinite().all()
        assert model.tokens is not None and model.tokens.grammar is not None
        assert model.tokens.grammar.with_valence == bonds


def test_muon_updates_the_matrices_of_the_blocks():
    model = build(optimizer="muon")
    (player,) = model.players().values()
    names = {id(p): name for name, p in model.named_parameters()}
    found = {names[id(p)].split(".")[-2] for p in player.matrices}
    assert found == {"qkv", "out", "0", "2"} and player.matrix_lr == 4 * player.lr and not model.shardable
    pictures = DataSpec(name="bits", shape=(1, 4, 4), kind="binary", levels=2)
    with pytest.raises(SpecError, match="optimizer=muon is for texts"):
        Autoregressive(AutoregressiveSpec.parse({"optimizer": "muon"}), pictures)


def test_muon_is_recommended_where_updates_are_plain():
    pytest.importorskip("torch.optim._muon")
    found = Autoregressive.recommend(Situation(DATA, 1000))
    assert [(choice.name, choice.value) for choice in found.choices] == [("optimizer", "muon")]
    assert not Autoregressive.recommend(Situation(DATA, 1000, plain=False)).choices
