"""Diffusion on real pictures: Frechet distances over the number of evaluations, bits per dimension, few steps.

    python -m benchmarks.quality.diffusion fashion              # or another row
    python -m benchmarks.quality.diffusion fashion --evaluate   # a row that is trained already

`fashion`: 10,000 samples by 50 evaluations, and 2,000 by fewer, also by diffusers' samplers on our network, from the
same noise. `few`: the model of `fashion` distilled. `mnist`: the variational bound and the probability flow on 500 test
pictures. `mnist-restoration` and `aerial` are trained for `benchmarks.quality.restoration`. Samples are drawn in bf16
where the hardware multiplies in it, by both sides. Models stay in runs/diffusion/ROW. Needs MORPHOGEN_DATA. Trainings
of diffusers' network are those of `benchmarks.quality.equal_time`.
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
from benchmarks.harness import Asked, Json, Row, Run, briefly, frechet, load_data, mean_of, sample, say
from benchmarks.page.tables import Result, Seen, at_most, ratio, rung, seen_of, short
from benchmarks.peers.environments import run_in
from morphogen.core.rng import Rng
from morphogen.sampling import grids
from morphogen.sampling.ode_likelihood import Likelihood, flow_log_likelihood, variational_bound
from morphogen.trainer.precision import autocast, resolve

FASHION, CPU = "fashion_mnist", torch.device("cpu")
SWEEP = 2000  # samples of a sweep; 10,000 judge the model itself
FEW = ((1, SWEEP), (2, SWEEP), (4, SWEEP), (2, 10_000))  # evaluations of a distilled model, and samples


def evaluations(run: Run) -> Json:
    """The model at 50 evaluations by 10,000 samples; then fewer evaluations, by 2,000."""
    start = time.perf_counter()
    best: Json = {"precision": "auto", "batch_size": 250}
    drawn = sample(run.model, run.n(10_000), **best, stepper="dpm++2m", steps=50)
    seconds = time.perf_counter() - start
    whole = frechet(drawn, FASHION)
    say("dpm++2m, 50 evaluations", whole)
    sweep = {"dpm++2m, karras, 50 evaluations": briefly(frechet(drawn[:SWEEP], FASHION))}
    theirs = {}
    for steps in (20, 10):
        for stepper, grid in (("dpm++2m", "karras"), ("unipc", "karras"), ("dpm++2m", "angle")):
            name = f"{stepper}, {grid}, {steps} evaluations"
            x = sample(run.model, run.n(SWEEP), **best, stepper=stepper, steps=steps, grid=grid)
            sweep[name] = briefly(frechet(x, FASHION))
            say(name, sweep[name])
        for scheduler in ("dpm++2m", "unipc"):
            name = f"{scheduler}, {steps} evaluations"
            theirs[name] = briefly(frechet(by_diffusers(run.model, scheduler, steps, run.n(SWEEP)), FASHION))
            say(f"diffusers' {name}", theirs[name])
    return {"fd": whole, "sampling_s": seconds, "sweep": sweep, "their samplers": theirs}


def by_diffusers(model: Path, scheduler: str, steps: int, n: int) -> np.ndarray:
    """Samples of our model by a sampler of diffusers, from our noise."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "samples.npz"
        how = ("--n", n, "--scheduler", scheduler, "--steps", steps)
        run_in("diffusers", "benchmarks.peers.diffusers", "sample-ours", model, out, *how)
        with np.load(out) as arrays:
            return np.asarray(arrays["x"])


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
    ways: dict[str, tuple[Callable[..., Likelihood], int, int]] = {
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


# ------------------------------------------------------------------------------------------- what is asked


def _few(distilled: Result, teacher: Result) -> Seen:
    each = [f"{name}: {value['value']:.3g}" for name, value in distilled["fd"].items()]
    found = distilled["fd"]["2 evaluations, n = 10000"]
    return seen_of(found, distilled, *each, bound=2 * teacher["fd"]["value"])


def _best(found: Result, evaluations: int) -> Result:
    """The best stepper at so many evaluations. Raises KeyError."""
    of = [value for name, value in found.items() if name.endswith(f", {evaluations} evaluations")]
    if not of:
        raise KeyError(evaluations)
    best: Result = min(of, key=lambda value: value["value"])
    return best


def _fewer(evaluations: int) -> Callable[[Result], Seen]:
    def read(record: Result) -> Seen:
        few, many = (record["sweep"][f"dpm++2m, karras, {n} evaluations"] for n in (evaluations, 50))
        return ratio(few, many, f"n = {few['n']:,}")

    return read


def _samplers(evaluations: int) -> Callable[[Result], Seen]:
    """The best of two steppers over Karras' times on either side."""

    def read(record: Result) -> Seen:
        ours = {name: value for name, value in record["sweep"].items() if "karras" in name}
        best, theirs = _best(ours, evaluations), _best(record["their samplers"], evaluations)
        return ratio(best, theirs, f"n = {best['n']:,}", "each the best of two steppers")

    return read


def _beside_components(record: Result) -> Seen:
    bound = rung(record["fd"], "PCA", "200")
    return seen_of(record["fd"], record, f"the bound is {bound:.4g}", bound=bound)


def _bound(record: Result) -> Seen:
    found = record["bits_per_dim"]
    flow = f"by the probability flow {short(found['flow, 97 evaluations'])}"
    return seen_of(found["bound, 100 evaluations"], record, flow)


_COMPONENTS = at_most(None, "below that of real pictures cut to 200 principal components")
_OF_SAMPLERS = "evaluations: our best of two steppers over diffusers', same network, distances"
_ON_FASHION = (
    Asked("Fashion-MNIST, Frechet distance, 50 evaluations", _COMPONENTS, _beside_components),
    *(Asked(f"{k} evaluations over 50, distances", at_most(most), _fewer(k)) for k, most in ((20, 1.1), (10, 1.3))),
    *(Asked(f"{k} {_OF_SAMPLERS}", at_most(1.0), _samplers(k)) for k in (20, 10)),
)
_TWICE = at_most(None, "at most twice that of 50 evaluations")
_ON_FEW = (Asked("distilled, 2 evaluations, Frechet distance", _TWICE, _few, ("diffusion-fashion",)),)
_BITS = at_most(1.35, stretch=1.2)
_ON_MNIST = (Asked("8-bit MNIST, diffusion, variational bound, bits/dim", _BITS, _bound),)

# fmt: off
LEAN = {"schedule": "edm", "times": "log-normal", "fold": 2, "widths": (64, 128), "blocks": (2, 3)}
RECIPE = {"batch_size": 64, "clip": 1.0, "compile": "off", "sheet_seconds": 400}
_FASHION = Row("diffusion", "fashion", "Fashion-MNIST, diffusion; the long run", "diffusion", FASHION,
               {**RECIPE, "steps": 9_000}, evaluations, {**LEAN, "time_mean": -0.6}, asked=_ON_FASHION)
ROWS = harness.by_name(
    _FASHION,
    Row("diffusion", "mnist", "8-bit MNIST, diffusion: bits/dim", "diffusion", "mnist", {**RECIPE, "steps": 3_000},
        bits,  # times about uniform in log-SNR as far as values are told apart, as the bound weighs them
        {**LEAN, "time_mean": -2.3, "time_std": 1.9, "fourier": (2, 4, 6, 8)}, asked=_ON_MNIST),
    Row("diffusion", "mnist-restoration", "MNIST, diffusion, the picture reduced 4 times as its context or without",
        "diffusion", "mnist:context=down4", {**RECIPE, "steps": 2_400},
        options={**LEAN, "time_mean": -0.6, "context_dropout": 0.3}),
    Row("diffusion", "aerial", "aerial pictures at 64 x 64, diffusion, the picture reduced 4 times as its context or"
        " without", "diffusion", "ucmerced:size=64,context=down4",
        {**RECIPE, "steps": 2_000, "batch_size": 16, "flips": True},
        options={**LEAN, "time_mean": -0.3, "widths": (64, 128, 128), "blocks": (2, 2, 3), "context_dropout": 0.3}),
    Row("diffusion", "few", "Fashion-MNIST, the model of `fashion` distilled by distribution matching, with a"
        " discriminator", "distilled", FASHION, {**RECIPE, "steps": 800}, few_steps, parts={"teacher": _FASHION},
        asked=_ON_FEW),
)
# fmt: on
LIKELIHOOD_FIGURES = harness.figures("quality.diffusion", {"mnist": ROWS["mnist"]})
FIGURES = harness.figures("quality.diffusion", {name: row for name, row in ROWS.items() if name != "mnist"})


def parser() -> argparse.ArgumentParser:
    """The command line."""
    return harness.row_parser(__doc__, ROWS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure rows."""
    harness.run_rows(ROWS, parser().parse_args(arguments))


if __name__ == "__main__":
    main()
