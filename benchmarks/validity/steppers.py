"""The measured order of convergence of every stepper, beside the declared one, and beside diffusers' samplers.

    python -m benchmarks.validity.steppers
    python -m benchmarks.validity.steppers --only unipc --out runs/steppers.json
    python -m benchmarks.validity.steppers --only diffusers

The data are two dependent Gaussian elements, and a mixture of two modes on the line; their denoisers are exact, so the
error in mean and covariance is the integration's alone, and it is computed without sampling noise
(`benchmarks.validity.convergence`). Runs start from the exact law of x_1 and end at t = 0. The grids become fine
everywhere: sigma / alpha falls like (1 - i / steps)^2 or faster. Takes a few minutes and no data.

Another library's deterministic sampler is measured by the same functions: anything that maps (x_1, steps, noise) to
x_0 is a `Run`. `benchmarks.peers.samplers` does that for diffusers, over its own noise levels.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from benchmarks.harness import Json, path_of, plain_parser, write
from benchmarks.page import tables
from benchmarks.page.tables import Result, Seen
from benchmarks.peers.environments import ensure, run_in, versions
from benchmarks.validity.convergence import gaussian_error, mixture_error, run_of, slope, stochastic_mixture_error
from benchmarks.validity.oracles import FEW, gaussian, mixture
from morphogen.sampling.grids import angle, power
from morphogen.sampling.steppers import Ancestral, Multistep, Stepper, stepper
from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser
from morphogen.theory.schedules import EDM, Schedule, schedule

PROCESSES: dict[str, Schedule] = {
    "linear-beta": schedule("linear-beta"),
    "cosine": schedule("cosine"),
    "rectified-flow": schedule("rectified-flow"),
    "edm": EDM(10.0),
}
FINITE = ("linear-beta", "edm")  # with a log-SNR that is finite at t = 1
ALL = tuple(PROCESSES)
TOLERANCE = 0.2


@dataclass(frozen=True)
class Case:
    """A stepper, the processes to measure it on, and its order on the line where that is not the declared one."""

    stepper: Stepper
    processes: tuple[str, ...] = ALL
    on_the_line: int | None = None


CASES: dict[str, Case] = {
    # On the line no element has anything in common with others, which is all that the learned variance leaves out.
    "ddpm": Case(Ancestral(), on_the_line=2),
    "ddpm, variance beta_tilde": Case(Ancestral("beta_tilde")),
    "ddpm, variance beta": Case(Ancestral("beta"), ("cosine", "rectified-flow")),
    "ddim": Case(stepper("ddim")),
    "ddim, eta 1/2": Case(stepper("ddim", eta=0.5)),
    "euler": Case(stepper("euler")),
    "heun": Case(stepper("heun")),
    "edm, churn 4": Case(stepper("edm", churn=4.0), ("rectified-flow", "edm")),
    "dpm++2m": Case(stepper("dpm++2m"), FINITE),
    "dpm++2m-sde": Case(stepper("dpm++2m-sde"), FINITE),
    "unipc": Case(stepper("unipc"), FINITE),
    "dpm++2m, in the angle": Case(Multistep(2, variable="angle")),
    "dpm++2m-sde, in the angle": Case(Multistep(2, eta=1.0, variable="angle")),
    "unipc, in the angle": Case(Multistep(2, True, variable="angle")),
}


def grid_of(name: str) -> Callable[[int], Tensor]:
    process = PROCESSES[name]
    return (lambda n: power(process, n, exponent=5.0)) if name == "linear-beta" else (lambda n: angle(process, n))


def measure(row: Case, name: str) -> list[Json]:
    """The errors and slopes of one stepper on one process, for both kinds of data."""
    process, method, found = PROCESSES[name], row.stepper, []
    for data, make in (("gaussian", gaussian), ("mixture", mixture)):
        oracle, run = make(process), run_of(make(process), method, grid_of(name))

        def error(n: int, data: str = data, oracle: GaussianMixtureDenoiser = oracle, run: object = run) -> float:
            if data == "gaussian":
                return gaussian_error(run, oracle, n)  # type: ignore[arg-type]
            if method.stochastic:
                return stochastic_mixture_error(method, oracle, grid_of(name)(n))
            return mixture_error(run, oracle, n)  # type: ignore[arg-type]

        steps = (64, 128) if method.stochastic and (data == "gaussian" or method.remembers) else (128, 256)
        errors = [error(n) for n in steps]
        measured = slope(steps, errors)
        expected = method.order if data == "gaussian" or row.on_the_line is None else row.on_the_line
        found.append(
            {
                "process": name,
                "data": data,
                "declared": method.order,
                "expected": expected,
                "measured": round(measured, 3),
                "within": abs(measured - expected) <= TOLERANCE,
                "evaluations_per_step": method.evaluations_per_step,
                "steps": list(steps),
                "errors": errors,
                "few": {n: error(n) for n in FEW},
            }
        )
    return found


def beside_diffusers() -> Json:
    """The rows of `benchmarks.peers.samplers`, printed; ours on the same times in each."""
    rows: list[Json] = json.loads(run_in("diffusers", "benchmarks.peers.samplers"))
    print(f"\n{'diffusers, and ours on the same times':50}{'measured':>9}   error at {', '.join(map(str, FEW))}")
    for row in rows:
        for who in (who for who in row if who.startswith(("theirs", "ours"))):
            of = f"{row['stepper']}, {row['grid']} grid, {row['data']}" if who == "theirs" else f"    {who}"
            late = "" if row["ends_at_zero"] or who != "theirs" else "  does not end at t = 0"
            print(f"{of:50}{row[who]['measured']:9.2f}   {_few(row[who])}{late}")
    return {"versions": versions(ensure("diffusers"), "diffusers", "torch"), "rows": rows}


def _few(found: Json) -> str:
    return "  ".join(f"{value:.1e}" for value in found["few"].values())


def ours(only: str) -> list[Json]:
    """Our rows whose name contains `only`, printed."""
    rows = []
    head = f"{'stepper':28}{'process':16}{'data':10}{'declared':>9}{'measured':>9}"
    print(f"{head}   error at {', '.join(map(str, FEW))}")
    for name, row in CASES.items():
        for process in row.processes if only in name else ():
            for found in measure(row, process):
                rows.append({"stepper": name, **found})
                note = "" if found["expected"] == found["declared"] else f" (order {found['expected']} on the line)"
                flag = "" if found["within"] else "  MISSED"
                of = f"{name:28}{process:16}{found['data']:10}{found['declared']:9}{found['measured']:9.2f}"
                print(f"{of}   {_few(found)}{note}{flag}", flush=True)
    print(f"{sum(row['within'] for row in rows)} of {len(rows)} within {TOLERANCE}")
    return rows


# ------------------------------------------------------------------------------- on the results page


def _within(record: Result) -> Seen:
    within = sum(row["within"] for row in record["rows"])
    return Seen(within / len(record["rows"]), text=f"{within} of {len(record['rows'])} cases")


_figure = tables.of("validity.steppers", "steppers")
FIGURES = (
    _figure("steppers whose measured order is within 0.2 of the declared one", tables.at_least(1.0, "all"), _within),
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = plain_parser(__doc__)
    found.add_argument("--only", default="", help="rows whose name contains this")
    found.add_argument("--out", type=Path, help="where to write; steppers.json among the results unless --only")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure ours, then diffusers'."""
    chosen = parser().parse_args(arguments)
    began, rows = time.perf_counter(), ours(chosen.only)
    report: Json = {
        "what": "order of convergence of the moments of x_0, exact denoisers, last step at t = 0",
        "tolerance": TOLERANCE,
        "all_within": all(row["within"] for row in rows),
        "rows": rows,
    }
    if chosen.only in "diffusers":
        report["diffusers"] = beside_diffusers()
    report["duration_s"] = round(time.perf_counter() - began, 1)
    out = chosen.out or (None if chosen.only else path_of("steppers"))
    if out is not None:
        write(out, report)
        print(f"written to {out}")


if __name__ == "__main__":
    main()
