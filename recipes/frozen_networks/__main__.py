"""Train the frozen feature networks that the package ships: `morphogen.evaluation.features.frozen` says why so.

    python -m recipes.frozen_networks mnist          # or another of RECIPES, or `all`
    python -m recipes.frozen_networks mnist --judge  # the figures of the shipped network again, no training

Needs MORPHOGEN_DATA. Each takes about six minutes of one core, is a function of its seed on one kind of machine, and
is written to runs/frozen/NAME.safetensors. To ship it, move it into src/morphogen/evaluation/features/weights/ and its
sha256 into `frozen.py`: its name changes, and no distance measured with the old one can be compared with a new one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from morphogen.data import load
from morphogen.evaluation.features.frozen import frozen, read
from recipes.frozen_networks.figures import sensitivity
from recipes.frozen_networks.recipe import RECIPES, train

OUT = Path("runs/frozen")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("name", choices=[*RECIPES, "all"])
    found.add_argument("--judge", action="store_true", help="only print the figures of the shipped network")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the networks, or judge those that are shipped."""
    chosen = parser().parse_args(arguments)
    OUT.mkdir(parents=True, exist_ok=True)
    for name in RECIPES if chosen.name == "all" else [chosen.name]:
        if chosen.judge:
            network = frozen(name)
        else:
            path = OUT / f"{name}.safetensors"
            train(name, RECIPES[name]).save(path)
            network = read(path)
            print(f"{path}: {path.stat().st_size:,} bytes, sha256 {network.sha256}")
        print(f"\n{network.name}: {json.dumps(network.about, indent=2)}")
        for source in RECIPES[name].sources:
            print(f"\n{source}: Frechet distances to the training split")
            for what, distance in sensitivity(network, load(source)):
                print(f"  {what:18s} {distance:9.3f}", flush=True)


if __name__ == "__main__":
    main()
