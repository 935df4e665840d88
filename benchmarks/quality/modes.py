"""Do adversarial networks find all modes? Mixtures of Gaussians in the plane, and stacked digits; three seeds each.

    python -m benchmarks.quality.modes ring                 # 8 Gaussians; `grid`: 25
    python -m benchmarks.quality.modes ring-minimax         # the plain game, for one seed
    python -m benchmarks.quality.modes stacked              # the 1,000 modes of stacked digits; needs MORPHOGEN_DATA

Models are trained (or trained on where they were interrupted) under runs/gan/. A failed seed is reported like the
others.

Mixtures: 8 Gaussians of deviation 0.02 on a circle of radius 2 (Metz et al., "Unrolled generative adversarial
networks", 2017), and 25 of deviation 0.05 on a 5 x 5 grid of spacing 2 (Lin et al., "PacGAN", 2018). A sample is good
within 3 deviations of the nearest mode (98.9 % of the truth's are); a mode is found if a good sample is nearest to it.

Stacked MNIST (Metz et al., 2017): three digits drawn at random are the channels of one picture: 1,000 modes. The frozen
network of MNIST reads each channel of 26,000 samples; beside them stacks of test digits. KL is of the shares of the
modes from equal ones.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import numpy as np
import torch

from benchmarks import harness
from benchmarks.harness import RUNS, Asked, Json, Row, Run, load_data, sample
from benchmarks.page.tables import Result, Seen, Target, at_least, at_most, count
from morphogen.evaluation.features.frozen import frozen

SAMPLES = 10_000
STACKS, READ = 50_000, 26_000  # stacked digits to train on, and to judge by
CANDIDATES = 8  # of which the discriminator chooses one, in a second draw from each model
MIXTURES: dict[str, tuple[np.ndarray, float]] = {
    "ring": (2.0 * np.stack([[math.cos(a), math.sin(a)] for a in np.arange(8) * math.pi / 4]), 0.02),
    "grid": (np.stack([[x, y] for x in range(-4, 5, 2) for y in range(-4, 5, 2)]).astype(float), 0.05),
}
SOURCES = {name: RUNS / "gan" / f"{name}.npz" for name in (*MIXTURES, "stacked")}


def write_source(name: str) -> None:
    """Write a training set where it is not there yet."""
    if not SOURCES[name].exists():
        SOURCES[name].parent.mkdir(parents=True, exist_ok=True)
        mixed = name in MIXTURES
        x = (
            mixture(name, 50_000, 0).astype(np.float32)
            if mixed
            else stacks(load_data("mnist").train.stored.numpy(), STACKS, 0)
        )
        np.savez(SOURCES[name], x=x)


def mixture(name: str, n: int, seed: int) -> np.ndarray:
    """`n` points of it, (n, 2)."""
    rng = np.random.default_rng(seed)
    centers, deviation = MIXTURES[name]
    return centers[rng.integers(len(centers), size=n)] + deviation * rng.standard_normal((n, 2))


def count_modes(name: str, x: np.ndarray) -> Json:
    """Modes found, the share of good samples, and the largest share of a mode among them over the smallest."""
    centers, deviation = MIXTURES[name]
    distance = np.linalg.norm(x[:, None] - centers, axis=-1)
    good = distance.min(1) <= 3.0 * deviation
    counts = np.bincount(distance.argmin(1)[good], minlength=len(centers))
    return {
        "modes": int((counts > 0).sum()),
        "of": len(centers),
        "good": float(good.mean()),
        "largest_over_smallest": float(counts.max() / max(1, counts.min())),
    }


def points(run: Run) -> Json:
    """A mixture's modes among samples, among the best of several candidates, and among the truth's own points."""
    name = run.row.name.partition("-")[0]
    how = {"seed": 1, "batch_size": 1000}
    found = count_modes(name, sample(run.model, SAMPLES, **how))
    found["chosen"] = count_modes(name, sample(run.model, SAMPLES, **how, candidates=CANDIDATES))
    found["truth"] = count_modes(name, mixture(name, SAMPLES, 1))
    print(f"{run.row.name}: {found}", flush=True)
    return found


def stacked(run: Run) -> Json:
    """Modes of stacked digits, beside real stacks that were not trained on."""
    n = run.n(READ)
    real = read_modes(stacks(load_data("mnist").split("test").stored.numpy(), n, 1))
    found = {**read_modes(sample(run.model, n, seed=1)), "real": real}
    print(f"stacked: {found}", flush=True)
    return found


def stacks(digits: np.ndarray, n: int, seed: int) -> np.ndarray:
    """(n, 3, 28, 28): each channel one of the digits (N, 1, 28, 28), drawn independently."""
    return digits[np.random.default_rng(seed).integers(len(digits), size=(n, 3)), 0]


def read_modes(x: np.ndarray) -> Json:
    """The modes among stacks of 8-bit digits, how many of them, and KL(shares || equal shares)."""
    network = frozen("mnist")
    flat = torch.from_numpy(x).reshape(-1, 1, *x.shape[2:])
    with torch.inference_mode():
        parts = [network.classify(network(part.float() / 127.5 - 1.0)).argmax(1) for part in flat.split(1000)]
    counts = np.bincount((torch.cat(parts).reshape(-1, 3).numpy() * [100, 10, 1]).sum(1), minlength=1000)
    share = counts[counts > 0] / counts.sum()
    return {"modes": int((counts > 0).sum()), "of": 1000, "kl": float((share * np.log(1000 * share)).sum())}


# ------------------------------------------------------------------------------------------- what is asked


def _points(ours: Result, minimax: Result) -> Seen:
    seeds, plain = ours["seeds"], minimax["seeds"][0]
    modes = ", ".join(f"{one['modes']} of {one['of']}" for one in seeds)
    chosen = ", ".join(f"{one['chosen']['good']:.1%}" for one in seeds)
    beside = f"modes found: {modes}; the best of 8 candidates: {chosen}; truth {seeds[0]['truth']['good']:.1%}"
    beside += f"; minimax without a penalty: {plain['modes']} modes, {plain['good']:.1%}"
    least = min(one["good"] if one["modes"] == one["of"] else 0.0 for one in seeds)  # a lost mode fails the seed
    return Seen(least, None, beside, ".1%")


def _all(name: str, what: str) -> tuple[Asked, ...]:
    told = f"{what}: least share of samples within 3 sigma, all modes found, over seeds"
    return (Asked(told, at_least(0.95, "over 95 %, all modes, each seed"), _points, (f"gan-{name}-minimax",)),)


def _stacked(what: str, target: Target, pick: Callable[[list[Result]], float], form: str) -> Asked:
    def read(record: Result) -> Seen:
        seeds, real = record["seeds"], record["seeds"][0]["real"]
        each = "; ".join(f"{one['modes']} modes, KL {one['kl']:.3f}" for one in seeds)
        beside = f"{count(len(seeds), 'seed')}: {each}; real stacks {real['modes']}, {real['kl']:.3f}"
        return Seen(pick(seeds), None, beside, form)

    return Asked(f"stacked MNIST: {what}", target, read)


_OF_STACKS = (
    _stacked("modes, median", at_least(990), lambda seeds: median(one["modes"] for one in seeds), ".0f"),
    _stacked("modes, least", at_least(950), lambda seeds: min(one["modes"] for one in seeds), ".0f"),
    _stacked("KL from equal shares, largest", at_most(0.15), lambda seeds: max(one["kl"] for one in seeds), ".3f"),
)

# fmt: off
MLP = {"backbone": "mlp", "hidden": (128,) * 5, "discriminator_hidden": (128,) * 3, "penalty_every": 4}
RECIPE = {"steps": 96_000, "batch_size": 128, "compile": "off", "precision": "fp32", "sheet_seconds": 600}
ROWS = harness.by_name(
    *(Row("gan", name, f"{what} in the plane", "gan", str(SOURCES[name]), RECIPE, points, MLP,
          asked=_all(name, what), seeds=(0, 1, 2), prepare=partial(write_source, name))
      for name, what in (("ring", "ring of 8 Gaussians"), ("grid", "grid of 25 Gaussians"))),
    *(Row("gan", f"{name}-minimax", f"{name} of Gaussians, minimax without a penalty", "gan", str(SOURCES[name]),
          RECIPE, points, {**MLP, "game": "minimax", "penalty": "none"}, seeds=(0,),
          prepare=partial(write_source, name))
      for name in MIXTURES),
    Row("gan", "stacked", "stacked MNIST", "gan", f"{SOURCES['stacked']}:validation=0.02,test=0",
        {"budget": "30min", "batch_size": 32, "compile": "off", "sheet_seconds": 300}, stacked,
        {"penalty_every": 4, "penalty_weight": 10.0, "widths": (24, 48, 96)}, asked=_OF_STACKS, seeds=(0, 1, 2),
        prepare=partial(write_source, "stacked")),
)
# fmt: on
FIGURES = harness.figures("quality.modes", ROWS)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    return harness.row_parser(__doc__, ROWS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, judge and write."""
    harness.run_rows(ROWS, parser().parse_args(arguments))


if __name__ == "__main__":
    main()
