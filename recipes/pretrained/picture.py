"""The picture of the README: what the models of the package draw, none chosen.

python -m recipes.pretrained.picture
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import morphogen as mg
from morphogen.report.sheets import sheet

PROMPTS = ["red heart", "blue heart", "happy cat", "smiling face with sunglasses", "crying face", "red apple"]
PORTRAITS = [
    "a person with dark skin, a blond bun, in a red dress",
    "a person with light skin, auburn spiky hair, in a blue shirt",
    "a person with brown skin, a black undercut, a full beard, in a yellow shirt",
]
OUT = Path("docs/images/package-models.png")


def main() -> None:
    """Draw and write it."""
    emoji = mg.load("emoji").draw(PROMPTS, n=2, seed=1).pixels
    portraits = mg.load("portraits").draw(PORTRAITS, n=4, seed=1).pixels
    drawn = np.concatenate([emoji, portraits])
    sheet(drawn, columns=12, scale=2, gap=12, background=(255, 255, 255)).save(OUT, optimize=True)


if __name__ == "__main__":
    main()
