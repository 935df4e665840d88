"""Flow matching: a perfect network makes it the exact denoiser; its loss, its times, and its couplings."""

import math

import pytest
import torch
from torch import nn

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.capabilities import Denoises, Samples, Scores
from morphogen.core.data_spec import Attribute, DataSpec
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.families.flow_matching import FlowMatching, FlowMatchingSpec
from morphogen.testing import check_family
from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser
from morphogen.theory.schedules import broadcast, schedule
from tests.toys import LONG_CHECKS

POINTS = DataSpec(name="points", shape=(2,), kind="continuous", classes=("a", "b", "c"))
TINY = {"backbone": "mlp", "hidden": (24, 24), "steps": 6, "score_evaluations": 12}
MEAN = torch.tensor([0.25, -0.15], dtype=torch.float64)
COV = torch.tensor([[0.025, 0.01], [0.01, 0.015]], dtype=torch.float64)


def build(data=POINTS, **options):
    """A model whose every weight matters: those that start at zero are moved."""
    with Rng(0).forked():
        model = FlowMatching(FlowMatchingSpec.parse({**TINY, **options}), data)
        for network in model.networks().values():
            for p in network.parameters():
                p.data.add_(0.2 * torch.randn_like(p))
    return model.eval()


def batch(n=9):
    cond = RawCondition(label=torch.arange(n) % 3)
    return Batch(Rng(5).normal("u", n, (2,)), torch.arange(n), cond, torch.arange(30, 30 + n))


def step(model, b):
    (found,) = model.steps(b, Rng(0), Progress(0, 0.5))
    return found


class Velocity(nn.Module):
    """The exact velocity of Gaussian data, from what the network is shown and told."""

    def __init__(self, oracle):
        super().__init__()
        self.oracle = oracle
        self.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, seen, u, condition=None):
        t = u / 40.0
        alpha, sigma = (broadcast(c, seen) for c in self.oracle.schedule(t))
        x_t = seen * torch.hypot(alpha, sigma)
        mean = self.oracle.posterior(x_t, t).mean
        return ((x_t - alpha * mean) / sigma - mean) / math.sqrt(2.0)


def exact(**options):
    model = build(**options).double()
    oracle = GaussianMixtureDenoiser.gaussian(model.schedule, MEAN, COV)
    model.denoiser = Velocity(oracle)
    return model, oracle


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_with_a_perfect_velocity_the_family_is_the_exact_denoiser(shift):
    model, oracle = exact(shift=shift)
    x_t = Rng(1).normal("x", 5, (2,), torch.float64)
    t = torch.tensor([0.01, 0.2, 0.5, 0.9, 1.0], dtype=torch.float64)
    found = model.posterior(x_t, t)
    torch.testing.assert_close(found.mean, oracle.posterior(x_t, t).mean, rtol=1e-9, atol=1e-9)
    alpha, sigma = model.schedule(t)
    torch.testing.assert_close(found.var[:, 0], sigma.square() / (alpha.square() + sigma.square()))
    assert model.capabilities == {Samples, Scores, Denoises}


def test_a_perfect_velocity_samples_and_scores_the_data():
    """Moments of 4000 samples within five standard errors, and 1e-3 for 40 steps of a second-order method."""
    model, oracle = exact(steps=40, score_evaluations=150)
    x = model.sample(4000, None, Rng(0))
    assert ((x.mean(0) - MEAN).abs() < 5 * COV.diag().sqrt() / math.sqrt(4000) + 1e-3).all()
    assert ((x.T.cov() - COV).abs() < 5 * 0.025 * math.sqrt(2 / 4000) + 1e-3).all()
    points = MEAN + torch.tensor([[0.0, 0.1], [0.2, -0.1], [-0.1, 0.0]], dtype=torch.float64)
    truth = oracle.log_prob(points, torch.tensor(0.0, dtype=torch.float64))
    torch.testing.assert_close(model.score(points, None, Rng(0)).value, truth, rtol=0, atol=0.02)


@pytest.mark.parametrize("coupling", ["independent", "optimal", "optimal-across"])
@pytest.mark.parametrize("shift", [1.0, 2.5])
def test_the_loss_is_the_squared_distance_to_the_direction_of_the_line(coupling, shift):
    model, b = build(coupling=coupling, shift=shift).double(), batch()
    found = step(model, b)
    x_0 = b.x.double()
    t, eps = model.times(Rng(0), b.address), Rng(0).normal("eps", b.address, (2,), torch.float64)
    eps = eps[model.coupled(x_0, eps, b.cond)]
    s = (shift * t / (1.0 + (shift - 1.0) * t))[:, None]
    direction = math.sqrt(2.0) * model.output((1.0 - s) * x_0 + s * eps, t, None)
    torch.testing.assert_close(found.terms["error"], (direction - (eps - x_0)).square().mean(1))
    torch.testing.assert_close(found.metrics["transport"], (x_0 - eps).square().mean())


def test_times_are_uniform_or_logit_normal():
    """The golden-ratio sequence covers the law so evenly that moments of 5000 times are right to a hundredth."""
    index = torch.arange(5000)
    logit = torch.logit(build(time_mean=0.5, time_std=0.8).times(Rng(0), index))
    assert abs(float(logit.mean()) - 0.5) < 0.01 and abs(float(logit.std()) - 0.8) < 0.01
    t = build(times="uniform").times(Rng(0), index)
    assert abs(float(t.mean()) - 0.5) < 0.005 and abs(float(t.std()) - math.sqrt(1 / 12)) < 0.005


def test_the_noise_of_a_record_is_its_own_unless_it_is_coupled():
    """Independent: a step on half of a batch is half of the step. Coupled: the same noise within the batch, moved."""
    b = batch(12)
    whole, half = (step(build(), part).terms["error"] for part in (b, b[3:8]))
    torch.testing.assert_close(whole[3:8], half)
    eps = Rng(0).normal("eps", b.address, (2,))
    independent = float((b.x - eps).square().mean())
    costs = {}
    for coupling in ("optimal", "optimal-across"):
        model = build(coupling=coupling, conditional=True)
        pi = model.coupled(b.x, eps, b.cond)
        assert pi.sort().values.tolist() == list(range(12))
        assert torch.equal(b.cond.label[pi], b.cond.label) == (coupling == "optimal")
        costs[coupling] = float(step(model, b).metrics["transport"])
    assert costs["optimal-across"] < costs["optimal"] < independent
    plain = build(coupling="optimal")  # a model without conditions has none to keep apart
    assert torch.equal(plain.coupled(b.x, eps, b.cond), model.coupled(b.x, eps, None))


def test_hidden_conditions_are_coupled_as_what_they_are():
    """Dropping a condition from training does not change whose noise a record gets."""
    b = batch(12)
    costs = [
        step(build(coupling="optimal", conditional=True, condition_dropout=share), b).metrics["transport"]
        for share in (0.0, 1.0)
    ]
    assert torch.equal(*costs)


def test_conditions_are_equal_where_all_that_is_known_is():
    label = torch.tensor([0, 1, 0, -1, -1])
    assert RawCondition().alike() is None
    groups = RawCondition(label=label).alike()
    assert torch.equal(groups[:, None] == groups, label[:, None] == label)
    attributes = torch.tensor([[1.0, 5.0], [1.0, 5.0], [1.0, float("nan")], [1.0, 7.0], [2.0, 7.0]])
    present = torch.tensor([[True, True], [True, True], [True, False], [True, False], [True, True]])
    groups = RawCondition(attributes=attributes, present=present).alike()
    assert groups[0] == groups[1] and groups[2] == groups[3] and len(groups.unique()) == 3
    text, mask = torch.tensor([[3, 4], [3, 9], [3, 4]]), torch.tensor([[True, False], [True, False], [True, True]])
    groups = RawCondition(text=text, text_mask=mask).alike()
    assert groups[0] == groups[1] != groups[2]
    picture = torch.tensor([0.0, 1.0, 0.0]).reshape(3, 1, 1, 1).expand(3, 2, 2, 2)
    groups = RawCondition(label=torch.tensor([1, 1, 1]), context=picture).alike()
    assert groups[0] == groups[2] != groups[1]


def test_real_attributes_leave_each_record_its_own_noise():
    data = POINTS.replace(classes=(), attributes=(Attribute(name="age"),))
    b = batch(6)
    cond = RawCondition(attributes=torch.arange(6.0)[:, None] / 6)
    eps = Rng(0).normal("eps", b.address, (2,))
    model = build(data, coupling="optimal", conditional=True)
    assert model.coupled(b.x, eps, cond).tolist() == list(range(6))


def test_its_schedule_is_the_straight_line_at_the_pace_of_its_shift():
    t = torch.linspace(0, 1, 11).double()
    for shift in (1.0, 4.0):
        ours, theirs = build(shift=shift).schedule(t), schedule("rectified-flow", shift=shift)(t)
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"hidden": (32, 32), "steps": 8, "score_evaluations": 40, "coupling": "optimal"}, 60),
        pytest.param({"hidden": (128, 128, 128)}, 1500, marks=pytest.mark.slow),
        pytest.param({"hidden": (128, 128, 128), "coupling": "optimal"}, 1500, marks=pytest.mark.slow),
    ],
)
def test_it_passes_check_family(options, steps):
    size = {} if steps == 1500 else {"skip": LONG_CHECKS, "records": 1024}
    checked = check_family("flow_matching", options, steps=steps, **size)
    assert not checked.failures, str(checked)
