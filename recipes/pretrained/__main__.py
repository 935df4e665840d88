"""Train the models that the package ships, in at most twenty minutes of one core a stage:

    python -m recipes.pretrained emoji               # or another of RECIPES
    python -m recipes.pretrained emoji --budget 20s  # a short one, to see that all works

A stage that is complete is kept. Training is a matter of time, so that a faster machine makes more steps; `emoji` needs
MORPHOGEN_DATA. What is to be shipped is written to runs/pretrained/NAME/shipped, with a sheet of drawings beside it. To
ship it, move it to src/morphogen/artifact/pretrained/NAME.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from morphogen import api
from recipes.pretrained.recipes import RECIPES
from recipes.pretrained.shipping import ship

OUT = Path("runs/pretrained")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("name", choices=list(RECIPES))
    found.add_argument("--budget", default=None, help="how long to train, in place of what the recipe says")
    found.add_argument("--out", type=Path, default=OUT, help="where to write")
    return found


def train(
    data: api.Dataset, out: Path, start: Path | None, options: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    """One stage, which begins with the weights of the last one."""
    for event in api.training("diffusion", data, out, start=start, options=options, recipe=settings):
        print(f"step {event.step}  {event.terms}  {event.elapsed_s:.0f} s", *event.warnings, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a model, ship it, and draw with what is shipped."""
    asked = parser().parse_args(arguments)
    recipe = RECIPES[asked.name]
    root = asked.out / asked.name
    root.mkdir(parents=True, exist_ok=True)
    model, settings = None, {**recipe.training, "budget": asked.budget or recipe.budget}
    for stage, data in enumerate(recipe.data(Path(os.environ.get("MORPHOGEN_DATA", "")), root)):
        begun, model = model, root / f"stage-{stage}"
        if not (model / "manifest.json").is_file():
            train(data, model, begun, recipe.options, settings)
    assert model is not None  # every recipe has a stage
    print(f"{root / 'shipped'}: {ship(model, root / 'shipped'):,} bytes")
    api.load(root / "shipped").draw(list(recipe.prompts), 6, seed=1, guidance=recipe.guidance).save(root / "drawn.png")


if __name__ == "__main__":
    main()
