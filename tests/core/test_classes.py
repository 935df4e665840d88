"""Classes by name and by position."""

import pytest

from morphogen.core.classes import find_class, taken_by_position
from morphogen.core.errors import UsageError

PADDED = ("01", "02", "03", "10")
FOLDERS = ("1", "10", "11", "12", "2", "3")
YEARS = ("1950", "2024")
WORDS = ("cat", "dog", "3")


@pytest.mark.parametrize("classes", [PADDED, FOLDERS, YEARS, WORDS, ("-1", "0.5", "1e3")])
def test_every_name_finds_its_own_class(classes):
    for position, name in enumerate(classes):
        assert find_class(name, classes) == position
        assert taken_by_position(name, classes) == ()


@pytest.mark.parametrize(
    ("label", "classes", "words"),
    [
        ("3", PADDED, "unknown class '3': known are 01, 02, 03, 10; did you mean 03?"),
        (3, PADDED, "did you mean 03?"),
        ("0", PADDED, "known are 01, 02, 03, 10."),
        ("0", FOLDERS, "unknown class '0'"),
        (0, YEARS, "unknown class '0': known are 1950, 2024."),
        ("1", YEARS, "unknown class '1'"),
        ("1000", ("-1", "0.5", "1e3"), "did you mean 1e3?"),
        ("4", WORDS, "unknown class '4'"),
        ("-1", WORDS, "unknown class '-1'"),
        ("dgo", WORDS, "did you mean dog?"),
        ("1" * 20_000, WORDS, "unknown class '111"),
        ("nan", YEARS, "unknown class 'nan'"),
        ("\u0661", WORDS, "unknown class"),  # an Arabic digit one
        ("\x1b[2J", WORDS, r"'\x1b[2J'"),
    ],
)
def test_a_number_is_no_position_where_all_names_are_numbers(label, classes, words):
    with pytest.raises(UsageError) as raised:
        find_class(label, classes)
    assert words in str(raised.value) and len(str(raised.value)) < 300
    assert taken_by_position(label, classes) == ()


def test_a_position_is_taken_and_said_where_some_name_is_a_word():
    assert [find_class(k, WORDS) for k in ("0", 1, 2, "3")] == [0, 1, 2, 2]
    assert taken_by_position("1", WORDS) == ("no class is called 1: it was taken for the position of the class 'dog'",)
    assert taken_by_position(None, WORDS) == () == taken_by_position("dog", WORDS)


def test_a_long_list_of_classes_has_an_end():
    with pytest.raises(UsageError, match="and 980 more"):
        find_class("zzz", [f"class {i}" for i in range(1000)])
