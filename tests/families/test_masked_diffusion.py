"""Masked diffusion: its bound by enumeration, sampling in a random order, what is known stays, and the contract."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from morphogen.core.capabilities import Completes, Infills
from morphogen.core.column_views import codes_of
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError, UsageError
from morphogen.core.rng import Rng
from morphogen.core.sequences import SPECIAL, lengths, well_formed
from morphogen.data.sequences.tokenizers import describe
from morphogen.families.masked_diffusion import MaskedDiffusion, MaskedDiffusionSpec
from morphogen.families.vq_vae import VQVAE, VQVAESpec
from morphogen.testing import parametrize_with_checks
from tests.families.test_tables import DATA as TABLE_DATA
from tests.families.test_tables import TABLE, every_row
from tests.nn.test_sequences import every

SMALL = {"width": 32, "blocks": 2}
SCHEMA = describe("characters", ["ab"], None).replace(longest=4)
TEXTS = DataSpec(name="letters", shape=(4,), kind="sequence", levels=SCHEMA.vocabulary, sequence=SCHEMA)
BITS = DataSpec(name="bits", shape=(1, 2, 2), kind="binary", levels=2)


BITS16 = BITS.replace(shape=(1, 4, 4))


def build(data: DataSpec = TEXTS, part: torch.nn.Module | None = None, **options: object) -> MaskedDiffusion:
    with Rng(0).forked():
        parts = {} if part is None else {"autoencoder": part}
        model = MaskedDiffusion(MaskedDiffusionSpec.parse({**SMALL, **options}), data, parts)
        for p in model.own_parameters():
            p.data.add_(0.3 * torch.randn_like(p))
    return model.double().eval().requires_grad_(False)


def exact_mass(model: MaskedDiffusion, x: torch.Tensor) -> float:
    """The mean over all orders of the product of the conditionals, times the mass of the length: what is drawn."""
    ids, keep, n = model.tokens.read(x[None])
    count = int(n)
    total = 0.0
    orders = list(itertools.permutations(range(count)))
    for order in orders:
        log_p = 0.0
        for t in range(count):
            hidden = torch.zeros_like(keep)
            hidden[0, list(order[t:])] = True
            told = model.guesser(ids, keep, hidden)
            row = sorted(order[t:]).index(order[t])
            log_p += float(told[row, ids[0, order[t]]])
        total += math.exp(log_p)
    return total / len(orders) * math.exp(float(model._log_length(n, None)))


def all_records(data: DataSpec) -> torch.Tensor:
    if data.sequence is not None:
        return every(SCHEMA)
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=4))).double().reshape(-1, 1, 2, 2)


@pytest.mark.parametrize("data", [TEXTS, BITS])
def test_its_score_bounds_the_mass_that_is_drawn_and_masses_sum_to_one(data):
    model, x = build(data), all_records(data)
    mass = torch.tensor([exact_mass(model, one) for one in x], dtype=torch.float64)
    assert float(mass.sum()) == pytest.approx(1.0, abs=1e-9)
    score = model.score(x, None, Rng(0), 300)
    assert score.kind == "lower_bound" and torch.allclose(sum(score.terms.values()), score.value)  # type: ignore[arg-type]
    gap = mass.log() - score.value
    assert (gap > -0.1).all() and float((mass * gap).sum()) > 0.0, (
        "the bound lies below, up to the noise of its estimate"
    )


@pytest.mark.parametrize("data", [TEXTS, BITS])
def test_draws_in_as_many_steps_as_tokens_have_that_mass(data):
    model, x = build(data), all_records(data)
    n = 8000
    drawn = model.sample(n, None, Rng(1), steps=10)
    mass = torch.tensor([exact_mass(model, one) for one in x], dtype=torch.float64)
    seen = torch.stack([(drawn == one).flatten(1).all(-1).double().mean() for one in x])
    assert ((seen - mass).abs() <= 4.5 * (mass * (1 - mass) / n).sqrt() + 1e-9).all()
    if data is TEXTS:
        assert well_formed(drawn).all()


def test_a_text_of_another_form_has_no_mass():
    assert build().score(torch.tensor([[3, 0, 2, 0], [3, 3, 3, 3]]), None, Rng(0)).value.isinf().all()


def test_what_is_known_stays():
    schema = describe("characters", ["abcd"], None).replace(longest=12)
    data = TEXTS.replace(shape=(12,), levels=schema.vocabulary, sequence=schema)
    model = build(data)
    x = torch.full((40, 12), SPECIAL)
    x[:, 3:6] = SPECIAL + 2
    x[:, 10], x[:, 11] = 2, 0
    hidden = torch.zeros(40, 12, dtype=torch.bool)
    hidden[:, [0, 1, 2, 6, 7, 8, 9]] = True
    made = model.infill(x, hidden, None, Rng(0))
    assert torch.equal(made[~hidden], x[~hidden]) and (lengths(made) == 10).all()
    assert len({tuple(row) for row in made.tolist()}) > 30
    parts = torch.cat([model.infill(x[i : i + 7], hidden[i : i + 7], None, Rng(0).shifted(i)) for i in range(0, 40, 7)])
    assert torch.equal(parts, made)
    hidden[:, 11] = True
    with pytest.raises(UsageError, match="end"):
        model.infill(x, hidden, None, Rng(0))


def test_few_steps_are_faster_and_still_whole():
    model = build()
    assert well_formed(model.sample(50, None, Rng(0), steps=1)).all()
    assert torch.equal(
        model.sample(9, None, Rng(0), temperature=0.0, steps=4)[:3],
        model.sample(3, None, Rng(0), temperature=0.0, steps=4),
    )
    with pytest.raises(UsageError, match="conditional"):
        model.sample(2, None, Rng(0), guidance=3.0)


def test_real_numbers_are_refused():
    with pytest.raises(SpecError, match="masked diffusion needs"):
        build(DataSpec(name="points", shape=(2,), kind="continuous"))


def test_rows_of_a_table_have_a_bound_and_given_cells_stay():
    with Rng(0).forked():
        model = MaskedDiffusion(MaskedDiffusionSpec.parse({**SMALL, "score_evaluations": 400}), TABLE_DATA)
        for p in model.parameters():
            p.data.add_(0.02 * torch.randn_like(p))
    model = model.double().eval().requires_grad_(False)
    rows = every_row()
    bounds = model.score(TABLE_DATA.encode(rows).double(), None, Rng(0)).value
    assert 0.8 < float(bounds.exp().sum()) < 1.01  # a bound of masses that sum to one
    drawn = TABLE_DATA.decode(model.sample(4000, None, Rng(1)))
    shares = torch.stack([(codes_of(TABLE, drawn) == row).all(1).double().mean() for row in codes_of(TABLE, rows)])
    assert float(shares.sum()) == 1.0
    assert float((shares - bounds.exp()).abs().max()) < 0.01
    given = torch.zeros(300, 4, dtype=torch.bool)
    given[:, 1:3] = True
    cells = rows[Rng(2).integers("rows", 300, len(rows))]
    made = model.complete(torch.where(given, cells, math.nan), given, Rng(3))
    assert torch.equal(made[given].nan_to_num(-1), cells[given].nan_to_num(-1)) and made[:, 0].isnan().any()
    assert not model.complete(cells, given, Rng(3), present=True)[:, 0].isnan().any()
    few = model.complete(cells[:7], given[:7], Rng(3))
    assert torch.equal(few.nan_to_num(-1), model.complete(cells, given, Rng(3))[:7].nan_to_num(-1))
    assert Infills not in model.capabilities and Completes in model.capabilities


@pytest.fixture(scope="module")
def coder() -> VQVAE:
    """Pictures of 4 x 4 bits as 2 x 2 codes of three values."""
    with Rng(3).forked():
        model = VQVAE(VQVAESpec.parse({"widths": [8], "codes": 3, "blocks": 1, "code_dim": 4}), BITS16)
        for p in model.decoder.out.parameters():
            p.data.normal_()
    return model.double().eval()


def test_codes_of_pictures_have_a_prior(coder):
    assert coder.code_shape == (2, 2, 1) and coder.code_values == 3
    model = build(BITS16, coder)
    assert Infills not in model.capabilities
    x = Rng(4).uniform("x", 6, BITS16.shape, torch.float64).round()
    ids = coder.codes(x).flatten(1)
    assert torch.equal(model.tokens.read(x)[0], ids)
    score = model.score(x, None, Rng(0), 400)
    given = coder.score(x, None, Rng(0)).terms["log_likelihood"]
    assert torch.allclose(score.terms["given_tokens"], given) and score.measure == "mass"
    mass = torch.tensor([exact_mass(model, one) for one in x], dtype=torch.float64).log()
    assert ((mass - score.terms["tokens"]) > -0.1).all(), "a bound of the mass of the codes"
    assert torch.allclose(torch.stack(list(score.terms.values())).sum(0), score.value)
    drawn = model.sample(5, None, Rng(1))
    assert drawn.shape == (5, *BITS16.shape) and float(drawn.min()) >= 0 and float(drawn.max()) <= 1
    assert torch.equal(drawn[:2], model.sample(2, None, Rng(1)))


def test_muon_updates_the_matrices_of_the_blocks():
    model = build(optimizer="muon")
    (player,) = model.players().values()
    assert len(player.matrices) == 2 * 4 and player.matrix_lr == 4 * player.lr and not model.shardable
    assert not build().players()["guesser"].matrices


def test_a_part_without_codes_is_refused():
    with pytest.raises(SpecError, match="of the family vq_vae"):
        build(BITS16, torch.nn.Linear(2, 2))


def test_codes_of_other_pictures_are_refused(coder):
    with pytest.raises(SpecError, match="take one of the same data"):
        build(BITS, coder)


@parametrize_with_checks(["masked_diffusion"], SMALL, texts=True, steps=900, records=1024)
def test_the_contract_on_texts(check):
    check()


@pytest.mark.slow
@parametrize_with_checks(["masked_diffusion"], SMALL, steps=1200, records=1024)
def test_the_contract_on_pictures(check):
    check()
