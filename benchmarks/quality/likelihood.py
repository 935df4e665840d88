"""Test likelihoods on real pictures: VAEs, hierarchical VAEs, VQ-VAEs and autoregressive models, beside baselines.

    python -m benchmarks.quality.likelihood mlp            # or another row; `all` for every one
    python -m benchmarks.quality.likelihood mlp --evaluate # a row that is trained already
    python -m benchmarks.quality.likelihood iwae --against mlp --samples 500  # the paired difference of two rows
    python -m benchmarks.quality.likelihood codecs         # what lossless codecs need for the pictures of pixels-aerial

-log p(x) in nats is by importance sampling, bits/dim by the bound or exact, as each row says, on the test split; a row
says how long one core took for its steps. `codes`: the share of the codes that 5,000 test pictures use, three seeds.
`iwae` begins with the weights of `mlp`. Models stay in runs/likelihood/ROW and runs/deep/ROW. Needs MORPHOGEN_DATA.
"""

from __future__ import annotations

import json
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks import harness
from benchmarks.harness import Asked, Json, Row, Run, evaluate, load_data, load_family, path_of, run_rows, say, write
from benchmarks.page import tables
from benchmarks.page.tables import Result, Seen, at_least, at_most, named, seen_of
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


# ------------------------------------------------------------------------------------------- what is asked


def _at_most(what: str, metric: str, most: float, stretch: float | None = None) -> tuple[Asked, ...]:
    unit, target = "nats" if metric == "nll" else "bits/dim", at_most(most, stretch=stretch)
    return (Asked(f"{what}, {unit}", target, lambda record: seen_of(named(record, metric), record)),)


def _below_codec(rival: str, asked: str) -> Asked:
    def read(record: Result, codecs: Result) -> Seen:
        other = [f"{name} {value:.3f}" for name, value in codecs["bits_per_dim"].items()]
        return seen_of(named(record, "bits_per_dim"), record, *other, bound=codecs["bits_per_dim"][rival])

    what = "aerial pictures, 128 x 128 RGB, autoregressive, exact, bits/dim"
    return Asked(what, at_most(None, asked), read, ("deep-codecs",))


def _codes_in_use(record: Result) -> Seen:
    seeds = [one["codes"] for one in record["seeds"]]
    perplexity = ", ".join(f"{one['perplexity'][0]:.0f}" for one in seeds)
    beside = f"the least of three seeds; perplexity {perplexity} of 512"
    return Seen(min(min(one["in_use"]) for one in seeds), None, beside, ".0%")


# fmt: off
MLP = {"backbone": "mlp", "hidden": (500, 500), "activation": "tanh", "latent_dim": 40, "weight_decay": 0.1}
CONV = {"backbone": "conv", "widths": (32, 64), "blocks": 1, "norm": False, "prior": "flow", "lr": 2e-3}
LADDER = {"widths": (32, 64, 64, 64), "groups": (0, 3, 3, 3), "latent_channels": (1, 4, 8, 16), "blocks": 1, "lr": 2e-3,
          "kl_warmup": 0.02}
PIXELS = {"width": 96, "inner": 32, "blocks": 6}
AERIAL = {"width": 64, "inner": 32, "blocks": 5, "stem": (4, 4), "likelihood": "discretized_logistic_mixture",
          "counts": False}
DEEP = {"compile": "off", "sheet_seconds": 300}
BINARY = "mnist:binary"
_MLP = Row(
    "likelihood", "mlp", "binarized MNIST, MLP VAE of 500-unit layers, ELBO; 27 minutes of one core", "vae", BINARY,
    {"steps": 110_000, "compile": "on"}, bounds("elbo", "nll", samples=5000), {**MLP, "kl_warmup": 0.2},
    asked=_at_most("binarized MNIST, MLP VAE, -log p(x)", "nll", 89.3),
)
ROWS = harness.by_name(
    _MLP,
    Row("likelihood", "iwae", "the network of `mlp`, trained further on IWAE with k = 50; 40 minutes of one core",
        "vae", BINARY, {"steps": 12_000, "compile": "on"}, bounds("elbo", "nll", samples=5000),
        {**MLP, "importance_samples": 50, "lr": 1e-3}, start=_MLP),
    Row("likelihood", "conv", "binarized MNIST, residual convolutions, flow prior; 18 minutes of one core",
        "vae", BINARY, {"steps": 8_000, "compile": "off"}, bounds("elbo", "nll", samples=500),
        {**CONV, "latent_dim": 40},
        asked=_at_most("binarized MNIST, convolutional VAE with a flow prior, -log p(x)", "nll", 84.3, 83.5)),
    Row("likelihood", "bits", "8-bit MNIST, residual convolutions, flow prior, logistic mixture; 13 min of one core",
        "vae", "mnist", {"steps": 4_500, "compile": "off"}, bounds("elbo", "bits_per_dim"),
        {**CONV, "latent_dim": 64, "likelihood": "discretized_logistic_mixture", "mixtures": 5},
        asked=_at_most("8-bit MNIST, VAE, bound", "bits_per_dim", 1.33)),
    Row("deep", "ladder-binary", "binarized MNIST, hierarchical VAE of 9 groups of latents; 70 minutes of one core",
        "hierarchical_vae", BINARY, {**DEEP, "steps": 8_000, "batch_size": 128}, bounds("elbo", "nll", samples=100),
        LADDER, asked=_at_most("binarized MNIST, hierarchical VAE, -log p(x)", "nll", 82.3, 81.3)),
    Row("deep", "ladder-bits", "8-bit MNIST, the same network, mixture of 5 logistics, bound; 24 minutes of one core",
        "hierarchical_vae", "mnist", {**DEEP, "steps": 3_000, "batch_size": 128}, bounds("elbo", "bits_per_dim"),
        {**LADDER, "mixtures": 5}, asked=_at_most("8-bit MNIST, hierarchical VAE, bound", "bits_per_dim", 1.2, 1.1)),
    Row("deep", "pixels-mnist", "8-bit MNIST, autoregressive, exact; 35 minutes of one core",
        "autoregressive", "mnist", {**DEEP, "steps": 10_000, "batch_size": 16}, bounds("bits_per_dim"), PIXELS,
        asked=_at_most("8-bit MNIST, autoregressive, exact", "bits_per_dim", 0.95)),
    Row("deep", "pixels-fashion", "8-bit Fashion-MNIST, the same network, exact; 12 minutes of one core",
        "autoregressive", "fashion_mnist", {**DEEP, "steps": 4_000, "batch_size": 16}, bounds("bits_per_dim"), PIXELS,
        asked=_at_most("8-bit Fashion-MNIST, autoregressive, exact", "bits_per_dim", 3.2)),
    Row("deep", "pixels-aerial", "aerial pictures reduced to 128 x 128 RGB, autoregressive, exact; 16 min of one core",
        "autoregressive", "ucmerced:size=128", {**DEEP, "steps": 1_300, "batch_size": 2, "flips": True},
        bounds("bits_per_dim"), AERIAL,
        asked=(_below_codec("PNG", "below PNG"), _below_codec("WebP", "below WebP (stretch)"))),
    Row("deep", "codes", "8-bit MNIST, VQ-VAE of 512 codes: codes in use on 5,000 test pictures", "vq_vae", "mnist",
        {**DEEP, "steps": 2_000, "batch_size": 32}, codes, seeds=(0, 1, 2), asked=(
            Asked("VQ-VAE: codes in use on 5,000 test pictures", at_least(0.95, "over 95 %"), _codes_in_use),)),
)
# fmt: on
_iwae = tables.of("quality.likelihood iwae --against mlp", "likelihood-iwae-against-mlp")
FIGURES = (
    *harness.figures("quality.likelihood", ROWS),
    _iwae("IWAE with k = 50 less the MLP VAE, paired, nats", at_most(-1.5), seen_of),
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


def parser() -> ArgumentParser:
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
