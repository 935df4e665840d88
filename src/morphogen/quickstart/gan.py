"""A generative adversarial network: what the generator learns while the game goes on, and a walk between its digits."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from morphogen.quickstart.chapter import Chapter, Training, logged, samples
from morphogen.report.animations import animation
from morphogen.report.html import Report
from morphogen.report.sheets import sheet

JUDGED = Training(
    "gan",
    "gan",
    steps=6000,
    share=0.13,
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


def write_chapter(report: Report, out: Path) -> None:
    from morphogen import api

    model = api.load(out / JUDGED.name)
    report.section(
        "A generative adversarial network: samples",
        "A generator makes digits of noise, in one step, and a discriminator compares them with real ones. Neither is"
        " told how likely a digit is, so that there is no likelihood to measure. None was chosen.",
    )
    report.figures(samples(model, "are of the same latent"))
    report.section(
        "The game",
        "Each step is a move of the discriminator, then one of the generator. The share of pairs that the discriminator"
        " tells apart falls towards a half as samples get better; that it stays above is what the generator learns"
        " from. Diversity is the mean distance of two samples over that of two real digits, and coverage the share of"
        " real digits that have a sample like them, over the same for real ones.",
    )
    moves = [Image.open(path) for path in sorted((model.path / "samples").glob("step-*.png"))]
    game = animation(moves, frames_per_second=3, hold_s=2)
    health = logged(
        model,
        "metrics",
        "Shares and ratios, beside 1 for real digits",
        ["told_apart", "diversity", "coverage"],
        title="The game, on held-out digits",
        y_label="share or ratio",
    )
    steps = sheet(model.walk(60, 6, seed=3).pixels, columns=12)
    report.figures(
        [
            (game, "The same latents, from the first steps to the last"),
            *health,
            (steps, "A closed walk through six latents, line by line"),
        ]
    )


CHAPTER = Chapter("adversarial", (JUDGED,), write_chapter, likelihood=False)
