"""Run the benchmarks that take minutes, and name those that take longer.

    python -m benchmarks.run              # `make bench`: speed beside the peers, growth, memory, quickstart
    python -m benchmarks.run --quick      # the same at toy sizes, into runs/bench-quick/, to see that all of it runs
    python -m benchmarks.run --all        # the long ones too
    python -m benchmarks.run --quickstart # the quickstart alone

Each runs in a process of its own and writes its result to benchmarks/results/; the page benchmarks/RESULTS.md is made
of all that lies there. Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
QUICK = Path("runs/bench-quick")


@dataclass(frozen=True)
class Benchmark:
    """One command: its module, what it measures, how long it takes, and the options of a toy run."""

    module: str
    what: str
    takes: str
    options: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    file: str = ""  # of a toy run's result, where the module has more than one

    def command(self, quick: bool) -> list[str]:
        """What to run; a toy run never touches the results."""
        own = self.file or self.module.rpartition(".")[2].replace("_", "-")
        options = (*self.quick, "--out", str(QUICK / f"{own}.json")) if quick else self.options
        return [sys.executable, "-m", self.module, *options]


SHORT = (
    Benchmark(
        "benchmarks.throughput",
        "training throughput beside pythae, Keras and a bare loop",
        "8 minutes",
        quick=("--rounds", "1", "--seconds", "1", "--records", "2000"),
    ),
    Benchmark(
        "benchmarks.throughput",
        "training throughput of the classic GAN beside Keras, torchgan and a bare loop",
        "10 minutes",
        ("--model", "gan"),
        ("--model", "gan", "--rounds", "1", "--seconds", "1", "--records", "2000"),
        "throughput-gan",
    ),
    Benchmark(
        "benchmarks.diffusion_speed",
        "training of a diffusion U-Net beside diffusers' example loop",
        "12 minutes",
        ("--compile",),
        ("--rounds", "1", "--seconds", "1"),
    ),
    Benchmark(
        "benchmarks.sampling_speed",
        "drawing beside diffusers' pipeline",
        "4 minutes",
        quick=("--rounds", "1", "--seconds", "1"),
    ),
    Benchmark("benchmarks.growth", "time of a step against batch and pixels", "12 minutes", quick=("--quick",)),
    Benchmark("benchmarks.memory", "memory of training on MNIST", "6 minutes", quick=("--steps", "20")),
)
LONG = (
    Benchmark("benchmarks.likelihood", "test likelihoods, every row", "hours", ("all",)),
    Benchmark("benchmarks.deep", "deep VAEs, codes and exact likelihoods, every row", "hours", ("all",)),
    Benchmark("benchmarks.deep", "how fast the hierarchical VAE samples", "a minute", ("sampling",)),
    Benchmark("benchmarks.alignment", "the judge of shapes on real pictures", "a minute", ("parser",)),
    Benchmark("benchmarks.gan", "modes of mixtures in the plane, three seeds", "two hours", ("points",)),
    Benchmark("benchmarks.gan", "modes of stacked digits, three seeds", "an hour", ("stacked",)),
    *(
        Benchmark("benchmarks.gan_pictures", what, "an hour", (row,))
        for row, what in (
            ("fashion", "Fashion-MNIST by GANs, beside Keras"),
            ("aerial", "aerial pictures enlarged by a GAN"),
            ("emoji", "emoji by a GAN"),
            ("sampling", "how fast a GAN draws"),
        )
    ),
    Benchmark(
        "benchmarks.equal_time", "Fashion-MNIST after 10 minutes each, beside pythae, Keras, diffusers", "two hours"
    ),
    Benchmark("benchmarks.steppers", "order of convergence of every stepper", "3 minutes"),
    Benchmark("benchmarks.estimators", "coverage of every interval, beside torchmetrics and prdc", "20 minutes"),
    Benchmark(
        "benchmarks.evaluation", "what the metrics see, catch and take; docs/evaluation.md", "25 minutes", ("all",)
    ),
    Benchmark("benchmarks.pythae_likelihood", "pythae's test likelihood beside ours", "40 minutes"),
)


def quickstart(quick: bool) -> dict[str, float | str]:
    """Seconds of `morphogen quickstart` from its start to its report. Exits if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        budget = ["--budget", "20s"] if quick else []
        command = [sys.executable, "-m", "morphogen.cli", "quickstart", "--out", f"{folder}/quickstart", *budget]
        start = time.perf_counter()
        if subprocess.run(command, cwd=ROOT).returncode:
            raise SystemExit("`morphogen quickstart` failed; its message is above.")
        return {"what": "duration of `morphogen quickstart`", "duration_s": round(time.perf_counter() - start, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="toy sizes, no figure to be quoted")
    parser.add_argument("--all", action="store_true", help="the long ones too")
    parser.add_argument("--quickstart", action="store_true", help="the duration of the quickstart alone")
    chosen = parser.parse_args()
    if chosen.all and (chosen.quick or chosen.quickstart):
        parser.error("--quick and --quickstart run less: leave out --all")
    if "MORPHOGEN_DATA" not in os.environ and not chosen.quickstart:
        parser.error("set MORPHOGEN_DATA to the folder that holds mnist/ (`morphogen data inspect mnist` tests it)")

    failed = []
    for one in () if chosen.quickstart else SHORT + (LONG if chosen.all else ()):
        print(f"\n== {one.what} ({'toy size' if chosen.quick else one.takes}): {one.module}", flush=True)
        if subprocess.run(one.command(chosen.quick), cwd=ROOT).returncode:
            failed.append(one.module)
    print("\n== duration of the quickstart", flush=True)
    found = quickstart(chosen.quick)
    out = ROOT / (QUICK if chosen.quick else "benchmarks/results") / "quickstart.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(f"{found['duration_s']} s")
    page = ["--results", str(QUICK), "--out", str(QUICK / "RESULTS.md")] if chosen.quick else []
    subprocess.run([sys.executable, "-m", "benchmarks.results_page", *page], cwd=ROOT, check=True)
    if not chosen.all and not chosen.quickstart:
        print("\nThe longer ones, each by its name (`--all` runs them here):")
        for one in LONG:
            print(f"  python -m {' '.join([one.module, *one.options])}    # {one.what}: {one.takes}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
