"""Deep VAEs and their kin on real pictures: trains a row, evaluates it, and writes the result beside its baselines.

    python -m benchmarks.deep ladder-binary             # or another row; `all` for every one
    python -m benchmarks.deep ladder-binary --evaluate  # a row that is trained already
    python -m benchmarks.deep sampling                  # how fast the trained `ladder-binary` samples
    python -m benchmarks.deep codecs                    # what lossless codecs need for the pictures of `pixels-aerial`

Needs MORPHOGEN_DATA. A row says how long one core took for its steps; its model stays in runs/deep/ROW, and an
interrupted one is resumed. Results go to benchmarks/results/deep-ROW.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import morphogen as mg
from benchmarks.peers import ensure
from morphogen.core.rng import Rng
from morphogen.nn.quantization.quantizer import usage
from morphogen.report.progress import watch

RUNS, RESULTS = Path("runs/deep"), Path(__file__).parent / "results"

LADDER = {"widths": (32, 64, 64, 64), "groups": (0, 3, 3, 3), "latent_channels": (1, 4, 8, 16), "blocks": 1, "lr": 2e-3}
MIXTURE = "discretized_logistic_mixture"
PIXELS = {"width": 96, "inner": 32, "blocks": 6}
ROWS: dict[str, dict[str, Any]] = {
    "ladder-binary": {
        "what": "binarized MNIST, hierarchical VAE of 9 groups of latents; the long run, 70 minutes of one core",
        "family": "hierarchical_vae",
        "data": "mnist:binary",
        "options": {**LADDER, "kl_warmup": 0.02},
        "recipe": {"steps": 8_000, "batch_size": 128},
        "evaluate": {"metrics": ["elbo", "nll"], "samples": 100},
    },
    "ladder-bits": {
        "what": "8-bit MNIST, the same network with a mixture of 5 logistics, bound; 24 minutes of one core",
        "family": "hierarchical_vae",
        "data": "mnist",
        "options": {**LADDER, "kl_warmup": 0.02, "mixtures": 5},
        "recipe": {"steps": 3_000, "batch_size": 128},
        "evaluate": {"metrics": ["elbo", "bits_per_dim"]},
    },
    "pixels-mnist": {
        "what": "8-bit MNIST, autoregressive, exact; 35 minutes of one core",
        "family": "autoregressive",
        "data": "mnist",
        "options": PIXELS,
        "recipe": {"steps": 10_000, "batch_size": 16},
        "evaluate": {"metrics": ["bits_per_dim"]},
    },
    "pixels-fashion": {
        "what": "8-bit Fashion-MNIST, the same network, exact; 12 minutes of one core",
        "family": "autoregressive",
        "data": "fashion_mnist",
        "options": PIXELS,
        "recipe": {"steps": 4_000, "batch_size": 16},
        "evaluate": {"metrics": ["bits_per_dim"]},
    },
    "pixels-aerial": {
        "what": "aerial pictures reduced to 128 x 128 RGB, autoregressive, exact; 16 minutes of one core",
        "family": "autoregressive",
        "data": "ucmerced:size=128",
        "options": {"width": 64, "inner": 32, "blocks": 5, "stem": (4, 4), "likelihood": MIXTURE, "counts": False},
        "recipe": {"steps": 1_300, "batch_size": 2, "flips": True},
        "evaluate": {"metrics": ["bits_per_dim"]},
    },
}
ROWS |= {
    f"codes-{seed}": {
        "what": f"8-bit MNIST, VQ-VAE of 512 codes, seed {seed}: codes in use on 5,000 test pictures",
        "family": "vq_vae",
        "data": "mnist",
        "options": {},
        "recipe": {"steps": 2_000, "batch_size": 32, "seed": seed},
        "evaluate": {"metrics": ["elbo", "bits_per_dim"]},
        "codes": True,
    }
    for seed in range(3)
}


def run(name: str, evaluate_only: bool) -> None:
    """Train a row, or go on with it; measure it; write and print the result."""
    row, out = ROWS[name], RUNS / name
    if not evaluate_only:
        recipe = {**row["recipe"], "compile": "off", "sheet_seconds": 300}
        events = mg.train(row["family"], row["data"], out, options=row["options"], recipe=recipe, resume=out.exists())
        for _ in watch(events, label=name):
            pass
    found = mg.evaluate(out, row["data"], row["evaluate"]["metrics"], samples=row["evaluate"].get("samples"))
    record = {"what": row["what"], **found, "training": mg.show(out)["provenance"]}
    if row.get("codes"):
        record["codes"] = codes_in_use(out, row["data"])
        print(json.dumps(record["codes"]))
    _write(name, record)
    for result in found["results"]:
        print(json.dumps(result))


@torch.no_grad()
def codes_in_use(model: Path, source: str) -> dict[str, Any]:
    """Share of the codes that the test pictures use, and their perplexity, at each level of quantization."""
    family: Any = mg.load_model(model).family
    records = mg.load_data(source).split("test")
    codes = torch.cat([family.codes(records.batch(slice(i, i + 250)).x) for i in range(0, len(records), 250)])
    use, perplexity = usage(codes, family.quantizer.size)
    return {"n": len(records), "in_use": use.tolist(), "perplexity": perplexity.tolist()}


def codecs(source: str) -> dict[str, Any]:
    """Bits per element of the test pictures by lossless codecs at their best, picture by picture."""
    stored = mg.load_data(source).split("test").stored.cpu().permute(0, 2, 3, 1).contiguous().numpy()
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures.npy"
        np.save(pictures, stored)
        command = [ensure("codecs"), Path(__file__).parent / "codecs_peer.py", pictures]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
    return {"what": f"lossless codecs, picture by picture: {source} (test)", "bits_per_dim": json.loads(found.stdout)}


def sampling(model: Path, batch: int = 64, seconds: float = 20.0) -> dict[str, Any]:
    """Pictures a second, and the share of what a 3 x 3 convolution of that width reaches on the same threads."""
    family: Any = mg.load_model(model).family
    with FlopCounterMode(display=False) as counter:
        family.sample(batch, None, Rng(0))
    flops = counter.get_total_flops() / batch
    speeds, ceilings = [], []
    for repetition in range(3):  # in turn, so that a drift of the machine meets both
        made, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds / 3:
            family.sample(batch, None, Rng(repetition))
            made += batch
        speeds.append(made / (time.perf_counter() - start))
        ceilings.append(_best_convolution(seconds / 12))
    speed, ceiling = float(np.median(speeds)), float(np.median(ceilings))
    return {
        "what": f"sampling at batch {batch}, float32, {torch.get_num_threads()} threads",
        "pictures_per_s": speed,
        "range": [min(speeds), max(speeds)],
        "mflop_per_picture": flops / 1e6,
        "gflops": speed * flops / 1e9,
        "ceiling_gflops": ceiling,
        "share_of_ceiling": speed * flops / 1e9 / ceiling,
    }


@torch.no_grad()
def _best_convolution(seconds: float) -> float:
    """GFLOP/s of the best 3 x 3 convolution of 64 channels in float32, of the sizes and layouts in the network."""
    best = 0.0
    for size in (7, 14):
        for layout in (torch.contiguous_format, torch.channels_last):
            x = torch.randn(64, 64, size, size).to(memory_format=layout)
            conv = torch.nn.Conv2d(64, 64, 3, padding=1).to(memory_format=layout)
            conv(x)
            done, start = 0, time.perf_counter()
            while time.perf_counter() - start < seconds / 4:
                conv(x)
                done += 1
            best = max(best, 2.0 * 9 * 64 * 64 * size * size * 64 * done / (time.perf_counter() - start) / 1e9)
    return best


def _write(name: str, record: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"deep-{name}.json").write_text(json.dumps(record, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=[*ROWS, "sampling", "codecs", "all"])
    parser.add_argument("--evaluate", action="store_true", help="the row is trained already")
    arguments = parser.parse_args()
    if arguments.row in ("sampling", "codecs"):
        sample = arguments.row == "sampling"
        found = sampling(RUNS / "ladder-binary") if sample else codecs(ROWS["pixels-aerial"]["data"])
        _write(arguments.row, found)
        print(json.dumps(found))
        return
    for name in ROWS if arguments.row == "all" else [arguments.row]:
        run(name, arguments.evaluate)


if __name__ == "__main__":
    main()
