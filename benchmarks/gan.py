"""Generative adversarial networks: modes of mixtures in the plane and of stacked digits, and pictures.

    python -m benchmarks.gan points                 # ring of 8, grid of 25 Gaussians; three seeds, beside minimax
    python -m benchmarks.gan points --mixture ring  # one of the two; what is known of the other stays
    python -m benchmarks.gan stacked --seeds 3      # the 1,000 modes of stacked digits; needs MORPHOGEN_DATA

Each row trains what it needs (or goes on where it was interrupted) under runs/gan/, judges it, and writes
benchmarks/results/gan-ROW.json. A failed seed is reported like the others.

Mixtures: 8 Gaussians of deviation 0.02 on a circle of radius 2 (Metz et al., "Unrolled generative adversarial
networks", 2017), and 25 of deviation 0.05 on a 5 x 5 grid of spacing 2 (Lin et al., "PacGAN", 2018). A sample is good
within 3 deviations of the nearest mode (98.9 % of the truth's are); a mode is found if a good sample is nearest to it.

Stacked MNIST (Metz et al., 2017): three digits drawn at random are the channels of one picture: 1,000 modes. The frozen
network of MNIST reads each channel of 26,000 samples; beside them stacks of test digits. KL is of the shares of the
modes from equal ones.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import morphogen as mg
from morphogen.evaluation.features.frozen import frozen

RUNS, RESULTS = Path("runs/gan"), Path(__file__).parent / "results"
DRAWN = 10_000
STACKS, READ = 50_000, 26_000  # stacked digits to train on, and to judge by
STACKED = {"penalty_every": 4, "penalty_weight": 10.0, "widths": (24, 48, 96)}
MIXTURES: dict[str, tuple[np.ndarray, float]] = {
    "ring": (2.0 * np.stack([[math.cos(a), math.sin(a)] for a in np.arange(8) * math.pi / 4]), 0.02),
    "grid": (np.stack([[x, y] for x in range(-4, 5, 2) for y in range(-4, 5, 2)]).astype(float), 0.05),
}
MLP = {"backbone": "mlp", "hidden": (128,) * 5, "discriminator_hidden": (128,) * 3, "penalty_every": 4}
POINTS = {"steps": 96_000, "batch_size": 128, "compile": "off", "precision": "fp32", "sheet_seconds": 600}
GAMES: dict[str, dict[str, Any]] = {
    "default": MLP,
    "minimax, no penalty": {**MLP, "game": "minimax", "penalty": "none"},
}
CANDIDATES = 8  # of which the discriminator chooses one, in a second draw from each model


def mixture(name: str, n: int, seed: int) -> np.ndarray:
    """`n` points of it, (n, 2)."""
    rng = np.random.default_rng(seed)
    centers, deviation = MIXTURES[name]
    return centers[rng.integers(len(centers), size=n)] + deviation * rng.standard_normal((n, 2))


def judged(name: str, x: np.ndarray) -> dict[str, Any]:
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


def points(seeds: int, mixtures: Sequence[str] = tuple(MIXTURES)) -> dict[str, Any]:
    """The mixtures by the default game, for each seed, and by the plain one, for one; and the truth's own figures."""
    found: dict[str, Any] = {}
    for name in mixtures:
        RUNS.mkdir(parents=True, exist_ok=True)
        source = RUNS / f"{name}.npz"
        np.savez(source, x=mixture(name, 50_000, 0).astype(np.float32))
        found[name] = {"truth": judged(name, mixture(name, DRAWN, 1)), "recipe": POINTS}
        for game, options in GAMES.items():
            for seed in range(seeds if game == "default" else 1):
                out = RUNS / f"{name}-{game.split(',')[0]}-{seed}"
                events = mg.train(
                    "gan", str(source), out, options=options, recipe={**POINTS, "seed": seed}, resume=out.exists()
                )
                for _ in events:
                    pass
                one = judged(name, mg.sample(out, DRAWN, seed=1, batch_size=1000).x)
                chosen = mg.sample(out, DRAWN, seed=1, batch_size=1000, candidates=CANDIDATES).x
                one |= {"chosen": judged(name, chosen), "training": mg.show(out)["provenance"]}
                found[name].setdefault(game, []).append(one)
                print(f"{name}, {game}, seed {seed}: {one}", flush=True)
    return found


def stacked(seeds: int) -> dict[str, Any]:
    """Modes of stacked digits, for each seed, beside real stacks that were not trained on."""
    digits = mg.load_data("mnist")
    RUNS.mkdir(parents=True, exist_ok=True)
    source = RUNS / "stacked.npz"
    if not source.exists():
        np.savez(source, x=_stacks(digits.train.stored.numpy(), STACKS, 0))
    found: dict[str, Any] = {"real": _read(_stacks(digits.split("test").stored.numpy(), READ, 1)), "seeds": []}
    print("real stacks:", found["real"], flush=True)
    for seed in range(seeds):
        out = RUNS / f"stacked-{seed}"
        recipe = {"budget": "30min", "batch_size": 32, "seed": seed, "compile": "off", "sheet_seconds": 300}
        data = f"{source}:validation=0.02,test=0"
        for _ in mg.train("gan", data, out, options=STACKED, recipe=recipe, resume=out.exists()):
            pass
        one = _read(mg.sample(out, READ, seed=1).x)
        print(f"stacked, seed {seed}:", one, flush=True)
        found["seeds"].append({**one, "training": mg.show(out)["provenance"]})
    return found


def _stacks(digits: np.ndarray, n: int, seed: int) -> np.ndarray:
    """(n, 3, 28, 28): each channel one of the digits (N, 1, 28, 28), drawn independently."""
    return digits[np.random.default_rng(seed).integers(len(digits), size=(n, 3)), 0]


def _read(stacks: np.ndarray) -> dict[str, Any]:
    """The modes among stacks of 8-bit digits, how many of them, and KL(shares || equal shares)."""
    network = frozen("mnist")
    x = torch.from_numpy(stacks).reshape(-1, 1, *stacks.shape[2:])
    with torch.inference_mode():
        labels = torch.cat([network.classify(network(part.float() / 127.5 - 1.0)).argmax(1) for part in x.split(1000)])
    counts = np.bincount((labels.reshape(-1, 3).numpy() * [100, 10, 1]).sum(1), minlength=1000)
    share = counts[counts > 0] / counts.sum()
    return {"modes": int((counts > 0).sum()), "of": 1000, "kl": float((share * np.log(1000 * share)).sum())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=["points", "stacked"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--mixture", choices=MIXTURES, help="points: this one alone")
    asked = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    out = RESULTS / f"gan-{asked.row}.json"
    if asked.row == "stacked":
        record = stacked(asked.seeds)
    else:
        record = points(asked.seeds, [asked.mixture] if asked.mixture else tuple(MIXTURES))
        if asked.mixture and out.exists():
            record = {**json.loads(out.read_text(encoding="utf-8")), **record}
    out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
