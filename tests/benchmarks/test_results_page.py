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
from benchmarks.speed import training

CPU = {"cpu": "a processor", "threads": 2, "device": "cpu", "processes": 1}
GPU = {**CPU, "device": "cuda", "accelerator": "an accelerator"}


def speed(median, low, high):
    return {"rounds": [low, median, high], "median": median, "range": [low, high]}


def trained(ratio, hardware=CPU):
    """What `benchmarks.speed.training diffusion` writes, as far as it is read; `ratio` is to the published loop."""

    def row(images_per_s, share):
        found = {"images_per_s": images_per_s, "range": [0.9 * images_per_s, 1.1 * images_per_s]}
        return {**found, "gflop_per_image": 2.0, "million_parameters": 3.0, "share_of_ceiling": share}

    names = {"ours, equal": 0.5, "ours, width 64": 0.48, "ours, width 128": 0.5, "diffusers, as published": 0.2}
    return {
        "hardware": hardware,
        "versions": {"torch": "9.9"},
        "ceiling_gflops": 400.0,
        "rows": {name: row(100.0, share) for name, share in names.items()},
        "ratios": {
            "ours, equal / diffusers, as published": ratio,
            "ours, equal / diffusers, bf16": speed(1.5, 1.4, 1.6),
        },
    }


def gumbel_scores(**ratios):
    """What `benchmarks.speed.training gan` writes, as far as it is read; the ratios are those over each rival."""
    one = {"what": "a loop", "images_per_s": speed(100.0, 90.0, 110.0), "gflops": 1.6, "other_cores": [0.0, None]}
    return {
        "started": "2026-01-01 00:00",
        "rounds": 3,
        "seconds": 25.0,
        "flops_per_image": 16e6,
        "hardware": CPU,
        "contestants": dict.fromkeys(("morphogen", "morphogen-eager", *ratios), one),
        "ratios": {f"{ours} / {name}": found for name, pair in ratios.items() for ours, found in pair.items()},
        "ceiling": {"fp32_gflops": speed(200.0, 190.0, 210.0), "bf16_gflops": speed(400.0, 390.0, 410.0)},
    }


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
    published = cells(shown, "diffusion U-Net, training, over diffusers' example loop")
    assert published[1] == "1.80 (1.70 to 2.10)" and published[3] == "**missed**, but its bracket reaches it"
    assert cells(shown, "diffusion U-Net, training, over diffusers' best flags")[3] == "met"
    wide = cells(shown, "diffusion U-Net of width 64")
    assert wide[1] == "48 % (43 % to 53 %)" and wide[3] == "met, but its bracket reaches past"
    assert cells(shown, "diffusion U-Net of width 128")[3] == "**missed**"
    assert cells(shown, "two processes of one core")[1:4] == ["1.70 (1.65 to 1.80)", "at least 1.6", "met"]
    assert cells(shown, "vae, 32 px, batch 16")[1:3] == ["32", "16 to 64"]  # 16 pictures in 0.5 s, in 1 to 0.25 s
    assert "| vae | 500 | 500 | batch^0.75 |" in shown and "| vae | 500 | 500 | pixels^0.50 |" in shown
    assert cells(shown, "a processor, 2 threads, cpu")[1:] == ["torch 9.9", "diffusion-speed, growth"]


def test_the_better_of_our_loops_is_judged_and_a_rival_left_out_is_not_measured(tmp_path):
    row, ours = "classic MLP GAN, training, over torchgan's Trainer", {"morphogen": speed(1.7, 1.6, 1.9)}
    write(tmp_path, throughput_gan=gumbel_scores(keras=ours))
    shown = page(tmp_path)
    assert cells(shown, row)[1:4] == ["not measured", "at least 1.8", "-"]
    assert cells(shown, "classic MLP GAN, training, over Keras' loop |")[1:4] == [
        "1.70 (1.60 to 1.90)",
        "at least 1.5",
        "met",
    ]
    write(tmp_path, throughput_gan=gumbel_scores(torchgan={**ours, "morphogen-eager": speed(1.9, 1.7, 2.0)}))
    shown = page(tmp_path)
    seen = ["1.90 (1.70 to 2.00)", "at least 1.8", "met, but its bracket reaches past", "morphogen-eager / torchgan"]
    assert cells(shown, row)[1:5] == seen
    share = "1 % of fp32, 0 % of bf16"
    assert cells(shown, "torchgan: a loop")[1:] == ["100", "90 to 110", "0.016", share]


def test_rivals_named_among_the_figures_are_contestants():
    for row in training.FIGURES:
        if row.files[0].startswith("throughput"):
            with pytest.raises(LeftOut) as left_out:
                row.read({"contestants": {}})
            assert left_out.value.args[0] in training.MLP["gan" if "gan" in row.files[0] else "vae"]


def test_at_equal_time_each_of_ours_stands_beside_the_best_of_its_rivals(tmp_path):
    names = equal_time.NAMES
    values = dict(zip(names, (1.5, 2.0, 3.0, 9.0, 6.0, 4.0, 3.0, 8.0), strict=True))
    record = {"data": "fashion_mnist", "minutes": 10.0, "threads": 2}
    for name, value in values.items():
        fd = {"value": value, "interval": [0.9 * value, 1.1 * value], "n": 1000 if name == "diffusers" else 2000}
        record[name] = {"what": name, "fd": fd, "training": {"hardware": CPU, "versions": {"torch": "9.9"}}}
    write(tmp_path, equal_time=record)
    start, shown = "Fashion-MNIST after as many minutes: our", page(tmp_path)
    vae = cells(shown, f"{start} best of the VAE family over pythae's best")
    assert vae[1:4] == ["0.375 (0.307 to 0.458)", "at most 0.5", "met"]
    assert "vae; pythae-vaegan" in vae[4] and "10 min, 2 threads each" in vae[4]
    assert cells(shown, f"{start} GAN over a Keras DCGAN")[3] == "**missed**"
    assert "n = 2,000 and 1,000" in cells(shown, f"{start} diffusion over diffusers'")[4]
    del record["pythae-rae"]  # the best of two that were not both judged is not known
    write(tmp_path, equal_time=record)
    shown = page(tmp_path)
    assert cells(shown, f"{start} best of the VAE family over pythae's best")[1] == "not measured"
    assert cells(shown, f"{start} GAN over a Keras DCGAN")[1].startswith("0.667")
    record["vae"]["fd"]["value"] = 3.0  # but beside the best of some, a miss is one
    write(tmp_path, equal_time=record)
    vae = cells(page(tmp_path), f"{start} best of the VAE family over pythae's best")
    assert vae[3].startswith("**missed**") and "not trained: pythae-rae" in vae[4]
    record["vae"]["training"] = {"hardware": {**CPU, "cpu": "another"}, "versions": {"torch": "9.9"}}
    write(tmp_path, equal_time=record)
    shown = page(tmp_path)
    assert cells(shown, f"{start} best of the VAE family over pythae's best")[1] == "not measured"


def test_contestants_are_judged_only_after_equal_times(tmp_path):
    with pytest.raises(SystemExit, match="leave out --evaluate"):
        equal_time.judge(tmp_path)
    write(tmp_path, vae={"minutes": 10.0, "threads": 2}, keras={"minutes": 10.0, "threads": 1})
    with pytest.raises(SystemExit, match="minutes and threads differ: vae 10 min on 2, keras 10 min on 1"):
        equal_time.judge(tmp_path)


def test_what_is_known_of_contestants_after_as_long_stays():
    joined = equal_time.joined
    how = {"data": "fashion_mnist", "minutes": 10.0, "threads": 1}
    before = {**how, "vae": 1, "keras": 2}
    assert joined(before, {**how, "vae": 3, "gan": 4}) == {**how, "vae": 3, "gan": 4, "keras": 2}
    assert joined(before, {**how, "threads": 2, "vae": 3}) == {**how, "threads": 2, "vae": 3}
    assert joined({}, {**how, "vae": 3}) == {**how, "vae": 3}


def test_results_of_a_gpu_stand_apart(tmp_path):
    write(tmp_path, diffusion_speed_gpu=trained(speed(3.0, 2.9, 3.1), GPU))
    shown = page(tmp_path)
    assert cells(shown, "diffusion U-Net, training, over diffusers' example loop")[1] == "not measured"
    assert "No GPU was at hand" not in shown
    rows = [line for line in shown.partition("## On a GPU")[2].splitlines() if "an accelerator" in line]
    assert len(rows) == 4 and all("| 100 | 90 to 110 |" in row for row in rows)


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
