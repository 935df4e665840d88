"""Distillation: where it starts, when nothing moves, which times it takes, and what it refuses."""

from statistics import NormalDist

import pytest
import torch

from morphogen import SpecError, UsageError
from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.families.diffusion import Diffusion
from morphogen.families.distilled import Distilled, DistilledSpec
from morphogen.families.flow_matching import FlowMatching
from morphogen.families.gan import GAN
from morphogen.testing import check_family
from tests.toys import LONG_CHECKS

POINTS = DataSpec(name="points", shape=(2,), kind="continuous", classes=("a", "b", "c"))
PICTURES = DataSpec(name="pictures", shape=(1, 8, 8), kind="continuous", levels=17)
SMALL = {"widths": (16, 32), "blocks": (1,), "attention": 0}


def teacher(data=POINTS, family=Diffusion, **options):
    """A model whose every weight matters: those that start at zero are moved."""
    spec = {"backbone": "mlp", "hidden": (24, 24)} if data is POINTS else SMALL
    with Rng(0).forked():
        model = family(family.Spec.parse({**spec, **options}), data)
        for network in model.networks().values():
            for p in network.parameters():
                p.data.add_(0.2 * torch.randn_like(p))
    return model.eval()


def distilled(model=None, **options):
    model = teacher() if model is None else model
    with Rng(1).forked():
        return Distilled(DistilledSpec.parse({"adversarial": 0.0, **options}), model.data, {"teacher": model})


def batch(data=POINTS, n=9):
    x = Rng(5).uniform("u", n, data.shape) * 1.6 - 0.8
    return Batch(x, torch.arange(n), RawCondition(label=torch.arange(n) % 3), torch.arange(30, 30 + n))


def steps(model, b, fraction=0.5):
    return {step.player: step for step in model.steps(b, Rng(0), Progress(0, fraction))}


@pytest.mark.parametrize("family", [Diffusion, FlowMatching])
def test_the_student_starts_as_the_teacher(family):
    model = teacher(family=family)
    student = distilled(model)
    x_t, t = Rng(1).normal("x", 5, (2,)), torch.tensor([0.01, 0.2, 0.5, 0.9, 1.0], dtype=torch.float64)
    torch.testing.assert_close(student.made(x_t, t), model.posterior(x_t, t).mean)
    assert all(p.requires_grad for p in student.student.parameters())
    assert not any(p.requires_grad for p in model.parameters())


def test_nothing_moves_while_the_judge_agrees_with_the_teacher():
    student = distilled()
    found = steps(student, batch())
    assert list(found) == ["judge", "student"]
    loss = found["student"].terms["distribution"].mean()
    gradients = torch.autograd.grad(loss, list(student.student.parameters()), allow_unused=True)
    assert all(g is None or not g.any() for g in gradients)
    assert float(found["student"].metrics["disagreement"]) == 0.0


def test_the_student_moves_along_the_direction_once_the_judge_has_moved():
    student = distilled()
    rounds = student.steps(batch(), Rng(0), Progress(0, 0.5))
    next(rounds)
    with torch.no_grad():
        for p in student.judge.parameters():
            p.add_(0.1)
    step = next(rounds)
    gradients = torch.autograd.grad(step.terms["distribution"].mean(), list(student.student.parameters()))
    assert any(g.any() for g in gradients)
    assert float(step.metrics["disagreement"]) > 0.0
    assert step.terms["distribution"].shape == (9,)


def test_at_t_1_the_student_learns_from_noise_alone(monkeypatch):
    student, asked = distilled(), []

    def seen(role, x_t, t, cond):
        asked.append((role, x_t, t))
        return student._teacher.asked(student.network(role), None, x_t, t, cond)

    monkeypatch.setattr(student, "_run_network", seen)
    records = batch(n=64)
    next(student.steps(records, Rng(0), Progress(0, 0.5)))
    role, x_t, t = asked[0]
    teacher, first = student._teacher, t == 1.0
    x_0 = teacher.encoded(records.x, Rng(0), records.address)
    eps = Rng(0).normal("eps", records.address, teacher.shape, x_0.dtype)
    assert role == "student" and 10 < int(first.sum()) < 54
    torch.testing.assert_close(x_t[first], student.readout.noised(torch.zeros_like(x_0), eps, t)[first])
    torch.testing.assert_close(x_t[~first], student.readout.noised(x_0, eps, t)[~first])


def test_records_from_noise_are_judged_at_more_noise_than_those_from_later_times(monkeypatch):
    """And each at its own law of times, whose mean is asserted within 5 standard errors."""
    student, asked = distilled(judged_mean=(0.9, -0.7), judged_std=0.5), {}

    def seen(role, x_t, t, cond):
        asked.setdefault(role, []).append(t)
        return student._teacher.asked(student.network(role), None, x_t, t, cond)

    monkeypatch.setattr(student, "_run_network", seen)
    list(student.steps(batch(n=4000), Rng(0), Progress(0, 0.5)))
    first = asked["student"][0] == 1.0
    assert 0.45 < float(first.double().mean()) < 0.55
    (judged, *others) = asked["judge"]
    assert all(torch.equal(judged, t) for t in others)
    noise = -0.5 * student.readout.schedule.log_snr(judged)
    for rows, mean in ((first, 0.9), (~first, -0.7)):
        assert abs(float(noise[rows].mean()) - mean) < 5 * 0.5 / 1900**0.5


@pytest.mark.parametrize("schedule", ["edm", "cosine", "rectified-flow"])
def test_the_later_times_are_quantiles_of_those_that_were_learned(schedule):
    student = distilled(teacher(schedule=schedule), time_mean=0.4, time_std=0.9)
    assert student.times(1).tolist() == [1.0]
    for k in (2, 4):
        times = student.times(k)
        assert times[0] == 1.0 and (times.diff() < 0).all() and len(times) == k
        noise = -0.5 * student.readout.schedule.log_snr(times[1:])
        expected = [0.4 + 0.9 * NormalDist().inv_cdf(1 - i / k) for i in range(1, k)]
        torch.testing.assert_close(noise, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    with pytest.raises(UsageError, match="at least 1 step"):
        student.times(0)


@pytest.mark.parametrize("k", [1, 3])
def test_a_draw_takes_as_many_evaluations_as_steps(k):
    student = distilled(teacher(data=PICTURES))
    calls = []
    student.student.register_forward_hook(lambda *_: calls.append(1))
    x = student.sample(4, None, Rng(0), steps=k)
    assert len(calls) == k and x.shape == (4, 1, 8, 8)
    assert x.min() >= -1.0 and x.max() <= 1.0


def test_more_steps_noise_the_same_first_draw_again():
    student = distilled(teacher(data=PICTURES))
    one = student.sample(4, None, Rng(0), steps=1)
    two = student.sample(4, None, Rng(0), steps=2)
    assert not torch.equal(one, two)
    torch.testing.assert_close(student.sample(2, None, Rng(0).shifted(2), steps=2), two[2:], rtol=0, atol=1 / 255)


@pytest.mark.parametrize("data", [POINTS, PICTURES.replace(shape=(1, 13, 12), classes=POINTS.classes)])
def test_a_discriminator_plays_the_relativistic_game_with_the_students_records(data):
    """Its terms are those of theory/adversarial.py, for each record by itself; its slope is penalized when due."""
    student = distilled(teacher(data, conditional=True), adversarial=0.3, discriminator_widths=(6, 8))
    b = batch(data)
    found = {step.player: step for step in student.steps(b, Rng(0), Progress(4, 0.5))}
    assert list(found) == ["judge", "discriminator", "student"] and set(found) == set(student.players())
    assert {"r1", "r2"} < set(found["discriminator"].terms)
    assert {"r1", "r2"}.isdisjoint(list(student.steps(b, Rng(0), Progress(5, 0.5)))[1].terms)
    logits = []
    student.discriminator.register_forward_hook(lambda _module, _given, out: logits.append(out[0].detach()))
    *_, last = student.steps(b, Rng(0), Progress(5, 0.5))
    on_real, on_made = logits[-2:]
    expected = 0.3 * torch.nn.functional.softplus(on_real - on_made)
    torch.testing.assert_close(last.terms["adversarial"].detach(), expected)
    gradients = torch.autograd.grad(last.terms["adversarial"].sum(), list(student.student.parameters()))
    assert any(g.any() for g in gradients)
    owned = [p for player in student.players().values() for p in player.parameters]
    assert len({id(p) for p in owned}) == len(owned)
    # other records of the batch change nothing in a record's terms
    half = {step.player: step for step in student.steps(b[:4], Rng(0), Progress(4, 0.5))}
    for name in ("pairs", "r1", "r2"):
        torch.testing.assert_close(
            half["discriminator"].terms[name], found["discriminator"].terms[name][:4], rtol=1e-4, atol=1e-6
        )


def test_with_a_discriminator_the_student_goes_to_the_data_whatever_the_teacher_says():
    """A teacher of random weights knows nothing; the mean of the records is learned all the same."""
    student = distilled(adversarial=20.0, lr=6e-3, discriminator_widths=(32, 32), ema=None)
    assert not student.shardable and distilled().shardable
    optimizers = {
        name: torch.optim.Adam(player.parameters, lr=player.lr, betas=player.betas)
        for name, player in student.players().items()
    }

    def mean():
        return student.sample(500, None, Rng(3), steps=1).mean(0)

    target = torch.tensor([0.5, -0.3])
    before = (mean() - target).norm()
    for i in range(100):
        address = torch.arange(64 * i, 64 * (i + 1))
        x = target + 0.1 * Rng(8).normal("x", address, (2,))
        for step in student.steps(Batch(x, address, None, address), Rng(0), Progress(i, i / 100)):
            optimizers[step.player].zero_grad()
            sum(step.terms.values()).mean().backward(inputs=list(student.players()[step.player].parameters))
            optimizers[step.player].step()
    assert (mean() - target).norm() < 0.15 < before


def test_classes_are_those_of_the_teacher():
    student = distilled(teacher(conditional=True))
    a = student.sample(6, RawCondition(label=torch.zeros(6, dtype=torch.int64)), Rng(0))
    b = student.sample(6, RawCondition(label=torch.ones(6, dtype=torch.int64)), Rng(0))
    assert not torch.equal(a, b)
    assert set(student.networks()) == {"student", "student_conditioner", "judge", "judge_conditioner"}
    owned = [p for player in student.players().values() for p in player.parameters]
    assert len({id(p) for p in owned}) == len(owned)
    assert {id(p) for p in owned} == {id(p) for n in student.networks().values() for p in n.parameters()}


def test_what_is_refused():
    with pytest.raises(SpecError, match="--part teacher=MODEL"):
        Distilled(DistilledSpec(), POINTS, {})
    with pytest.raises(SpecError, match=r"'gan' model"):
        Distilled(DistilledSpec(), POINTS, {"teacher": GAN(GAN.Spec(), POINTS)})
    with pytest.raises(SpecError, match="same data"):
        Distilled(DistilledSpec(), PICTURES, {"teacher": teacher()})
    with pytest.raises(SpecError, match="teacher"):
        Distilled(DistilledSpec(), POINTS, {"teachers": teacher()})


@pytest.mark.parametrize("thorough", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_it_passes_check_family(thorough):
    options = {"backbone": "mlp", "hidden": (128, 128), "schedule": "edm", "times": "log-normal", "conditional": True}
    size = {} if thorough else {"skip": LONG_CHECKS, "records": 1024, "steps": 20}
    rates = {"lr": 1e-3, "judge_lr": 2e-3}
    parts = {"teacher": ("diffusion", options)}
    checked = check_family("distilled", {"steps": 4, **rates}, parts, **size)
    assert not checked.failures, str(checked)


def test_a_teacher_that_knows_other_classes_is_refused():
    with pytest.raises(SpecError, match=r"'teacher' was trained on records of classes.*same data"):
        Distilled(DistilledSpec(), POINTS.replace(classes=("x", "y", "z")), {"teacher": teacher(conditional=True)})
