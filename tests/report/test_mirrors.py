"""The log of a training as CSV and as TensorBoard's events: the same numbers, also after a resumption."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import morphogen as mg
from morphogen import UsageError
from morphogen.report.log import read_log

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
OPTIONS = {"latent_dim": 4, "hidden": (8,), "batch_size": 32, "log_every": 10, "precision": "fp32", "compile": "off"}


def scalars(out: Path, name: str) -> dict[int, float]:
    """Step and value of a scalar that TensorBoard shows."""
    found = event_accumulator.EventAccumulator(str(out / "logs" / "tensorboard"), purge_orphaned_data=True)
    found.Reload()
    return {event.step: event.value for event in found.Scalars(name)}


def logged(out: Path) -> dict[int, float]:
    """Step and distortion of the lines of the log."""
    return {e["step"]: e["terms"]["distortion"] for e in read_log(out / "log.jsonl") if "terms" in e}


def test_mirrors_say_what_the_log_says_and_go_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    for event in mg.training("vae", "digits", out, steps=60, log=["csv", "tensorboard"], **OPTIONS):
        if event.step >= 30:
            break
    assert {10, 20, 30} <= scalars(out, "loss/distortion").keys()
    mg.train(out=out, resume=True)  # the mirrors go on unasked
    expected = logged(out)
    assert {10, 30, 60} <= expected.keys()
    assert scalars(out, "loss/distortion") == pytest.approx(expected, rel=1e-6)
    rows = list(csv.DictReader((out / "logs" / "log.csv").open()))
    assert {int(row["step"]): float(row["distortion"]) for row in rows} == pytest.approx(expected)
    assert mg.verify(out).family == "vae"


def test_unknown_forms_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown form of the log 'tensorbord'.*tensorboard"):
        mg.training("vae", "digits", tmp_path / "run", log="csv,tensorbord")
