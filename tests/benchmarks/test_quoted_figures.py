"""What the documents quote is what the files in benchmarks/results/ hold, to the digits that are shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.harness import RESULTS

ROOT = Path(__file__).resolve().parents[2]
INDEX, SPEED, LIKELIHOOD = (f"docs/results/{name}.md" for name in ("index", "speed", "likelihood"))
GAN, DIFFUSION, TEXT = (f"docs/results/{name}.md" for name in ("gan", "diffusion", "text-to-image"))


def found(path: str, scale: float = 1.0) -> float:
    """The number at FILE/KEY/.../KEY; of a list of results a key is a name, else a place."""
    file, *keys = re.split(r"(?<! )/(?! )", path)
    here = json.loads((RESULTS / f"{file}.json").read_text(encoding="utf-8"))
    for key in keys:
        if isinstance(here, list):
            here = here[int(key)] if key.isdigit() else next(one for one in here if one["name"] == key)
        else:
            here = here[key]
    return scale * here


def of(path: str) -> list[str]:
    """The value at a path and the ends of its interval."""
    return [f"{path}/value", f"{path}/interval/0", f"{path}/interval/1"]


def median(path: str) -> list[str]:
    """The median at a path and the ends of its range."""
    return [f"{path}/median", f"{path}/range/0", f"{path}/range/1"]


NLL = "{:.2f} nats ({:.2f} to {:.2f})"
_RATE = "/images_per_s/median"
_FD = "({:.2f} to {:.2f})"
QUOTED: list[tuple[list[str], str, list[str]]] = [
    ([INDEX, LIKELIHOOD], NLL, of("likelihood-mlp/results/nll")),
    ([INDEX, LIKELIHOOD], NLL, of("likelihood-iwae/results/nll")),
    ([INDEX, LIKELIHOOD], NLL, of("likelihood-conv/results/nll")),
    ([LIKELIHOOD], "**{:.2f} nats** ({:.2f} to {:.2f})", of("deep-ladder-binary/results/nll")),
    ([INDEX], NLL, of("deep-ladder-binary/results/nll")),
    ([INDEX, LIKELIHOOD], "{:.3f} bits/dim ({:.3f} to {:.3f})", of("likelihood-bits/results/bits_per_dim")),
    ([LIKELIHOOD], "{:.3f} bits/dim ({:.3f} to {:.3f})", of("deep-ladder-bits/results/bits_per_dim")),
    ([LIKELIHOOD], "**{:.3f} bits/dim** ({:.3f} to {:.3f})", of("deep-pixels-mnist/results/bits_per_dim")),
    ([LIKELIHOOD], "**{:.3f} bits/dim** ({:.3f} to {:.3f})", of("deep-pixels-fashion/results/bits_per_dim")),
    ([LIKELIHOOD], "{:.3f} bits/dim ({:.3f} to {:.3f})", of("deep-pixels-aerial/results/bits_per_dim")),
    (
        [INDEX],
        "{:.3f} and {:.3f} bits/dim",
        [f"deep-pixels-{of}/results/bits_per_dim/value" for of in ("mnist", "fashion")],
    ),
    (
        [LIKELIHOOD],
        "perplexity {:.0f}, {:.0f}, {:.0f}",
        [f"deep-codes/seeds/{seed}/codes/perplexity/0" for seed in range(3)],
    ),
    ([INDEX, DIFFUSION], "({:.3f} to {:.3f})", of("diffusion-fashion/fd")[1:]),
    ([DIFFUSION], "**{:.3f} bits/dim** ({:.3f} to {:.3f})", of("diffusion-mnist/bits_per_dim/bound, 100 evaluations")),
    ([INDEX, DIFFUSION], _FD, of("diffusion-few/fd/2 evaluations, n = 10000")[1:]),
    ([GAN], "{:.3f} ({:.3f} to {:.3f})", of("gan-fashion/fd")),
    ([GAN], "{:.2f} ({:.2f} to {:.2f})", of("gan-fashion-classic/fd")),
    ([GAN], "**{:.2f}** ({:.2f} to {:.2f})", of("gan-aerial/aerial/fd")),
    (
        [GAN],
        "**{:.1%}, {:.1%}, {:.1%}**",
        [f"gan-grid/seeds/{seed}/good" for seed in range(3)],
    ),
    (
        [INDEX],
        "{:,.0f}, {:,.0f}, {:,.0f}; KL {:.3f}, {:.3f}, {:.3f}",
        [f"gan-stacked/seeds/{seed}/{key}" for key in ("modes", "kl") for seed in range(3)],
    ),
    (
        [INDEX, SPEED],
        "{:.2f} ({:.2f} to {:.2f})",
        median("growth/together/ratio"),
    ),
    (
        [SPEED],
        "{:.2f} times Keras, {:.2f} times",
        [f"throughput/ratios/morphogen / {of}/median" for of in ("keras", "bare")],
    ),
    (
        [INDEX],
        "{:.2f} x Keras, {:.2f} x a bare",
        [f"throughput/ratios/morphogen / {of}/median" for of in ("keras", "bare")],
    ),
    ([SPEED], "{:.2f} times pythae", ["throughput/ratios/morphogen-eager / pythae/median"]),
    ([INDEX], "{:.2f} x pythae", ["throughput/ratios/morphogen-eager / pythae/median"]),
    *(
        ([SPEED], "| {:.2f} ({:.2f} to {:.2f})", median(f"{file}/ratios/morphogen-eager / {rival}"))
        for file in ("throughput-gan", "throughput-gan-avx2")
        for rival in ("keras", "keras-xla", "torchgan", "bare")
    ),
    *(
        ([INDEX, SPEED], "{:.2f} x", [f"diffusion-speed/ratios/ours, equal{way}/median"])
        for way in (" / diffusers, as published", " / diffusers, bf16", ", compiled / diffusers, bf16, compiled")
    ),
    *(
        (
            [SPEED],
            "{:.3g}; {:.3g}",
            [f"sampling-speed/rows/{who}, {way}, batch {n}{_RATE}" for who in ("ours", "diffusers")],
        )
        for way in ("fp32", "bf16", "bf16, compiled")
        for n in (16, 1)
    ),
    (
        [INDEX],
        "{:.2f} and {:.2f} x diffusers' pipeline in bf16, {:.2f} and {:.2f} x both compiled",
        [
            f"sampling-speed/ratios/ours, {way}, batch {n} / diffusers, {way}, batch {n}/median"
            for way in ("bf16", "bf16, compiled")
            for n in (16, 1)
        ],
    ),
    *(
        ([INDEX, SPEED], "{:.2f} ({:.2f} to {:.2f})", of(f"equal-time-fashion-10/contestants/{name}/0/fd"))
        for name in ("vae", "gan", "diffusion")
    ),
    (
        [INDEX],
        "{:.0f} s at first, {:.0f} s again",
        [
            "evaluation-time/all metrics from files by the command, for the first time",
            "evaluation-time/the same again, features of real pictures kept",
        ],
    ),
    ([INDEX, SPEED], "{:.0f} s", ["quickstart/duration_s"]),
]


@pytest.mark.parametrize(("pages", "form", "paths"), QUOTED, ids=[paths[0] for _, _, paths in QUOTED])
def test_a_document_quotes_what_the_file_holds(pages, form, paths):
    values = [found(path) for path in paths]
    for page in pages:
        text = (ROOT / page).read_text(encoding="utf-8")
        for written, plain in (("x (", "("), ("times (", "("), (" %", "%")):
            text = text.replace(written, plain)
        said = form.format(*values)
        assert said in text, f"{page} does not say {said!r}, which {paths[0].partition('/')[0]}.json holds"


def test_the_readme_states_no_figure_of_its_own():
    """The README links to the measured figures; a number in it would have to be kept equal to the files."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not any(unit in text for unit in ("nats", "bits/dim", "images/s", "Fréchet", " FD "))
