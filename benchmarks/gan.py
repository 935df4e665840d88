"""Generative adversarial networks: modes of mixtures in the plane and of stacked digits, and pictures.

    python -m benchmarks.gan points             # ring of 8 and grid of 25 Gaussians, three seeds, beside the plain game
    python -m benchmarks.gan points --seeds 5

Each row trains what it needs (or goes on where it was interrupted) under runs/gan/, judges it, and writes
benchmarks/results/gan-ROW.json. A failed seed is reported like the others.

Mixtures: 8 Gaussians of deviation 0.02 on a circle of radius 2 (Metz et al., "Unrolled generative adversarial
networks", 2017), and 25 of deviation 0.05 on a 5 x 5 grid of spacing 2 (Lin et al., "PacGAN", 2018). A sample is good
within 3 deviations of the nearest mode (98.9 % of the truth's are); a mode is found if a good sample is nearest to it.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np

import morphogen as mg

RUNS, RESULTS = Path("runs/gan"), Path(__file__).parent / "results"
DRAWN = 10_000
MIXTURES: dict[str, tuple[np.ndarray, float]] = {
    "ring": (2.0 * np.stack([[math.cos(a), math.sin(a)] for a in np.arange(8) * math.pi / 4]), 0.02),
    "grid": (np.stack([[x, y] for x in range(-4, 5, 2) for y in range(-4, 5, 2)]).astype(float), 0.05),
}
MLP = {"backbone": "mlp"}
GAMES: dict[str, dict[str, Any]] = {
    "default": MLP,
    "minimax, no penalty": {**MLP, "game": "minimax", "penalty": "none"},
    "non-saturating, no penalty": {**MLP, "game": "non_saturating", "penalty": "none"},
}


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


def points(seeds: int, steps: int = 20_000, batch: int = 256) -> dict[str, Any]:
    """Both mixtures, by each game, for each seed; and the truth's own figures."""
    found: dict[str, Any] = {}
    for name in MIXTURES:
        RUNS.mkdir(parents=True, exist_ok=True)
        source = RUNS / f"{name}.npz"
        np.savez(source, x=mixture(name, 50_000, 0).astype(np.float32))
        found[name] = {"truth": judged(name, mixture(name, DRAWN, 1))}
        for game, options in GAMES.items():
            for seed in range(seeds):
                out = RUNS / f"{name}-{game.split(',')[0]}-{seed}"
                shutil.rmtree(out, ignore_errors=True)
                recipe = {"steps": steps, "batch_size": batch, "seed": seed, "compile": "off", "precision": "fp32"}
                for _ in mg.train("gan", str(source), out, options=options, recipe=recipe):
                    pass
                one = judged(name, mg.sample(out, DRAWN, seed=1).x)
                found[name].setdefault(game, []).append(one)
                print(f"{name}, {game}, seed {seed}: {one}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=["points"])
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    record = points(asked.seeds)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"gan-{asked.row}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
