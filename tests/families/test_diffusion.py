"""The diffusion family: a perfect network makes it the exact denoiser, its losses are formulas, its bound is one."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from morphogen import artifact
from morphogen.core.batch import Batch, RawCondition
from morphogen.core.capabilities import Denoises, Samples, Scores
from morphogen.core.data_spec import DataSpec
from morphogen.core.distributions import Gaussian
from morphogen.core.errors import CapabilityError, SpecError, UsageError
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.families.autoencoder import Autoencoder, AutoencoderSpec
from morphogen.families.diffusion import Diffusion, DiffusionSpec
from morphogen.sampling import grids, loop
from morphogen.sampling.guidance import classifier_free
from morphogen.sampling.steppers import STEPPERS, stepper
from morphogen.testing import check_family
from morphogen.theory.diffusion import q_posterior, reverse_kernel
from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser
from morphogen.theory.schedules import SCHEDULES, broadcast
from morphogen.theory.weightings import WEIGHTINGS, weight
from tests.toys import LONG_CHECKS

POINTS = DataSpec(name="points", shape=(2,), kind="continuous", classes=("a", "b", "c"))
BYTES = DataSpec(name="bytes", shape=(3, 6, 5), kind="continuous", levels=256, classes=("a", "b"))
BINARY = DataSpec(name="binary", shape=(1, 2, 2), kind="binary")
DISCRETE = DataSpec(name="discrete", shape=(1, 3, 2), kind="discrete", levels=5)
TINY = {"backbone": "mlp", "hidden": (24, 24), "steps": 6, "score_evaluations": 12}
MEAN = torch.tensor([0.5, -0.3], dtype=torch.float64)
COV = torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64)


def build(data=POINTS, parts=None, **options):
    """A model whose every weight matters: those that start at zero are moved."""
    with Rng(0).forked():
        model = Diffusion(DiffusionSpec.parse({**TINY, **options}), data, parts)
        for network in model.networks().values():
            for p in network.parameters():
                p.data.add_(0.2 * torch.randn_like(p))
    return model.eval()


def batch(data=POINTS, n=8):
    if data.levels or data.kind == "binary":
        x = data.encode(Rng(5).integers("u", n, data.levels or 2, data.shape))
    else:
        x = Rng(5).normal("u", n, data.shape)
    label = torch.arange(n) % len(data.classes) if data.classes else None
    return Batch(x, torch.arange(n), None if label is None else RawCondition(label=label), torch.arange(7, 7 + n))


def terms(model, b, seed=0):
    (step,) = model.steps(b, Rng(seed), Progress(0, 0.5))
    return step.terms


class Exact(nn.Module):
    """What a perfect network puts out, for data whose denoiser is known: it works back from what it is shown."""

    def __init__(self, oracle, readout, time_of):
        super().__init__()
        self.oracle, self.readout, self.time_of = oracle, readout, time_of
        self.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, seen: Tensor, u: Tensor, condition=None) -> Tensor:
        t = self.time_of(u)
        alpha, sigma = (broadcast(c, seen) for c in self.oracle.schedule(t))
        x_t = seen * torch.hypot(alpha, sigma)
        p = self.oracle.posterior(x_t, t)
        a, b = {"x0": (1.0, 0.0), "eps": (0.0, 1.0), "v": (-sigma, alpha)}[self.readout.parametrization]
        eps = (x_t - alpha * p.mean) / sigma
        f = (a * p.mean + b * eps) / torch.hypot(torch.as_tensor(a), torch.as_tensor(b))
        if self.readout.outputs == 1:
            return f
        return torch.cat((f, p.log_var - 2.0 * (sigma / torch.hypot(alpha, sigma)).log()), 1)


def exact(oracle_of=GaussianMixtureDenoiser.gaussian, mean=MEAN, cov=COV, data=POINTS, **options):
    """The family around a perfect network, and the oracle."""
    model = build(data, **options).double()
    oracle = oracle_of(model.schedule, mean, cov)
    model.time_input = lambda t: t  # `time_input` has its test, and inverting it takes long
    model.denoiser = Exact(oracle, model.readout, lambda u: u)
    return model, oracle


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


def test_the_score_of_gaussian_data_is_their_log_density():
    """Of independent elements to the error of integration; of dependent ones in addition up to the first step's."""
    for cov, room in ((COV.diag().diag(), 2e-3), (COV, 5e-3)):
        model, oracle = exact(cov=cov, score_evaluations=200)
        x = torch.tensor([[0.1, 0.2], [1.0, -1.0], [0.5, -0.4]], dtype=torch.float64)
        score = model.score(x, None, Rng(0))
        truth = oracle.log_prob(x, torch.tensor(0.0, dtype=torch.float64))
        assert score.kind == "lower_bound" and score.measure == "density"
        torch.testing.assert_close(score.value, truth, rtol=0, atol=room)


def test_the_bound_of_counted_records_is_one_and_nearly_tight():
    """Two elements of five values with known probabilities: the mean of -bound is no less than the entropy, to five
    standard errors (one false alarm in two million), and within a twentieth of a nat."""
    values, p = torch.linspace(-1, 1, 5).double(), torch.tensor([0.4, 0.05, 0.1, 0.3, 0.15]).double()

    class Counted:
        """p(x_0 | x_t) of independent elements with these values."""

        def __init__(self, schedule, *_):
            self.schedule = schedule

        def posterior(self, x_t, t, cond=None):
            alpha, sigma = (broadcast(c, x_t)[..., None] for c in self.schedule(t))
            q = (p.log() - 0.5 * ((x_t[..., None] - alpha * values) / sigma).square()).softmax(-1)
            mean = (q * values).sum(-1)
            var = (q * (values - mean[..., None]).square()).sum(-1)
            return Gaussian(mean, var.clamp_min(1e-12).log())

    data = DataSpec(name="counted", shape=(2,), kind="discrete", levels=5)
    model, _ = exact(Counted, data=data, score_evaluations=80)
    n = 640
    x = torch.searchsorted(p.cumsum(0), Rng(2).uniform("u", n, (2,), torch.float64)).clamp_max(4)
    score = model.score(x, None, Rng(0))
    assert score.measure == "mass"
    gap = p[x].log().sum(1) - score.value
    error = float(gap.std()) / math.sqrt(n)
    assert -5 * error < float(gap.mean()) < 0.05 + 5 * error


@torch.no_grad()
def test_the_bounds_of_all_pictures_stay_below_a_distribution():
    """exp E[bound(x)] <= P(x), so over all 16 pictures it sums to at most 1, though the denoiser is no exact one."""

    class Timid:
        """A fair coin's denoiser, E[x_0 | x_t] = tanh(alpha x_t / sigma^2), that trusts what it sees less."""

        def __init__(self, schedule, *_):
            self.schedule = schedule

        def posterior(self, x_t, t, cond=None):
            alpha, sigma = (broadcast(c, x_t) for c in self.schedule(t))
            mean = torch.tanh(0.8 * alpha * x_t / sigma.square())
            return Gaussian(mean, torch.log(1.0 - mean.square() + 1e-6))

    model, _ = exact(Timid, data=BINARY, score_evaluations=40)
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)), dtype=torch.float64).reshape(-1, 1, 2, 2)
    draws = model.score(every.repeat(40, 1, 1, 1), None, Rng(0)).value.reshape(40, 16)
    mean, error = draws.mean(0), draws.std(0) / math.sqrt(40)
    total, room = float(mean.exp().sum()), 5.0 * float((mean.exp() * error).square().sum().sqrt())
    assert 0.1 < total <= 1.0 + room  # five standard errors: one false alarm in two million


def test_scores_are_the_sum_of_their_terms_and_do_not_depend_on_how_records_are_cut():
    for data in (POINTS, BYTES, DISCRETE):
        model, b = build(data), batch(data, 5)
        whole = model.score(b.x, b.cond, Rng(1))
        torch.testing.assert_close(sum(whole.terms.values()), whole.value)
        parts = [
            model.score(b.x[i : i + 1], None if b.cond is None else b.cond[i : i + 1], Rng(1).shifted(i)).value
            for i in range(5)
        ]
        torch.testing.assert_close(torch.cat(parts), whole.value, rtol=1e-4, atol=1e-3)


def test_a_score_asks_the_network_as_often_as_said_and_no_finer_than_the_values_lie_apart():
    """Sixteen steps between values of distance 2 / 16: below half of it, finer noise costs bits and tells nothing."""
    data = DataSpec(name="coarse", shape=(2,), kind="continuous", levels=17)
    for options, finest in (({"data": data}, 1 / 16), ({"data": BINARY}, 0.1), ({"score_evaluations": 29}, None)):
        model, b = build(**options), batch(options.get("data", POINTS), 3)
        told = []
        model.denoiser.register_forward_pre_hook(lambda _, given, told=told: told.append(given[1]))
        model.score(b.x, None, Rng(0))
        assert len(told) == model.spec.score_evaluations
        if finest is not None:
            assert math.exp(-0.5 * float(torch.stack(told).max())) == pytest.approx(finest, rel=1e-4)


# ---------------------------------------------------------------------------- the samples


@pytest.mark.parametrize("data", [POINTS, BYTES, BINARY, DISCRETE], ids=lambda d: d.name)
def test_samples_are_records(data):
    x = build(data).sample(5, None, Rng(0))
    assert x.shape == (5, *data.shape) and data.low <= x.min() and x.max() <= data.high
    assert x.dtype == (torch.int64 if data.kind == "discrete" else torch.float32)
    if data.kind != "continuous":
        assert torch.equal(x, x.round())


@pytest.mark.parametrize("name", STEPPERS)
def test_a_sample_is_what_the_loop_makes_and_depends_on_its_address_alone(name):
    model = build(conditional=True, guidance=2.0)
    cond = RawCondition(label=torch.tensor([0, 1, 2, 1, 0]))
    x = model.sample(5, cond, Rng(3), stepper=name, steps=4, guidance=1.5, grid="quadratic")
    noise = Rng(3).normal("x_T", 5, (2,))
    times = grids.grid("quadratic", model.schedule, 4)
    guided = classifier_free(model, 1.5)
    by_hand = loop.sample(guided, stepper(name), noise, times, loop.addressed(Rng(3), 5, noise), cond, from_noise=True)
    assert torch.equal(x, by_hand.clamp(-1, 1))
    one = torch.cat([model.sample(1, cond[i : i + 1], Rng(3).shifted(i), stepper=name, steps=4) for i in range(5)])
    torch.testing.assert_close(one, model.sample(5, cond, Rng(3), stepper=name, steps=4), rtol=0, atol=1e-3)


def test_a_perfect_network_samples_the_data():
    """Mean and covariance of 4000 samples within five standard errors and the 1e-3 of 60 deterministic steps."""
    wide = POINTS.replace(levels=None)
    model, _ = exact(cov=0.05 * COV, mean=0.5 * MEAN, data=wide, steps=60)
    x = model.sample(4000, None, Rng(0))
    assert ((x.mean(0) - 0.5 * MEAN).abs() < 5 * (0.05 * COV).diag().sqrt() / math.sqrt(4000) + 1e-3).all()
    assert ((x.T.cov() - 0.05 * COV).abs() < 5 * 0.05 * 0.5 * math.sqrt(2 / 4000) + 1e-3).all()


def test_no_condition_is_an_all_null_one_and_scale_one_is_no_guidance():
    model = build(conditional=True, guidance=2.0)
    null, cond = RawCondition(label=torch.full((4,), -1)), RawCondition(label=torch.tensor([0, 1, 2, 0]))
    draw = lambda c, **how: model.sample(4, c, Rng(0), **how)  # noqa: E731
    for scale in (None, 1.0):
        assert torch.equal(draw(None, guidance=scale), draw(null, guidance=scale))
    assert torch.equal(draw(cond, guidance=1.0), build(conditional=True).sample(4, cond, Rng(0)))
    assert not torch.equal(draw(cond), draw(cond, guidance=1.0))
    assert not torch.equal(draw(cond, guidance=1.0), draw(null, guidance=1.0))


def test_a_picture_is_a_condition_which_guidance_keeps():
    data = BYTES.replace(context_shape=(3, 3, 2))
    options = {"backbone": "unet", "widths": (8, 8), "blocks": (1,), "attention": 0}
    picture = Rng(1).normal("c", 2, (3, 3, 2))
    for conditional in (False, True):
        model = build(data, conditional=conditional, **options)
        label = torch.tensor([0, 1]) if conditional else None
        given, plain = RawCondition(label=label, context=picture), RawCondition(label=label)
        assert not torch.equal(model.sample(2, given, Rng(0)), model.sample(2, plain, Rng(0)))
        null = None if label is None else torch.full((2,), -1)
        t, x = torch.tensor([0.3, 0.7]).double(), Rng(2).normal("x", 2, data.shape)
        if conditional:  # at scale 0 what is left is the answer without the label
            left = model.guided(0.0, given).posterior(x, t, given).mean
            torch.testing.assert_close(left, model.posterior(x, t, RawCondition(label=null, context=picture)).mean)
    step = next(
        iter(build(data, **options).steps(Batch(batch(data, 2).x, torch.arange(2), given), Rng(0), Progress(0, 0)))
    )
    assert set(step.terms) == {"error", "bound"}


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
    bad = model.health(Batch(x, torch.arange(n)), Rng(0)).warnings
    assert "worse than those of independent Gaussians" in bad[0] and "the learned variance is" in bad[1]
    assert model.health(Batch(x + 0.01, torch.arange(n)), Rng(1)).warnings == bad, (
        "what lasts is said in the same words"
    )
    assert not any("--parametrization" in warning for warning in bad)
    assert "variance_ratio" not in build(variance="beta").health(batch(), Rng(0)).metrics


def test_a_network_that_puts_out_the_record_is_told_of_another_where_there_is_little_noise():
    model, _ = exact(parametrization="x0")
    x = MEAN + Rng(8).normal("x", 256, (2,), torch.float64) @ torch.linalg.cholesky(COV).T
    wrong = GaussianMixtureDenoiser.gaussian(model.schedule, MEAN + 3.0, 1e-4 * COV)
    model.denoiser = Exact(wrong, model.readout, lambda u: u)
    said = [w for w in model.health(Batch(x, torch.arange(256)), Rng(0)).warnings if "worse than" in w]
    advised = [w for w in said if "--parametrization v" in w]
    assert len(said) > len(advised) and [w.split(" the ")[0] for w in advised] == [
        "at log-SNR 2 to 6",
        "at log-SNR 6 to 10",
    ]


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
