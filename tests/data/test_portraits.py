"""The embedded portraits, and digits that go by their names."""

from __future__ import annotations

import pytest

from morphogen.data import load
from morphogen.data.portraits import FILE, shorter


def test_portraits_are_embedded_small_and_licensed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MORPHOGEN_DATA", raising=False)
    data = load("portraits")
    assert data.spec.shape == (3, 32, 32) and data.spec.levels == 256
    assert {name: len(records) for name, records in data.splits.items()} == {
        "train": 2975,
        "validation": 64,
        "test": 239,
        "test_combo": 184,
    }
    assert "CC BY 4.0" in data.spec.license and "Johan Melin" in data.spec.license
    assert FILE.stat().st_size < 400_000
    assert load("portraits:captions=none").spec.text is None


def _pairs(captions: list[str] | None) -> set[tuple[str, str]]:
    """The style of hair and the kind of beard of each."""
    found = set()
    for caption in captions or ():
        _, hair, *rest = caption.split(", ")
        beard = next((c for c in rest if "beard" in c or "moustache" in c or "goatee" in c), "none")
        style = next(s for s in ("bun", "spiky", "undercut", "side") if s in hair)
        found.add((style, beard))
    return found


def test_the_combinations_held_out_are_not_in_training() -> None:
    data = load("portraits")
    assert _pairs(data.split("test_combo").captions).isdisjoint(_pairs(data.train.captions))


def test_shorter_captions_keep_what_can_be_seen() -> None:
    caption = "a person with dark skin, a black bun, a goatee, winking eyes, angry mouth, in a blue dress"
    assert shorter(caption)[0] == "a person with dark skin, a black bun, in a blue dress"
    assert all(set(s.split(", ")) <= {*caption.split(", "), "a person with a black bun"} for s in shorter(caption))


def test_digits_may_go_by_their_names() -> None:
    named, plain = load("digits:words"), load("digits")
    assert named.spec.classes == () and named.spec.text is not None
    assert named.train.labels is None and plain.train.labels is not None
    assert (named.train.stored == plain.train.stored).all()
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    assert named.train.captions == [names[k] for k in plain.train.labels.tolist()]
