"""Every numeric flag of every verb: what is no number, or no size of this world, is wrong usage."""

from __future__ import annotations

from itertools import islice

import pytest

from morphogen.cli.main import run
from tests.cli.command_lines import Verb, command_lines, is_option, kind, verbs
from tests.cli.fake_api import FakeApi

ABSURD = ("nan", "inf", "-inf", "1e400", str(10**15), str(2**70), str(10**30), "-1e300")
REQUIRED = {
    "model": "m",
    "data": "digits",
    "image": "p.png",
    "direction": "factor-1",
    "prompt": "a",
    "samples": "s",
    "models": "m",
    "family": "vae",
    "file": "a.png",
    "molecules": "m.smi",
    "scaffold": "C",
}
OUT = {
    "walk": "x.gif",
    "directions": "x.npz",
    "evaluate": "x.json",
    "evaluate-samples": "x.json",
    "impute": "x.csv",
    "complete": "x.smi",
}
NUMERIC = [(verb, p) for verb in verbs() for p in verb.parameters if is_option(p) and kind(p) in (int, float)]


@pytest.mark.parametrize(("verb", "option"), NUMERIC, ids=[" ".join((*v.words, p.opts[0])) for v, p in NUMERIC])
def test_what_is_no_number_of_this_world_is_wrong_usage(
    api: FakeApi, capsys: pytest.CaptureFixture[str], verb: Verb, option: object
) -> None:
    if verb.words == ("train",):
        pytest.skip("numbers of the recipe: tests/trainer/test_trainer_recipe.py")
    flag = option.opts[0]  # type: ignore[attr-defined]
    line = list(verb.words)
    for p in verb.parameters:
        if p.required or p.name == "model":
            value = OUT.get(verb.words[0], "x.png") if p.name == "out" else REQUIRED[p.name]
            line += [p.opts[0], value] if is_option(p) else [value]
    for value in ABSURD[:3] + ABSURD[5:] if flag == "--seed" else ABSURD:
        assert run([*line, f"{flag}={value}"]) == 2, value
        assert flag in capsys.readouterr().err
    assert api.calls == []


def test_the_grammar_has_every_verb_and_repeats_itself() -> None:
    lines = list(islice(command_lines(1), 1500))
    assert lines == list(islice(command_lines(1), 1500)) and lines != list(islice(command_lines(2), 1500))
    words = {verb.words for verb in verbs()}
    assert words <= {tuple(line[:k]) for line in lines for k in (1, 2)}
    assert any("\x00" in word for line in lines for word in line) and any("nan" in line for line in lines)
