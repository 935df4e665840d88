"""Generative adversarial networks: what the generator learns while the game goes on, and a walk between portraits."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from morphogen.quickstart.chapter import DIGITS, PORTRAITS, Chapter, Training, airy, by_class, logged
from morphogen.report.animations import animation
from morphogen.report.html import Report
from morphogen.report.sheets import picture
from morphogen.report.sliders import slider

JUDGED = Training(
    "gan",
    "GAN of digits",
    "gan",
    DIGITS,
    steps=6000,
    enough=1200,
    share=0.09,
    options={
        "conditional": True,
        "hidden": (128, 128, 128),
        "discriminator_hidden": (256, 256),
        "generator_lr": 4e-3,
        "discriminator_lr": 4e-3,
    },
    batch_size=64,
    look_every=4.0,
)
PORTRAIT = Training(
    "portraits-gan",
    "GAN of portraits",
    "gan",
    PORTRAITS,
    steps=12000,
    enough=1500,
    share=0.19,
    options={"augment": "adaptive", "widths": (48, 32, 16)},
    batch_size=32,
)


def write_chapter(report: Report, out: Path) -> None:
    from morphogen import api

    portraits, digits = api.load(out / PORTRAIT.name), api.load(out / JUDGED.name)
    report.figure(airy(portraits.sample(24, seed=1).pixels, columns=8), "24 new portraits; none was chosen")
    walk = portraits.walk(48, 6, seed=3).pixels
    report.element(
        slider(
            [[picture(frame) for frame in walk]],
            "A closed walk through six latents: every place between two portraits is one, too",
            names=["along the walk"],
            scale=6,
        )
    )
    moves = [Image.open(path) for path in sorted((digits.path / "samples").glob("step-*.png"))]
    report.figures(
        [
            by_class(digits, "are of the same latent"),
            (
                animation(moves, frames_per_second=3, hold_s=2),
                "The same latents of the model of digits, from the first steps to the last",
            ),
        ]
    )
    with report.folded("More: the game between the two networks"):
        report.text(
            "Each step is a move of the discriminator, then one of the generator. The share of pairs that the"
            " discriminator tells apart falls towards a half as samples get better. Diversity is the mean distance of"
            " two samples over that of two real digits, and coverage the share of real digits that have a sample like"
            " them, over the same for real ones."
        )
        report.figures(
            logged(
                digits,
                "metrics",
                "Shares and ratios, beside 1 for real digits",
                ["told_apart", "diversity", "coverage"],
                title="The game, on held-out digits",
                y_label="share or ratio",
            )
        )


CHAPTER = Chapter(
    "A generative adversarial network",
    "A generator draws, a discriminator looks for the fakes; both learn, and the drawings get better.",
    "gan",
    (JUDGED, PORTRAIT),
    write_chapter,
    likelihood=False,
)
