"""Warnings about a model: told where they last, taken back when mended. And models of a training that runs."""

import json

import pytest
import torch

from morphogen import artifact
from morphogen.core.batch import Batch
from morphogen.core.family import Health
from morphogen.trainer import checkpoint, fit
from tests.trainer.toys import Autoencoder, Points, build, points, recipe

NOISE = {"noise": "noise: samples are noise"}


def events_of(out, says, **options):
    """A run of ten looks, at the k-th of which samples have the faults says(k)."""
    count = iter(range(100))
    return list(
        fit(
            build(),
            Points(points()),
            recipe(**{"steps": 50, "log_every": 5, "sheet_seconds": 1e-6, **options}),
            out,
            on_sheet=lambda model, step: says(next(count)),
        )
    )


def told(events):
    return [w for e in events for w in e.warnings], [m for e in events for m in e.mended]


def test_what_is_mended_early_is_never_told(tmp_path):
    assert told(events_of(tmp_path / "m", lambda k: NOISE if k < 3 else {})) == ([], [])


def test_what_lasts_is_told_once_and_taken_back_when_mended(tmp_path):
    warned, mended = told(events_of(tmp_path / "m", lambda k: NOISE if k < 8 else {}))
    assert warned == mended == [NOISE["noise"]]
    lines = [json.loads(line) for line in (tmp_path / "m" / "checkpoint" / "log.jsonl").open()]
    assert [line["cause"] for line in lines if line.get("kind") == "mended"] == ["noise"]


def test_what_is_seen_once_on_the_way_is_not_told_and_at_the_end_it_is(tmp_path):
    assert told(events_of(tmp_path / "way", lambda k: NOISE if k == 7 else {})) == ([], [])
    warned, _ = told(events_of(tmp_path / "end", lambda k: NOISE if k == 9 else {}))
    assert warned == [NOISE["noise"]]


class Judged(Autoencoder):
    """Its held-out loss falls until the sixth look, and rises again."""

    looks = 0

    def health(self, batch, rng):
        self.looks += 1
        return Health(held_out=float(abs(self.looks - 6)))


def judged(out, **options):
    told = recipe(**{"steps": 100, "log_every": 5, "sheet_seconds": 1e-6, **options})
    return fit(build(Judged), Points(points()), told, out, validation=Batch(points(30), ids=torch.arange(30)))


def test_the_best_model_is_kept_and_patience_ends_the_training(tmp_path):
    events = list(judged(tmp_path / "m", patience=3))
    assert events[-1].step == events[-1].total == 45
    assert "held-out records were described best at step 30" in events[-1].warnings[0]
    best = artifact.load(tmp_path / "m" / "checkpoint" / "best")
    assert best.provenance["steps"] == 30
    assert artifact.load(tmp_path / "m").provenance["complete"] is True
    assert not (tmp_path / "m" / "checkpoint" / "last").exists()
    list(fit(build(), Points(points()), recipe(steps=30), tmp_path / "alone"))
    assert list(judged(tmp_path / "whole"))[-1].step == 100


def test_a_training_that_runs_has_a_model(tmp_path):
    events = judged(tmp_path / "m")
    event = next(events)
    assert artifact.load(tmp_path / "m" / "checkpoint" / "last").provenance["steps"] == event.step
    events.close()
    assert not (tmp_path / "m" / "checkpoint" / "last").exists()


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_a_prolonged_run_goes_on_as_if_the_length_had_been_the_new_one(tmp_path, schedule):
    """What was trained stays, and the learning rate is that of the longer run from there."""
    short, long = ({"steps": n, "lr_schedule": schedule, "warmup": 0, "log_every": 10} for n in (20, 40))
    list(fit(build(), Points(points()), recipe(**short), tmp_path / "m"))
    before = artifact.load(tmp_path / "m").family.state_dict()
    events = list(fit(build(), Points(points()), recipe(**long), tmp_path / "m", resume=True, prolonged=True))
    assert (events[-1].step, events[-1].total) == (40, 40)
    after = artifact.load(tmp_path / "m").family.state_dict()
    assert not torch.equal(before["decoder.weight"], after["decoder.weight"])
    lines = [json.loads(line) for line in (tmp_path / "m" / "log.jsonl").open()]
    assert {"step": 20, "kind": "prolonged", "total": 40} in lines
    facts = checkpoint.read(tmp_path / "m" / "checkpoint")[1]
    assert facts["run"]["recipe"]["steps"] == 40
