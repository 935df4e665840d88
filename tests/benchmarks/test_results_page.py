"""The results page says what the files hold, judges it honestly, and says what was not measured."""

from __future__ import annotations

import contextlib
import json
import re

import pytest

from benchmarks.harness import RESULTS
from benchmarks.page.render import FIGURES, loaded, page
from benchmarks.page.tables import Figure, LeftOut, Seen, Target
from benchmarks.quality import equal_time
from benchmarks.speed import sampling, training

CPU = {"cpu": "a processor", "threads": 2, "device": "cpu", "processes": 1}
GPU = {**CPU, "device": "cuda", "accelerator": "an accelerator"}


def speed(median, low, high):
    return {"rounds": [low, median, high], "median": median, "range": [low, high]}


def contest(rows, ratios, hardware=CPU, rounds=3, **ceilings):
    """What `benchmarks.speed.timing.compete` returns, as far as it is read; a row is its speed, with its GFLOP."""
    one = {"what": "a loop", "other_cores": [0.0, None], "million_parameters": 3.0}
    return {
        "started": "2026-01-01 00:00",
        "rounds": rounds,
        "seconds": 25.0,
        "hardware": hardware,
        "versions": {"torch": "9.9"},
        "ceiling": {name: speed(value, value, value) for name, value in ceilings.items()},
        "rows": {name: {**one, "images_per_s": of, "gflop_per_image": gflop} for name, (of, gflop) in rows.items()},
        "ratios": ratios,
    }


def trained(ratio, hardware=CPU, rounds=3):
    """A contest of diffusion U-Nets; `ratio` is to the published loop."""
    shares = {"ours, equal": 0.5, "ours, width 64": 0.48, "ours, width 128": 0.5, "diffusers, as published": 0.2}
    rows = {name: (speed(100.0, 90.0, 110.0), 4.0 * share) for name, share in shares.items()}
    rows["diffusers, bf16"] = rows["diffusers, as published"]
    ratios = {
        "ours, equal / diffusers, as published": ratio,
        "ours, equal / diffusers, bf16": speed(1.5, 1.4, 1.6),
    }
    return contest(rows, ratios, hardware, rounds, **{"bf16 convolution": 400.0})


def of_gans(**ratios):
    """A contest of GANs; the ratios are those of our eager loop over each rival."""
    one = (speed(100.0, 90.0, 110.0), 16e-3)
    rows = dict.fromkeys(("morphogen", "morphogen-eager", *ratios), one)
    named = {f"morphogen-eager / {name}": found for name, found in ratios.items()}
    return contest(rows, named, fp32=200.0, bf16=400.0)


def grown(time):
    """What `benchmarks.speed.scaling` writes, as far as it is read."""
    sizes = {"batch": [(32, 8), (32, 16)], "pixels": [(16, 64), (32, 64)]}
    rows = {
        against: [{"side": side, "batch": batch, "step_s": speed(time, 0.5 * time, 2 * time)} for side, batch in pairs]
        for against, pairs in sizes.items()
    }
    return {
        "started": "2026-01-01 00:00",
        "rounds": 3,
        "hardware": CPU,
        "growth": {"vae": {**rows, "exponent": {"batch": 0.75, "pixels": 0.5}}},
        "together": {"what": "a network", "ratio": speed(1.7, 1.65, 1.8)},
    }


def write(folder, **records):
    for name, record in records.items():
        (folder / f"{name.replace('_', '-')}.json").write_text(json.dumps(record), encoding="utf-8")


def cells(page, start):
    """The cells of the one table row that begins so."""
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(
    "better, value, ends, said",
    [
        ("higher", 2.1, (2.0, 2.2), "met"),
        ("higher", 2.1, (1.9, 2.2), "met, but its bracket reaches past"),
        ("higher", 1.9, (1.8, 2.1), "**missed**, but its bracket reaches it"),
        ("higher", 1.9, (1.8, 1.95), "**missed**"),
        ("lower", 1.9, (1.8, 2.0), "met"),
        ("lower", 1.9, (1.8, 2.1), "met, but its bracket reaches past"),
        ("lower", 2.1, (2.05, 2.2), "**missed**"),
        ("lower", 2.1, None, "**missed**"),
        ("lower", 2.0, None, "met"),
    ],
)
def test_verdicts_hold_for_the_value_and_say_what_the_bracket_does(better, value, ends, said):
    row = Figure("what", "command", Target(better, "2", 2.0, 3.0), ("file",), lambda _: Seen(value, ends))
    stretch = "met" if better == "lower" else "**missed**"
    assert row.verdict(row.seen({"file": {}})) == f"{said}; stretch {stretch}"
    assert row.seen({}) is None and row.verdict(None) == "-"


def test_nothing_measured_is_said_with_the_command_for_each_row(tmp_path):
    shown = page(tmp_path)
    rows = [line for line in shown.splitlines() if line.startswith("| ") and "| not measured |" in line]
    asked, unmeasured = re.search(r"Of (\d+) figures .* (\d+) not measured", shown).groups()
    assert len(rows) == int(asked) == int(unmeasured) > 40
    assert "0 are met" in shown and "**missed**" not in shown and "No GPU was at hand" in shown


def test_speeds_and_ratios_are_those_of_the_files(tmp_path):
    write(tmp_path, diffusion_speed=trained(speed(1.8, 1.7, 2.1)), growth=grown(0.5))
    shown = page(tmp_path)
    start = "diffusion U-Net of equal FLOPs, training, over diffusers'"
    published = cells(shown, f"{start} example loop")
    assert published[1] == "1.80 (1.70 to 2.10)" and published[3] == "**missed**, but its bracket reaches it"
    assert cells(shown, f"{start} loop in bf16 |")[3] == "met"
    wide = cells(shown, "diffusion U-Net of width 64")
    assert wide[1] == "48 % (43 % to 53 %)" and wide[3] == "met, but its bracket reaches past"
    assert cells(shown, "diffusion U-Net of width 128")[3] == "**missed**"
    assert cells(shown, "two processes of one core")[1:4] == ["1.70 (1.65 to 1.80)", "at least 1.6", "met"]
    assert cells(shown, "vae, 32 px, batch 16")[1:3] == ["32", "16 to 64"]  # 16 pictures in 0.5 s, in 1 to 0.25 s
    assert "| vae | 500 | 500 | batch^0.75 |" in shown and "| vae | 500 | 500 | pixels^0.50 |" in shown
    assert cells(shown, "a processor, 2 threads, cpu")[1:] == ["torch 9.9", "diffusion-speed, growth"]


def test_like_is_judged_beside_like_and_a_rival_left_out_is_not_measured(tmp_path):
    row = "classic MLP GAN, training, over torchgan's Trainer"
    write(tmp_path, throughput_gan=of_gans(keras=speed(1.7, 1.6, 1.9)))
    shown = page(tmp_path)
    assert cells(shown, row)[1:4] == ["not measured", "at least 1.8", "-"]
    keras = cells(shown, "classic MLP GAN, training, over Keras' loop |")
    assert keras[1:5] == ["1.70 (1.60 to 1.90)", "at least 1.5", "met", "morphogen-eager / keras"]
    write(tmp_path, throughput_gan=of_gans(torchgan=speed(1.9, 1.7, 2.0)))
    shown = page(tmp_path)
    seen = ["1.90 (1.70 to 2.00)", "at least 1.8", "met, but its bracket reaches past"]
    assert cells(shown, row)[1:4] == seen
    share = "1 % of fp32, 0 % of bf16"
    assert cells(shown, "torchgan: a loop")[1:] == ["100", "90 to 110", "0.016", share]


def test_a_contest_of_too_few_rounds_or_of_unknown_hardware_is_void(tmp_path):
    start = "diffusion U-Net of equal FLOPs, training, over diffusers' example loop"
    record = trained(speed(2.5, 2.5, 2.5), rounds=1)
    del record["hardware"]
    write(tmp_path, diffusion_speed=record)
    shown = page(tmp_path)
    assert cells(shown, start)[3] == "**void**: 1 of 3 interleaved rounds; hardware not recorded"
    assert "0 missed" not in shown.partition("##")[0] and "2 void" in shown.partition("##")[0]


def test_pairs_that_are_judged_are_contestants_and_alike():
    for name, pairs in training.PAIRS.items():
        for ours, theirs, _, _ in pairs:
            assert {ours, theirs} <= set(training.CONTESTANTS[name])
    for ours, theirs in sampling.PAIRS:
        assert ours.removeprefix("ours, ") == theirs.removeprefix("diffusers, ")
    for row in training.FIGURES:
        if row.files[0].startswith("throughput"):
            with pytest.raises(LeftOut):
                row.read({"rows": {}})


def ran(value, seed=0, wall_s=600.0, processor_s=598.0, hardware=CPU, mean=98.0):
    """What `benchmarks.quality.equal_time` keeps of one training, as far as it is read."""
    fd = {"value": value, "interval": [0.9 * value, 1.1 * value], "n": 2000, "baselines": {"training mean": mean}}
    spent = {"wall_s": wall_s, "processor_s": processor_s}
    training = {"hardware": hardware, "versions": {"torch": "9.9"}, "spent": spent}
    return {"what": "a network", "seed": seed, "fd": fd, "fd_to_choose": value, "training": training}


def compared_as(tmp_path, name, ours, theirs, **more):
    """The cells of a comparison at 10 minutes of one of ours with its first rival, the others far behind."""
    rivals = equal_time.OURS[name].rivals
    contestants = {name: ours, **{rival: [ran(90.0, one["seed"]) for one in ours] for rival in rivals}}
    contestants |= {rivals[0]: theirs, **more}
    write(tmp_path, equal_time_fashion_10={"contestants": contestants})
    title = equal_time._TITLES[name]
    return cells(page(tmp_path), f"Fashion-MNIST after 10 minutes of a core: {title}")


def test_at_equal_time_each_of_ours_stands_beside_the_best_of_its_rivals(tmp_path):
    ours, theirs = [ran(1.0, s) for s in range(3)], [ran(4.0, s) for s in range(3)]
    row = compared_as(tmp_path, "vae", ours, theirs)
    assert row[1:4] == ["0.250 (0.205 to 0.306)", "at most 0.5", "met"] and "3 seeds" in row[4]
    better = [{**ran(1.6, s), "fd_to_choose": 1.6} for s in range(3)]
    row = compared_as(tmp_path, "vae", ours, theirs, **{"pythae-vaegan": better})
    assert row[1].startswith("0.625") and row[3].startswith("**missed**")
    # the rival is chosen by other samples than those that are compared
    lucky = [{**one, "fd_to_choose": 50.0} for one in better]
    assert compared_as(tmp_path, "vae", ours, theirs, **{"pythae-vaegan": lucky})[1].startswith("0.250")
    assert compared_as(tmp_path, "vae", ours, theirs, **{"pythae-vaegan": []})[1] == "not measured"


@pytest.mark.parametrize(
    "ours, theirs, said",
    [
        (ran(1.0, wall_s=760.0), ran(4.0), "seconds by the clock differ: 760 and 600"),
        (ran(1.0), ran(4.0, processor_s=620.0, wall_s=620.0), ""),
        (ran(1.0), ran(4.0, processor_s=300.0), "processor seconds differ: 598 and 300"),
        (ran(1.0), ran(4.0, processor_s=None), "processor seconds of one not recorded"),
        (ran(1.0), ran(122.0), "a network did not train: 122, the training mean has 98"),
        (
            ran(1.0),
            ran(4.0, hardware={**CPU, "cpu": "another"}),
            "hardware differs: a processor, 2 threads and another",
        ),
    ],
)
def test_an_unfair_comparison_is_void_and_says_why(tmp_path, ours, theirs, said):
    three = [{**one, "seed": seed} for seed in range(3) for one in [ours]], [{**theirs, "seed": s} for s in range(3)]
    verdict = compared_as(tmp_path, "diffusion", *three)[3]
    assert verdict.startswith(f"**void**: {said}") if said else verdict == "met"
    verdict = compared_as(tmp_path, "diffusion", [ours], [theirs])[3]
    assert verdict.endswith("1 of 3 seeds")


def test_results_of_a_gpu_stand_apart(tmp_path):
    write(tmp_path, diffusion_speed_gpu=trained(speed(3.0, 2.9, 3.1), GPU))
    shown = page(tmp_path)
    assert cells(shown, "diffusion U-Net of equal FLOPs, training, over diffusers' example loop")[1] == "not measured"
    assert "No GPU was at hand" not in shown
    rows = [line for line in shown.partition("## On a GPU")[2].splitlines() if "an accelerator" in line]
    assert len(rows) == 5 and all("| 100 | 90 to 110 |" in row for row in rows)


def test_the_results_that_lie_here_can_be_read():
    shown, (here, on_gpu) = page(RESULTS), loaded(RESULTS)
    for name in here | on_gpu:
        assert re.search(rf"\b{name}\b", shown), f"{name} is left out"
    for figure in FIGURES:
        if all(name in here for name in figure.files):
            with contextlib.suppress(LeftOut):
                figure.read(*(here[name] for name in figure.files))  # raises where a file has another shape


def test_the_page_that_lies_here_is_that_of_the_results():
    assert (RESULTS.parent / "RESULTS.md").read_text(encoding="utf-8") == page(RESULTS)
