"""Archives of held-out pictures: whole files on disk, read back by a fresh process, beside general codecs.

    python -m benchmarks.quality.compression mnist             # or another row; `all` for every one
    python -m benchmarks.quality.compression mnist --evaluate  # a row that is trained already

Each row trains a model, makes its integer form, packs the test split and reads it back in another process, and counts:
bits per dimension of the file, of the integer form's own likelihood and of the model's before; the time of both ways;
the bytes of the model; the same records by JPEG XL, WebP and PNG in a mosaic, and by LZMA. Rows of VAEs are coded by
bits-back, the others by their conditionals. Models stay in runs/compression/ROW. Needs MORPHOGEN_DATA.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from benchmarks import harness
from benchmarks.harness import Row, by_name, run_rows
from benchmarks.peers.archives import measured

PIXELS = {"width": 96, "inner": 32, "blocks": 6}
SMALL = {"width": 32, "inner": 16, "blocks": 3, "hidden": 32, "near": (1, 1), "places": "axes"}
VAE = {"backbone": "conv", "widths": (32, 64), "blocks": 1, "norm": False, "activation": "relu", "latent_dim": 32}
LADDER = {"widths": (32, 64, 64), "groups": (0, 2, 2), "latent_channels": (1, 2, 4), "mixtures": 3}


def _row(name: str, what: str, family: str, data: str, options: harness.Json, minutes: int, batch: int) -> Row:
    recipe = {"budget": f"{minutes}min", "batch_size": batch, "compile": "off", "sheet_seconds": 1e6}
    return Row("compression", name, f"{what}; {minutes} minutes of one core", family, data, recipe, measured, options)


ROWS = by_name(
    _row("mnist", "8-bit MNIST, autoregressive", "autoregressive", "mnist", PIXELS, 20, 16),
    _row("compact", "8-bit MNIST, a small autoregressive model", "autoregressive", "mnist", SMALL, 15, 16),
    _row("vae", "8-bit MNIST, VAE with a standard normal prior", "vae", "mnist", VAE, 8, 64),
    _row("binary", "binarized MNIST, autoregressive", "autoregressive", "mnist:binary", {"width": 48}, 12, 32),
    _row("fashion", "8-bit Fashion-MNIST, autoregressive", "autoregressive", "fashion_mnist", PIXELS, 20, 16),
    _row("ladder", "8-bit MNIST, hierarchical VAE", "hierarchical_vae", "mnist", LADDER, 8, 64),
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    return harness.row_parser(__doc__, ROWS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure rows."""
    run_rows(ROWS, parser().parse_args(arguments))


if __name__ == "__main__":
    main()
