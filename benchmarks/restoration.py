"""Pictures restored from held-back ones that were damaged, beside interpolation: PSNR, consistency, coverage.

    python -m benchmarks.restoration                     # all tasks that have a trained model
    python -m benchmarks.restoration aerial-4x --n 32

Models are those of `python -m benchmarks.diffusion mnist-restoration` and `aerial`. Of each damaged picture K draws
from the posterior are made (`morphogen.applications.restoration`); their mean is the estimate, their spread the
uncertainty.

    PSNR         10 log10(255^2 / mean squared error) of a picture (of the hole alone, for holes); the mean over them,
                 and of the paired differences to the baseline, with 95 % intervals
    consistency  root mean square of A x - y in gray levels, of the draws; y itself is rounded: 0.29 is its own error
    coverage     share of elements whose truth lies within mean -+ the 95 % half width; among all, and among those
                 with an uncertainty of at least 1 gray level

Baselines: bicubic enlargement (Pillow's), and into holes cubic interpolation of what is around them (scipy's
`griddata`, linear where that is not defined). Results go to benchmarks/results/restoration-TASK.json, and a sheet of
pictures to runs/diffusion/TASK.png: truth, what was given, interpolation, two draws, mean, uncertainty.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from scipy.interpolate import griddata
from torch import Tensor

import morphogen as mg
from morphogen.applications.restoration import Degrading, Restoration, by_condition, of_means
from morphogen.core.batch import RawCondition
from morphogen.core.rng import Rng
from morphogen.data.context import Degradation
from morphogen.report.sheets import sheet
from morphogen.sampling import grids, loop, steppers
from morphogen.sampling.inverse import Measured, inpainting

RUNS, RESULTS = Path("runs/diffusion"), Path(__file__).parent / "results"
# task -> model, its data, what is done, by which way, evaluations a draw
TASKS: dict[str, tuple[str, str, str, str, int]] = {
    "mnist-4x": ("mnist-restoration", "mnist:context=down4", "down4", "condition", 20),
    "mnist-4x-measured": ("mnist-restoration", "mnist:context=down4", "down4", "measurement", 20),
    "mnist-hole": ("mnist-restoration", "mnist:context=down4", "hole", "measurement", 20),
    "aerial-4x": ("aerial", "ucmerced:size=64,context=down4", "down4", "condition", 20),
    "aerial-4x-measured": ("aerial", "ucmerced:size=64,context=down4", "down4", "measurement", 20),
    "aerial-hole": ("aerial", "ucmerced:size=64,context=down4", "hole", "measurement", 20),
}


def run(task: str, n: int, k: int) -> dict[str, Any]:
    """Restore `n` held-back pictures by `k` draws each."""
    model, source, damage, way, steps = TASKS[task]
    family: Any = mg.load_model(RUNS / model).family
    records = mg.load_data(source).split("test")
    rows = torch.linspace(0, len(records) - 1, n).round().long()  # all classes, where they are in order
    x = records.spec.encode(records.stored[rows])
    levels, shape = cast(int, records.spec.levels), tuple(x.shape[1:])
    stepper = steppers.stepper("dpm++2m")
    times = grids.grid("karras", family.schedule, steps)
    known = hole(shape)
    degradation = None if damage == "hole" else Degradation.parse(damage)
    y = x if degradation is None else degradation.apply(x, levels, Rng(0), n)
    start, draws = time.perf_counter(), []
    for i in range(0, n, 8):
        given = y[i : i + 8].repeat_interleave(k, 0)
        rng, count = Rng(1).shifted(i * k), len(given)
        if way == "condition":
            made = by_condition(
                family, stepper, times, shape, count, rng, RawCondition(context=given), cast(Degradation, degradation)
            )
        else:
            if degradation is None:
                posterior: Any = inpainting(family, given, known)
            else:
                posterior = Measured(family, Degrading(degradation), given, 2.0 / (levels - 1) / math.sqrt(12.0))
            noise = loop.starting_noise(family.schedule, rng, count, shape)
            addressed = loop.addressed(rng, count, noise)
            made = loop.sample(posterior, of_means(stepper), noise, times, addressed, from_noise=True)
        draws.append(made.clamp(-1.0, 1.0).unflatten(0, (-1, k)))
        print(f"{task}: {i + len(given) // k} of {n}, {time.perf_counter() - start:.0f} s", flush=True)
    samples = torch.cat(draws)  # (n, K, C, H, W)
    base = torch.stack([interpolated(one, shape, known if degradation is None else None) for one in y])
    where = ~known.expand(shape) if degradation is None else torch.ones(shape, dtype=torch.bool)
    found = measured(x, samples, base, where)
    if degradation is not None:
        again = degradation.linear(samples.flatten(0, 1)).unflatten(0, (n, k))
        found["consistency"] = float((again - y[:, None]).square().mean().sqrt()) * 127.5
    else:
        found["consistency"] = float(((samples - x[:, None]) * known).abs().max()) * 127.5
    found |= {"task": task, "n": n, "k": k, "evaluations": steps, "way": way}
    found |= {"seconds_per_draw": (time.perf_counter() - start) / (n * k)}
    picture(x, y if degradation is not None else x * known, base, samples).save(RUNS / f"{task}.png")
    return found


def hole(shape: tuple[int, ...]) -> Tensor:
    """(1, H, W) bool, false in the middle: half of each side."""
    _, height, width = shape
    known = torch.ones(1, height, width, dtype=torch.bool)
    known[:, height // 4 : height - height // 4, width // 4 : width - width // 4] = False
    return known


def interpolated(y: Tensor, shape: tuple[int, ...], known: Tensor | None) -> Tensor:
    """The baseline's picture: enlarged, or its hole filled."""
    if known is None:
        pixels = ((y + 1.0) * 127.5).round().byte()
        size = (shape[2], shape[1])
        large = [np.asarray(Image.fromarray(c.numpy()).resize(size, Image.Resampling.BICUBIC)) for c in pixels]
        return torch.from_numpy(np.stack(large)).float() / 127.5 - 1.0
    inside = known[0].numpy()
    there, missing = np.argwhere(inside), np.argwhere(~inside)
    filled = y.clone()
    for channel in filled:
        values = channel.numpy()[inside]
        cubic, linear = (griddata(there, values, missing, how) for how in ("cubic", "linear"))
        channel[~known[0]] = torch.from_numpy(np.where(np.isnan(cubic), linear, cubic)).float()
    return filled.clamp(-1.0, 1.0)


def measured(x: Tensor, samples: Tensor, base: Tensor, where: Tensor) -> dict[str, Any]:
    """PSNR and coverage of the elements `where`."""
    restored = [Restoration(draws) for draws in samples]
    mean = torch.stack([r.mean for r in restored])
    half = torch.stack([r.half_width() for r in restored])
    uncertain = torch.stack([r.stddev for r in restored]) * 127.5 >= 1.0
    # within half a gray level more: the truth is whole
    covered = (x - mean).abs() <= half + 0.5 / 127.5
    ours, theirs = psnr(x, mean, where), psnr(x, base, where)
    single = psnr(x, samples[:, 0], where)
    share = torch.stack([c[where].double().mean() for c in covered])
    return {
        "psnr_mean": _interval(ours),
        "psnr_one_draw": _interval(single),
        "psnr_baseline": _interval(theirs),
        "psnr_difference": _interval(ours - theirs),
        "pictures_improved": float((ours > theirs).double().mean()),
        "coverage": _interval(share),
        "coverage_where_uncertain": float(covered[:, where][uncertain[:, where]].double().mean()),
        "uncertain_share": float(uncertain[:, where].double().mean()),
    }


def psnr(x: Tensor, y: Tensor, where: Tensor) -> Tensor:
    """(N,), in dB."""
    error = ((x - y) * 127.5)[:, where].square().double().mean(1).clamp_min(1e-4)
    return 10.0 * torch.log10(255.0**2 / error)


def _interval(values: Tensor) -> dict[str, Any]:
    error = 1.96 * float(values.std()) / math.sqrt(len(values))
    return {"value": float(values.mean()), "interval": [float(values.mean()) - error, float(values.mean()) + error]}


def picture(x: Tensor, given: Tensor, base: Tensor, samples: Tensor, columns: int = 8) -> Any:
    """Rows: truth, given, interpolation, two draws, mean, uncertainty (white: half of the range)."""
    some = slice(0, columns)
    enlarged = torch.nn.functional.interpolate(given[some], size=x.shape[-2:], mode="nearest")
    spread = samples[some].var(1).mean(1, keepdim=True).sqrt().expand_as(x[some]) * 2.0 - 1.0
    rows = [x[some], enlarged, base[some], samples[some, 0], samples[some, 1], samples[some].mean(1), spread]
    pixels = ((torch.cat(rows).clamp(-1, 1) + 1.0) * 127.5).round().byte().numpy()
    labels = ["truth", "given", "interpolated", "a draw", "another", "mean", "uncertainty"]
    return sheet(pixels, columns=columns, row_labels=labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="?", choices=[*TASKS, "all"], default="all")
    parser.add_argument("--n", type=int, default=64)
    parser.add_argument("--k", type=int, default=8)
    asked = parser.parse_args()
    for task in TASKS if asked.task == "all" else [asked.task]:
        found = run(task, asked.n, asked.k)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"restoration-{task}.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        print(json.dumps(found))


if __name__ == "__main__":
    main()
