"""How near few steps come to the flow that they follow: each stepper over each grid of times, at equal evaluations.

    python -m benchmarks.validity.grids                       # exact mixtures, four schedules
    python -m benchmarks.validity.grids --model runs/first    # a trained diffusion or flow model too; may be repeated

From the same noise, x_0 after 10, 20 and 50 evaluations is compared with x_0 of 600 steps, and the error is the root
mean square over records and elements, as a share of the deviation of x_0. The mixtures have exact denoisers: two modes
on the line, 20 narrow ones in 8 dimensions, and ten Gaussians in 64 dimensions, one fitted to each class of the digits.
A trained network has errors of its own; this measures only how exactly its samples are drawn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.harness import Json, load_data, load_family, path_of, plain_parser, write
from benchmarks.validity.oracles import mixture
from morphogen.core.rng import Rng
from morphogen.sampling import grids, loop, steppers
from morphogen.sampling.denoiser import Denoiser
from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser
from morphogen.theory.schedules import Schedule, schedule

EVALUATIONS, EXACT = (10, 20, 50), 600
RECORDS, OF_A_MODEL = 200, 32
SCHEDULES = ("cosine", "linear-beta", "edm", "rectified-flow")
METHODS = ("unipc-angle", "unipc", "dpm++2m", "ddim", "euler", "heun")
GRIDS = ("angle", "log-snr", "karras", "uniform")


def points(process: Schedule) -> GaussianMixtureDenoiser:
    """Twenty narrow modes in 8 dimensions."""
    means = Rng(3).normal("points", 20, (8,), dtype=torch.float64)
    return GaussianMixtureDenoiser(
        process, torch.ones(20).double(), means, 0.15**2 * torch.eye(8).double().expand(20, 8, 8)
    )


def digits(process: Schedule) -> GaussianMixtureDenoiser:
    """The Gaussian of each class of the embedded digits, in 64 dimensions."""
    train = load_data("digits").train
    assert train.labels is not None
    x, labels = train.spec.encode(train.stored).double().flatten(1), train.labels
    classes = [x[labels == k] for k in range(10)]
    covs = torch.stack([c.T.cov() + 2e-3 * torch.eye(64).double() for c in classes])
    return GaussianMixtureDenoiser(process, torch.ones(10).double(), torch.stack([c.mean(0) for c in classes]), covs)


MIXTURES = {"line": mixture, "points": points, "digits": digits}


@torch.no_grad()
def errors(denoiser: Denoiser, shape: Sequence[int], n: int, dtype: torch.dtype) -> Json:
    """The error of each stepper and grid at each number of evaluations."""
    x = loop.starting_noise(denoiser.schedule, Rng(0), n, shape, dtype)

    def end(method: str, grid: str, steps: int) -> Tensor:
        times = grids.grid(grid, denoiser.schedule, steps)
        return loop.sample(denoiser, steppers.stepper(method), x, times, lambda i: x, from_noise=True)

    exact = end("unipc-angle", "angle", EXACT)
    found: Json = {}
    for evaluations in EVALUATIONS:
        found[str(evaluations)] = here = {}
        for method in METHODS:
            steps = (evaluations + 1) // 2 if method == "heun" else evaluations
            for grid in GRIDS:
                error = (end(method, grid, steps) - exact).double().square().mean().sqrt() / exact.double().std()
                here[f"{method}, {grid}"] = float(error)
    return found


def tell(name: str, found: Mapping[str, Mapping[str, float]]) -> None:
    """Print the five best of 20 evaluations, and today's and the former default."""
    of = found["20"]
    best = sorted(of, key=lambda how: of[how])[:5]
    print(name, {how: round(of[how], 4) for how in [*best, "dpm++2m, karras"]}, flush=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = plain_parser(__doc__)
    found.add_argument("--model", type=Path, action="append", default=[], help="a trained model; may be repeated")
    found.add_argument("--out", type=Path, default=path_of("grids"))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    chosen, start = parser().parse_args(arguments), time.perf_counter()
    exact: Json = {}
    for of in SCHEDULES:
        for name, make in MIXTURES.items():
            oracle = make(schedule(of))
            exact[f"{name}, {of}"] = errors(oracle, oracle.shape, RECORDS, torch.float64)
            tell(f"{name}, {of}", exact[f"{name}, {of}"])
    trained: Json = {}
    for folder in chosen.model:
        family = load_family(folder)
        name = f"{family.name} of {family.data.name}, {getattr(family.spec, 'schedule', 'rectified-flow')}"
        trained[name] = errors(family, family.shape, OF_A_MODEL, torch.float32)
        tell(name, trained[name])
    what = "error of x_0 to the exact flow of the same noise, a share of its deviation, by evaluations"
    write(
        chosen.out, {"what": what, "exact": exact, "trained": trained, "duration_s": round(time.perf_counter() - start)}
    )


if __name__ == "__main__":
    main()
