"""Models that draw what they are told: portraits by their captions, and digits by their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from morphogen.quickstart.chapter import Chapter, Training, airy
from morphogen.quickstart.diffusion import SHORT
from morphogen.report.html import Report
from morphogen.report.overlays import overlays
from morphogen.report.sheets import to_bytes

CAPTIONED = "portraits"
NAMED = "digits:words"
COMBINED = "test_combo"  # portraits with hair and a beard that no training portrait has together
EACH = 6  # drawings of a prompt
PROMPTS = 5
_WORDS = {"conditional": True, "guidance": 2.0}
DIGITS = Training(
    "words",
    "words to digits",
    "diffusion",
    NAMED,
    steps=1500,
    enough=500,
    share=0.06,
    options={**SHORT, **_WORDS, "fold": 1, "lr": 2e-3, "hidden": (256, 256), "parametrization": "v"},  # x0: gray fog
    batch_size=64,
    look_every=20.0,
)
PORTRAIT = Training(
    "portraits-words",
    "words to portraits",
    "diffusion",
    CAPTIONED,
    steps=8000,
    enough=1500,
    share=0.14,
    options={**SHORT, **_WORDS},
    batch_size=32,
    look_every=20.0,
)


def write_chapter(report: Report, out: Path) -> None:
    from morphogen import api

    portraits, digits = api.load(out / PORTRAIT.name), api.load(out / DIGITS.name)
    records = api.load_data(CAPTIONED).split(COMBINED)
    prompts = [said[0].removeprefix("a person with ") for said in (records.paraphrases or ())[:PROMPTS]]
    drawn = portraits.draw(prompts, EACH, seed=1).pixels
    real = records.stored[:PROMPTS].numpy()
    rows = np.concatenate([np.concatenate([real[i : i + 1], drawn[i * EACH : (i + 1) * EACH]]) for i in range(PROMPTS)])
    named = ["zero", "three", "five", "eight"]
    report.figures(
        [
            (
                airy(rows, columns=1 + EACH, row_labels=prompts, column_labels=["real", *["drawn"] * EACH]),
                "Captions of held-out portraits, the portrait of each, and six drawings of its words; none was chosen",
            ),
            (
                airy(digits.draw(named, 8, seed=1).pixels, columns=8, row_labels=named),
                "Digits by their names: this model never saw a class, only words",
            ),
        ]
    )
    with report.folded("More: which word each place looked at"):
        maps = portraits.attention_maps(prompts[0], seed=1)
        layers = overlays(to_bytes(maps.x, maps.spec), maps.maps)
        report.figure(
            airy(layers.reshape(-1, *layers.shape[2:]), columns=len(maps.words) + 1, column_labels=["", *maps.words]),
            "The attention of each place to each word",
        )


CHAPTER = Chapter(
    "From words to pictures",
    "A diffusion model that reads: it draws what a caption says, also what no training picture shows together.",
    "text-to-image",
    (DIGITS, PORTRAIT),
    write_chapter,
    likelihood=False,
    classes=False,
)
