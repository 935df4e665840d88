"""Variational autoencoders of digits and of portraits, and the textbook's with two latents, a plane to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from morphogen.quickstart.chapter import DIGITS, PORTRAITS, Chapter, Training, airy, by_class, logged, mosaic
from morphogen.report.html import Report
from morphogen.report.points import scatter
from morphogen.report.sheets import picture
from morphogen.report.sliders import slider

SIDE = 20  # pictures along each latent of the plane
STEPS = 13  # of a walk between two portraits
JUDGED = Training(
    "vae",
    "VAE of digits",
    "vae",
    DIGITS,
    steps=2500,
    enough=400,
    share=0.07,
    options={"conditional": True, "likelihood": "discretized_logistic_mixture", "dropout": 0.1},
)
PLANE = Training(
    "plane",
    "VAE of digits with two latents",
    "vae",
    DIGITS,
    steps=3000,
    enough=500,
    share=0.05,
    preset="classic",
    options={"variance": 0.1},  # 64 pixels weigh less than the textbook's 784
)
PORTRAIT = Training(
    "portraits-vae",
    "VAE of portraits",
    "vae",
    PORTRAITS,
    steps=8000,
    enough=600,
    share=0.13,
    options={
        "likelihood": "gaussian",
        "variance": 0.02,
        "prior": "flow",
        "latent_dim": 64,
        "norm": False,
        "lr": 2e-3,
        "widths": (32, 64),
        "blocks": 1,
    },
    batch_size=64,
)


def write_chapter(report: Report, out: Path) -> None:
    from morphogen import api

    portraits, digits, plane = (api.load(out / one.name) for one in (PORTRAIT, JUDGED, PLANE))
    report.figure(airy(portraits.sample(24, seed=1).pixels, columns=8), "24 new portraits; none was chosen")
    walks = portraits.interpolate(PORTRAITS, 6, steps=STEPS).pixels
    walks = walks.reshape(6, STEPS, *walks.shape[1:])
    report.element(
        slider(
            [[mosaic(walks[:, k], columns=6) for k in range(STEPS)]],
            "Six held-out portraits turn into six others: a straight line between their latents, decoded on the way",
            names=["from one to the other"],
            scale=2,
        )
    )
    grid = plane.manifold(SIDE).pixels
    report.element(
        slider(
            [[picture(grid[y * SIDE + x]).convert("RGB") for x in range(SIDE)] for y in range(SIDE)],
            "The textbook's model has two latents only, so all that it knows is a plane: move through it",
            names=["first latent", "second latent"],
            begin=(SIDE // 2, SIDE // 2),
            scale=20,
        )
    )
    originals, copies = digits.reconstruct(DIGITS, 12)
    pairs = np.concatenate([originals.pixels, copies.pixels])
    report.figures(
        [
            by_class(digits, "are of the same latent"),
            (
                airy(pairs, columns=12, row_labels=["original", "decoded"]),
                "Held-out digits above, and what 16 numbers keep of each below",
            ),
        ]
    )
    with report.folded("More: the whole plane, and how training went"):
        codes = plane.encode(DIGITS, split="train")
        report.figures(
            [
                (airy(grid, columns=SIDE), "The decoded plane; places are quantiles of the prior, so equally likely"),
                (
                    scatter(codes.mean, labels=codes.labels, classes=codes.classes),
                    "Where the encoder puts the training digits; colors are classes, which this model was never told",
                ),
                *logged(digits, "terms", "The loss in its parts, on training digits", title="Training loss, nats"),
                *logged(
                    digits,
                    "metrics",
                    "The same bound on digits that are held out: where it falls, the model overfits",
                    ["held_out_elbo"],
                    title="Bound on held-out digits, nats",
                ),
            ]
        )


CHAPTER = Chapter(
    "A variational autoencoder",
    "It packs each picture into a few numbers and unpacks them again; new numbers give new pictures.",
    "vae",
    (JUDGED, PLANE, PORTRAIT),
    write_chapter,
    measures=("elbo", "nll"),
)
