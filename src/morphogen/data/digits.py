"""`digits`: 1,797 real handwritten digits of 8x8 pixels with 17 levels, embedded in scikit-learn."""

from __future__ import annotations

from typing import Any

import torch

from morphogen.data.options import Amount, Options
from morphogen.data.pictures import prepared
from morphogen.data.raw import Raw, SourceReader

LEVELS = 17
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class DigitsOptions(Options):
    """`validation`: below 1 a share of the training records, else a number of them. `words`: captions, no classes."""

    validation: Amount = 100
    words: bool = False


def read(options: DigitsOptions) -> Raw:
    """All records in their published order; every sixth is a test record."""
    from sklearn.datasets import load_digits  # takes a second, so only whoever asks for the digits waits

    found = load_digits()
    pictures = torch.from_numpy(found.images.astype("uint8"))[:, None]
    n = len(pictures)
    words: dict[str, Any] = {"labels": torch.from_numpy(found.target.astype("int64")), "classes": tuple("0123456789")}
    if options.words:
        words = {"captions": [NAMES[k] for k in found.target]}
        words["paraphrases"] = [(f"a {name}", f"the digit {name}") for name in words["captions"]]
    return Raw(
        stored=prepared(pictures, options, LEVELS),
        levels=LEVELS,
        split=["test" if i % 6 == 5 else "train" for i in range(n)],
        **words,
        license="CC BY 4.0 (UCI Machine Learning Repository, Optical Recognition of Handwritten Digits;"
        " E. Alpaydin and C. Kaynak, 1998)",
    )


READER = SourceReader(DigitsOptions, read, "1,797 handwritten digits, 8x8, 17 levels; needs no download")
