"""The judge of comparisons, and the clock by which peers train as long as ours."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import fair
from benchmarks.fair import Spent
from benchmarks.peers import limit


@pytest.mark.parametrize(("theirs", "equal"), [(1.0, True), (1.05, True), (1.06, False), (0.96, True), (0.94, False)])
def test_five_percent_are_equal(theirs, equal):
    reasons = list(fair.unequal_time(Spent(600.0, 600.0), Spent(600.0, 600.0 * theirs)))
    assert bool(reasons) != equal
    assert list(fair.unequal_time(Spent(600.0 * theirs, 600.0), Spent(600.0, 600.0))) == [] or not equal


def test_what_an_older_record_says_of_its_seconds():
    assert fair.spent({"spent": {"wall_s": 2.0, "processor_s": 3.0}, "duration_s": 9.0}) == Spent(2.0, 3.0)
    assert fair.spent({"duration_s": 355.0, "first": {"duration_s": 404.8}}) == Spent(759.8, None)
    assert fair.spent({"steps": 200}) == Spent(None, None)


def test_a_training_is_as_good_as_the_mean_at_least():
    distance = {"value": 98.0, "baselines": {"training mean": 98.0}}
    assert list(fair.untrained("a GAN", distance)) == ["a GAN did not train: 98, the training mean has 98"]
    assert list(fair.untrained("a GAN", {**distance, "value": 97.9})) == []
    assert list(fair.untrained("a GAN", {**distance, "value": float("nan")})) != []


def test_a_reason_is_said_once():
    assert fair.verdict(["a", "b"], [], iter(["a"])) == "a; b"
    assert fair.verdict([], []) == ""


def test_hardware_that_is_not_recorded_is_not_equal():
    here = {"hardware": {"cpu": "a processor", "threads": 1}}
    assert list(fair.unequal_place(here, here)) == []
    assert list(fair.unequal_place(here, {})) == ["hardware not recorded"]


@pytest.fixture
def clock(monkeypatch):
    """The processor seconds that are spent, as an entry that a test may change."""
    now = {"s": 0.0}
    monkeypatch.setattr(limit.fair, "clock", lambda: (now["s"], now["s"]))
    return now


def test_a_limit_ends_with_its_seconds_and_counts_steps(clock):
    of = limit.Limit(10.0)
    assert of.more() and of.more()
    clock["s"] = 9.99
    assert of.more()
    clock["s"] = 10.0
    assert not of.more()
    assert of.steps == 3 and of.spent() == {"wall_s": 10.0, "processor_s": 10.0}


def test_the_rate_warms_up_for_a_tenth_or_500_steps_and_falls_to_zero(clock):
    of = limit.Limit(100.0)
    of.more()
    assert of.rate() == pytest.approx(1 / 500)
    clock["s"] = 5.0
    assert of.rate(decays=False) == pytest.approx(0.5)
    of.steps = 500  # a tenth of the time is longer than 500 steps
    assert of.rate(decays=False) == 1.0
    clock["s"] = 50.0
    assert of.rate() == pytest.approx(0.5)
    clock["s"] = 100.0
    assert of.rate() == pytest.approx(0.0) and of.rate(decays=False) == 1.0


def test_a_peer_trains_draws_and_says_what_it_took(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", np.zeros((3, 1, 2, 2), np.uint8))

    def train(pictures, of, setup):
        while of.more():
            clock["s"] += 0.25
        return lambda n, seed: np.full((n, *pictures.shape[1:]), setup["level"] + seed, np.uint8)

    clock = {"s": 0.0}
    monkeypatch.setattr(limit.fair, "clock", lambda: (clock["s"], clock["s"]))
    out = tmp_path / "out.npz"
    command = ["peer", "gray", str(tmp_path / "x.npy"), str(out), "--seconds", "1", "--n", "2", "--seed", "7"]
    monkeypatch.setattr("sys.argv", [*command, "--change", '{"level": 4}'])
    limit.main("doc", {"gray": {"level": 1}}, train, ["json"])
    facts = json.loads(out.with_suffix(".json").read_text())
    assert facts == {
        "spent": {"wall_s": 1.0, "processor_s": 1.0},
        "steps": 4,
        "setup": {"level": 4, "seed": 7},
    }
    with np.load(out) as arrays:
        assert arrays["x"].shape == (2, 1, 2, 2) and (arrays["x"] == 5).all()
