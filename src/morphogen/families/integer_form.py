"""What families with an integer form share: the proof and the check of it, on their own layers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from torch import nn

from morphogen.nn.integer.checking import checked
from morphogen.nn.integer.conversion import prove


class IntegerForm:
    """The part of `Quantizes` that is the same for every family; mixed into a `Family`."""

    def sums(self) -> dict[str, int]:
        """For each layer of the integer form the largest sum that can occur in it; `ArtifactError` if one may round."""
        assert isinstance(self, nn.Module)
        return prove(self)

    def plainly(self, draw: Callable[[int], int]) -> AbstractContextManager[dict[str, int]]:
        """While it is open, layers are computed again by Python's integers; `ArithmeticError` where one differs."""
        assert isinstance(self, nn.Module)
        return checked(self, draw)
