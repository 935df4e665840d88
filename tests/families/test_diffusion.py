"""The diffusion family: a perfect network makes it the exact denoiser, its losses are formulas, its bound is one."""

import pytest
import torch
from torch import nn

from morphogen import artifact
from morphogen.core.batch import Batch, RawCondition
from morphogen.core.capabilities import Denoises, Samples, Scores
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import CapabilityError, SpecError, UsageError
from morphogen.core.rng import Rng
from morphogen.families.autoencoder import Autoencoder, AutoencoderSpec
from morphogen.families.diffusion import Diffusion, DiffusionSpec
from morphogen.testing import check_family
from morphogen.theory.diffusion import q_posterior, reverse_kernel
from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser
from morphogen.theory.schedules import SCHEDULES
from morphogen.theory.weightings import WEIGHTINGS, weight
from tests.families.diffusions import BYTES, COV, MEAN, Exact, batch, build, exact, terms
from tests.toys import LONG_CHECKS

# -------------------------------------------------------------------------- the posterior


@pytest.mark.parametrize(
    ("name", "parametrization"),
    [(n, p) for n in SCHEDULES for p in ("x0", "eps", "v") if p != "eps" or n not in ("cosine", "rectified-flow")],
)
def test_with_a_perfect_network_the_family_is_the_exact_denoiser(name, parametrization):
    model = build(schedule=name, parametrization=parametrization).double()
    oracle = GaussianMixtureDenoiser.gaussian(model.schedule, MEAN, COV)
    model.denoiser = Exact(oracle, model.readout, model.schedule.time)
    x_t = Rng(1).normal("x", 6, (2,), torch.float64)
    t = model.schedule.time(torch.tensor([-7.0, -3.0, -0.5, 1.0, 4.0, 9.0], dtype=torch.float64))
    found, truth = model.posterior(x_t, t), oracle.posterior(x_t, t)
    torch.testing.assert_close(found.mean, truth.mean, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(found.log_var, truth.log_var, rtol=1e-7, atol=1e-7)


def test_fixed_variances_are_the_bounds_of_the_reverse_kernel():
    """For a variance-preserving schedule, at any stride, reading the family's variance as Var(x_0 | x_t)."""
    t, s = torch.tensor([0.9, 0.5, 0.1]).double(), torch.tensor([0.2, 0.49, 0.01]).double()
    x = Rng(1).normal("x", 3, (2,), torch.float64)
    for name in ("beta", "beta_tilde"):
        model = build(variance=name).double()
        p = model.posterior(x, t)
        kernel = reverse_kernel(p, x, t, s, model.schedule, "learned")
        torch.testing.assert_close(kernel.var, reverse_kernel(p, x, t, s, model.schedule, name).var)


def test_the_mean_of_bounded_records_stays_in_their_range():
    b = batch(BYTES)
    found = build(BYTES).posterior(5.0 * b.x, torch.full((8,), 0.9).double(), b.cond)
    assert found.mean.min() == -1.0 and found.mean.max() == 1.0
    points = batch()
    assert build().posterior(9.0 * points.x, torch.full((8,), 0.1).double()).mean.abs().max() > 2.0


# ----------------------------------------------------------------------------- the losses


@pytest.mark.parametrize("parametrization", ["x0", "eps", "v"])
@pytest.mark.parametrize("weighting", [*WEIGHTINGS, "auto"])
def test_the_loss_of_a_record_is_its_weighted_squared_distance(parametrization, weighting):
    """w(t) |x_0 - x_0'|^2 with the w of theory/weightings.py, for whatever x_0' the model says."""
    model = build(
        schedule="linear-beta", parametrization=parametrization, weighting=weighting, chain=50, variance="beta"
    ).double()
    b = batch()
    loss = terms(model, b)["error"]
    t, x_0 = model.times(Rng(0), b.address), b.x.double()
    x_t = model.readout.noised(x_0, Rng(0).normal("eps", b.address, (2,), torch.float64), t)
    distance = (x_0 - model.posterior(x_t, t).mean).square().mean(1)
    s = (50 * t - 1.0).round() / 50
    s = torch.where(s == 0.0, 0.5 * t, s)
    w = weight(parametrization if weighting == "auto" else weighting, "x0", t, model.schedule, s=s)
    torch.testing.assert_close(loss, w * distance, rtol=1e-6, atol=0)


def test_the_plain_error_of_v_on_an_exploding_schedule_has_the_weighting_of_edm():
    """For data of unit variance, SNR + 1."""
    model, b = build(schedule="edm", times="log-normal").double(), batch()
    loss, t, x_0 = terms(model, b)["error"], model.times(Rng(0), b.address), b.x.double()
    x_t = model.readout.noised(x_0, Rng(0).normal("eps", b.address, (2,), torch.float64), t)
    distance = (x_0 - model.posterior(x_t, t).mean).square().mean(1)
    w = weight("edm", "x0", t, model.schedule, sigma_data=1.0)
    torch.testing.assert_close(loss, w * distance, rtol=1e-6, atol=0)


@pytest.mark.parametrize("chain", [None, 20])
def test_the_bound_of_the_hybrid_loss_is_the_kl_and_moves_the_variance_alone(chain):
    model, b = build(chain=chain, bound_weight=0.3).double(), batch()
    found = terms(model, b)
    t, x_0 = model.times(Rng(0), b.address), b.x.double()
    s = 0.5 * t if chain is None else torch.where(t * 20 > 1.5, (20 * t - 1).round() / 20, 0.5 * t)
    x_t = model.readout.noised(x_0, Rng(0).normal("eps", b.address, (2,), torch.float64), t)
    kernel = reverse_kernel(model.posterior(x_t, t), x_t, t, s, model.schedule)
    kl = q_posterior(x_t, x_0, t, s, model.schedule).kl(kernel)
    torch.testing.assert_close(found["bound"], 0.3 * (chain or 10) * kl / 2, rtol=1e-6, atol=1e-9)
    last = model.denoiser.mlp.out.weight  # its first rows are the mean's, the others the variance's
    of_bound = torch.autograd.grad(found["bound"].sum(), last, retain_graph=True)[0]
    of_error = torch.autograd.grad(found["error"].sum(), last)[0]
    assert not of_bound[:2].any() and of_bound[2:].any(1).all()
    assert not of_error[2:].any() and of_error[:2].any(1).all()


@pytest.mark.parametrize("chain", [None, 20])
def test_the_learned_variance_has_its_optimum_at_the_squared_error(chain):
    """Whatever the stride: with (x_0 - mean)^2 as the variance, the bound's gradient is zero for each element."""

    class Fixed(nn.Module):
        def __init__(self, output):
            super().__init__()
            self.output = nn.Parameter(output)

        def forward(self, seen, u, condition=None):
            return self.output

    model, b = build(chain=chain).double(), batch()
    t, x_0 = model.times(Rng(0), b.address), b.x.double()
    eps = Rng(0).normal("eps", b.address, (2,), torch.float64)
    x_t = model.readout.noised(x_0, eps, t)
    f = Rng(3).normal("f", 8, (2,), torch.float64)
    mean = model.readout.posterior(torch.cat((f, f), 1), x_t, t).mean
    at_zero = model.readout.posterior(torch.cat((f, torch.zeros_like(f)), 1), x_t, t).log_var
    best = (x_0 - mean).square().log() - at_zero
    gradients = []
    for r in (best, best + 0.5):
        model.denoiser = Fixed(torch.cat((f, r), 1))
        gradients.append(torch.autograd.grad(terms(model, b)["bound"].sum(), model.denoiser.output)[0][:, 2:].abs())
    assert gradients[0].max() < 1e-9 and (gradients[1] > 1e-7).all()


def test_a_chain_is_trained_at_its_own_times_and_continuous_time_at_all():
    index = torch.arange(400)
    steps = build(chain=10).times(Rng(0), index) * 10
    torch.testing.assert_close(steps, steps.round())
    assert steps.round().unique().tolist() == list(range(1, 11))
    t = build().times(Rng(0), index)
    assert len(t.unique()) == 400 and 0 < t.min() < t.max() < 1
    ends = build(chain=10)._stride_end(torch.arange(1, 11).double() / 10)
    torch.testing.assert_close(ends * 10, torch.tensor([0.5, *range(1, 10)]).double())


# ------------------------------------------------------------------------------ the score


# ---------------------------------------------------------------------------- the samples


# ---------------------------------------------------------------------------- latent space


@pytest.fixture
def first_stage():
    data = DataSpec(name="small", shape=(1, 8, 8), kind="continuous", levels=17, classes=("a", "b"))
    with Rng(1).forked():
        options = {"widths": (8,), "blocks": 0, "latent_channels": 2}
        stage = Autoencoder(AutoencoderSpec.parse(options), data)
        x = Rng(2).uniform("x", 64, (1, 8, 8)) * 2 - 1
        stage.moments.update(stage.encode(x).rsample(Rng(3).normal("z", 64, (2, 4, 4))))
    return stage.eval(), data, x


def test_in_latent_space_the_chain_runs_on_normalized_latents(first_stage, tmp_path):
    stage, data, x = first_stage
    model = build(data, {"autoencoder": stage}, conditional=True)
    assert model.shape == (2, 4, 4) and model.capabilities == {Samples, Denoises}
    with pytest.raises(CapabilityError, match="runs on latents"):
        model.score(x, None, Rng(0))
    z = model.encoded(x, Rng(0), len(x))
    expected = stage.normalized(stage.encode(x).rsample(Rng(0).normal("latent", 64, (2, 4, 4))))
    assert torch.equal(z, expected) and abs(float(z.detach().std()) - 1.0) < 0.1
    assert torch.equal(model.decoded(z), stage.decode(stage.restored(z)).mean.clamp(-1, 1))
    drawn = model.sample(3, None, Rng(0))
    assert drawn.shape == (3, 1, 8, 8) and -1 <= drawn.min() <= drawn.max() <= 1
    mine = {id(p) for p in model.players()["denoiser"].parameters}
    assert mine.isdisjoint({id(p) for p in stage.parameters()})
    b = Batch(x[:4], torch.arange(4), RawCondition(label=torch.tensor([0, 1, 0, 1])), torch.arange(4))
    sum(terms(model, b).values()).mean().backward()
    assert all(p.grad is None for p in stage.parameters())
    artifact.save(tmp_path / "model", model, recipe={}, provenance={})
    copy = artifact.load(tmp_path / "model").family
    assert torch.equal(copy.sample(3, None, Rng(0)), drawn)


def test_a_part_that_does_not_fit_is_refused(first_stage):
    stage, data, _ = first_stage
    with pytest.raises(SpecError, match=r"was trained on continuous records of shape \(1, 8, 8\)"):
        build(BYTES, {"autoencoder": stage})
    with pytest.raises(SpecError, match="did you mean 'autoencoder'"):
        build(data, {"autoencode": stage})
    with pytest.raises(SpecError, match="must be a model of the family autoencoder, not a Linear"):
        build(data, {"autoencoder": nn.Linear(1, 1)})


# ------------------------------------------------------------------------------ the rest


def test_the_network_is_told_the_log_snr_within_bounds():
    t = torch.tensor([1e-9, 0.3, 1.0], dtype=torch.float64)
    model = build()
    assert model.time_input(t).tolist() == [20.0, pytest.approx(float(model.schedule.log_snr(t)[1])), -20.0]


@pytest.mark.parametrize("backbone", ["unet", "dit", "mlp"])
def test_every_backbone_trains_in_half_precision(backbone):
    """As the trainer does it; the loss is that of full precision to the accuracy of bf16."""
    options = {"widths": (16, 16), "blocks": (1,), "width": 16, "depth": 1, "hidden": (32, 32), "conditional": True}
    model, b = build(BYTES, backbone=backbone, **options), batch(BYTES)
    with torch.autocast("cpu", torch.bfloat16):
        half = terms(model, b)
    whole = terms(model, b)
    for name, value in half.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, whole[name], rtol=0.1, atol=0.02)
    half["error"].mean().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    assert model.sample(2, None, Rng(0), steps=2).shape == (2, *BYTES.shape)


def test_health_of_a_perfect_network_is_the_law_of_total_variance_and_that_of_a_bad_one_is_bad():
    model, _ = exact()
    n = 256
    x = MEAN + Rng(8).normal("x", n, (2,), torch.float64) @ torch.linalg.cholesky(COV).T
    found = model.health(Batch(x, torch.arange(n)), Rng(0))
    assert not found.warnings
    assert all(0.7 < r < 1.4 for r in found.metrics["variance_ratio"])  # five deviations of a mean of 256 squares
    pairs = zip(found.metrics["held_out_error"], found.metrics["independent_error"], strict=True)
    assert all(a < 1.1 * b for a, b in pairs)
    wrong = GaussianMixtureDenoiser.gaussian(model.schedule, MEAN + 3.0, 1e-4 * COV)
    model.denoiser = Exact(wrong, model.readout, lambda u: u)
    bad = model.health(Batch(x, torch.arange(n)), Rng(0))
    pairs = zip(bad.metrics["held_out_error"], bad.metrics["independent_error"], strict=True)
    assert all(a > 1.1 * b for a, b in list(pairs)[:3])
    assert bad.metrics["variance_ratio"][0] < 0.2
    assert bad.held_out > 2 * found.held_out
    assert "variance_ratio" not in build(variance="beta").health(batch(), Rng(0)).metrics


def test_impossible_options_say_what_is_possible():
    with pytest.raises(SpecError, match=r"'eps' says nothing of the record at t = 1.*linear-beta"):
        build(schedule="cosine", parametrization="eps")
    with pytest.raises(SpecError, match="'eps' says nothing"):
        build(schedule="linear-beta", zero_terminal_snr=True, parametrization="eps")
    with pytest.raises(SpecError, match="belongs to a chain: give chain"):
        DiffusionSpec.parse({"weighting": "bound"})
    with pytest.raises(SpecError, match="unknown stepper 'dpm': "):
        build(stepper="dpm")
    with pytest.raises(SpecError, match="did you mean 'karras'"):
        build(grid="karas")
    with pytest.raises(SpecError, match="needs conditional"):
        DiffusionSpec.parse({"guidance": 2.0})
    with pytest.raises(SpecError, match="records of numbers"):
        build(DataSpec(name="words", shape=(9,), kind="sequence", levels=50))
    with pytest.raises(UsageError, match="train with --conditional"):
        build().sample(2, None, Rng(0), guidance=2.0)
    with pytest.raises(UsageError, match="at least 1 step"):
        build().sample(2, None, Rng(0), steps=0, grid="uniform")
    model = build(variance="beta_tilde")
    assert Scores not in model.capabilities
    with pytest.raises(CapabilityError, match="beta_tilde"):
        model.score(batch().x, None, Rng(0))


@pytest.mark.parametrize("preset", Diffusion.presets)
def test_presets_train_sample_and_score(preset):
    model, b = build(**Diffusion.presets[preset]), batch()
    assert all(torch.isfinite(v).all() for v in terms(model, b).values())
    assert torch.isfinite(model.sample(3, None, Rng(0), steps=5)).all()
    assert torch.isfinite(model.score(b.x, None, Rng(0)).value).all()


@pytest.mark.parametrize("thorough", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_it_passes_check_family(thorough):
    options = {"hidden": (128, 128, 128)} if thorough else {"hidden": (32, 32), "steps": 12, "score_evaluations": 40}
    size = {} if thorough else {"skip": LONG_CHECKS, "records": 1024, "steps": 120}
    checked = check_family("diffusion", options, **size)
    assert not checked.failures, str(checked)
