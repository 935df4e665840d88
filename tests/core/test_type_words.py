"""Types of options in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union

import pytest
from pydantic import Field

from morphogen.core.type_words import in_words

Positive = Annotated[int, Field(ge=1)]


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (bool, "on or off"),
        (int, "whole number"),
        (Positive, "whole number"),
        (float | None, "number, or none"),
        (str, "text"),
        (Literal["cosine", "linear", "constant"], "cosine, linear or constant"),
        (Literal["a"] | Literal["b"] | None, "a or b, or none"),
        (Union[float, Literal["learned"]], "number or learned"),  # noqa: UP007
        (tuple[int, ...], "whole numbers, comma-separated"),
        (tuple[Positive, ...] | None, "whole numbers, comma-separated, or none"),
        (tuple[float, float], "two numbers, comma-separated"),
        (tuple[Positive, Positive], "two whole numbers, comma-separated"),
        (list[str], "words, comma-separated"),
        (dict[str, int], "JSON object"),
        (Mapping[str, Any], "JSON object"),
    ],
)
def test_a_type_is_said_as_people_say_it(annotation: Any, words: str) -> None:
    assert in_words(annotation) == words
