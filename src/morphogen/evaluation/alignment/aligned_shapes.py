"""Do pictures of `shapes` show what their captions say? By the exact parser, statement by statement."""

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
)  # else it is a shape


@final
class ShapesJudge:
    """Statements of a caption that hold on its picture; see `data/shapes_parser.py` for how objects are told.

    Of each kind all statements of the caption must hold: both sizes of two objects, and so on. A caption's objects are
    matched to the picture's so that as many statements hold as can.
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
        """For each of `what` (n,): 1, 0, or NaN where the caption says nothing of the kind.

        `pictures` (n, 3, H, W) uint8. Raises `DataError` for captions that are not of `shapes`, or other pictures.
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
    """What "the first is small" is about."""
    if statement.startswith("there "):
        return "number"
    said = statement.partition(" is ")[2]
    return _OF_WORD.get(said.removesuffix(" the second"), "shape")
