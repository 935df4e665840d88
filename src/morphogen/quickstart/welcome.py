"""What a newcomer sees after seconds: the models of the package draw what their prompts say."""

from __future__ import annotations

import time
from typing import Any

from morphogen.quickstart.chapter import airy
from morphogen.report.html import Card, Report
from morphogen.report.tables import duration

EMOJI, SHIPPED_PORTRAITS = "emoji", "portraits"
PROMPTS = (
    "red heart",
    "happy cat",
    "smiling face with sunglasses",
    "green circle",
    "crying face",
    "red apple",
    "grinning face",
    "blue heart",
)
PEOPLE = (
    "a person with dark skin, a blond bun, in a red dress",
    "a person with light skin, auburn spiky hair, in a blue shirt",
    "a person with brown skin, a black bun, in a yellow shirt",
    "a person with tan skin, blond spiky hair, in a green T-shirt",
)
SIDE = 96  # pixels of a picture on the page
COMMAND = 'morphogen draw emoji "happy cat" --out cat.png'


def write_welcome(report: Report) -> None:
    """Draw a picture of each prompt, and add them as cards."""
    from morphogen import api

    began = time.perf_counter()
    emoji = api.load(EMOJI).draw(list(PROMPTS), 1, seed=1).images
    people = api.load(SHIPPED_PORTRAITS).draw(list(PEOPLE), 1, seed=1).images
    took = time.perf_counter() - began
    words = [*PROMPTS, *(said.removeprefix("a person with ") for said in PEOPLE)]
    drawn = zip(words, [*emoji, *people], strict=True)
    report.cards([Card(_large(image), said, "") for said, image in drawn], small=True)
    report.text(
        f"Drawn from these words in {duration(took)} by `emoji` and `portraits`, two small models that come with the"
        " package; each is the first drawing of its words. Try your own:"
    )
    report.code(COMMAND)


def shipped_portraits(n: int = 16) -> tuple[Any, str]:
    """What the model of portraits of the package draws, for comparison, with its caption."""
    from morphogen import api

    model = api.load(SHIPPED_PORTRAITS)
    took = duration(float(model.provenance["duration_s"]))
    return (
        airy(model.sample(n, seed=1).pixels, columns=8),
        f"For comparison, the model `portraits` of the package, a diffusion model trained for {took} on one core",
    )


def _large(image: Any) -> Any:
    """Whole pixels, enlarged."""
    return image.resize((SIDE, SIDE), 0)
