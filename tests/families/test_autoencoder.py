"""The autoencoder against exact truths: quadrature over its latent, formulas of its losses, its measured latent scale.

Run as a script by torchrun, it trains the tiny model with adversary into the folder in its first argument.
"""

import itertools
import json
import math
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from morphogen import artifact
from morphogen.core.batch import Batch
from morphogen.core.data_spec import DataSpec
from morphogen.core.distributions import Gaussian
from morphogen.core.errors import SpecError
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.data import Stream, load
from morphogen.families.autoencoder import Autoencoder, AutoencoderSpec, multi_scale_error, psnr
from morphogen.testing import check_family
from morphogen.theory.adversarial import HINGE
from morphogen.trainer import Recipe, fit
from tests.processes import run_two_processes

RGB = DataSpec(name="rgb", shape=(3, 13, 10), kind="continuous", levels=256)
KINDS = {
    "8-bit": RGB,
    "binary": DataSpec(name="binary", shape=(1, 9, 9), kind="binary", levels=2),
    "discrete": DataSpec(name="discrete", shape=(1, 8, 6), kind="discrete", levels=5),
    "real": DataSpec(name="real", shape=(2, 8, 8), kind="continuous"),
}
SMALL = {"widths": (8, 16), "blocks": 1, "latent_channels": 2, "discriminator_widths": (8, 8)}
FAST = {"widths": (32,), "blocks": 1, "discriminator_widths": (16, 16)}


def build(data=RGB, **options):
    """A model in training, whose blocks are not the identity that they begin as."""
    with Rng(0).forked():
        model = Autoencoder(AutoencoderSpec.parse({**SMALL, **options}), data)
        for p in model.parameters():
            p.data.add_(0.05 * torch.randn_like(p))
    return model


def batch(data=RGB, n=6, seed=0):
    u = Rng(seed).integers("u", n, data.levels or 100, data.shape)
    x = data.encode(u) if data.levels else u / 50 - 1
    return Batch(x, torch.arange(n), None, torch.arange(n))


def moves(model, b, fraction=1.0, seed=0):
    return list(model.steps(b, Rng(seed), Progress(0, fraction)))


def train(model, data, out, **recipe):
    options = {"batch_size": 128, "precision": "fp32", "compile": "off", "device": "cpu", "log_every": 20, **recipe}
    list(fit(model, Stream(data, options["batch_size"], seed=0), Recipe.parse(options), Path(out)))
    return artifact.load(out).family


# ------------------------------------------------------------------------------ the bound


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)
def test_terms_are_distortion_and_rate_in_nats(data):
    model, b = build(data, beta=0.3), batch(data)
    (step,) = moves(model, b)
    q = model.encode(b.x)
    zeros = torch.zeros_like(q.mean)
    closed_form = 0.5 * (q.var + q.mean.square() - 1 - q.log_var).flatten(1).sum(1)
    assert torch.allclose(q.kl(Gaussian(zeros, zeros)), closed_form, rtol=1e-4)
    assert torch.allclose(step.terms["rate"], 0.3 * closed_form, rtol=1e-4)
    p = model.decode(q.rsample(Rng(0).normal("z", b.address, model.latent_shape)))
    assert torch.allclose(step.terms["distortion"], -p.log_prob(b.x), rtol=1e-4)
    assert p.mean.shape == b.x.shape


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)
def test_the_score_does_not_depend_on_beta_and_is_minus_the_loss_at_beta_one(data):
    b = batch(data)
    scores = [build(data, beta=beta).score(b.x, None, Rng(3)).value for beta in (0.01, 1.0)]
    assert torch.equal(*scores)
    model = build(data, beta=1.0)
    with torch.no_grad():
        loss = torch.stack([sum(moves(model, b, seed=s)[0].terms.values()) for s in range(100)])
        score = torch.stack([model.score(b.x, None, Rng(s)).value for s in range(100)])
    gap, error = (loss.mean(0) + score.mean(0)).abs(), ((loss.var(0) + score.var(0)) / 100).sqrt()
    assert (
        gap < 5 * error + 1e-3
    ).all()  # five standard errors of a hundred draws: one false alarm in a hundred thousand


def test_the_score_bounds_the_exact_likelihood_from_below():
    """One latent and four binary pixels: quadrature over z gives P(x), which sums to 1 over all pictures."""
    data = DataSpec(name="tiny", shape=(1, 2, 2), kind="binary", levels=2)
    model = build(data, widths=(64,), latent_channels=1).eval()
    with torch.no_grad():
        model.decoder.layers[0].weight.mul_(8.0)  # a latent that matters
        every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4))).reshape(-1, 1, 2, 2)
        z = torch.linspace(-9, 9, 4001)
        prior = torch.exp(-0.5 * z.double().square()) / math.sqrt(2 * math.pi)
        log_p = model.decode(z.reshape(-1, 1, 1, 1, 1)).log_prob(every).double()  # (4001, 16)
        exact = (log_p.exp() * prior[:, None]).sum(0) * (18 / 4000)
        assert float(exact.sum()) == pytest.approx(1.0, abs=1e-5)
        draws = torch.stack([model.score(every, None, Rng(s)).value for s in range(300)])
        error = draws.std(0) / math.sqrt(300)
        assert (draws.mean(0) < exact.log() + 5 * error).all()
        assert (draws.mean(0) < exact.log() - 0.01).any()  # this posterior is not the true one
        tight = model.score(every, None, Rng(0), 4000)
    assert tight.kind == "importance" and tight.log_weights.shape == (16, 4000)
    assert torch.allclose(tight.value.double(), exact.log(), atol=0.1)


def test_importance_samples_do_not_depend_on_how_records_are_cut():
    model, b = build().eval(), batch(n=5)
    with torch.no_grad():
        whole = model.score(b.x, None, Rng(1), 40).value
        parts = [model.score(b.x[i : i + 1], None, Rng(1).shifted(i), 40).value for i in range(5)]
    assert torch.allclose(whole, torch.cat(parts), rtol=1e-4)


def test_one_scale_for_all_pixels_tends_to_the_typical_error():
    """At its optimum the likelihood of location and scale is stationary in the scale, as in maximum likelihood."""
    model, b = build(KINDS["real"]), batch(KINDS["real"], 64)
    residual = b.x - model.decode(model.encode(b.x).mean).mean
    optimizer = torch.optim.Adam([model.scale], lr=0.01)
    for _ in range(400):
        loss = -model.decode(model.encode(b.x).mean).log_prob(b.x).mean()
        (model.scale.grad,) = torch.autograd.grad(loss, [model.scale])
        optimizer.step()
    p = model.decode(model.encode(b.x).mean)
    assert p.log_var.detach().unique().numel() == 1
    assert float(p.var.mean().detach()) == pytest.approx(float(residual.square().mean().detach()), rel=0.02)


# ------------------------------------------------------------------------ sharper pictures


@pytest.mark.parametrize("size", [(16, 16), (13, 10), (5, 3)])
def test_multi_scale_error_of_equal_constant_and_alternating_pictures(size):
    x = Rng(0).normal("x", 3, (2, *size), torch.float64)
    assert torch.equal(multi_scale_error(x, x, 3), torch.zeros(3, dtype=torch.float64))
    c = torch.tensor([0.5, -2.0, 1e-3], dtype=torch.float64)
    elements = 2 * size[0] * size[1]
    assert torch.allclose(multi_scale_error(x + c[:, None, None, None], x, 3), 3 * elements * c.abs())
    y = Rng(1).normal("x", 3, (2, *size), torch.float64)
    assert (multi_scale_error(x, y, 2) > 0).all()
    assert torch.allclose(multi_scale_error(x, y, 2), multi_scale_error(y, x, 2))


def test_multi_scale_error_does_not_see_what_averages_out():
    checkers = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 2.0 - 1.0
    zero = torch.zeros(1, 1, 16, 16)
    assert float(multi_scale_error(zero + checkers, zero, 3)) == 0.0


def test_the_multi_scale_term_is_the_error_in_units_of_the_scale():
    model, b = build(multi_scale=0.7), batch()
    (step,) = moves(model, b)
    p = model.decode(model.encode(b.x).rsample(Rng(0).normal("z", b.address, model.latent_shape)))
    expected = 0.7 * multi_scale_error(p.location.clamp(-1, 1), b.x, 2) / p.log_scale.exp().mean()
    assert torch.allclose(step.terms["multi_scale"], expected, rtol=1e-4)


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)
def test_the_adversarial_term_is_the_weighted_hinge_loss(data):
    """Its value, its gradient everywhere, and the weight: a share of the reconstruction's at the last layer."""
    model, b = build(data, adversarial=0.6), batch(data)
    first, second = moves(model, b)
    assert (first.player, second.player) == ("autoencoder", "discriminator")
    p = model.decode(model.encode(b.x).rsample(Rng(0).normal("z", b.address, model.latent_shape)))
    plain = HINGE.generator(model.discriminator(model._picture(p))).mean((1, 2))
    weight = first.metrics["adversarial_weight"]
    assert torch.allclose(first.terms["adversarial"], weight * plain, rtol=1e-4, atol=1e-5)
    others = [*model.inference.parameters(), *model.decoder.parameters(), *model.last.parameters()]
    got = torch.autograd.grad(first.terms["adversarial"].mean(), others, retain_graph=True)
    expected = torch.autograd.grad((weight * plain).mean(), others)
    largest = max(float(e.abs().max()) for e in expected)
    for g, e in zip(got, expected, strict=True):
        assert torch.allclose(g, e, rtol=1e-3, atol=1e-4 * largest)
    (of_error,) = torch.autograd.grad(first.terms["distortion"].mean(), model.last.conv.weight)
    assert float(got[-2].norm()) == pytest.approx(0.6 * float(of_error.norm()), rel=1e-4)


def test_the_discriminator_begins_when_it_is_told_to_and_moves_by_itself():
    model, b = build(adversarial=0.6, adversarial_from=0.5), batch()
    assert [m.player for m in moves(model, b, 0.49)] == ["autoencoder"]
    early, late = moves(model, b, 0.5)
    assert "adversarial" in early.terms and set(late.terms) == {"real", "rebuilt"}
    judging = set(model.players()["discriminator"].parameters)
    assert judging == set(model.discriminator.parameters())
    touched = torch.autograd.grad(sum(late.terms.values()).mean(), list(model.parameters()), allow_unused=True)
    for p, g in zip(model.parameters(), touched, strict=True):
        assert (g is not None) == (p in judging)
    plain = build()
    assert set(plain.players()) == {"autoencoder"} and "discriminator" not in plain.networks()


# --------------------------------------------------------------------------- latent scale


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Trained on 8x8 digits for some seconds, and read from its artifact."""
    digits = load("digits")
    with Rng(0).forked():
        model = Autoencoder(AutoencoderSpec.parse(FAST), digits.spec)
    return train(model, digits.train, tmp_path_factory.mktemp("digits") / "model", steps=200), digits


def test_normalized_latents_of_held_out_records_have_mean_zero_and_unit_variance(trained):
    """Within five standard errors of the held-out moments (per record, so that places may depend on each other), and
    2 % for what training itself has moved since: a false alarm in a million."""
    model, digits = trained
    x = digits.split("test").batch().x
    with torch.no_grad():
        u = model.normalized(model.encode(x).rsample(Rng(0).normal("z", len(x), model.latent_shape)))
    mean, square = u.mean((2, 3)), u.square().mean((2, 3))  # (B, Z)
    for value, target in ((mean, 0.0), (square, 1.0)):
        error = value.std(0) / math.sqrt(len(x))
        assert error.max() < 0.06
        assert ((value.mean(0) - target).abs() < 5 * error + 0.02).all()


def test_the_scale_is_more_than_the_identity_and_survives_the_artifact(trained):
    model, digits = trained
    z = Rng(0).normal("z", 3, model.latent_shape)
    assert torch.allclose(model.restored(model.normalized(z)), z, atol=1e-5)
    assert not torch.allclose(model.normalized(z), z, atol=0.02)
    assert model.latent_shape == (4, 4, 4) == tuple(model.encode(digits.train.batch(slice(0, 1)).x).mean.shape[1:])


def averaged(x):
    """The trivial code with as many places as the latents: means over 2 x 2 pixels, interpolated."""
    return nn.functional.interpolate(nn.functional.avg_pool2d(x, 2), scale_factor=2.0, mode="bilinear")


def test_rebuilt_digits_are_closer_than_averages_of_the_same_size(trained):
    model, digits = trained
    x = digits.split("test").batch().x
    with torch.no_grad():
        rebuilt = model.decode(model.encode(x).mean).mean
    assert float(psnr(rebuilt, x).mean()) > float(psnr(averaged(x), x).mean()) + 6


def test_the_scale_is_measured_in_training_alone():
    model, b = build(), batch()
    moves(model.eval(), b)
    assert torch.equal(model.normalized(torch.ones(1, *model.latent_shape)), torch.ones(1, *model.latent_shape))
    moves(model.train(), b)
    assert float(model.moments.weight) == len(b)


def test_an_adversary_leaves_training_stable(tmp_path):
    """The pictures stay better than those of the trivial code, and neither player runs away."""
    digits = load("digits")
    with Rng(0).forked():
        model = Autoencoder(AutoencoderSpec.parse({**FAST, "adversarial": 0.5, "adversarial_from": 0.2}), digits.spec)
    model = train(model, digits.train, tmp_path / "model", steps=120)
    x = digits.split("test").batch().x
    health = model.health(digits.split("test").batch(), Rng(0))
    assert health.metrics["held_out_psnr"] > float(psnr(averaged(x), x).mean()) + 3
    assert not health.warnings and max(health.metrics["beyond_doubt"]) < 0.9


# ------------------------------------------------------------------------------- health


def test_psnr_is_that_of_a_known_error():
    x = torch.zeros(2, 1, 4, 4)
    assert torch.allclose(psnr(x + torch.tensor([0.2, 0.02]).reshape(2, 1, 1, 1), x), torch.tensor([20.0, 40.0]))
    assert torch.allclose(psnr(x, x), torch.tensor(100.0))


def test_health_names_a_collapsed_posterior():
    model, b = build().eval(), batch(n=32)
    with torch.no_grad():
        for p in model.inference.encoder.layers[-1].parameters():
            p.zero_()
    health = model.health(b, Rng(0))
    assert health.metrics["active_latents"] == 0 and abs(health.metrics["held_out_rate"]) < 1e-4
    assert "posterior collapse" in health.warnings[0] and "--beta" in health.warnings[0]


def test_health_names_a_discriminator_that_has_won():
    model, b = build(adversarial=0.5).eval(), batch(n=32)
    assert not model.health(b, Rng(0)).warnings

    class Oracle(nn.Module):
        def forward(self, x):
            return torch.full((len(x), 3, 3), 2.0 if torch.equal(x, b.x) else -2.0)

    model.discriminator = Oracle()
    (warning,) = model.health(b, Rng(0)).warnings
    assert "has won" in warning and "--discriminator-lr" in warning


# ----------------------------------------------------------------------------- contract


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (DataSpec(name="points", shape=(4,), kind="continuous"), {}, "families for other data: vae"),
        (DataSpec(name="words", shape=(9,), kind="sequence", levels=50), {}, r"shape \(9,\)"),
        (RGB, {"likelihood": "bernoulli"}, "discretized_logistic"),
        (RGB, {"adversarial_form": 0.5}, "adversarial_from"),
        (RGB, {"widths": ()}, "widths"),
        (RGB, {"widths": (8, 0)}, "widths"),
    ],
)
def test_impossible_options_say_what_is_possible(data, options, message):
    with pytest.raises(SpecError, match=message):
        build(data, **options)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"adversarial": 0.5, "multi_scale": 0.1}, 40),
        pytest.param({"adversarial": 0.5, "multi_scale": 0.1}, 1500, marks=pytest.mark.slow),
        pytest.param({}, 1500, marks=pytest.mark.slow),
    ],
)
def test_it_passes_check_family(options, steps):
    """It draws no samples, so those checks do not apply; the others do."""
    checked = check_family("autoencoder", {**FAST, **options}, steps=steps)
    assert not checked.failures, str(checked)
    assert {c.detail for c in checked.checks if c.passed is None} == {
        "does not declare Samples",
        "does not declare Completes",
        "does not declare Infills",
    }
    assert sum(c.passed is True for c in checked.checks) == 8


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    """Losses, the adversarial weight, and the latent scale, of which each process sees but half."""
    run_two_processes(__file__, str(tmp_path / "2"))
    _tiny_run(tmp_path / "1")
    one, two = (
        [line for line in map(json.loads, (tmp_path / n / "log.jsonl").open()) if "terms" in line] for n in "12"
    )
    assert len(one) == len(two) == 10 and "autoencoder/adversarial_weight" in one[-1]["metrics"]
    for a, b in zip(one, two, strict=True):
        assert b["terms"] == pytest.approx(a["terms"], rel=1e-4)
        assert b["metrics"] == pytest.approx(a["metrics"], rel=1e-3, abs=1e-3)
    one, two = (artifact.load(tmp_path / name).family.moments for name in "12")
    assert float(one.weight) == float(two.weight)
    assert torch.allclose(one.sums, two.sums, rtol=1e-3, atol=1e-2)


def _tiny_run(out):
    digits = load("digits")
    with Rng(0).forked():
        model = Autoencoder(AutoencoderSpec.parse({**SMALL, "adversarial": 0.5, "adversarial_from": 0.5}), digits.spec)
    train(model, digits.train, out, steps=10, batch_size=32, log_every=1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    _tiny_run(Path(sys.argv[1]))
