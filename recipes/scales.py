"""Write what a metric of 10,000 pictures of a named set is read against: floors, baselines, ladders of degradations.

    python -m recipes.scales

The package ships these files (`morphogen.evaluation`, folder `scales`), each named by the hash of what it was measured
with, so that an evaluation of a named set need not measure them again. Needs MORPHOGEN_DATA; about ten minutes.
"""

from __future__ import annotations

import argparse
import inspect
import json
import time
from collections.abc import Sequence
from pathlib import Path

import morphogen as mg
from morphogen.evaluation import Reference
from morphogen.evaluation.metrics.fidelity import METRICS

SCALES = Path(inspect.getfile(Reference)).parent / "scales"
SHIPPED = ("mnist", "fashion_mnist")


def write(folder: Path, name: str) -> Path:
    """Measure the scales of one named set and write them."""
    reference = Reference(mg.load_data(name))
    scaled = [m for m in METRICS.values() if m.scaled and m.name not in ("marginals", "associations")]
    found = {metric: scale.to_dict() for metric, scale in reference.measured(scaled).items()}
    path = folder / f"{reference.key[:16]}.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return path


def parser() -> argparse.ArgumentParser:
    """The command line."""
    return argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)


def main(arguments: Sequence[str] | None = None) -> None:
    """Replace all files of the package."""
    parser().parse_args(arguments)
    SCALES.mkdir(exist_ok=True)
    for old in SCALES.glob("*.json"):
        old.unlink()
    for name in SHIPPED:
        start = time.perf_counter()
        print(f"{name}: {write(SCALES, name).name}, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
