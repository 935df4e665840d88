"""Pictures restored from held-back ones that were degraded, beside interpolation: PSNR, consistency, coverage.

    python -m benchmarks.quality.restoration                     # all tasks that have a trained model
    python -m benchmarks.quality.restoration aerial-4x --n 32

Models are the rows mnist-restoration and aerial of `benchmarks.quality.diffusion`. Of each degraded picture K draws
from the posterior are made (`morphogen.applications.restoration`); their mean is the estimate, their spread the
uncertainty.

    PSNR         10 log10(255^2 / mean squared error) of a picture (of the hole alone, for holes); the mean over them,
                 and of the paired differences to the baseline, with 95 % intervals
    consistency  root mean square of A x - y in gray levels, of the draws; y itself is rounded: 0.29 is its own error
    coverage     share of elements whose truth lies within mean -+ the 95 % half width; among all, and among those
                 with an uncertainty of at least 1 gray level

Baselines: bicubic enlargement (Pillow's), and into holes cubic interpolation of what is around them (scipy's
`griddata`, linear where that is not defined). A sheet of pictures goes to runs/diffusion/TASK.png.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from PIL import Image
from scipy.interpolate import griddata
from torch import Tensor

from benchmarks.harness import Json, load_data, load_family, mean_of, path_of, plain_parser, say, train, write
from benchmarks.page import tables
from benchmarks.page.tables import Result, Seen, at_least, seen_of
from benchmarks.quality import diffusion
from morphogen.applications.restoration import Degrading, Restoration, by_condition, of_means
from morphogen.core.batch import RawCondition
from morphogen.core.rng import Rng
from morphogen.data.context import Degradation
from morphogen.report.sheets import sheet
from morphogen.sampling import grids, loop, steppers
from morphogen.sampling.inverse import Measured, inpainting


@dataclass(frozen=True)
class Task:
    """The row of `benchmarks.quality.diffusion`, what is done to its test pictures, and how they are restored."""

    row: str
    degradation: str
    way: Literal["condition", "measurement"]
    evaluations: int = 20  # of a draw


TASKS = {
    "mnist-4x": Task("mnist-restoration", "down4", "condition"),
    "mnist-4x-measured": Task("mnist-restoration", "down4", "measurement"),
    "mnist-hole": Task("mnist-restoration", "hole", "measurement"),
    "aerial-4x": Task("aerial", "down4", "condition"),
    "aerial-4x-measured": Task("aerial", "down4", "measurement"),
    "aerial-hole": Task("aerial", "hole", "measurement"),
}


def restore(name: str, model: Path, n: int, k: int) -> Json:
    """Restore `n` held-back pictures by `k` draws each."""
    task = TASKS[name]
    family = load_family(model)
    records = load_data(diffusion.ROWS[task.row].data).split("test")
    rows = torch.linspace(0, len(records) - 1, n).round().long()  # all classes, where they are in order
    x = records.spec.encode(records.stored[rows])
    levels, shape = cast(int, records.spec.levels), tuple(x.shape[1:])
    stepper = steppers.stepper("dpm++2m")
    times = grids.grid("karras", family.schedule, task.evaluations)
    known = hole(shape)
    degradation = None if task.degradation == "hole" else Degradation.parse(task.degradation)
    y = x if degradation is None else degradation.apply(x, levels, Rng(0), n)
    start, draws = time.perf_counter(), []
    for i in range(0, n, 8):
        given = y[i : i + 8].repeat_interleave(k, 0)
        rng, count = Rng(1).shifted(i * k), len(given)
        if task.way == "condition":
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
        print(f"{name}: {i + len(given) // k} of {n}, {time.perf_counter() - start:.0f} s", flush=True)
    samples = torch.cat(draws)  # (n, K, C, H, W)
    base = torch.stack([interpolated(one, shape, known if degradation is None else None) for one in y])
    where = ~known.expand(shape) if degradation is None else torch.ones(shape, dtype=torch.bool)
    found = measured(x, samples, base, where)
    if degradation is not None:
        again = degradation.linear(samples.flatten(0, 1)).unflatten(0, (n, k))
        found["consistency"] = float((again - y[:, None]).square().mean().sqrt()) * 127.5
    else:
        found["consistency"] = float(((samples - x[:, None]) * known).abs().max()) * 127.5
    found |= {"task": name, "n": n, "k": k, "evaluations": task.evaluations, "way": task.way}
    found |= {"seconds_per_draw": (time.perf_counter() - start) / (n * k)}
    picture(x, y if degradation is not None else x * known, base, samples).save(model.parent / f"{name}.png")
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


def measured(x: Tensor, samples: Tensor, base: Tensor, where: Tensor) -> Json:
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
        "psnr_mean": mean_of(ours),
        "psnr_one_draw": mean_of(single),
        "psnr_baseline": mean_of(theirs),
        "psnr_difference": mean_of(ours - theirs),
        "pictures_improved": float((ours > theirs).double().mean()),
        "coverage": mean_of(share),
        "coverage_where_uncertain": float(covered[:, where][uncertain[:, where]].double().mean()),
        "uncertain_share": float(uncertain[:, where].double().mean()),
    }


def psnr(x: Tensor, y: Tensor, where: Tensor) -> Tensor:
    """(N,), in dB."""
    error = ((x - y) * 127.5)[:, where].square().double().mean(1).clamp_min(1e-4)
    return 10.0 * torch.log10(255.0**2 / error)


def picture(x: Tensor, given: Tensor, base: Tensor, samples: Tensor, columns: int = 8) -> Any:
    """Rows: truth, given, interpolation, two draws, mean, uncertainty (white: half of the range)."""
    some = slice(0, columns)
    enlarged = torch.nn.functional.interpolate(given[some], size=x.shape[-2:], mode="nearest")
    spread = samples[some].var(1).mean(1, keepdim=True).sqrt().expand_as(x[some]) * 2.0 - 1.0
    rows = [x[some], enlarged, base[some], samples[some, 0], samples[some, 1], samples[some].mean(1), spread]
    pixels = ((torch.cat(rows).clamp(-1, 1) + 1.0) * 127.5).round().byte().numpy()
    labels = ["truth", "given", "interpolated", "a draw", "another", "mean", "uncertainty"]
    return sheet(pixels, columns=columns, row_labels=labels)


# ------------------------------------------------------------------------------- on the results page


def _seen(record: Result) -> Seen:
    baseline, coverage = record["psnr_baseline"]["value"], record["coverage"]
    beside = f"interpolation {baseline:.2f} dB", f"95 % intervals of pixels cover {100 * coverage['value']:.1f} %"
    return seen_of({**record["psnr_difference"], "n": record["n"]}, None, *beside, form="+.2f")


FIGURES = tuple(
    tables.of(f"quality.restoration {task}", f"restoration-{task}")(
        f"restoring {task.replace('-', ', ')}: PSNR of the mean above interpolation, dB",
        at_least(0.0, "above 0"),
        _seen,
    )
    for task in TASKS
    if not task.endswith("measured")
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = plain_parser(__doc__)
    found.add_argument("task", nargs="?", choices=[*TASKS, "all"], default="all")
    found.add_argument("--n", type=int, default=64)
    found.add_argument("--k", type=int, default=8)
    found.add_argument("--quick", action="store_true", help="a model of two steps, 8 pictures, 2 draws")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Restore, judge and write."""
    asked = parser().parse_args(arguments)
    n, k = (8, 2) if asked.quick else (asked.n, asked.k)
    for task in TASKS if asked.task == "all" else [asked.task]:
        row = diffusion.ROWS[TASKS[task].row]
        found = restore(task, train(row, quick=True) if asked.quick else row.model(), n, k)
        write(path_of(f"restoration-{task}", asked.quick), found)
        say(f"{task}: PSNR above interpolation, dB", found["psnr_difference"], "+.2f")


if __name__ == "__main__":
    main()
