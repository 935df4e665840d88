"""A diffusion model with a small U-Net: what noise does to a digit, how it is undone, and how certain a step is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from morphogen.quickstart.chapter import DATA, Chapter, Training, logged, samples
from morphogen.report.animations import animation
from morphogen.report.chain_plots import chain_frames, chain_sheet, variance_figure
from morphogen.report.html import Report
from morphogen.report.sheets import to_bytes

STEPS = 20  # from noise to digit: enough, and as few as let the bounds of the variance be told apart
JUDGED = Training(
    "diffusion",
    "diffusion",
    steps=1800,
    share=0.17,
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


def write_chapter(report: Report, out: Path) -> None:
    from morphogen import api

    model = api.load(out / JUDGED.name)
    report.section(
        "A diffusion model: samples",
        f"The same digits, learned by a model that removes noise, {STEPS} times in a row for each. None was chosen.",
    )
    report.figures(samples(model, "begin with the same noise"))
    report.section(
        "Noise, and back",
        "The forward chain has nothing to learn: it adds noise until nothing is left, as measured by log-SNR, the"
        " logarithm of the signal's share over the noise's. The reverse chain starts at noise. At each step the network"
        " says what the digit may be, E[x_0 | x_t], the mean of all digits that the noise could hide, and the step goes"
        " some way towards it.",
    )
    forward = model.forward_chain(DATA, 6)
    reverse = model.reverse_chain(4, seed=2)
    report.figures(
        [
            (chain_sheet(_chains(forward), forward.t, forward.log_snr, "forward"), "Test digits turn into noise"),
            (chain_sheet(_chains(reverse), reverse.t, reverse.log_snr, "reverse"), "Noise turns into digits"),
        ]
    )
    moving = model.reverse_chain(16, seed=2, times=None)
    frames = chain_frames(_chains(moving), moving.t, moving.log_snr, "reverse")
    report.figure(animation(frames, frames_per_second=6, hold_s=2), "16 samples on their way, and their estimates")
    report.section(
        "How certain a step is",
        "A step of the reverse chain is a normal distribution. Its variance lies between two bounds that are known"
        " without a network: beta_tilde, if the digit were known, and beta, if nothing were. The network has learned"
        " where in between (Nichol and Dhariwal, 2021). The dots are what it should have learned: the variance that"
        " the squared error of its estimates makes, on test digits. What is drawn is each variance over beta.",
    )
    found = model.variances(DATA)
    variance = variance_figure(
        found.log_snr,
        beta=found.beta,
        beta_tilde=found.beta_tilde,
        learned=found.learned,
        measured=found.measured,
        interval=found.interval,
        title=f"Variance of a reverse step, of {STEPS}",
    )
    what = f"From noise on the left to digits on the right; means over {found.n} test digits, bars hold 95 %"
    loss = logged(
        model,
        "terms",
        "The training loss: squared error of what the network puts out, over all noise levels",
        ["error"],
        title="Training loss",
        y_label="squared error",
    )
    report.figures([(variance, what), *loss])


def _chains(chain: Any) -> dict[str, Any]:
    """The states, and the estimates where there are any, as bytes (n, m, C, H, W)."""
    named = {"x_t": chain.x} | ({} if chain.estimates is None else {"E[x_0 | x_t]": chain.estimates})
    return {name: to_bytes(x, chain.spec) for name, x in named.items()}


CHAPTER = Chapter("diffusion", (JUDGED,), write_chapter)
