"""Measure whether pictures of `shapes` show what their captions say, by the exact parser, for each statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.data.shapes import COLORS, RELATIONS, SIZES
from morphogen.data.shapes_parser import check

_OF_WORD = (
    dict.fromkeys(SIZES, "size") | dict.fromkeys(COLORS, "color") | dict.fromkeys(RELATIONS, "relation")
)  # otherwise it is a shape


@final
class ShapesJudge:
    """Checks the statements of a caption on its picture; `data/shapes_parser.py` finds the objects of the picture.

    All statements of a kind must hold, such as the sizes of both objects. The objects of the caption are matched to
    those of the picture so that the largest number of statements holds.
    """

    network = ""
    what = {
        "everything": "pictures on which all that the caption says holds and nothing else is to be seen",
        "number": "pictures with as many objects as the caption says, and nothing else",
        "size": "pictures with every object's size as the caption says",
        "color": "pictures with every object's color as the caption says",
        "shape": "pictures with every object's shape as the caption says",
        "relation": "pictures of two objects that lie as the caption says",
    }

    def __call__(self, captions: Sequence[str], pictures: Tensor) -> dict[str, Tensor]:
        """For each kind of `what` (n,): 1 or 0, or NaN if the caption has no statement of this kind.

        `pictures` are (n, 3, H, W) uint8. Raises `DataError` for captions that are not of `shapes`, and for other
        pictures.
        """
        if pictures.shape[1] != 3:
            raise DataError(
                f"shapes are told by their colors; these pictures have {pictures.shape[1]} channels, not 3."
            )
        found = {name: torch.full((len(captions),), torch.nan) for name in self.what}
        for i, (caption, picture) in enumerate(zip(captions, pictures, strict=True)):
            kinds: dict[str, list[bool]] = {}
            for statement, holds in check(caption, picture).items():
                kinds.setdefault(_kind(statement), []).append(holds)
                kinds.setdefault("everything", []).append(holds)
            for name, all_of_them in kinds.items():
                found[name][i] = float(all(all_of_them))
        return found


def _kind(statement: str) -> str:
    """The kind of a statement: "size" for "the first is small"."""
    if statement.startswith("there "):
        return "number"
    said = statement.partition(" is ")[2]
    return _OF_WORD.get(said.removesuffix(" the second"), "shape")
