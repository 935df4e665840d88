"""Exact test likelihoods of the autoregressive family: trains a row, evaluates it, writes the result and its baselines.

    python -m benchmarks.autoregressive mnist             # or fashion; `all` for both
    python -m benchmarks.autoregressive mnist --evaluate  # a row that is trained already

Needs MORPHOGEN_DATA. A row says how long one core took for its steps; its model stays in runs/autoregressive/ROW,
and an interrupted one is resumed. Results go to benchmarks/results/autoregressive-ROW.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import morphogen as mg
from morphogen.report.progress import watch

RUNS, RESULTS = Path("runs/autoregressive"), Path(__file__).parent / "results"

RECIPE = {"steps": 10_000, "batch_size": 16, "compile": "off", "sheet_seconds": 600}
ROWS: dict[str, dict[str, Any]] = {
    "mnist": {
        "what": "8-bit MNIST, exact bits/dim; 25 minutes of one core",
        "data": "mnist",
    },
    "fashion": {
        "what": "8-bit Fashion-MNIST, the same network; 25 minutes of one core",
        "data": "fashion_mnist",
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=[*ROWS, "all"])
    parser.add_argument("--evaluate", action="store_true", help="the row is trained already")
    arguments = parser.parse_args()
    for name in ROWS if arguments.row == "all" else [arguments.row]:
        row, out = ROWS[name], RUNS / name
        if not arguments.evaluate:
            events = mg.train("autoregressive", row["data"], out, preset="large", recipe=RECIPE, resume=out.exists())
            for _ in watch(events, label=name):
                pass
        found = mg.evaluate(out, row["data"], ["nll", "bits_per_dim"])
        RESULTS.mkdir(exist_ok=True)
        record = {"what": row["what"], **found, "training": mg.show(out)["provenance"]}
        (RESULTS / f"autoregressive-{name}.json").write_text(json.dumps(record, indent=2) + "\n")
        for result in found["results"]:
            print(json.dumps(result))


if __name__ == "__main__":
    main()
