"""What a training says before its first step."""

import dataclasses
import json

import pytest
import torch

from morphogen.core.recommendation import Choice
from morphogen.trainer import fit, trainer
from morphogen.trainer.plan import Advice, Plan
from tests.trainer.toys import Autoencoder, Points, build, points, recipe


class Skipping(Autoencoder):
    """Remembers what norm of its gradients is usual."""

    def players(self):
        return {"model": dataclasses.replace(super().players()["model"], skip=10.0)}


def planned(out, needs=0, chosen=(), **options):
    told = []
    events = fit(
        build(), Points(points()), recipe(**options), out, advice=Advice(needs=needs, chosen=chosen, tell=told.append)
    )
    next(events)
    events.close()
    return told


def test_the_plan_is_told_before_the_first_step_and_kept_in_the_log(tmp_path):
    chosen = [Choice("batch_size", 32, "for 256 records"), Choice("lr", 0.1, "short")]
    told = planned(tmp_path / "m", steps=800, chosen=chosen)
    assert told[0].startswith("plan: 800 steps of 32, 100 passes over 256 records, ")
    assert told[1] == "chosen: batch_size 32 (for 256 records); lr 0.1 (short)"
    assert len(told) == 2
    lines = [json.loads(line) for line in (tmp_path / "m" / "log.jsonl").open()]
    (line,) = [line for line in lines if line.get("kind") == "plan"]
    assert (line["steps"], line["batch_size"], line["passes"], line["hopeless"]) == (800, 32, 100.0, False)
    assert line["chosen"][0] == {"name": "batch_size", "value": 32, "why": "for 256 records"}


def test_a_resumed_run_tells_no_plan_again(tmp_path):
    options = recipe(steps=800)
    next(events := fit(build(), Points(points()), options, tmp_path / "m"))
    events.close()
    told = []
    next(
        events := fit(build(), Points(points()), options, tmp_path / "m", resume=True, advice=Advice(tell=told.append))
    )
    events.close()
    assert told == []


def test_a_hopeless_plan_says_so_with_ways_out(tmp_path):
    told = planned(tmp_path / "m", needs=10**9, budget="5s")
    assert told[-1].startswith("warning: ")
    assert "of the about 1,000,000,000 steps" in told[-1]
    assert "--batch-size 16 (about 2 times the steps)" in told[-1]
    assert "--budget " in told[-1]


def test_trying_steps_changes_nothing(tmp_path, monkeypatch):
    """A run of so many steps that it is measured is, bit for bit, the same as one that is not."""
    weights = []
    for name in ("measured", "plain"):
        if name == "plain":
            monkeypatch.setattr(trainer, "_MANY", 10**9)
        family = build(Skipping)
        list(fit(family, Points(points()), recipe(steps=300), tmp_path / name))
        weights.append(family.state_dict())
    assert family.seen == 300 * 32
    assert all(torch.equal(a, b) for a, b in zip(*(w.values() for w in weights), strict=True))


@pytest.mark.parametrize(("steps", "passes"), [(1, "0.1 passes"), (1400, "88 passes")])
def test_a_plan_in_words(steps, passes):
    plan = Plan(steps=steps, batch_size=16, records=255, seconds=300.0, memory_mb=900.0, noun="pictures")
    many = "1 step" if steps == 1 else "1,400 steps"
    assert str(plan) == f"plan: {many} of 16, {passes} over 255 pictures, 0.9 GB, about 5 min 00 s"
    assert not plan.hopeless
