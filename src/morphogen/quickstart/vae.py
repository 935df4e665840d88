"""Variational autoencoders: one of sixteen latents, which is judged, and the textbook's with two, a plane to draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from morphogen.quickstart.chapter import DATA, Chapter, Training, logged, samples
from morphogen.report.html import Report
from morphogen.report.points import scatter
from morphogen.report.sheets import sheet

JUDGED = Training(
    "vae",
    "vae",
    steps=2500,
    share=0.17,
    options={"conditional": True, "likelihood": "discretized_logistic_mixture", "dropout": 0.1},
)
PLANE = Training(
    "plane",
    "vae",
    steps=3000,
    share=0.07,
    preset="classic",
    options={"variance": 0.1},  # 64 pixels weigh less than the textbook's 784
)


def write_chapter(report: Report, out: Path) -> None:
    from morphogen import api

    model, plane = api.load(out / JUDGED.name), api.load(out / PLANE.name)
    report.section(
        "A variational autoencoder: samples",
        "New digits, drawn from noise alone, and drawn for a given class. None was chosen.",
    )
    report.figures(samples(model, "are of the same latent"))
    report.section(
        "What its latents keep",
        "Test digits are encoded to 16 numbers and decoded again; walking between two codes passes through digits.",
    )
    originals, copies = model.reconstruct(DATA, 16)
    pairs = np.concatenate([originals.pixels, copies.pixels])
    walks = model.interpolate(DATA, 6, steps=12)
    report.figures(
        [
            (sheet(pairs, columns=16, row_labels=["original", "decoded"]), "Test digits above, reconstructions below"),
            (sheet(walks.pixels, columns=12), "Six walks between pairs of test digits"),
        ]
    )
    loss = logged(model, "terms", "The loss in its parts, on training records", title="Training loss, nats")
    bound = logged(
        model,
        "metrics",
        "The same bound on records that are held out: where it falls, the model overfits",
        ["held_out_elbo"],
        title="Bound on held-out records, nats",
    )
    report.figures([*loss, *bound])
    report.section(
        "The latent plane of the textbook's model",
        "A second model has two latents only, so that all it knows fits on one picture: each place in the plane,"
        " decoded. The places are quantiles of the prior, so that equal areas are equally likely.",
    )
    grid = plane.manifold(20)
    codes = plane.encode(DATA, split="train")
    report.figures(
        [
            (sheet(grid.pixels, columns=20), "The decoded plane"),
            (
                scatter(codes.mean, labels=codes.labels, classes=codes.classes),
                "Where the encoder puts the training digits; colors are classes, which this model was never told",
            ),
        ]
    )


CHAPTER = Chapter("autoencoder", (JUDGED, PLANE), write_chapter, measures=("elbo", "nll"))
