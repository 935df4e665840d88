"""Do adversarial networks find all modes? Mixtures of Gaussians in the plane, and stacked digits; three seeds each.

    python -m benchmarks.quality.modes points                 # ring of 8, grid of 25 Gaussians, beside minimax
    python -m benchmarks.quality.modes points --mixture ring  # one of the two; what is known of the other stays
    python -m benchmarks.quality.modes stacked --seeds 3      # the 1,000 modes of stacked digits; needs MORPHOGEN_DATA

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
from statistics import median

import numpy as np
import torch

from benchmarks import harness
from benchmarks.harness import QUICK_N, RUNS, Json, Row, describe_training, load_data, read, sample, train, write
from benchmarks.page import tables
from benchmarks.page.tables import Figure, Result, Seen, Target, at_least, at_most, count
from morphogen.evaluation.features.frozen import frozen

SAMPLES = 10_000
STACKS, READ = 50_000, 26_000  # stacked digits to train on, and to judge by
CANDIDATES = 8  # of which the discriminator chooses one, in a second draw from each model
MIXTURES: dict[str, tuple[np.ndarray, float]] = {
    "ring": (2.0 * np.stack([[math.cos(a), math.sin(a)] for a in np.arange(8) * math.pi / 4]), 0.02),
    "grid": (np.stack([[x, y] for x in range(-4, 5, 2) for y in range(-4, 5, 2)]).astype(float), 0.05),
}
SOURCES = {name: RUNS / "gan" / f"{name}.npz" for name in (*MIXTURES, "stacked")}
MLP = {"backbone": "mlp", "hidden": (128,) * 5, "discriminator_hidden": (128,) * 3, "penalty_every": 4}
RECIPE = {"steps": 96_000, "batch_size": 128, "compile": "off", "precision": "fp32", "sheet_seconds": 600}
GAMES: dict[str, Json] = {
    "default": MLP,
    "minimax, no penalty": {**MLP, "game": "minimax", "penalty": "none"},
}
POINTS = {
    (mixture, game): Row(
        "gan",
        f"{mixture}-{game.partition(',')[0]}",
        f"mixture of Gaussians in the plane, {mixture}, {game}",
        "gan",
        str(SOURCES[mixture]),
        RECIPE,
        options=options,
    )
    for mixture in MIXTURES
    for game, options in GAMES.items()
}
STACKED = Row(
    "gan",
    "stacked",
    "stacked MNIST",
    "gan",
    f"{SOURCES['stacked']}:validation=0.02,test=0",
    {"budget": "30min", "batch_size": 32, "compile": "off", "sheet_seconds": 300},
    options={"penalty_every": 4, "penalty_weight": 10.0, "widths": (24, 48, 96)},
)


def save_source(name: str, x: np.ndarray) -> None:
    """Write a training set."""
    SOURCES[name].parent.mkdir(parents=True, exist_ok=True)
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


def points(seeds: int, mixtures: Sequence[str], quick: bool) -> Json:
    """The mixtures by the default game, for each seed, and by the plain one, for one; and the truth's own figures."""
    found: Json = {}
    for name in mixtures:
        save_source(name, mixture(name, 50_000, 0).astype(np.float32))
        found[name] = {"truth": count_modes(name, mixture(name, SAMPLES, 1)), "recipe": RECIPE}
        for game in GAMES:
            for seed in range(seeds if game == "default" else 1):
                model = train(POINTS[name, game], seed=seed, quick=quick)
                how = {"seed": 1, "batch_size": 1000}
                one = count_modes(name, sample(model, SAMPLES, **how))
                chosen = count_modes(name, sample(model, SAMPLES, **how, candidates=CANDIDATES))
                one |= {"chosen": chosen, "training": describe_training(model)}
                found[name].setdefault(game, []).append(one)
                print(f"{name}, {game}, seed {seed}: {one}", flush=True)
    return found


def stacked(seeds: int, quick: bool) -> Json:
    """Modes of stacked digits, for each seed, beside real stacks that were not trained on."""
    digits, n = load_data("mnist"), QUICK_N if quick else READ
    if not SOURCES["stacked"].exists():
        save_source("stacked", stacks(digits.train.stored.numpy(), STACKS, 0))
    found: Json = {"real": read_modes(stacks(digits.split("test").stored.numpy(), n, 1)), "seeds": []}
    print("real stacks:", found["real"], flush=True)
    for seed in range(seeds):
        model = train(STACKED, seed=seed, quick=quick)
        one = read_modes(sample(model, n, seed=1))
        print(f"stacked, seed {seed}:", one, flush=True)
        found["seeds"].append({**one, "training": describe_training(model)})
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


# ------------------------------------------------------------------------------- on the results page


def _points(mixture: str) -> Callable[[Result], Seen]:
    def read(record: Result) -> Seen:
        of = record[mixture]
        ours = of["default"]
        modes = ", ".join(f"{one['modes']} of {one['of']}" for one in ours)
        plain = ", ".join(f"{one['modes']} modes, {one['good']:.1%}" for one in of["minimax, no penalty"])
        chosen = ", ".join(f"{one['chosen']['good']:.1%}" for one in ours)
        beside = f"modes found: {modes}; the best of 8 candidates: {chosen}; truth {of['truth']['good']:.1%}"
        beside += f"; minimax without a penalty: {plain}"
        least = min(one["good"] if one["modes"] == one["of"] else 0.0 for one in ours)  # a lost mode fails the seed
        return Seen(least, None, beside, ".1%")

    return read


def _stacked(what: str, target: Target, pick: Callable[[list[Result]], float], form: str) -> Figure:
    def read(record: Result) -> Seen:
        seeds, real = record["seeds"], record["real"]
        each = "; ".join(f"{one['modes']} modes, KL {one['kl']:.3f}" for one in seeds)
        beside = f"{count(len(seeds), 'seed')}: {each}; real stacks {real['modes']}, {real['kl']:.3f}"
        return Seen(pick(seeds), None, beside, form)

    return Figure(f"stacked MNIST: {what}", "quality.modes stacked", target, ("gan-stacked",), read)


_points_figure = tables.of("quality.modes points", "gan-points")
_SHARE = "least share of samples within 3 sigma, all modes found, over seeds"
_ALL = at_least(0.95, "over 95 %, all modes, each seed")
FIGURES = (
    _points_figure(f"ring of 8 Gaussians: {_SHARE}", _ALL, _points("ring")),
    _points_figure(f"grid of 25 Gaussians: {_SHARE}", _ALL, _points("grid")),
    _stacked("modes, median", at_least(990), lambda seeds: median(one["modes"] for one in seeds), ".0f"),
    _stacked("modes, least", at_least(950), lambda seeds: min(one["modes"] for one in seeds), ".0f"),
    _stacked("KL from equal shares, largest", at_most(0.15), lambda seeds: max(one["kl"] for one in seeds), ".3f"),
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = harness.plain_parser(__doc__)
    found.add_argument("row", choices=["points", "stacked"])
    found.add_argument("--seeds", type=int, default=3)
    found.add_argument("--mixture", choices=MIXTURES, help="points: this one alone")
    found.add_argument("--quick", action="store_true", help="two steps of one seed, to see that all of it runs")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, judge and write."""
    asked = parser().parse_args(arguments)
    seeds, out = 1 if asked.quick else asked.seeds, harness.path_of(f"gan-{asked.row}", asked.quick)
    if asked.row == "stacked":
        record = stacked(seeds, asked.quick)
    else:
        record = points(seeds, [asked.mixture] if asked.mixture else tuple(MIXTURES), asked.quick)
        if asked.mixture and out.exists():
            record = {**read(out), **record}
    write(out, record)


if __name__ == "__main__":
    main()
