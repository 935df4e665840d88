"""Archives of held-out pictures: whole files on disk, read back by a fresh process, beside general codecs.

    python -m benchmarks.quality.compression mnist             # or another row; `all` for every one
    python -m benchmarks.quality.compression mnist --evaluate  # a row that is trained already

Each row trains a model, makes its integer form, packs the test split and reads it back, each in a process of its own,
and counts: bits per dimension of the file and of the integer form's likelihood or bound; what the integers lost, on
1,000 records; pictures a second both ways; the bytes of the model; the same records by JPEG XL, WebP and PNG as one
mosaic, and by LZMA. Rows of VAEs are coded by bits-back, the others by their conditionals. Models stay in
runs/compression/ROW. Needs MORPHOGEN_DATA.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks import harness
from benchmarks.harness import Json, Row, Run, by_name, evaluate, load_data, run_rows
from benchmarks.page import tables
from benchmarks.page.tables import Figure, Result, Seen, at_most
from benchmarks.peers.environments import run_in

BITS, COMPACT_BITS = 16, 9  # of a weight of the integer form
CHECKED = 1000  # records that the integer form is measured on and checked by
PIXELS = {"width": 96, "inner": 32, "blocks": 6}
VAE = {"backbone": "conv", "widths": (32, 64), "blocks": 1, "norm": False, "activation": "relu", "latent_dim": 32}
LADDER = {"widths": (32, 64, 64), "groups": (0, 2, 2), "latent_channels": (1, 2, 4), "mixtures": 3}


def morphogen(*words: object) -> Json:
    """What a command of morphogen says as JSON, in a process of its own. Exits if it fails."""
    command = [sys.executable, "-m", "morphogen.cli", *map(str, words), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"`{' '.join(command)}` failed; its message is above.")
    found: Json = json.loads(done.stdout)
    return found


def packed(bits: int) -> Callable[[Run], Json]:
    """The judge of a row whose integer form has weights of so many bits."""

    def judge(run: Run) -> Json:
        data, split = run.row.data, "test"
        with tempfile.TemporaryDirectory() as folder:
            integers, file, npz = Path(folder) / "integers", Path(folder) / "a.mgz", Path(folder) / "a.npz"
            n = ("--n", 4 if run.quick else CHECKED)
            form = morphogen("quantize", run.model, "--out", integers, "--data", data, "--bits", bits, *n)
            wrote = morphogen("compress", integers, "--data", data, "--split", split, "--out", file, "--with-model")
            read = morphogen("decompress", file, "--out", npz)
            with np.load(npz) as again:
                x = again["x"]
            stored = load_data(data).split(split).stored.numpy()
            if not np.array_equal(x, stored):
                raise SystemExit("the archive gave other pixels than were packed.")
            bound = wrote["ideal_bits_per_dim"]  # by conditionals, the likelihood itself
            if "conditionals" not in wrote["blocks"]:
                bound = evaluate(integers, data, ["bits_per_dim"])["results"][0]["value"]
            codecs = json.loads(run_in("codecs", "benchmarks.peers.mosaic", _saved(stored, folder)))
        others = codecs["bytes"]
        speeds = {way: len(stored) / of["seconds"] for way, of in (("encode", wrote), ("decode", read))}
        best = min(others, key=others.get)
        archive = wrote["bytes"] - wrote["model_bytes"]
        found = {
            "integer_form": form,
            "archive": wrote,
            "seconds": {"compress": wrote["seconds"], "decompress": read["seconds"]},
            "images_per_s": {"morphogen": speeds, **codecs["images_per_s"]},
            "records": len(stored),
            "bytes": {"archive": archive, "model": wrote["model_bytes"], **others},
            "bits_per_dim": {
                "file": 8.0 * archive / stored.size,
                "integer form": bound,
                **{name: 8.0 * size / stored.size for name, size in others.items()},
            },
            "over_bound": 8.0 * archive / stored.size / bound - 1.0,
            "with_model_over_best": wrote["bytes"] / others[best],
            "best": best,
        }
        print(json.dumps({k: found[k] for k in ("bytes", "bits_per_dim", "images_per_s", "with_model_over_best")}))
        return found

    return judge


def _saved(stored: np.ndarray, folder: str) -> Path:
    path = Path(folder) / "pictures.npy"
    np.save(path, stored.transpose(0, 2, 3, 1))
    return path


def _row(
    name: str,
    what: str,
    family: str,
    data: str,
    options: Json,
    minutes: int,
    batch: int,
    bits: int = BITS,
    preset: str | None = None,
    flips: bool = False,
) -> Row:
    recipe = {"flips": flips, "budget": f"{minutes}min", "batch_size": batch, "compile": "off", "sheet_seconds": 1e6}
    what = f"{what}; {minutes} minutes of a shared core"
    return Row("compression", name, what, family, data, recipe, packed(bits), options, preset)


ROWS = by_name(
    _row("mnist", "8-bit MNIST, autoregressive", "autoregressive", "mnist", PIXELS, 20, 16),
    _row(
        "compact",
        "8-bit MNIST, autoregressive, compact",
        "autoregressive",
        "mnist",
        {},
        12,
        16,
        COMPACT_BITS,
        "compact",
    ),
    _row("vae", "8-bit MNIST, VAE with a standard normal prior", "vae", "mnist", VAE, 6, 64),
    _row("ladder", "8-bit MNIST, hierarchical VAE", "hierarchical_vae", "mnist", LADDER, 8, 64),
    _row("binary", "binarized MNIST, autoregressive", "autoregressive", "mnist:binary", {"width": 48}, 12, 32),
    _row(
        "aerial",
        "aerial pictures of 128 x 128, autoregressive",
        "autoregressive",
        "ucmerced:size=128",
        {},
        20,
        2,
        preset="photo",
        flips=True,
    ),
    _row("fashion", "8-bit Fashion-MNIST, autoregressive", "autoregressive", "fashion_mnist", PIXELS, 20, 16),
)


# --------------------------------------------------------------------------------------- on the results page


def _figures(name: str, *asked: tuple[str, float, Callable[[Result], Seen]]) -> tuple[Figure, ...]:
    figure = tables.of(f"quality.compression {name}", ROWS[name].result)
    what = ROWS[name].what.partition(";")[0]
    return tuple(figure(f"{what}: {of}", at_most(bound), read) for of, bound, read in asked)


def _rate(record: Result) -> Seen:
    rates = record["bits_per_dim"]
    beside = "; ".join(f"{name} {rates[name]:.3f}" for name in rates if name != "file")
    return Seen(rates["file"], None, beside, ".4f")


def _over(record: Result) -> Seen:
    return Seen(record["over_bound"], None, "", ".2%")


def _loss(record: Result) -> Seen:
    form = record["integer_form"]
    return Seen(form["loss"], None, f"{form['checked']:,} outputs of layers equal plain integers", ".4%")


def _sum(record: Result) -> Seen:
    sizes = record["bytes"]
    beside = f"archive {sizes['archive']:,}, model {sizes['model']:,}, {record['best']} {sizes[record['best']]:,} bytes"
    return Seen(record["with_model_over_best"], None, beside, ".1%")


def _time(record: Result) -> Seen:
    taken, speeds = record["seconds"], record["images_per_s"]
    said = "; ".join(f"{name} {of['encode']:.0f} and {of['decode']:.0f}" for name, of in speeds.items())
    return Seen(taken["decompress"], None, f"pictures a second, encoded and decoded: {said}", ".0f")


_RATE, _GAP, _LOST = "bits/dim of the file, the model not counted", "file over its own likelihood", "lost by integers"
FIGURES = (
    *_figures(
        "mnist",
        (_RATE, 0.90, _rate),
        (_GAP, 0.01, _over),
        (_LOST, 0.001, _loss),
        ("decoding, seconds", 180.0, _time),
    ),
    *_figures("vae", (_GAP, 0.015, _over), (_LOST, 0.001, _loss)),
    *_figures("ladder", (_GAP, 0.015, _over), (_LOST, 0.001, _loss)),
    *_figures("binary", (_RATE, 0.130, _rate)),
    *_figures("fashion", (_RATE, 2.83, _rate)),
    *_figures("aerial", (_RATE, 2.97, _rate), (_GAP, 0.01, _over)),
    *_figures("compact", ("model and archive over the best codec", 0.78, _sum)),
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    return harness.row_parser(__doc__, ROWS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure rows."""
    run_rows(ROWS, parser().parse_args(arguments))


if __name__ == "__main__":
    main()
