"""The same archive on machines that compute otherwise: threads, batches, vector widths, oneDNN.

    python -m benchmarks.trust.machines MODEL            # a trained model with an integer form
    python -m benchmarks.trust.machines MODEL --quick    # four pictures, to see that all of it runs

Makes the integer form of MODEL and asks processes in different settings for all frequencies of held-out pictures and
for their code, as hashes. The same is asked of the model in floating point, which promises nothing: its differences
show that the settings matter. `ATEN_CPU_CAPABILITY` chooses the kernels of other processors; `avx512` is left out where
the processor lacks it. Needs MORPHOGEN_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks import harness
from benchmarks.harness import Json, path_of, write
from benchmarks.page import tables
from benchmarks.page.tables import Result, Seen, at_least
from benchmarks.peers.environments import ROOT

RECORDS = 64
THREADS, BATCHES, ONEDNN = (1, 2), (1, 7, 64), ("on", "off")


def capabilities() -> list[str]:
    """The vector widths that this processor has."""
    wide = torch.backends.cpu.get_cpu_capability()
    return ["default", "avx2", *(["avx512"] if wide == "AVX512" else [])]


def ask(model: Path, pictures: Path, quick: bool) -> list[Json]:
    """The hashes under every setting, by a process for each kind of kernels."""
    rows = []
    for kernels in capabilities():
        command = [sys.executable, "-m", "benchmarks.peers.frequencies", str(model), str(pictures)]
        batches = BATCHES[1:2] if quick else BATCHES
        for name, values in (("threads", THREADS), ("batch", batches), ("onednn", ONEDNN)):
            command += [f"--{name}", *map(str, values)]
        environment = {**os.environ, "ATEN_CPU_CAPABILITY": kernels, "OMP_NUM_THREADS": str(max(THREADS))}
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        rows += json.loads(done.stdout)
    return rows


def agreeing(rows: Sequence[Json]) -> float:
    """The share of rows that agree with the first in both hashes."""
    first = rows[0]
    return sum(all(row[h] == first[h] for h in ("frequencies", "code")) for row in rows) / len(rows)


def measure(model: Path, quick: bool) -> Json:
    """Ask the integer form and the model itself under every setting."""
    held = harness.load_family(model)
    records = 4 if quick else RECORDS
    with tempfile.TemporaryDirectory() as folder:
        pictures, integers = Path(folder) / "pictures.npy", Path(folder) / "integers"
        np.save(pictures, harness.load_data(held.data.source).split("test").stored[:records].numpy())
        harness.quantize(model, integers, records)
        rows = {}
        for name, where in (("integer form", integers), ("floating point", model)):
            rows[name] = ask(where, pictures, quick)
            print(f"{name}: {agreeing(rows[name]):.1%} of {len(rows[name])} settings agree", flush=True)
    shares = {name: agreeing(found) for name, found in rows.items()}
    return {"what": "frequencies and code under other settings", "records": records, "agreeing": shares, "rows": rows}


def _same(record: Result) -> Seen:
    shares = record["agreeing"]
    n = len(record["rows"]["integer form"])
    return Seen(shares["integer form"], None, f"{n} settings; in floating point {shares['floating point']:.0%}", ".0%")


_figure = tables.of("trust.machines MODEL", "archive-machines")
FIGURES = (_figure("Settings in which an archive is the same, bit for bit", at_least(1.0, "100 %"), _same),)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = harness.plain_parser(__doc__)
    found.add_argument("model", type=Path, metavar="MODEL")
    found.add_argument("--quick", action="store_true", help="few pictures and settings")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    asked = parser().parse_args(arguments)
    write(path_of("archive-machines", asked.quick), measure(asked.model, asked.quick))


if __name__ == "__main__":
    main()
