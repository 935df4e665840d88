"""What a training says of itself: events, the log, health checks and provenance."""

import itertools
import json

import pytest
import torch

from morphogen import artifact
from morphogen.core.batch import Batch
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.trainer import fit, provenance
from tests.trainer.toys import Points, build, points, recipe, train, weights

CONSTANT = {"lr_schedule": "constant", "warmup": 0}


def test_events_and_the_log_tell_the_same(tmp_path):
    _, events = train(tmp_path / "m", steps=35, log_every=10)
    lines = [json.loads(line) for line in (tmp_path / "m" / "log.jsonl").open()]
    steps = [line for line in lines if "terms" in line]
    assert [line["step"] for line in steps] == [10, 20, 30, 35]
    by_step = {event.step: event for event in events}
    for line in steps:
        assert by_step[line["step"]].terms == line["terms"]
        assert set(line["terms"]) == {"reconstruction", "kl"}
        assert len(line["metrics"]["norm"]) == 2
    assert all(event.total == 35 for event in events)
    assert events[-1].step == 35
    assert events[-1].remaining_s == 0.0
    assert all(a.elapsed_s <= b.elapsed_s for a, b in itertools.pairwise(events))


def test_the_logged_terms_are_means_over_steps_and_records(tmp_path):
    family, stream = build(lr=0.0), Points(points())
    _, events = train(tmp_path / "m", build(lr=0.0), stream, steps=8, log_every=8)
    rng = Rng(0).child("train")
    moves = [next(family.steps(stream.batch(s), rng, Progress(s, 0.0))) for s in range(8)]
    for name in ("reconstruction", "kl"):
        expected = torch.cat([move.terms[name] for move in moves]).mean().item()
        assert events[-1].terms[name] == pytest.approx(expected, rel=1e-5)


def test_how_often_clipping_acts_is_logged(tmp_path):
    for clip, share in ((1e-6, 1.0), (1e6, 0.0)):
        _, events = train(tmp_path / str(clip), steps=10, clip=clip)
        assert events[-1].metrics["clipped"] == share
        assert events[-1].metrics["grad_norm"] > 1e-3
    _, events = train(tmp_path / "none", steps=10, clip=None)
    assert "clipped" not in events[-1].metrics


def test_health_is_logged_and_its_warnings_are_said_once(tmp_path):
    family = build(complaint="latent 1 is unused: lower beta")
    x = points(10)
    validation = Batch(x, ids=torch.arange(10))
    options = recipe(steps=60, log_every=5, sheet_seconds=1e-6)
    drawn = []

    def on_sheet(model, step):
        assert not model.training
        drawn.append((step, model.decoder.weight.clone()))

    events = list(fit(family, Points(points()), options, tmp_path / "m", validation=validation, on_sheet=on_sheet))
    assert [w for event in events for w in event.warnings] == ["latent 1 is unused: lower beta"]
    lines = [json.loads(line) for line in (tmp_path / "m" / "log.jsonl").open()]
    assert [line["step"] for line in lines if line.get("kind") == "health"] == [step for step, _ in drawn]
    assert all(event.sheet for event in events)
    assert drawn[-1][0] == 60
    assert torch.equal(drawn[-1][1], weights(tmp_path / "m")["decoder.weight"])  # the average, not the weights
    assert not torch.equal(drawn[-1][1], family.decoder.weight)


def test_sheets_and_health_checks_change_nothing(tmp_path):
    train(tmp_path / "plain", steps=30)
    validation = Batch(points(4), ids=torch.arange(4))
    options = recipe(steps=30, sheet_seconds=1e-6, log_every=50)
    for _ in fit(
        build(),
        Points(points()),
        options,
        tmp_path / "watched",
        validation=validation,
        on_sheet=lambda model, step: torch.rand(3),
    ):
        pass
    plain, watched = weights(tmp_path / "plain"), weights(tmp_path / "watched")
    assert all(torch.equal(plain[name], watched[name]) for name in plain)


def test_provenance_says_what_the_run_cost(tmp_path):
    train(tmp_path / "m", steps=10, seed=3)
    found = artifact.load(tmp_path / "m").provenance
    assert found["complete"] is True
    assert (found["steps"], found["seed"], found["precision"], found["compiled"]) == (10, 3, "fp32", False)
    assert found["versions"]["torch"] == torch.__version__
    assert found["duration_s"] >= 0
    assert found["images_per_s"] > 0
    assert found["peak_memory_mb"] > 10
    assert found["hardware"]["processes"] == 1


def test_processors_of_one_name_are_told_apart(monkeypatch):
    """By their vectors, and by whether they multiply in bf16, which decides how fast they are."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX7")
    for precision, ending in (("bf16", "(AVX7, bf16)"), ("fp32", "(AVX7)")):
        monkeypatch.setattr(provenance, "resolve", lambda *_, chosen=precision: chosen)
        assert provenance.hardware(torch.device("cpu"), 1)["cpu"].endswith(ending)
