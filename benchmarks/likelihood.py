"""Test likelihoods of the VAE on MNIST: trains each row, evaluates it, and writes the result beside its baselines.

    python -m benchmarks.likelihood mlp            # or iwae (which needs mlp), conv, bits; `all` for every row
    python -m benchmarks.likelihood mlp --evaluate # a row that is trained already

Needs MORPHOGEN_DATA. The steps of each row are what two idle cores make in the minutes stated; a row's model stays in
runs/likelihood/ROW, and an interrupted one is resumed. Results go to benchmarks/results/likelihood-ROW.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import morphogen as mg
from morphogen.report.progress import watch

RUNS, RESULTS = Path("runs/likelihood"), Path(__file__).parent / "results"

MLP = {"backbone": "mlp", "hidden": (500, 500), "activation": "tanh", "latent_dim": 40, "weight_decay": 0.1}
CONV = {"backbone": "conv", "widths": (32, 64), "blocks": 1, "norm": False, "prior": "flow", "lr": 2e-3}
ROWS: dict[str, dict[str, Any]] = {
    "mlp": {
        "what": "binarized MNIST, MLP VAE of 500-unit layers, ELBO; 20 minutes",
        "data": "mnist:binary",
        "options": {**MLP, "kl_warmup": 0.2},
        "recipe": {"steps": 110_000, "compile": "on"},
        "evaluate": {"metrics": ["elbo", "nll"], "samples": 5000},
    },
    "iwae": {
        "what": "the same network, started from `mlp` and trained further on IWAE with k = 50; the long run",
        "data": "mnist:binary",
        "start": "mlp",
        "options": {**MLP, "importance_samples": 50, "lr": 5e-4},
        "recipe": {"steps": 5_000, "compile": "on"},
        "evaluate": {"metrics": ["elbo", "nll"], "samples": 5000},
    },
    "conv": {
        "what": "binarized MNIST, residual convolutions, flow prior; 20 minutes",
        "data": "mnist:binary",
        "options": {**CONV, "latent_dim": 40},
        "recipe": {"steps": 8_000, "compile": "off"},
        "evaluate": {"metrics": ["elbo", "nll"], "samples": 500},
    },
    "bits": {
        "what": "8-bit MNIST, residual convolutions, flow prior, mixture of discretized logistics; 20 minutes",
        "data": "mnist",
        "options": {**CONV, "latent_dim": 64, "likelihood": "discretized_logistic_mixture", "mixtures": 5},
        "recipe": {"steps": 4_500, "compile": "off"},
        "evaluate": {"metrics": ["elbo", "bits_per_dim"]},
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=[*ROWS, "all"])
    parser.add_argument("--evaluate", action="store_true", help="the row is trained already")
    arguments = parser.parse_args()
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
