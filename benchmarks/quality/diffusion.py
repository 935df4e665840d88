"""Diffusion on real pictures: Frechet distances over the number of evaluations, bits per dimension, few steps.

    python -m benchmarks.quality.diffusion fashion              # or another row
    python -m benchmarks.quality.diffusion fashion --evaluate   # a row that is trained already
    python -m benchmarks.quality.diffusion diffusers            # diffusers' network and loop, as many minutes

`fashion`: 10,000 samples by 50 evaluations, and 2,000 by fewer, also by diffusers' samplers on our network, from the
same noise. `few`: the model of `fashion` distilled. `mnist`: the variational bound and the probability flow on 500 test
pictures. `mnist-restoration` and `aerial` are trained for `benchmarks.quality.restoration`. Samples are drawn in bf16
where the hardware multiplies in it, by both sides. Models stay in runs/diffusion/ROW. Needs MORPHOGEN_DATA.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks import harness
from benchmarks.harness import RUNS, Json, Row, Run, briefly, by_name, frechet, load_data, mean_of, read, sample, say
from benchmarks.page import tables
from benchmarks.page.tables import Result, Seen, at_most, ratio, rung, seen_of, short
from benchmarks.peers.environments import run_in
from morphogen.core.rng import Rng
from morphogen.sampling import grids
from morphogen.sampling.ode_likelihood import flow_log_likelihood, variational_bound
from morphogen.trainer.precision import autocast, resolve

FASHION, CPU = "fashion_mnist", torch.device("cpu")
SWEEP = 2000  # samples of a sweep; 10,000 judge the model itself
FEW = ((1, SWEEP), (2, SWEEP), (4, SWEEP), (2, 10_000))  # evaluations of a distilled model, and samples
PEER_SAMPLES = 1000  # of diffusers, which draws one in the time of five


def evaluations(run: Run) -> Json:
    """The model at 50 evaluations by 10,000 samples; then fewer evaluations, by 2,000."""
    start = time.perf_counter()
    best: Json = {"precision": "auto", "batch_size": 250}
    drawn = sample(run.model, run.n(10_000), **best, stepper="dpm++2m", steps=50)
    seconds = time.perf_counter() - start
    whole = frechet(drawn, FASHION)
    say("dpm++2m, 50 evaluations", whole)
    sweep = {"dpm++2m, karras, 50 evaluations": briefly(frechet(drawn[:SWEEP], FASHION))}
    for steps in (20, 10):
        for stepper, grid in (("dpm++2m", "karras"), ("unipc", "karras"), ("dpm++2m", "angle")):
            name = f"{stepper}, {grid}, {steps} evaluations"
            x = sample(run.model, run.n(SWEEP), **best, stepper=stepper, steps=steps, grid=grid)
            sweep[name] = briefly(frechet(x, FASHION))
            say(name, sweep[name])
    cases = [(name, k) for k in (20, 10) for name in ("dpm++2m", "unipc")]
    theirs = peer_samples("sample-ours", run.model, cases, run.n(SWEEP))
    return {"fd": whole, "sampling_s": seconds, "sweep": sweep, "their samplers": theirs}


def peer_samples(verb: str, model: Path, cases: Sequence[tuple[str, int]], n: int) -> Json:
    """Distances of samples by diffusers: of its own model ("sample") or of ours ("sample-ours"), from our noise."""
    found = {}
    for scheduler, steps in cases:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "samples.npz"
            how = ("--n", n, "--scheduler", scheduler, "--steps", steps)
            run_in("diffusers", "benchmarks.peers.diffusers", verb, model, out, *how)
            with np.load(out) as arrays:
                name = f"{scheduler}, {steps} evaluations"
                found[name] = briefly(frechet(arrays["x"], FASHION))
        say(f"diffusers, {verb}: {name}", found[name])
    return found


def few_steps(run: Run) -> Json:
    """A distilled model at so many evaluations, by so many samples."""
    found = {}
    for steps, n in FEW:
        x = sample(run.model, run.n(n), precision="auto", batch_size=250, steps=steps)
        found[f"{steps} evaluations, n = {n}"] = briefly(frechet(x, FASHION))
        say(f"distilled, {steps} evaluations", found[f"{steps} evaluations, n = {n}"])
    return {"fd": found}


@torch.no_grad()
def bits(run: Run) -> Json:
    """8-bit pictures: the variational bound, and the probability flow, in bits/dim; noise down to half a gray level."""
    family = harness.load_family(run.model)
    records = load_data(run.row.data).split("test")
    spec, levels = records.spec, records.spec.levels or 2
    rows = torch.linspace(0, len(records) - 1, 500).round().long()
    x_0 = family.encoded(spec.encode(records.stored[rows]), Rng(0), 500)
    found: Json = {}
    smallest = 1.0 / (levels - 1)
    ways = {
        "bound, 100 evaluations": (variational_bound, 100, 500),
        "bound, 50 evaluations": (variational_bound, 50, 200),
        "flow, 97 evaluations": (flow_log_likelihood, 25, 100),
    }
    for what, (score, steps, n) in ways.items():
        n, steps = (2, 4) if run.quick else (n, steps)
        grid, values, start = grids.log_snr(family.schedule, steps, smallest=smallest), [], time.perf_counter()
        with autocast(resolve("auto", CPU), CPU):
            for first in range(0, n, 100):
                part = x_0[first : min(first + 100, n)]
                values.append(score(family, part, grid, Rng(1).shifted(first), len(part), None, levels).score.value)
        each: Tensor = -torch.cat(values).double() / (spec.dimensions * math.log(2.0))
        found[what] = {**mean_of(each), "seconds": time.perf_counter() - start}
        say(f"{what}, bits/dim", found[what])
    return {"bits_per_dim": found}


LEAN = {"schedule": "edm", "times": "log-normal", "fold": 2, "widths": (64, 128), "blocks": (2, 3)}
RECIPE = {"batch_size": 64, "clip": 1.0, "compile": "off", "sheet_seconds": 400}
_FASHION = Row(
    "diffusion",
    "fashion",
    "Fashion-MNIST, diffusion; the long run",
    "diffusion",
    FASHION,
    {**RECIPE, "steps": 9_000},
    evaluations,
    {**LEAN, "time_mean": -0.6},
)
ROWS = by_name(
    _FASHION,
    Row(
        "diffusion",
        "mnist",
        "8-bit MNIST, diffusion: bits/dim",
        "diffusion",
        "mnist",
        {**RECIPE, "steps": 3_000},
        bits,
        # times about uniform in log-SNR as far as values are told apart, as the bound weighs them
        {**LEAN, "time_mean": -2.3, "time_std": 1.9, "fourier": (2, 4, 6, 8)},
    ),
    Row(
        "diffusion",
        "mnist-restoration",
        "MNIST, diffusion with the picture reduced 4 times as its context, or without",
        "diffusion",
        "mnist:context=down4",
        {**RECIPE, "steps": 2_400},
        options={**LEAN, "time_mean": -0.6, "context_dropout": 0.3},
    ),
    Row(
        "diffusion",
        "aerial",
        "aerial pictures at 64 x 64, diffusion with the picture reduced 4 times as its context, or without",
        "diffusion",
        "ucmerced:size=64,context=down4",
        {**RECIPE, "steps": 2_000, "batch_size": 16, "flips": True},
        options={**LEAN, "time_mean": -0.3, "widths": (64, 128, 128), "blocks": (2, 2, 3), "context_dropout": 0.3},
    ),
    Row(
        "diffusion",
        "few",
        "Fashion-MNIST, the model of `fashion` distilled by distribution matching, with a discriminator",
        "distilled",
        FASHION,
        {**RECIPE, "steps": 800},
        few_steps,
        parts={"teacher": _FASHION},
    ),
)


def diffusers(minutes: float, asked: argparse.Namespace) -> None:
    """diffusers' network, loop and samplers on the same pictures."""
    out, pictures = RUNS / "diffusion" / "diffusers", RUNS / "diffusion" / "diffusers-pictures.npy"
    if not asked.evaluate:
        pictures.parent.mkdir(parents=True, exist_ok=True)
        np.save(pictures, load_data(FASHION).train.stored.numpy())
        run_in("diffusers", "benchmarks.peers.diffusers", "train", pictures, out, "--minutes", minutes)
    if not asked.train:
        # DDIM clips its estimates of the picture
        found = peer_samples("sample", out, (("ddim", 50), ("dpm++2m", 20)), PEER_SAMPLES)
        record = {"training": read(out / "training.json"), **found}
        harness.write(harness.path_of("diffusion-diffusers", asked.quick), record)


# ------------------------------------------------------------------------------- on the results page


def _few(distilled: Result, teacher: Result) -> Seen:
    each = [f"{name}: {value['value']:.3g}" for name, value in distilled["fd"].items()]
    found = distilled["fd"]["2 evaluations, n = 10000"]
    return seen_of(found, distilled, *each, bound=2 * teacher["fd"]["value"])


def _over_diffusers(ours: Result, theirs: Result) -> Seen:
    rival = min((v for k, v in theirs.items() if k.endswith("evaluations")), key=lambda v: v["value"])
    minutes = f"{ours['training']['duration_s'] / 60:.0f} and {theirs['training']['minutes']:.0f} minutes of training"
    return ratio(ours["fd"], rival, minutes)


def _best(found: Result, evaluations: int) -> Result:
    """The best stepper at so many evaluations. Raises KeyError."""
    of = [value for name, value in found.items() if name.endswith(f", {evaluations} evaluations")]
    if not of:
        raise KeyError(evaluations)
    best: Result = min(of, key=lambda value: value["value"])
    return best


def _fewer(evaluations: int) -> Callable[[Result], Seen]:
    def read(record: Result) -> Seen:
        few, many = _best(record["sweep"], evaluations), _best(record["sweep"], 50)
        return ratio(few, many, f"n = {few['n']:,}")

    return read


def _samplers(evaluations: int) -> Callable[[Result], Seen]:
    def read(record: Result) -> Seen:
        ours, theirs = _best(record["sweep"], evaluations), _best(record["their samplers"], evaluations)
        return ratio(ours, theirs, f"n = {ours['n']:,}", "each the best of its steppers")

    return read


def _beside_components(record: Result) -> Seen:
    bound = rung(record["fd"], "PCA", "200")
    return seen_of(record["fd"], record, f"the bound is {bound:.4g}", bound=bound)


_fashion = tables.of("quality.diffusion fashion", "diffusion-fashion")
_over_peer = tables.of("quality.diffusion diffusers", "diffusion-fashion", "diffusion-diffusers")
_distilled = tables.of("quality.diffusion few", "diffusion-few", "diffusion-fashion")
_mnist = tables.of("quality.diffusion mnist", "diffusion-mnist")
_COMPONENTS = at_most(None, "below that of real pictures cut to 200 principal components")
_OF_SAMPLERS = "evaluations: our best stepper over diffusers' best, same network, distances"
FIGURES = (
    _fashion("Fashion-MNIST, Frechet distance, 50 evaluations", _COMPONENTS, _beside_components),
    _over_peer("the same over diffusers' at its best, both distances", at_most(0.5), _over_diffusers),
    *(_fashion(f"{k} evaluations over 50, distances", at_most(most), _fewer(k)) for k, most in ((20, 1.1), (10, 1.3))),
    *(_fashion(f"{k} {_OF_SAMPLERS}", at_most(1.0), _samplers(k)) for k in (20, 10)),
    _distilled(
        "distilled, 2 evaluations, Frechet distance", at_most(None, "at most twice that of 50 evaluations"), _few
    ),
)


def _bound(record: Result) -> Seen:
    found = record["bits_per_dim"]
    flow = f"by the probability flow {short(found['flow, 97 evaluations'])}"
    return seen_of(found["bound, 100 evaluations"], record, flow)


LIKELIHOOD_FIGURES = (
    _mnist("8-bit MNIST, diffusion, variational bound, bits/dim", at_most(1.35, stretch=1.2), _bound),
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = harness.row_parser(__doc__, ROWS, "diffusers")
    found.add_argument("--minutes", type=float, default=55.0, help="diffusers: how long to train")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure rows, or diffusers."""
    asked = parser().parse_args(arguments)
    if asked.row == "diffusers":
        diffusers(asked.minutes, asked)
    else:
        harness.run_rows(ROWS, asked)


if __name__ == "__main__":
    main()
