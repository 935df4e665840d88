"""Test likelihoods of the VAE on MNIST: trains each row, evaluates it, and writes the result beside its baselines.

    python -m benchmarks.likelihood mlp            # or iwae (which needs mlp), conv, bits; `all` for every row
    python -m benchmarks.likelihood mlp --evaluate # a row that is trained already
    python -m benchmarks.likelihood iwae --against mlp --samples 500  # the paired difference of two trained rows

Needs MORPHOGEN_DATA. A row says how long one core took for its steps; its model stays in
runs/likelihood/ROW, and an interrupted one is resumed. Results go to benchmarks/results/likelihood-ROW.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

import morphogen as mg
from morphogen.evaluation.metrics.likelihood import scores
from morphogen.evaluation.result import mean_interval
from morphogen.report.progress import watch

RUNS, RESULTS = Path("runs/likelihood"), Path(__file__).parent / "results"

MLP = {"backbone": "mlp", "hidden": (500, 500), "activation": "tanh", "latent_dim": 40, "weight_decay": 0.1}
CONV = {"backbone": "conv", "widths": (32, 64), "blocks": 1, "norm": False, "prior": "flow", "lr": 2e-3}
ROWS: dict[str, dict[str, Any]] = {
    "mlp": {
        "what": "binarized MNIST, MLP VAE of 500-unit layers, ELBO; 27 minutes of one core",
        "data": "mnist:binary",
        "options": {**MLP, "kl_warmup": 0.2},
        "recipe": {"steps": 110_000, "compile": "on"},
        "evaluate": {"metrics": ["elbo", "nll"], "samples": 5000},
    },
    "iwae": {
        "what": "the same network, started from `mlp` and trained further on IWAE with k = 50; 40 minutes of one core",
        "data": "mnist:binary",
        "start": "mlp",
        "options": {**MLP, "importance_samples": 50, "lr": 1e-3},
        "recipe": {"steps": 12_000, "compile": "on"},
        "evaluate": {"metrics": ["elbo", "nll"], "samples": 5000},
    },
    "conv": {
        "what": "binarized MNIST, residual convolutions, flow prior; 18 minutes of one core",
        "data": "mnist:binary",
        "options": {**CONV, "latent_dim": 40},
        "recipe": {"steps": 8_000, "compile": "off"},
        "evaluate": {"metrics": ["elbo", "nll"], "samples": 500},
    },
    "bits": {
        "what": "8-bit MNIST, residual convolutions, flow prior, logistic mixture; 13 minutes of one core",
        "data": "mnist",
        "options": {**CONV, "latent_dim": 64, "likelihood": "discretized_logistic_mixture", "mixtures": 5},
        "recipe": {"steps": 4_500, "compile": "off"},
        "evaluate": {"metrics": ["elbo", "bits_per_dim"]},
    },
}


def compare(row: str, other: str, samples: int) -> None:
    """-log p(x) of one row less that of another on the same test records, with the same noise and a 95 % interval."""
    data = mg.load_data(ROWS[row]["data"]).split("test")
    values = []
    for name in (row, other):
        found = scores(mg.load_model(RUNS / name).family, data, seed=0, samples=samples)
        values.append(-torch.cat([s.value for s in found]).double())
    difference = values[0] - values[1]
    interval = mean_interval(float(difference.mean()), float(difference.std()), len(difference))
    record = {
        "what": f"-log p(x) of {row} less {other}, nats, paired over records, {samples} importance samples each",
        "value": float(difference.mean()),
        "interval": interval,
        "n": len(difference),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"likelihood-{row}-against-{other}.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=[*ROWS, "all"])
    parser.add_argument("--evaluate", action="store_true", help="the row is trained already")
    parser.add_argument("--against", choices=[*ROWS], help="the paired difference to this row, both trained already")
    parser.add_argument("--samples", type=int, default=500, help="importance samples of the paired difference")
    arguments = parser.parse_args()
    if arguments.against:
        compare(arguments.row, arguments.against, arguments.samples)
        return
    for name in ROWS if arguments.row == "all" else [arguments.row]:
        row = ROWS[name]
        out = RUNS / name
        if not arguments.evaluate:
            start = RUNS / row["start"] if "start" in row else None
            events = mg.train(
                "vae", row["data"], out, options=row["options"], recipe=row["recipe"], resume=out.exists(), start=start
            )
            for _ in watch(events, label=name):
                pass
        found = mg.evaluate(out, row["data"], row["evaluate"]["metrics"], samples=row["evaluate"].get("samples"))
        trained = mg.show(out)["provenance"]
        RESULTS.mkdir(exist_ok=True)
        record = {"what": row["what"], **found, "training": trained}
        (RESULTS / f"likelihood-{name}.json").write_text(json.dumps(record, indent=2) + "\n")
        for result in found["results"]:
            print(json.dumps(result))


if __name__ == "__main__":
    main()
