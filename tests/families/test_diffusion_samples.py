"""Scores and samples of the diffusion family: with a perfect network they are exact."""

import itertools
import math

import pytest
import torch

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.distributions import Gaussian
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.sampling import grids, loop
from morphogen.sampling.guidance import classifier_free
from morphogen.sampling.steppers import STEPPERS, stepper
from morphogen.theory.schedules import broadcast
from tests.families.diffusions import (
    BINARY,
    BYTES,
    COV,
    DISCRETE,
    MEAN,
    POINTS,
    batch,
    build,
    exact,
)


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
