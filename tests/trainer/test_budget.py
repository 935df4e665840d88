import json

import pytest
import torch

from morphogen import artifact
from morphogen.trainer import checkpoint, fit, run, trainer
from morphogen.trainer.budget import Budget, Pauses
from tests.trainer.toys import Points, build, points, recipe


def test_the_steps_that_fit_follow_from_the_measured_times():
    """10 ms a step; of 95 s, a checkpoint of 1 s every 20 s and a sheet of 0.5 s every 10 s take a tenth."""
    budget = Budget(recipe(budget=100, checkpoint_seconds=20, sheet_seconds=10), records=1000)
    assert budget.total is None
    assert budget.fraction(50) == 0.0
    assert not budget.observe(2, 1.0, 1.0)
    assert not budget.observe(3, 1.1, 1.1)  # the first steps are not counted
    assert not budget.observe(400, 5.07, 5.07)
    assert budget.observe(503, 6.1, 6.1)  # a twentieth of the budget was measured
    left = budget.steps_left(503, elapsed_s=10.0, training_s=6.1, pauses=Pauses(checkpoint=1.0, sheet=0.5))
    expected = (100 - 10 - 2 * 1.0 - 0.5) * (1 - 1 / 20 - 0.5 / 10) / 0.01
    assert left == pytest.approx(expected, abs=1)


def test_slow_steps_are_measured_for_at_most_half_of_the_budget():
    budget = Budget(recipe(budget=10), records=1000)
    assert not budget.observe(3, 3.0, 3.0)
    assert not budget.observe(4, 4.9, 4.9)
    assert budget.observe(5, 5.1, 5.1)
    assert budget.steps_left(5, 5.0, 5.0, Pauses()) == 5


def test_a_budget_shorter_than_a_step_ends_after_it():
    budget = Budget(recipe(budget=1), records=1000)
    assert budget.observe(1, 2.0, 2.0)
    assert budget.steps_left(1, 2.0, 2.0, Pauses()) == 0


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


def test_a_run_ends_within_five_percent_of_its_budget_and_its_length_is_kept(tmp_path, monkeypatch):
    """A step takes 10 ms, a checkpoint 0.3 s, a sheet 0.2 s, the artifact 0.3 s, and who watches 1 ms an event."""
    clock = Clock()
    monkeypatch.setattr(trainer, "time", clock)
    monkeypatch.setattr(run, "time", clock)
    monkeypatch.setattr(checkpoint, "write", clock.takes(0.3, checkpoint.write))
    monkeypatch.setattr(artifact, "save", clock.takes(0.3, artifact.save))
    stream = Points(points())
    stream.batch = clock.takes(0.01, stream.batch)
    options = recipe(budget="20s", checkpoint_seconds=3, sheet_seconds=2)
    totals = []
    for event in fit(build(), stream, options, tmp_path / "m", on_sheet=clock.takes(0.2)):
        clock.now += 0.001
        totals.append((event.step, event.total))
    assert clock.now == pytest.approx(20.0, rel=0.05)
    assert totals[0][1] is None
    (total,) = {total for _, total in totals if total is not None}
    assert totals[-1] == (total, total)
    lines = [json.loads(line) for line in (tmp_path / "m" / "log.jsonl").open()]
    assert [line["total"] for line in lines if line.get("kind") == "budget"] == [total]
    assert artifact.load(tmp_path / "m").provenance["steps"] == total


@pytest.mark.parametrize(("steps", "made"), [(300, 300), (100_000, None)])
def test_a_budget_and_steps_end_at_the_first(tmp_path, monkeypatch, steps, made):
    """A step takes 10 ms, so that 20 s hold 2,000; where all fit, it is the run of so many steps, bit for bit."""
    clock = Clock()
    monkeypatch.setattr(trainer, "time", clock)
    monkeypatch.setattr(run, "time", clock)

    def run_of(folder, **length):
        stream = Points(points())
        stream.batch = clock.takes(0.01, stream.batch)
        return list(fit(build(), stream, recipe(**length), tmp_path / folder))

    events = run_of("m", steps=steps, budget="20s")
    assert events[0].total == steps
    assert all(event.remaining_s <= 20.0 for event in events)
    if made is None:
        assert 1800 < events[-1].step == events[-1].total <= 2000
        return
    assert events[-1].step == made
    run_of("alone", steps=steps)
    both = [artifact.load(tmp_path / name).family.state_dict() for name in ("m", "alone")]
    assert all(torch.equal(a, b) for a, b in zip(*(state.values() for state in both), strict=True))


def test_a_length_that_is_not_settled_yet_is_measured_after_resuming(tmp_path):
    options = recipe(steps=100_000, budget="2s", log_every=1, checkpoint_seconds=1e-3)
    events = fit(build(), Points(points(), delay_s=0.002), options, tmp_path / "m")
    for _ in range(3):
        next(events)
    events.close()
    facts = checkpoint.read(tmp_path / "m" / "checkpoint")[1]
    assert (facts["total"], facts["settled"]) == (100_000, False)
    last = list(fit(build(), Points(points(), delay_s=0.002), options, tmp_path / "m", resume=True))[-1]
    assert last.step == last.total < 2000


def test_a_resumed_run_takes_the_length_that_was_measured(tmp_path):
    options = recipe(budget="1s", log_every=1000)
    events = fit(build(), Points(points(), delay_s=0.002), options, tmp_path / "m")
    total = next(event.total for event in events if event.total is not None)
    events.close()
    assert checkpoint.read(tmp_path / "m" / "checkpoint")[1]["total"] == total
    slower = Points(points(), delay_s=0.005)
    resumed = list(fit(build(), slower, options, tmp_path / "m", resume=True))
    assert {event.total for event in resumed} == {total}
    assert resumed[-1].step == total
