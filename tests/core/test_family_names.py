"""A family that uses names of an earlier version works, and warns."""

from __future__ import annotations

from typing import ClassVar

import pytest

from morphogen.core.family import Family


def test_old_names_of_a_family_mean_the_new_ones() -> None:
    with pytest.warns(DeprecationWarning, match="stands_on is now part_names"):

        class Old(Family):
            stands_on: ClassVar[tuple[str, ...]] = ("guide",)

    assert Old.part_names == ("guide",)
    with pytest.warns(DeprecationWarning, match="served is now deployed"):

        class Serving(Family):
            def served(self) -> Family:
                return self

    assert Serving.deployed is Serving.served
