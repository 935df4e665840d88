"""Rows are trained, judged and written once each; quick runs touch no result; speeds are compared within a round."""

from __future__ import annotations

import argparse
import dataclasses
import json

import numpy as np
import pytest

from benchmarks import harness
from benchmarks.harness import Row, Run, by_name, row_parser, run_rows
from benchmarks.page.tables import Figure, at_least, seen_of, table
from benchmarks.speed import clock, timing
from benchmarks.speed.timing import Contestant
from tools.evaluation_docs import between_marks, times

TINY = {"hidden": (4,), "latent_dim": 2, "backbone": "mlp"}


def mean_pixel(run: Run) -> harness.Json:
    return {"pixel": harness.mean_of(harness.sample(run.model, run.n(400)).mean((1, 2, 3)))}


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """Two toy rows, the second of which begins with the weights of the first; all is written below `tmp_path`."""
    for name, folder in (("RUNS", "runs"), ("RESULTS", "results"), ("QUICK", "quick")):
        monkeypatch.setattr(harness, name, tmp_path / folder)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "toy.npz", x=rng.integers(0, 256, (200, 1, 4, 4), dtype=np.uint8))
    recipe = {"steps": 3, "batch_size": 8, "compile": "off"}
    first = Row("toys", "first", "a toy", "vae", str(tmp_path / "toy.npz"), recipe, mean_pixel, TINY)
    second = Row("toys", "second", "the same, further", "vae", first.data, recipe, mean_pixel, TINY, start=first)
    return by_name(first, second)


def run(rows, *arguments: str) -> None:
    run_rows(rows, row_parser(None, rows).parse_args(arguments))


def test_a_row_is_trained_judged_written_and_rendered(rows, tmp_path):
    run(rows, "first")
    record = json.loads((tmp_path / "results" / "toys-first.json").read_text())
    assert record["what"] == "a toy" and record["training"]["steps"] == 3
    assert record["hardware"]["threads"] >= 1 and "torch" in record["versions"]
    assert record["pixel"]["n"] == 400 and 0.0 < record["pixel"]["value"] < 255.0
    figure = Figure("brightness", "toys first", at_least(300.0), ("toys-first",), lambda r: seen_of(r["pixel"], r))
    line = table([figure], {"toys-first": record}).splitlines()[-1]
    assert line.startswith("| brightness | ") and "| at least 300 | **missed** | n = 400; trained 0 min" in line
    assert line.endswith("| `python -m benchmarks.toys first` |")


def test_a_row_is_trained_without_being_judged_and_judged_without_being_trained(rows, tmp_path):
    run(rows, "first", "--train")
    result, weights = tmp_path / "results" / "toys-first.json", tmp_path / "runs/toys/first/weights.safetensors"
    assert weights.exists() and not result.exists()
    before = weights.stat().st_mtime_ns
    run(rows, "first", "--evaluate")
    assert result.exists() and weights.stat().st_mtime_ns == before


def test_a_quick_run_trains_what_it_needs_and_leaves_results_alone(rows, tmp_path):
    run(rows, "second", "--quick")
    record = json.loads((tmp_path / "quick" / "toys-second.json").read_text())
    assert record["training"]["steps"] == harness.QUICK_STEPS and record["pixel"]["n"] == harness.QUICK_N
    assert (tmp_path / "quick/toys/first").exists()
    assert not (tmp_path / "results").exists() and not (tmp_path / "runs").exists()


def test_a_row_of_several_seeds_lists_them_and_says_what_each_took(rows, tmp_path):
    seeded = dataclasses.replace(rows["first"], seeds=(3, 5))
    run({"first": seeded}, "first")
    record = json.loads((tmp_path / "results" / "toys-first.json").read_text())
    assert [one["seed"] for one in record["seeds"]] == [3, 5] == [one["training"]["seed"] for one in record["seeds"]]
    assert all(one["training"]["spent"]["processor_s"] > 0.0 for one in record["seeds"])


def test_figures_of_rows_name_their_command_and_their_file(rows):
    asked = harness.Asked("brightness", at_least(300.0), lambda r, other: seen_of(r["pixel"], other), ("other",))
    (figure,) = harness.figures("toys", {"first": dataclasses.replace(rows["first"], asked=(asked,))})
    assert (figure.command, figure.files) == ("toys first", ("toys-first", "other"))


def test_seeds_have_folders_of_their_own_and_differ(rows):
    one, other = (harness.train(rows["first"], seed=seed) for seed in (0, 1))
    assert one != other
    assert not np.array_equal(harness.sample(one, 8), harness.sample(other, 8))


def test_contestants_take_turns_round_after_round(monkeypatch, capsys):
    order = []
    monkeypatch.setattr(timing, "_run", lambda name, command: order.append((name, command[-1])) or {"command": command})
    found = timing.in_turn({"a": Contestant(("m", "x")), "b": Contestant(("m", "y"))}, 3, "--seconds", 2.0)
    assert order == [("a", "2.0"), ("b", "2.0")] * 3
    assert [len(of) for of in found.values()] == [3, 3]
    assert found["b"][0]["command"][-4:] == ["m", "y", "--seconds", "2.0"]


def test_a_contest_takes_ratios_within_a_round_and_shares_of_the_ceiling_of_medians(monkeypatch):
    # the machine is half as fast in the second round, for both: the ratio does not see it
    speeds = {"ours": [100.0, 50.0, 90.0], "theirs": [50.0, 25.0, 30.0], "bf16 convolution": [400.0] * 3}

    def run(name, command):
        value = speeds[name].pop(0)
        if name == "bf16 convolution":
            return {name: value, "other_cores": 0.0}
        return {"images_per_s": value, "other_cores": 0.2, **({"gflop_per_image": 2.0} if name == "ours" else {})}

    monkeypatch.setattr(timing, "_run", run)
    jobs = {"ours": Contestant(("m",)), "theirs": Contestant(("n",), what="a peer", gflop=1.0)}
    pairs = [("ours", "theirs"), ("ours", "one that is left out")]
    asked = argparse.Namespace(rounds=3, seconds=1.0)
    found = timing.compete("a contest", jobs, ["bf16 convolution"], pairs, asked)
    assert found["ratios"] == {"ours / theirs": {"rounds": [2.0, 2.0, 3.0], "median": 2.0, "range": [2.0, 3.0]}}
    ours, theirs = timing.speeds(found)
    assert (ours.images_per_s, ours.range, ours.gflop, ours.share) == (90.0, [50.0, 100.0], 2.0, "45 %")
    assert theirs.what == "theirs: a peer (**disturbed**: other processes used 0.20 cores)" and theirs.gflop == 1.0
    assert found["hardware"]["threads"] >= 1 and found["rounds"] == 3


def test_the_first_lap_of_a_clock_is_not_counted(monkeypatch):
    now = iter([0.0, 10.0, 12.0, 15.0])
    monkeypatch.setattr(clock.time, "perf_counter", lambda: next(now))
    laps = clock.Clock(seconds=4.0)
    assert [laps.lap(100) for _ in range(3)] == [False, False, True]
    assert laps.result() == {"images_per_s": 200 / 5.0, "warmup_s": 10.0}


def test_a_quick_comparison_has_one_short_round(capsys):
    contests = {"one": 25.0, "other": 3.0}
    parser = timing.speed_parser(None, contests)
    assert timing.parsed(parser, contests, ["other"]).seconds == 3.0
    asked = timing.parsed(parser, contests, ["one", "--quick"])
    assert (asked.rounds, asked.seconds) == (1, 1.0)
    with pytest.raises(SystemExit):
        timing.parsed(parser, contests, ["one", "--rounds", "0"])
    assert "--rounds: expected at least 1, got 0" in capsys.readouterr().err


def test_an_interval_of_a_mean_covers_at_its_rate():
    rng = np.random.default_rng(0)
    found = [harness.mean_of(rng.normal(1.0, 2.0, 200)) for _ in range(1000)]
    share = np.mean([low <= 1.0 <= high for low, high in (one["interval"] for one in found)])
    assert 0.92 < share < 0.97  # 95 %; four standard errors are 0.028


def test_blocks_go_between_their_marks_and_times_are_those_of_judging_alone():
    hardware = {"cpu": "a processor", "threads": 2}
    block = times({"what": "seconds", "all metrics": 36.09, "duration_s": 91.8, "hardware": hardware})
    assert block.splitlines()[2:] == ["| all metrics | 36.1 |", "", "a processor, 2 threads."]
    page = "a\n<!-- time: how -->\nold\n<!-- end -->\nb"
    assert between_marks(page, {"time": "new"}) == "a\n<!-- time: how -->\n\nnew\n\n<!-- end -->\nb"
    with pytest.raises(SystemExit, match="0 places for 'ladders'"):
        between_marks(page, {"ladders": ""})


def test_parsers_of_rows_refuse_to_train_and_evaluate_alone(rows, capsys):
    parser: argparse.ArgumentParser = row_parser("doc", rows, "another")
    assert parser.parse_args(["another"]).row == "another"
    with pytest.raises(SystemExit):
        parser.parse_args(["first", "--train", "--evaluate"])
