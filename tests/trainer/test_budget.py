import itertools
import json
import math

import numpy as np
import pytest
import torch

from morphogen import artifact
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.trainer import checkpoint, fit, run, trainer
from morphogen.trainer.budget import Budget, Pauses
from tests.trainer.toys import Points, build, points, recipe


def test_the_steps_that_fit_follow_from_the_measured_times():
    """10 ms a step; the end takes 2 s; checkpoints of 1 s every 20 s and sheets of 0.5 s every 10 s take a tenth."""
    budget = Budget(recipe(budget=100, checkpoint_seconds=20, sheet_seconds=10), records=1000)
    assert budget.total is None
    assert budget.fraction(50) == 0.0
    budget.measure(100, 1.0)
    budget.measure(600, 6.0)
    left = budget.steps_left(elapsed_s=10.0, pauses=Pauses(checkpoint=1.0, sheet=0.5, model=0.5))
    assert left == pytest.approx((100 - 10 - 2.0) * (1 - 1 / 20 - 0.5 / 10) / 0.01, abs=1)


def test_a_plan_never_jumps_and_ends_at_one():
    """The share of the training is continuous and never falls, whatever is planned; it is 1 at the last total."""
    budget = Budget(recipe(budget=100), records=1000)
    budget.plan(0, 1000, 0.0)
    shares = []
    for step, left in ((300, 100), (350, 2000), (500, 50)):
        shares += [budget.fraction(s) for s in range(len(shares), step)]
        before = budget.fraction(step)
        budget.plan(step, left, 0.0)
        assert budget.fraction(step) == pytest.approx(before, rel=1e-12)
    shares += [budget.fraction(s) for s in range(len(shares), 551)]
    assert budget.total == 550
    assert all(0.0 <= a < b <= 1.0 for a, b in itertools.pairwise(shares))
    assert max(b - a for a, b in itertools.pairwise(shares)) < 0.02
    assert budget.fraction(550) == 1.0


def test_plans_come_more_often_towards_the_end():
    budget = Budget(recipe(budget=100), records=1000)
    times, now = [], 0.0
    while now < 100:
        if budget.due(now):
            budget.plan(1, 10, now)
            times.append(now)
        now += 0.05
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert max(gaps) < 3.2
    assert max(gap for at, gap in zip(times, gaps, strict=False) if at > 95) < 0.6
    assert len(times) < 80


def test_sheets_take_at_most_a_tenth_of_a_budget_and_none_delays_its_end():
    budget = Budget(recipe(budget=100, sheet_seconds=10), records=1000)
    slow = Pauses(sheet=3.0)
    assert [budget.sheet_due(s, 50.0, slow) for s in (10.0, 29.0, 30.1)] == [False, False, True]
    assert not budget.sheet_due(60.0, 95.0, slow)
    assert Budget(recipe(steps=5, sheet_seconds=10), records=1000).sheet_due(10.0, 50.0, slow)


class Clock:
    """Time that passes only where it is told to."""

    now = 0.0

    def perf_counter(self):
        return self.now

    def takes(self, seconds, function=lambda *_, **__: None):
        def call(*arguments, **more):
            self.now += seconds
            return function(*arguments, **more)

        return call


@pytest.fixture
def clock(monkeypatch):
    """A checkpoint takes 0.3 s and the artifact 0.3 s."""
    clock = Clock()
    monkeypatch.setattr(trainer, "time", clock)
    monkeypatch.setattr(run, "time", clock)
    monkeypatch.setattr(checkpoint, "write", clock.takes(0.3, checkpoint.write))
    monkeypatch.setattr(artifact, "save", clock.takes(0.3, artifact.save))
    return clock


class Changing(Points):
    """Points whose batches take as long as `seconds` says of the time that has passed."""

    def batch(self, step, rank=0, world=1):
        self.clock.now += self.seconds(self.clock.now)
        return super().batch(step, rank, world)


def changing(clock, seconds):
    stream = Changing(points())
    stream.clock, stream.seconds = clock, seconds
    return stream


SPEEDS = {
    "even": lambda now: 0.05,
    "slower by half of the time": lambda now: 0.05 if now < 30 else 0.2,
    "faster": lambda now: 0.2 if now < 30 else 0.05,
    "slower at the very end": lambda now: 0.05 if now < 55 else 0.2,
    "now and then": lambda now: 0.05 if now % 14 < 7 else 0.15,
    "slow steps": lambda now: 2.0,
}


@pytest.mark.parametrize("speed", SPEEDS)
def test_a_budget_holds_whatever_the_speed(tmp_path, clock, speed):
    """Within a tenth, and never over by more than a step and what a slower end takes; the schedule reaches its end."""
    stream = changing(clock, SPEEDS[speed])
    options = recipe(budget="60s", checkpoint_seconds=10, sheet_seconds=5)
    totals = []
    for event in fit(build(), stream, options, tmp_path / "m", on_sheet=clock.takes(0.2)):
        clock.now += 0.001
        totals.append((event.step, event.total))
    assert 54.0 < clock.now < 62.0
    assert totals[-1][0] == totals[-1][1]
    assert artifact.load(tmp_path / "m").provenance["steps"] == totals[-1][0]


def test_what_comes_before_the_first_step_counts(tmp_path, clock):
    clock.now = 100.0
    events = list(fit(build(), changing(clock, lambda now: 0.01), recipe(budget="20s"), tmp_path / "m", began=90.0))
    assert clock.now == pytest.approx(110.0, abs=1.5)
    assert events[-1].elapsed_s == pytest.approx(20.0, abs=1.5)


def shares(log, last):
    """The share of the training before each step, by the definition, from the plans that the log tells."""
    plans = [(line["step"], line["total"]) for line in log if line.get("kind") == "budget"]
    found, begin, share, reached = [], 0, 0.0, 1
    for (step, total), (until, _) in itertools.pairwise([*plans, (last, 0)]):
        begin, share, reached = step, float(np.interp(step, [begin, reached], [share, 1.0])), total
        found += [share + (1 - share) * (s - begin) / (reached - begin) for s in range(step, until)]
    return found


def test_a_run_with_a_budget_is_that_of_its_recorded_plans(tmp_path, clock):
    """Learning rates by hand from the log alone, and plain AdamW."""
    options = recipe(budget="20s", warmup=5, clip=None)
    list(fit(build(ema=None), changing(clock, SPEEDS["now and then"]), options, tmp_path / "m"))
    log = [json.loads(line) for line in (tmp_path / "m" / "log.jsonl").open()]
    last = artifact.load(tmp_path / "m").provenance["steps"]
    share = shares(log, last)
    assert len(share) == last
    family, stream, rng = build(ema=None), Points(points()), Rng(0).child("train")
    parameters = list(family.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.0, fused=True)
    for step in range(last):
        optimizer.zero_grad()
        sum(next(family.steps(stream.batch(step), rng, Progress(step, share[step]))).terms.values()).mean().backward()
        rise = min(1.0, max((step + 1) / 6, 10 * share[step]))
        optimizer.param_groups[0]["lr"] = 0.01 * rise * (1 + math.cos(math.pi * share[step])) / 2
        optimizer.step()
    stored = artifact.load(tmp_path / "m").family.state_dict()
    for name, p in family.named_parameters():
        assert torch.allclose(stored[name], p, rtol=1e-5, atol=1e-6), name


@pytest.mark.parametrize(("steps", "made"), [(100, 100), (100_000, None)])
def test_a_budget_and_steps_end_at_the_first(tmp_path, monkeypatch, steps, made):
    """A step takes 50 ms, so that 20 s hold 400; where all fit, it is the run of so many steps, bit for bit."""
    clock = Clock()
    monkeypatch.setattr(trainer, "time", clock)
    monkeypatch.setattr(run, "time", clock)

    def run_of(folder, **length):
        stream = Points(points())
        stream.batch = clock.takes(0.05, stream.batch)
        return list(fit(build(), stream, recipe(**length), tmp_path / folder))

    events = run_of("m", steps=steps, budget="20s")
    assert (events[0].total == steps) is (made is not None)
    assert all(event.remaining_s <= 20.0 for event in events)
    if made is None:
        assert 360 < events[-1].step == events[-1].total <= 400
        return
    assert events[-1].step == made
    run_of("alone", steps=steps)
    both = [artifact.load(tmp_path / name).family.state_dict() for name in ("m", "alone")]
    assert all(torch.equal(a, b) for a, b in zip(*(state.values() for state in both), strict=True))


def test_a_resumed_run_takes_the_plan_that_was_recorded(tmp_path, clock):
    options = recipe(budget="60s", checkpoint_seconds=5)
    events = fit(build(), changing(clock, SPEEDS["even"]), options, tmp_path / "m")
    event = next(event for event in events if event.elapsed_s > 20)
    events.close()
    facts = checkpoint.read(tmp_path / "m" / "checkpoint")[1]
    assert facts["total"] == facts["plan"]["total"] == event.total
    assert facts["plan"]["pace"] == pytest.approx(0.05, rel=0.1)
    began = clock.now
    resumed = fit(build(), changing(clock, SPEEDS["even"]), options, tmp_path / "m", resume=True)
    first = next(resumed)
    assert first.total == pytest.approx(event.total, rel=0.05)  # what was measured counts, and nothing is tried again
    last = list(resumed)[-1]
    assert last.step == last.total
    assert last.elapsed_s == pytest.approx(60.0, abs=2.0)
    assert clock.now - began == pytest.approx(60.0 - facts["elapsed_s"], abs=2.0)


def test_a_checkpoint_of_an_earlier_version_goes_on(tmp_path, clock, monkeypatch):
    options = recipe(budget="20s")
    next(events := fit(build(), changing(clock, SPEEDS["even"]), options, tmp_path / "m"))
    events.close()
    tensors, facts = checkpoint.read(tmp_path / "m" / "checkpoint")
    del facts["plan"]
    checkpoint.write(tmp_path / "m" / "checkpoint", tensors, {**facts, "settled": True})
    last = list(fit(build(), changing(clock, SPEEDS["even"]), options, tmp_path / "m", resume=True))[-1]
    assert last.elapsed_s == pytest.approx(20.0, abs=2.0)


def test_a_budget_shorter_than_a_step_ends_after_it(tmp_path, clock):
    (*_, last) = fit(build(), changing(clock, lambda now: 3.0), recipe(budget=1), tmp_path / "m")
    assert last.step == last.total == 1
