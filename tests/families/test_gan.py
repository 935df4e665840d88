"""Generative adversarial networks: whose move is what, losses that are per record, latents, monitors, the contract.

Run as a script by torchrun, it trains the tiny model into the folder in its first argument.
"""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from morphogen import artifact
from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.data import Stream, load
from morphogen.families.gan import GAN
from morphogen.families.gan_spec import GANSpec
from morphogen.testing import check_family
from morphogen.theory.adversarial import GAMES, RELATIVISTIC
from morphogen.trainer import Recipe, fit
from morphogen.trainer import compile as compilation
from tests.families.gans import BINARY, CONDITIONAL, ENHANCED, PICTURES, POINTS, WORDED, batch, build, moves
from tests.processes import run_two_processes
from tests.toys import LONG_CHECKS

# -------------------------------------------------------------------------------- the game


def test_the_discriminator_moves_first_and_each_player_by_itself():
    model, b = build(**CONDITIONAL), batch()
    first, second = moves(model, b)
    assert (first.player, second.player) == ("discriminator", "generator") == tuple(model.players())
    owned = {name: list(player.parameters) for name, player in model.players().items()}
    for move, other in ((first, "generator"), (second, "discriminator")):
        mine = torch.autograd.grad(sum(move.terms.values()).mean(), owned[move.player], retain_graph=True)
        assert all(torch.isfinite(g).all() and g.any() for g in mine)
        if move is first:
            theirs = torch.autograd.grad(sum(move.terms.values()).mean(), owned[other], allow_unused=True)
            assert all(g is None for g in theirs)
    assert model.players()["generator"].ema and model.players()["discriminator"].ema is None


def test_the_generator_is_judged_after_the_discriminator_has_moved():
    model, b = build(), batch()
    game = model.steps(b, Rng(0), Progress(0, 0.5))
    next(game)
    with torch.no_grad():
        for p in model.discriminator.parameters():
            p.add_(0.05)
    late = next(game).terms["adversarial"]
    made = model.generator(Rng(0).normal("z", b.address, (5,)))
    expected = RELATIVISTIC.generator_term(model.realness(b.x, None), model.realness(made, None))
    assert torch.allclose(late, expected, atol=1e-6)
    assert not torch.allclose(late, moves(build(), b)[1].terms["adversarial"], atol=1e-4)


@pytest.mark.parametrize("game", GAMES)
def test_terms_are_the_game_and_its_penalties(game):
    model, b = build(game=game, penalty_weight=0.7), batch()
    first, second = moves(model, b)
    z = Rng(0).normal("z", b.address, (5,))
    made = model.generator(z).detach()
    real, fake = model.realness(b.x, None), model.realness(made, None)
    expected = GAMES[game].discriminator_terms(real, fake)
    assert set(first.terms) - set(expected) == ({"gradient_penalty"} if game == "wasserstein" else {"r1", "r2"})
    for name, value in expected.items():
        assert torch.allclose(first.terms[name], value, atol=1e-6)
    assert torch.allclose(second.terms["adversarial"], GAMES[game].generator_term(real, fake), atol=1e-6)

    def slope(x):
        x = x.clone().requires_grad_()
        return torch.autograd.grad(model.realness(x, None).sum(), x)[0].flatten(1).norm(dim=1)

    if game == "wasserstein":
        u = Rng(0).uniform("between", b.address, (1, 1, 1))
        between = 0.7 * (slope(u * b.x + (1 - u) * made) - 1) ** 2
        assert torch.allclose(first.terms["gradient_penalty"], between, rtol=1e-4)
    else:
        for name, x in (("r1", b.x), ("r2", made)):
            assert torch.allclose(first.terms[name], 0.7 * 0.5 * slope(x) ** 2, rtol=1e-4)


@pytest.mark.parametrize("data", [PICTURES, ENHANCED, WORDED], ids=lambda data: data.name)
@pytest.mark.parametrize("options", [{}, {"game": "wasserstein"}, {"game": "hinge", "penalty": "r1"}])
def test_terms_are_per_record_and_parts_of_a_batch_are_the_batch(options, data):
    augment = {"reconstruction": 2.0} if data is ENHANCED else {"augment": "fixed", "augment_strength": 0.6}
    model, b = build(data, **CONDITIONAL, **options, **augment), batch(data)
    whole, parts = moves(model, b), [moves(model, b[i : i + 2]) for i in (0, 2, 4)]
    for k, move in enumerate(whole):
        for name, term in move.terms.items():
            assert term.shape == (6,)
            assert torch.allclose(term, torch.cat([part[k].terms[name] for part in parts]), atol=1e-5), name


def test_lazy_penalties_are_as_many_times_larger():
    model, b = build(penalty_every=4), batch()
    due, not_due = moves(model, b, step=8)[0].terms, moves(model, b, step=9)[0].terms
    assert set(due) - set(not_due) == {"r1", "r2"}
    assert torch.allclose(due["r1"], 4 * moves(build(), b)[0].terms["r1"])
    assert torch.allclose(due["pairs"], not_due["pairs"])


def test_the_weight_of_the_penalty_grows_with_the_elements():
    weights = [build(data).penalty_weight for data in (POINTS, BINARY, PICTURES)]
    assert weights == pytest.approx([0.02, 0.036, 1e-3 * 468])
    assert build(game="wasserstein").penalty_weight == 10 and build(penalty_weight=3.0).penalty_weight == 3


def test_penalties_hold_in_bf16():
    """The records and their gradients stay in float32: within 5 % of what float32 gives, in total."""
    model, b = build(), batch()
    exact = moves(model, b)[0].terms
    with torch.autocast("cpu", dtype=torch.bfloat16):
        near = moves(model, b)[0].terms
    for name, value in exact.items():
        assert near[name].dtype == torch.float32
        assert float(near[name].detach().sum()) == pytest.approx(float(value.detach().sum()), rel=0.05)


def test_the_reconstruction_is_the_mean_absolute_error():
    model, b = build(ENHANCED, reconstruction=3.0), batch(ENHANCED)
    made = model.generator(Rng(0).normal("z", b.address, (5,)), b.cond.context)
    term = moves(model, b)[1].terms["reconstruction"]
    assert torch.allclose(term, 3 * (made - b.x).abs().mean((1, 2, 3)))


def test_the_strength_of_augmentation_moves_between_the_players():
    model, b = build(augment="adaptive", augment_records=60), batch()

    class Sure(nn.Module):
        def forward(self, x, c=None, context=None, words=None, slope=False):
            logits = x.sum((1, 2, 3)) * 0 + torch.cat((torch.ones(6), -torch.ones(6)))[: len(x)]
            return logits, logits * 0 if slope else None

    model.wrap("discriminator", Sure())
    moves(model, b)
    assert float(model.strength.strength) == pytest.approx(0.1)
    model.wrap("discriminator", None)
    saved = build(augment="adaptive", augment_records=60)
    saved.load_state_dict(model.state_dict())
    assert torch.equal(saved.strength.strength, model.strength.strength)


# ------------------------------------------------------------------------------ conditions


@pytest.mark.parametrize("game", ["relativistic", "hinge"])
def test_records_with_the_words_of_others_are_told_apart(game):
    """In pairs of neighbors; where both say the same, or a record is left over, there is nothing to tell."""
    options = {"conditional": True, "condition_dropout": 0.0, "game": game}
    model, b = build(WORDED, **options, mismatch=0.5), batch(WORDED, 5)
    text, mask = b.cond.text.clone(), b.cond.text_mask.clone()
    text[3], mask[3] = text[2], mask[2]
    text[3, 2:] = 6  # behind the end
    cond = RawCondition(text=text, text_mask=mask)
    term = moves(model, Batch(b.x, b.ids, cond, b.index))[0].terms["mismatch"]
    own, other = model.realness(b.x, cond), model.realness(b.x, cond[torch.tensor([1, 0, 2, 3, 4])])
    assert torch.allclose(term[:2], 0.5 * GAMES[game].mismatch_term(own, other)[:2], atol=1e-6)
    assert term[:2].all() and not term[2:].any()
    assert "mismatch" not in moves(build(WORDED, **options, mismatch=0.0), b)[0].terms
    assert "mismatch" not in moves(build(WORDED), b)[0].terms


@torch.no_grad()
def test_both_look_at_words_place_by_place_and_never_at_padding():
    model, b = build(WORDED, conditional=True).eval(), batch(WORDED)
    garbage = torch.where(b.cond.text_mask, b.cond.text, (b.cond.text + 1) % 7)
    padded = RawCondition(text=garbage, text_mask=b.cond.text_mask)
    for call in (lambda c: model.sample(6, c, Rng(1)), lambda c: model.realness(b.x, c)):
        assert torch.equal(call(b.cond), call(padded))
    # Beside what the whole text says, in the pooled vector: without its words, each says something else.
    pooled, words = model._condition("generator", b.cond, 6)
    z = torch.cat((Rng(1).normal("z", 6, (5,)), pooled), dim=1)
    assert not torch.allclose(model.generator(z, None, words), model.generator(z, None, None), atol=1e-4)
    with_words, without = (model.discriminator(b.x, pooled, None, w)[0] for w in (words, None))
    assert not torch.allclose(with_words, without, atol=1e-4)


@torch.no_grad()
def test_conditions_matter_to_both_and_nothing_known_is_null():
    model, b = build(**CONDITIONAL).eval(), batch()
    other = RawCondition(label=(b.cond.label + 1) % 3)
    null = RawCondition(label=torch.full((6,), -1))
    for call in (lambda c: model.sample(6, c, Rng(1)), lambda c: model.realness(b.x, c)):
        assert not torch.allclose(call(b.cond), call(other), atol=1e-4)
        assert torch.equal(call(None), call(null))


@torch.no_grad()
def test_the_picture_to_start_from_matters_to_both():
    model, b = build(ENHANCED).eval(), batch(ENHANCED)
    other = RawCondition(context=b.cond.context.flip(0))
    blank = RawCondition(context=torch.zeros_like(b.cond.context))
    for call in (lambda c: model.sample(6, c, Rng(1)), lambda c: model.realness(b.x, c)):
        assert not torch.allclose(call(b.cond), call(other), atol=1e-4)
        assert torch.allclose(call(None), call(blank), atol=1e-6)


# -------------------------------------------------------------------------------- contract


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (
            DataSpec(name="words", shape=(9,), kind="sequence", levels=50),
            {},
            "give --part autoencoder=MODEL, or take autoregressive",
        ),
        (DataSpec(name="bytes", shape=(1, 8, 8), kind="discrete", levels=5), {}, "through which gradients pass"),
        (ENHANCED, {"backbone": "mlp"}, "use backbone 'conv'"),
        (PICTURES, {"reconstruction": 1.0}, "set reconstruction=0"),
        (POINTS, {"augment": "fixed"}, "set augment=none"),
        (ENHANCED, {"augment": "adaptive"}, "a picture each as condition"),
        (POINTS, {"conditional": True}, "drop --conditional"),
        (POINTS, {"game": "wasserstein", "penalty": "none"}, "a bound on the slope"),
        (POINTS, {"game": "non-saturating"}, "non_saturating"),
        (POINTS, {"penalty_wieght": 1}, "penalty_weight"),
    ],
)
def test_impossible_options_say_what_is_possible(data, options, message):
    with pytest.raises(SpecError, match=message):
        build(data, **options)


def test_the_classic_pair_is_the_textbook_s():
    data = DataSpec(name="digits", shape=(1, 28, 28), kind="continuous", levels=256)
    with Rng(0).forked():
        model = GAN(GANSpec.parse(GAN.presets["classic"]), data)
    layers = lambda m: [tuple(v.weight.shape[::-1]) for v in m.modules() if isinstance(v, nn.Linear)]  # noqa: E731
    assert layers(model.generator) == [(100, 256), (256, 512), (512, 1024), (1024, 784)]
    assert layers(model.discriminator) == [(784, 512), (512, 256), (256, 1)]
    first, second = moves(model, batch(data, 4))
    assert set(first.terms) == {"real", "fake"} and set(second.terms) == {"adversarial"}
    z = 100 * Rng(0).normal("z", 9, (100,))
    assert float(model.generator(z).detach().abs().max()) <= 1


@pytest.mark.slow
@pytest.mark.skipif(not compilation.compiler(torch.device("cpu")), reason="needs a C++ compiler")
def test_compiled_networks_give_the_same_gradients():
    """The discriminator is differentiated twice, and the generator resamples: both have gone wrong in a compiler."""
    model, b = build(**CONDITIONAL), batch()

    def gradients():
        return [
            torch.autograd.grad(sum(m.terms.values()).mean(), list(model.players()[m.player].parameters))
            for m in moves(model, b)
        ]

    eager = gradients()
    compilation.wrap(model)
    compiled = gradients()
    compilation.unwrap(model)
    for one, other in zip(eager, compiled, strict=True):
        for g, h in zip(one, other, strict=True):
            assert float((g - h).norm()) <= 1e-4 * float(g.norm()) + 1e-7


@pytest.mark.parametrize("thorough", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_it_passes_check_family(thorough):
    options = {"hidden": (128, 128, 128), "discriminator_hidden": (128, 128, 128)}
    if not thorough:
        options = {"hidden": (32,), "discriminator_hidden": (32,), "inversion_steps": 60}
    size = {} if thorough else {"skip": LONG_CHECKS, "records": 1024, "steps": 20}
    checked = check_family("gan", options, **size)
    assert not checked.failures, str(checked)
    skipped = {c.name for c in checked.checks if c.passed is None}
    assert skipped == {
        "scores are per record and tell data from noise",
        "completed rows follow what is given",
        "seen places stay where hidden ones are drawn",
    }


TINY = {"hidden": (32,), "discriminator_hidden": (32,), "augment": "adaptive", "augment_records": 1000}
TINY |= {"augment_target": 0.2, "discriminator_lr": 1e-2}


def _tiny_run(out, **recipe):
    digits = load("digits")
    with Rng(0).forked():
        model = GAN(GANSpec.parse({**TINY, **CONDITIONAL}), digits.spec)
    options = {"steps": 10, "batch_size": 32, "precision": "fp32", "compile": "off", "device": "cpu", "log_every": 1}
    list(fit(model, Stream(digits.train, 32, seed=0), Recipe.parse({**options, **recipe}), Path(out)))
    log = [line for line in map(json.loads, (Path(out) / "log.jsonl").open()) if "terms" in line]
    return log, artifact.load(out).family


def _agree(one, other):
    assert len(one[0]) == len(other[0]) == 10
    for a, b in zip(one[0], other[0], strict=True):
        assert b["terms"] == pytest.approx(a["terms"], rel=1e-3, abs=1e-5)
        assert b["metrics"]["discriminator/augmented"] == pytest.approx(
            a["metrics"]["discriminator/augmented"], abs=1e-5
        )
    assert float(one[1].strength.strength) == pytest.approx(float(other[1].strength.strength)) != 0.0


def test_parts_of_a_batch_train_as_one(tmp_path):
    _agree(_tiny_run(tmp_path / "whole"), _tiny_run(tmp_path / "parts", accumulate=4))


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    run_two_processes(__file__, str(tmp_path / "2"))
    log = [line for line in map(json.loads, (tmp_path / "2" / "log.jsonl").open()) if "terms" in line]
    _agree(_tiny_run(tmp_path / "1"), (log, artifact.load(tmp_path / "2").family))


if __name__ == "__main__":
    torch.set_num_threads(1)
    _tiny_run(sys.argv[1])
