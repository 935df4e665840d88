"""Run the benchmarks that take minutes, and name those that take longer.

    python -m benchmarks.run              # `make bench`: speed beside the peers, scaling, memory, quickstart
    python -m benchmarks.run --quick      # the same at toy sizes, into runs/bench-quick/, to see that all of it runs
    python -m benchmarks.run --all        # the long ones too
    python -m benchmarks.run --quickstart # the quickstart alone

Each runs in a process of its own and writes its result to benchmarks/results/; the page benchmarks/RESULTS.md is made
of all that lies there. Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks.harness import QUICK, Json, path_of, plain_parser, write
from benchmarks.page import tables
from benchmarks.peers.environments import ROOT

# what follows `python -m benchmarks.`, what it measures, how long it takes
SHORT = (
    ("speed.training vae", "training throughput of the classic VAE beside pythae, Keras and a bare loop", "8 minutes"),
    ("speed.training gan", "training throughput of the classic GAN beside Keras, torchgan, a bare loop", "10 minutes"),
    ("speed.training diffusion", "training of a diffusion U-Net beside diffusers' example loop", "12 minutes"),
    ("speed.sampling diffusion", "drawing beside diffusers' pipeline", "10 minutes"),
    ("speed.scaling", "time of a step against batch and pixels", "12 minutes"),
    ("speed.memory", "memory of training on MNIST", "6 minutes"),
)
LONG = (
    ("quality.likelihood all", "test likelihoods and codes in use, every row", "hours"),
    ("quality.pythae_likelihood", "pythae's test likelihood beside ours", "50 minutes"),
    ("quality.text parser", "the judge of shapes on real pictures", "a minute"),
    ("quality.modes all", "modes of mixtures in the plane and of stacked digits", "three hours"),
    ("quality.gan all", "Fashion-MNIST, aerial pictures and emoji by GANs", "two hours"),
    ("quality.equal_time fashion", "Fashion-MNIST at equal time beside pythae, Keras, diffusers, 3 seeds", "8 hours"),
    ("quality.equal_time emoji", "emoji at equal time beside diffusers, three seeds", "2 hours"),
    ("speed.sampling hierarchical-vae", "how fast the hierarchical VAE samples", "a minute"),
    ("speed.sampling gan", "how fast a GAN draws", "a minute"),
    ("quality.tables breast", "synthetic rows of the breast cancer table by trivial makers", "5 minutes"),
    ("quality.anomalies all", "anomalies beside baselines, false alarms, time", "2 hours"),
    ("quality.compression all", "archives beside general codecs, every row", "hours"),
    ("quality.membership all", "attacks on a model of each family, and the bound of epsilon", "an hour"),
    ("quality.molecules all", "molecules of ChEMBL by six models, and wanted values", "4 hours"),
    ("quality.design qed", "molecules of high QED in 2,000 calls", "20 minutes"),
    ("quality.design similar", "molecules improved and still alike, 50 starts", "20 minutes"),
    ("validity.steppers", "order of convergence of every stepper", "3 minutes"),
    ("validity.estimators", "coverage of every interval, beside torchmetrics and prdc", "20 minutes"),
    ("validity.evaluation all", "what the metrics see, catch and take", "25 minutes"),
)
_figure = tables.of("run", "quickstart")
FIGURES = (
    _figure(
        "`morphogen quickstart`, seconds",
        tables.at_most(360.0),
        lambda record: tables.Seen(record["duration_s"], None, "", ".0f"),
    ),
)


def quickstart(quick: bool) -> Json:
    """Seconds of `morphogen quickstart` from its start to its report. Exits if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        budget = ["--budget", "20s"] if quick else []
        command = [sys.executable, "-m", "morphogen.cli", "quickstart", "--out", f"{folder}/quickstart", *budget]
        start = time.perf_counter()
        if subprocess.run(command, cwd=ROOT).returncode:
            raise SystemExit("`morphogen quickstart` failed; its message is above.")
        return {"what": "duration of `morphogen quickstart`", "duration_s": round(time.perf_counter() - start, 1)}


def command(words: str, quick: bool) -> list[str]:
    """The process that runs a benchmark; a quick one never touches the results."""
    return [sys.executable, "-m", *f"benchmarks.{words}".split(), *["--quick"] * quick]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = plain_parser(__doc__)
    found.add_argument("--quick", action="store_true", help="toy sizes, no figure to be quoted")
    found.add_argument("--all", action="store_true", help="the long ones too")
    found.add_argument("--quickstart", action="store_true", help="the duration of the quickstart alone")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run them and write the page."""
    of = parser()
    chosen = of.parse_args(arguments)
    if chosen.all and (chosen.quick or chosen.quickstart):
        of.error("--quick and --quickstart run less: leave out --all")
    if "MORPHOGEN_DATA" not in os.environ and not chosen.quickstart:
        of.error("set MORPHOGEN_DATA to the folder that holds mnist/ (`morphogen data inspect mnist` tests it)")

    failed = []
    for words, what, takes in () if chosen.quickstart else SHORT + (LONG if chosen.all else ()):
        print(f"\n== {what} ({'toy size' if chosen.quick else takes}): {words}", flush=True)
        if subprocess.run(command(words, chosen.quick), cwd=ROOT).returncode:
            failed.append(words)
    print("\n== duration of the quickstart", flush=True)
    found = quickstart(chosen.quick)
    write(path_of("quickstart", chosen.quick), found)
    print(f"{found['duration_s']} s")
    page = ["--results", str(QUICK), "--out", str(QUICK / "RESULTS.md")] if chosen.quick else []
    subprocess.run([sys.executable, "-m", "benchmarks.page", *page], cwd=ROOT, check=True)
    if not chosen.all and not chosen.quickstart:
        print("\nThe longer ones, each by its name (`--all` runs them here):")
        for words, what, takes in LONG:
            print(f"  python -m benchmarks.{words}    # {what}: {takes}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
