"""The pictures and captions of the model `emoji`: Noto emoji without skin tones, flags and signs, and
of these the favorites: faces, hearts, animals, flowers, food and plain shapes.

Each has its name as a caption, and further ones made of its keywords, so that "happy cat" works as well as "grinning
cat with smiling eyes". The names and keywords are those of CLDR.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

from morphogen.core.rng import Rng

SIDE = 32  # pixels
LICENSE = (
    "pictures: Apache 2.0 (noto-emoji, (c) Google); names and keywords: Unicode License v3 and MIT (c) Miles Johnson"
)
GROUPS = ("smileys-emotion", "animals-nature", "food-drink")  # what the first stage learns
PLACES = (
    *("sky-weather", "transport-air", "transport-ground", "transport-water", "place-building", "place-geographic"),
    *("event", "sport", "game", "award-medal", "arts-crafts", "musical-instrument"),
    *("clothing", "light-video", "tool", "science", "geometric"),
)
SIGNS = ("button", "mahjong", "suit", "moon symbol")  # signs rather than things
FAVORITES = (  # what the second stage goes on with
    *("face-smiling", "face-affection", "face-tongue", "face-hand", "face-neutral-skeptical", "face-sleepy"),
    *("face-unwell", "face-hat", "face-glasses", "face-concerned", "face-negative", "face-costume", "cat-face"),
    *("monkey-face", "heart", "animal-mammal", "animal-bird", "animal-amphibian", "animal-reptile"),
    *("plant-flower", "food-fruit", "food-sweet", "food-prepared", "geometric"),
)
NO_FAVORITES = ("button", "moon", "thermometer", "cyclone", "small", "medium", "diamond")  # signs, and much of a kind
NAMED, KEYWORDS, EACH = 3, 3, 4  # times that the name is a caption; captions of keywords; words of these at most


def write(data: Path, out: Path, favorites: bool) -> int:
    """Write a folder of pictures with captions from the set `emoji` in the folder `data`; the number of pictures.

    favorites  only those that the second stage goes on with
    """
    with open(data / "emoji" / "annotations.csv", newline="", encoding="utf-8") as file:
        rows = {row["hexcode"]: row for row in csv.DictReader(file)}
    with np.load(data / "emoji" / "noto_64.npz") as stored:
        images, codes, splits = stored["images"], stored["hexcode"], stored["split"]
    out.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (image, code, split) in enumerate(zip(images, codes, splits, strict=True)):
        row = rows[str(code)]
        if str(split) == "train" and _is_wanted(row, favorites):
            Image.fromarray(image, "RGBA").save(out / f"{code}.png")
            said = captions(row["label"], row["tags"].split(";"), number)
            lines.append(json.dumps({"file_name": f"{code}.png", "text": said}))
    (out / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


def captions(name: str, keywords: list[str], number: int) -> list[str]:
    """The name, and a few keywords in any order, chosen by the number of the picture alone."""
    found = [name] * NAMED
    rng = Rng(0)
    for k in range(KEYWORDS):
        order = rng.permutation(f"keywords/{k}", number, len(keywords)).tolist()
        found.append(" ".join(keywords[i] for i in order[: 1 + (number + k) % EACH]) or name)
    return found


def _is_wanted(row: dict[str, str], favorites: bool) -> bool:
    if row["tone"]:
        return False
    if favorites:
        return row["subgroup"] in FAVORITES and not any(word in row["label"] for word in NO_FAVORITES)
    named = row["group"] in GROUPS or row["subgroup"] in PLACES
    return named and not any(word in row["label"] for word in SIGNS)
