"""Diffusion models with a small U-Net: what noise does to a picture, how it is undone, and how certain a step is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from morphogen.quickstart.chapter import DIGITS, PORTRAITS, Chapter, Training, airy, by_class, logged, mosaic
from morphogen.report.chain_plots import chain_sheet, variance_figure
from morphogen.report.html import Report
from morphogen.report.sheets import to_bytes
from morphogen.report.sliders import slider

STEPS = 20  # from noise to picture: enough, and as few as let the bounds of the variance be told apart
SHORT = {  # for trainings of a minute: `docs/text-to-image.md`, under short trainings
    "parametrization": "x0",
    "schedule": "edm",
    "times": "log-normal",
    "time_mean": -0.7,
    "time_std": 1.5,
    "widths": (32, 64),
    "blocks": (1, 1),
    "fold": 2,
    "lr": 4e-3,
    "ema": 0.995,
    "steps": STEPS,
}
JUDGED = Training(
    "diffusion",
    "diffusion model of digits",
    "diffusion",
    DIGITS,
    steps=1800,
    enough=600,
    share=0.12,
    options={
        "conditional": True,
        "widths": (32, 64),
        "blocks": (1, 1),
        "dropout": 0.1,
        "lr": 2e-3,
        "ema": 0.995,
        "steps": STEPS,
        "score_evaluations": 50,
    },
    batch_size=64,
    look_every=20.0,  # before, it knows less than independent pixels do, and would say so
)
PORTRAIT = Training(
    "portraits-diffusion",
    "diffusion model of portraits",
    "diffusion",
    PORTRAITS,
    steps=8000,
    enough=1200,
    share=0.15,
    options=SHORT,
    batch_size=32,
    look_every=20.0,
)


def write_chapter(report: Report, out: Path) -> None:
    from morphogen import api

    portraits, digits = api.load(out / PORTRAIT.name), api.load(out / JUDGED.name)
    report.figure(airy(portraits.sample(24, seed=1).pixels, columns=8), "24 new portraits; none was chosen")
    report.element(_noise(portraits.reverse_chain(6, seed=2, times=None)))
    forward = digits.forward_chain(DIGITS, 4)
    report.figures(
        [
            by_class(digits, "begin with the same noise"),
            (
                chain_sheet(_chains(forward), forward.t, forward.log_snr, "forward"),
                "The way there has nothing to learn: held-out digits turn into noise",
            ),
        ]
    )
    with report.folded("More: how certain a step is"):
        report.text(
            "A step of the reverse chain is a normal distribution. Its variance lies between two bounds that are known"
            " without a network: beta_tilde, if the digit were known, and beta, if nothing were. The network has"
            " learned where in between (Nichol and Dhariwal, 2021). The dots are what it should have learned: the"
            " variance that the squared error of its estimates makes, on held-out digits."
        )
        report.figures(_certainty(digits))


def _certainty(digits: Any) -> list[tuple[Any, str]]:
    found = digits.variances(DIGITS)
    variance = variance_figure(
        found.log_snr,
        beta=found.beta,
        beta_tilde=found.beta_tilde,
        learned=found.learned,
        measured=found.measured,
        interval=found.interval,
        title=f"Variance of a reverse step, of {STEPS}",
    )
    loss = logged(
        digits,
        "terms",
        "The training loss: squared error of what the network puts out, over all noise levels",
        ["error"],
        title="Training loss",
        y_label="squared error",
    )
    what = f"From noise on the left to digits on the right; means over {found.n} held-out digits, bars hold 95 %"
    return [(variance, what), *loss]


def _noise(chain: Any) -> str:
    """A slider from noise to portraits: every other state, with the estimates below."""
    states, estimates = to_bytes(chain.x, chain.spec), to_bytes(chain.estimates, chain.spec)
    shown = sorted({*range(0, states.shape[1], 2), states.shape[1] - 1})
    frames: list[Image.Image] = [
        mosaic(np.concatenate([states[:, k], estimates[:, k]]), columns=len(states)) for k in shown
    ]
    return slider(
        [frames],
        "From noise to portraits: the state above, and below what the network believes the picture to be",
        names=["noise is removed"],
        labels=[f"{k} of {states.shape[1] - 1} steps, time {chain.t[k]:.2f}" for k in shown],
        scale=2,
    )


def _chains(chain: Any) -> dict[str, Any]:
    """The states, and the estimates where there are any, as bytes (n, m, C, H, W)."""
    named = {"x_t": chain.x} | ({} if chain.estimates is None else {"E[x_0 | x_t]": chain.estimates})
    return {name: to_bytes(x, chain.spec) for name, x in named.items()}


CHAPTER = Chapter(
    "A diffusion model",
    "It learns to remove noise from pictures; begun with noise alone, it removes all of it and leaves a new picture.",
    "diffusion",
    (JUDGED, PORTRAIT),
    write_chapter,
)
