"""Test likelihoods on real pictures: VAEs, hierarchical VAEs, VQ-VAEs and autoregressive models, beside baselines.

    python -m benchmarks.quality.likelihood mlp            # or another row; `all` for every one
    python -m benchmarks.quality.likelihood mlp --evaluate # a row that is trained already
    python -m benchmarks.quality.likelihood iwae --against mlp --samples 500  # the paired difference of two rows
    python -m benchmarks.quality.likelihood codecs         # what lossless codecs need for the pictures of pixels-aerial

-log p(x) in nats is by importance sampling, bits/dim by the bound or exact, as each row says, on the test split; a row
says how long one core took for its steps. `codes-SEED`: the share of the codes that 5,000 test pictures use. `iwae`
begins with the weights of `mlp`. Models stay in runs/likelihood/ROW and runs/deep/ROW. Needs MORPHOGEN_DATA.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import harness
from benchmarks.harness import Json, Row, Run, by_name, evaluate, load_data, load_family, path_of, run_rows, say, write
from benchmarks.page import tables
from benchmarks.page.tables import Figure, Result, Seen, at_least, at_most, named, seen_of
from benchmarks.peers.environments import run_in
from morphogen.evaluation.metrics.likelihood import scores
from morphogen.evaluation.result import mean_interval
from morphogen.nn.quantization.quantizer import usage

Judge = Callable[[Run], Json]


def bounds(*metrics: str, samples: int | None = None) -> Judge:
    """The evaluation by these metrics, with so many importance samples."""

    def judge(run: Run) -> Json:
        few = {"n": 32} if run.quick else {}
        importance = min(samples, 20) if samples and run.quick else samples
        found = evaluate(run.model, run.row.data, list(metrics), samples=importance, **few)
        for result in found["results"]:
            say(result["name"], result)
        return found

    return judge


def codes(run: Run) -> Json:
    """The bounds, and the share and the perplexity of the codes that the test pictures use, at each level."""
    family = load_family(run.model)
    records = load_data(run.row.data).split("test")
    with torch.no_grad():
        of = [family.codes(records.batch(slice(i, i + 250)).x) for i in range(0, run.n(len(records)), 250)]
    use, perplexity = usage(torch.cat(of), family.quantizer.size)
    found = {"n": len(torch.cat(of)), "in_use": use.tolist(), "perplexity": perplexity.tolist()}
    print(json.dumps(found))
    return {**bounds("elbo", "bits_per_dim")(run), "codes": found}


MLP = {"backbone": "mlp", "hidden": (500, 500), "activation": "tanh", "latent_dim": 40, "weight_decay": 0.1}
CONV = {"backbone": "conv", "widths": (32, 64), "blocks": 1, "norm": False, "prior": "flow", "lr": 2e-3}
LADDER = {"widths": (32, 64, 64, 64), "groups": (0, 3, 3, 3), "latent_channels": (1, 4, 8, 16), "blocks": 1, "lr": 2e-3}
MIXTURE = "discretized_logistic_mixture"
PIXELS = {"width": 96, "inner": 32, "blocks": 6}


def _deep(
    name: str, what: str, family: str, data: str, options: Json, judge: Judge, steps: int, batch: int, **recipe: Any
) -> Row:
    recipe |= {"steps": steps, "batch_size": batch, "compile": "off", "sheet_seconds": 300}
    return Row("deep", name, what, family, data, recipe, judge, options)


_MLP = Row(
    "likelihood",
    "mlp",
    "binarized MNIST, MLP VAE of 500-unit layers, ELBO; 27 minutes of one core",
    "vae",
    "mnist:binary",
    {"steps": 110_000, "compile": "on"},
    bounds("elbo", "nll", samples=5000),
    {**MLP, "kl_warmup": 0.2},
)
ROWS = by_name(
    _MLP,
    Row(
        "likelihood",
        "iwae",
        "the same network, started from `mlp` and trained further on IWAE with k = 50; 40 minutes of one core",
        "vae",
        "mnist:binary",
        {"steps": 12_000, "compile": "on"},
        bounds("elbo", "nll", samples=5000),
        {**MLP, "importance_samples": 50, "lr": 1e-3},
        start=_MLP,
    ),
    Row(
        "likelihood",
        "conv",
        "binarized MNIST, residual convolutions, flow prior; 18 minutes of one core",
        "vae",
        "mnist:binary",
        {"steps": 8_000, "compile": "off"},
        bounds("elbo", "nll", samples=500),
        {**CONV, "latent_dim": 40},
    ),
    Row(
        "likelihood",
        "bits",
        "8-bit MNIST, residual convolutions, flow prior, logistic mixture; 13 minutes of one core",
        "vae",
        "mnist",
        {"steps": 4_500, "compile": "off"},
        bounds("elbo", "bits_per_dim"),
        {**CONV, "latent_dim": 64, "likelihood": MIXTURE, "mixtures": 5},
    ),
    _deep(
        "ladder-binary",
        "binarized MNIST, hierarchical VAE of 9 groups of latents; the long run, 70 minutes of one core",
        "hierarchical_vae",
        "mnist:binary",
        {**LADDER, "kl_warmup": 0.02},
        bounds("elbo", "nll", samples=100),
        8_000,
        128,
    ),
    _deep(
        "ladder-bits",
        "8-bit MNIST, the same network with a mixture of 5 logistics, bound; 24 minutes of one core",
        "hierarchical_vae",
        "mnist",
        {**LADDER, "kl_warmup": 0.02, "mixtures": 5},
        bounds("elbo", "bits_per_dim"),
        3_000,
        128,
    ),
    _deep(
        "pixels-mnist",
        "8-bit MNIST, autoregressive, exact; 35 minutes of one core",
        "autoregressive",
        "mnist",
        PIXELS,
        bounds("bits_per_dim"),
        10_000,
        16,
    ),
    _deep(
        "pixels-fashion",
        "8-bit Fashion-MNIST, the same network, exact; 12 minutes of one core",
        "autoregressive",
        "fashion_mnist",
        PIXELS,
        bounds("bits_per_dim"),
        4_000,
        16,
    ),
    _deep(
        "pixels-aerial",
        "aerial pictures reduced to 128 x 128 RGB, autoregressive, exact; 16 minutes of one core",
        "autoregressive",
        "ucmerced:size=128",
        {"width": 64, "inner": 32, "blocks": 5, "stem": (4, 4), "likelihood": MIXTURE, "counts": False},
        bounds("bits_per_dim"),
        1_300,
        2,
        flips=True,
    ),
    *(
        _deep(
            f"codes-{seed}",
            f"8-bit MNIST, VQ-VAE of 512 codes, seed {seed}: codes in use on 5,000 test pictures",
            "vq_vae",
            "mnist",
            {},
            codes,
            2_000,
            32,
            seed=seed,
        )
        for seed in range(3)
    ),
)


def paired(a: np.ndarray, b: np.ndarray) -> Json:
    """The mean of a - b over records that both were judged on, with its 95 % interval."""
    if len(a) != len(b):
        raise ValueError(f"pairs need the same records: {len(a)} and {len(b)} came.")
    d = a - b
    interval = mean_interval(float(d.mean()), float(d.std(ddof=1)), len(d))
    return {"value": float(d.mean()), "interval": interval, "n": len(d)}


def compare(row: Row, other: Row, samples: int) -> Json:
    """-log p(x) of one row less that of another on the same test records, with the same noise."""
    data = load_data(row.data).split("test")
    values = []
    for one in (row, other):
        found = scores(load_family(one.model()), data, seed=0, samples=samples)
        values.append(-torch.cat([s.value for s in found]).double().numpy())
    what = f"-log p(x) of {row.name} less {other.name}, nats, paired over records, {samples} importance samples each"
    return {"what": what, **paired(*values)}


def codecs(source: str, n: int | None) -> Json:
    """Bits per element of the first `n` test pictures by lossless codecs at their best, picture by picture."""
    stored = load_data(source).split("test").stored[:n].permute(0, 2, 3, 1).contiguous().numpy()
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures.npy"
        np.save(pictures, stored)
        found = json.loads(run_in("codecs", "benchmarks.peers.codecs", pictures))
    return {"what": f"lossless codecs, picture by picture: {source} (test)", "bits_per_dim": found}


# ------------------------------------------------------------------------------- on the results page


def _codec(rival: str) -> Callable[[Result, Result], Seen]:
    def read(record: Result, codecs: Result) -> Seen:
        other = [f"{name} {value:.3f}" for name, value in codecs["bits_per_dim"].items()]
        return seen_of(named(record, "bits_per_dim"), record, *other, bound=codecs["bits_per_dim"][rival])

    return read


def _codes_in_use(*records: Result) -> Seen:
    shares = [min(record["codes"]["in_use"]) for record in records]
    perplexity = ", ".join(f"{record['codes']['perplexity'][0]:.0f}" for record in records)
    return Seen(min(shares), None, f"the least of three seeds; perplexity {perplexity} of 512", ".0%")


def _at_most(what: str, row: str, metric: str, most: float, stretch: float | None = None) -> Figure:
    figure = tables.of(f"quality.likelihood {row}", ROWS[row].result)
    unit = "nats" if metric == "nll" else "bits/dim"
    target = at_most(most, stretch=stretch)
    return figure(f"{what}, {unit}", target, lambda record: seen_of(named(record, metric), record))


_over_pythae = tables.of("quality.pythae_likelihood", "likelihood-pythae")
_iwae = tables.of("quality.likelihood iwae --against mlp", "likelihood-iwae-against-mlp")
_aerial = tables.of("quality.likelihood pixels-aerial", "deep-pixels-aerial", "deep-codecs")
_vq = tables.of("quality.likelihood codes-0", "deep-codes-0", "deep-codes-1", "deep-codes-2")
_AERIAL = "aerial pictures, 128 x 128 RGB, autoregressive, exact, bits/dim"
FIGURES = (
    _at_most("binarized MNIST, MLP VAE, -log p(x)", "mlp", "nll", 89.3),
    _over_pythae(
        "the same less pythae's VAE on the same pictures, paired, nats",
        at_most(0.0, "below 0"),
        lambda record: seen_of(record["ours minus pythae, nats"]),
    ),
    _iwae("IWAE with k = 50 less the MLP VAE, paired, nats", at_most(-1.5), seen_of),
    _at_most("binarized MNIST, convolutional VAE with a flow prior, -log p(x)", "conv", "nll", 84.3, 83.5),
    _at_most("8-bit MNIST, VAE, bound", "bits", "bits_per_dim", 1.33),
    _at_most("binarized MNIST, hierarchical VAE, -log p(x)", "ladder-binary", "nll", 82.3, 81.3),
    _at_most("8-bit MNIST, hierarchical VAE, bound", "ladder-bits", "bits_per_dim", 1.20, 1.10),
    _at_most("8-bit MNIST, autoregressive, exact", "pixels-mnist", "bits_per_dim", 0.95),
    _at_most("8-bit Fashion-MNIST, autoregressive, exact", "pixels-fashion", "bits_per_dim", 3.2),
    _aerial(_AERIAL, at_most(None, "below PNG"), _codec("PNG")),
    _aerial(_AERIAL, at_most(None, "below WebP (stretch)"), _codec("WebP")),
    _vq("VQ-VAE: codes in use on 5,000 test pictures", at_least(0.95, "over 95 %"), _codes_in_use),
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = harness.row_parser(__doc__, ROWS, "codecs")
    found.add_argument("--against", choices=ROWS, help="the paired difference to this row, both trained already")
    found.add_argument("--samples", type=int, default=500, help="importance samples of the paired difference")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure rows, a difference, or the codecs."""
    asked = parser().parse_args(arguments)
    if asked.row == "codecs":
        found = codecs(ROWS["pixels-aerial"].data, 2 if asked.quick else None)
        write(path_of("deep-codecs", asked.quick), found)
        print(json.dumps(found))
    elif asked.against:
        difference = compare(ROWS[asked.row], ROWS[asked.against], asked.samples)
        write(path_of(f"likelihood-{asked.row}-against-{asked.against}", asked.quick), difference)
        say(difference["what"], difference)
    else:
        run_rows(ROWS, asked)


if __name__ == "__main__":
    main()
