"""`portraits`: 3,462 cartoon portraits of 32 x 32 pixels in color with captions, embedded; `recipes/portraits.py`.

Every feature (skin, hair, beard, clothes, ...) was drawn independently of the others, so that correlations among
samples are the model's own. The combinations of hair and beard in the split test_combo are never in train.
"""

from __future__ import annotations

import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from morphogen.core.errors import DataError
from morphogen.data.options import Captioned, Carved
from morphogen.data.pictures import prepared
from morphogen.data.raw import Raw, SourceReader

FILE = Path(str(files("morphogen.data") / "embedded" / "portraits.npz"))
LICENSE = (
    'CC BY 4.0: remix of "ToonHead" (https://www.figma.com/community/file/1589627891082866389) by "Johan Melin",'
    ' licensed under "CC BY 4.0" (https://creativecommons.org/licenses/by/4.0/)'
)


class PortraitOptions(Captioned, Carved):
    """The options of `portraits`."""


def read(options: PortraitOptions) -> Raw:
    """All records, each with its full caption and shorter ones."""
    try:
        with np.load(FILE) as stored:
            images, captions, split = (stored[name] for name in ("images", "captions", "split"))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{FILE} cannot be read ({error}): install morphogen again.") from None
    said = [text.decode() for text in captions]
    return Raw(
        stored=prepared(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), options),
        split=[name.decode() for name in split],
        captions=said,
        paraphrases=[shorter(caption) for caption in said],
        license=LICENSE,
    )


def shorter(caption: str) -> tuple[str, ...]:
    """Captions that leave out what is hard to see at this size; the first names skin, hair and clothes.

    >>> shorter("a person with dark skin, a bun, a goatee, winking eyes, angry mouth, in a blue dress")[0]
    'a person with dark skin, a bun, in a blue dress'
    """
    skin, hair, *_, clothes = caption.split(", ")
    return (f"{skin}, {hair}, {clothes}", f"a person with {hair}, {clothes}", f"{skin}, {clothes}", f"{skin}, {hair}")


READER = SourceReader(PortraitOptions, read, "3,462 cartoon portraits, 32x32 RGB, with captions; needs no download")
