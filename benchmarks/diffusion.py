"""Diffusion on real pictures: trains a row, draws from it, judges it, and writes the result beside its baselines.

    python -m benchmarks.diffusion fashion              # or another row
    python -m benchmarks.diffusion fashion --evaluate   # a row that is trained already
    python -m benchmarks.diffusion diffusers            # diffusers' network and loop, as many minutes as `fashion` took

Needs MORPHOGEN_DATA. Models stay in runs/diffusion/ROW; an interrupted one is resumed. Results go to
benchmarks/results/diffusion-ROW.json. Samples are drawn in bf16 where the hardware multiplies in it, by both sides.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import morphogen as mg
from benchmarks.peers import ROOT, ensure
from morphogen.core.rng import Rng
from morphogen.report.progress import watch
from morphogen.sampling import grids
from morphogen.sampling.ode_likelihood import flow_log_likelihood, variational_bound
from morphogen.training.precision import autocast, resolve

RUNS, RESULTS = Path("runs/diffusion"), Path(__file__).parent / "results"
FASHION = "fashion_mnist"
SWEEP = 2000  # samples of a sweep; 10,000 judge the model itself
FEW = ((1, SWEEP), (2, SWEEP), (4, SWEEP), (2, 10_000))  # evaluations of a distilled model, and samples
FEWER = 1000  # samples of the peer, which draws one in the time of five
LEAN = {"schedule": "edm", "times": "log-normal", "fold": 2, "widths": (64, 128), "blocks": (2, 3)}

ROWS: dict[str, dict[str, Any]] = {
    "fashion": {
        "what": "Fashion-MNIST, diffusion; the long run",
        "family": "diffusion",
        "data": FASHION,
        "options": {**LEAN, "time_mean": -0.6},
        "recipe": {"steps": 9_000, "batch_size": 64, "clip": 1.0},
    },
    "mnist": {
        "what": "8-bit MNIST, diffusion: bits/dim",
        "family": "diffusion",
        "data": "mnist",
        # times about uniform in log-SNR as far as values are told apart, as the bound weighs them
        "options": {**LEAN, "time_mean": -2.3, "time_std": 1.9, "fourier": (2, 4, 6, 8)},
        "recipe": {"steps": 3_000, "batch_size": 64, "clip": 1.0},
    },
    "mnist-restoration": {
        "what": "MNIST, diffusion with the picture reduced 4 times as its context, or without",
        "family": "diffusion",
        "data": "mnist:context=down4",
        "options": {**LEAN, "time_mean": -0.6, "context_dropout": 0.3},
        "recipe": {"steps": 2_400, "batch_size": 64, "clip": 1.0},
    },
    "aerial": {
        "what": "aerial pictures at 64 x 64, diffusion with the picture reduced 4 times as its context, or without",
        "family": "diffusion",
        "data": "ucmerced:size=64,context=down4",
        "options": {**LEAN, "time_mean": -0.3, "widths": (64, 128, 128), "blocks": (2, 2, 3), "context_dropout": 0.3},
        "recipe": {"steps": 2_000, "batch_size": 16, "clip": 1.0, "flips": True},
    },
    "few": {
        "what": "Fashion-MNIST, the model of `fashion` distilled by distribution matching, with a discriminator",
        "family": "distilled",
        "data": FASHION,
        "parts": {"teacher": "fashion"},
        "options": {},
        "recipe": {"steps": 800, "batch_size": 64, "clip": 1.0},
    },
}


def trained(name: str, evaluate_only: bool) -> Path:
    """The row's model, trained, or trained further, unless it is only to be evaluated."""
    row, out = ROWS[name], RUNS / name
    if not evaluate_only:
        recipe = {**row["recipe"], "compile": "off", "sheet_seconds": 400}
        parts = {part: RUNS / of for part, of in row.get("parts", {}).items()}
        events = mg.train(
            row["family"], row["data"], out, options=row["options"], recipe=recipe, resume=out.exists(), parts=parts
        )
        for _ in watch(events, label=name):
            pass
    return out


def frechet(pictures: np.ndarray, data: str, scratch: Path) -> dict[str, Any]:
    """The Frechet distance of uint8 pictures to the held-out ones, as `evaluate-samples` finds it."""
    scratch.parent.mkdir(parents=True, exist_ok=True)
    np.savez(scratch, x=pictures)
    found: dict[str, Any] = mg.evaluate_samples(str(scratch), data, ["fd"])
    return {**found["results"][0], "ladders": found["ladders"]}


def fashion(model: Path) -> dict[str, Any]:
    """The model at 50 evaluations by 10,000 samples; then fewer evaluations, by 2,000."""
    start = time.perf_counter()
    drawn = mg.sample(model, 10_000, precision="auto", batch_size=250, stepper="dpm++2m", steps=50)
    seconds = time.perf_counter() - start
    whole = frechet(drawn.x, FASHION, RUNS / "scratch.npz")
    _say("dpm++2m", 50, whole)
    sweep = {}
    for stepper, steps, grid in [
        ("dpm++2m", 50, "karras"),
        *(
            case
            for k in (20, 10)
            for case in (("dpm++2m", k, "karras"), ("unipc", k, "karras"), ("dpm++2m", k, "angle"))
        ),
    ]:
        if steps == 50:  # the first of those
            made = drawn.x[:SWEEP]
        else:
            how: dict[str, Any] = {"stepper": stepper, "steps": steps, "grid": grid}
            made = mg.sample(model, SWEEP, precision="auto", batch_size=250, **how).x
        found = frechet(made, FASHION, RUNS / "scratch.npz")
        sweep[f"{stepper}, {grid}, {steps} evaluations"] = {k: found[k] for k in ("value", "interval", "n")}
        _say(f"{stepper} {grid}", steps, found)
    return {"fd": whole, "sampling_s": seconds, "sweep": sweep, "their samplers": theirs_on_ours(model)}


def theirs_on_ours(model: Path) -> dict[str, Any]:
    """diffusers' samplers on our network, from the same noise, by 2,000 samples."""
    python, found = ensure("diffusers"), {}
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    for scheduler, steps in ((name, k) for k in (20, 10) for name in ("dpm++2m", "unipc")):
        made = RUNS / "their-samples.npz"
        how = ["--n", str(SWEEP), "--scheduler", scheduler, "--steps", str(steps)]
        command = [python, "-m", "benchmarks.diffusers_peer", "sample-ours", model, made, *how]
        subprocess.run(command, check=True, env=environment)
        with np.load(made) as arrays:
            judged = frechet(arrays["x"], FASHION, RUNS / "scratch.npz")
        found[f"{scheduler}, {steps} evaluations"] = {k: judged[k] for k in ("value", "interval", "n")}
        _say(f"diffusers' {scheduler} on our network", steps, judged)
    return found


def few(model: Path) -> dict[str, Any]:
    """A distilled model at so many evaluations, by so many samples."""
    found = {}
    for steps, n in FEW:
        made = mg.sample(model, n, precision="auto", batch_size=250, steps=steps)
        judged = frechet(made.x, FASHION, RUNS / "scratch.npz")
        found[f"{steps} evaluations, n = {n}"] = {k: judged[k] for k in ("value", "interval", "n")}
        _say("distilled", steps, judged)
    return {"fd": found}


@torch.no_grad()
def bits(model: Path) -> dict[str, Any]:
    """8-bit pictures: the variational bound, and the probability flow, in bits/dim; noise down to half a gray level."""
    family: Any = mg.load_model(model).family
    records = mg.load_data(ROWS["mnist"]["data"]).split("test")
    spec, levels = records.spec, records.spec.levels or 2
    rows = torch.linspace(0, len(records) - 1, 500).round().long()
    x_0 = family.encoded(spec.encode(records.stored[rows]), Rng(0), 500)
    found: dict[str, Any] = {}

    def scored(what: str, n: int, score: Callable[[slice], Tensor]) -> None:
        values, start = [], time.perf_counter()
        with autocast(resolve("auto", torch.device("cpu")), torch.device("cpu")):
            for i in range(0, n, 100):
                values.append(score(slice(i, min(i + 100, n))))
        each = -torch.cat(values).double() / (spec.dimensions * math.log(2.0))
        mean, error = float(each.mean()), 1.96 * float(each.std()) / math.sqrt(n)
        found[what] = {"value": mean, "interval": [mean - error, mean + error], "n": n}
        found[what]["seconds"] = time.perf_counter() - start
        print(f"{what}: {mean:.4f} bits/dim ({mean - error:.4f} to {mean + error:.4f}), n = {n}", flush=True)

    def bound(steps: int, smallest: float) -> Callable[[slice], Tensor]:
        grid = grids.log_snr(family.schedule, steps, smallest=smallest)

        def score(part: slice) -> Tensor:
            index = len(x_0[part])
            return variational_bound(
                family, x_0[part], grid, Rng(1).shifted(part.start), index, None, levels
            ).score.value

        return score

    def flow(steps: int, smallest: float) -> Callable[[slice], Tensor]:
        grid = grids.log_snr(family.schedule, steps, smallest=smallest)

        def score(part: slice) -> Tensor:
            index, rng = len(x_0[part]), Rng(1).shifted(part.start)
            return flow_log_likelihood(family, x_0[part], grid, rng, index, None, levels).score.value

        return score

    step = 2.0 / (levels - 1)
    scored("bound, 100 evaluations", 500, bound(100, 0.5 * step))
    scored("bound, 50 evaluations", 200, bound(50, 0.5 * step))
    scored("flow, 97 evaluations", 100, flow(25, 0.5 * step))
    return {"bits_per_dim": found}


def diffusers(minutes: float, evaluate_only: bool) -> dict[str, Any]:
    """diffusers' network, loop and samplers on the same pictures."""
    python, out, script = ensure("diffusers"), RUNS / "diffusers", ("-m", "benchmarks.diffusers_peer")
    pictures = RUNS / "diffusers-pictures.npy"
    if not evaluate_only:
        RUNS.mkdir(parents=True, exist_ok=True)
        np.save(pictures, mg.load_data(FASHION).train.stored.numpy())
        subprocess.run([python, *script, "train", pictures, out, "--minutes", str(minutes)], check=True)
    found: dict[str, Any] = {"training": json.loads((out / "training.json").read_text())}
    for scheduler, steps in (("ddim", 50), ("dpm++2m", 20)):  # the first clips its estimates of the picture
        made = RUNS / "diffusers-samples.npz"
        how = ["--n", str(FEWER), "--scheduler", scheduler, "--steps", str(steps)]
        subprocess.run([python, *script, "sample", out, made, *how], check=True)
        with np.load(made) as arrays:
            judged = frechet(arrays["x"], FASHION, RUNS / "scratch.npz")
        found[f"{scheduler}, {steps} evaluations"] = {k: judged[k] for k in ("value", "interval", "n")}
        _say(f"diffusers {scheduler}", steps, judged)
    return found


def _say(how: str, evaluations: int, found: dict[str, Any]) -> None:
    low, high = found["interval"]
    print(f"{how}, {evaluations} evaluations, n = {found['n']}: FD {found['value']:.3f} ({low:.3f} to {high:.3f})")


def _write(name: str, record: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"diffusion-{name}.json").write_text(json.dumps(record, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=[*ROWS, "diffusers"])
    parser.add_argument("--evaluate", action="store_true", help="the row is trained already")
    parser.add_argument("--train", action="store_true", help="train alone; --evaluate later")
    parser.add_argument("--minutes", type=float, default=55.0, help="diffusers: how long to train")
    asked = parser.parse_args()
    if asked.row == "diffusers":
        _write(asked.row, diffusers(asked.minutes, asked.evaluate))
        return
    model = trained(asked.row, asked.evaluate)
    record = {"what": ROWS[asked.row]["what"], "training": mg.show(model)["provenance"]}
    if asked.row in JUDGED and not asked.train:
        record |= JUDGED[asked.row](model)
    _write(asked.row, record)


JUDGED = {
    "fashion": fashion,
    "mnist": bits,
    "few": few,
}

if __name__ == "__main__":
    main()
