"""What help says: every verb has its group and an example that parses, options of one name mean the same everywhere."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import pytest

import morphogen as mg
import morphogen.api as real
from morphogen.cli.flags import parse_fields
from morphogen.cli.main import VERBS, parser, run
from morphogen.cli.verbs.make.train import OWN_FLAGS
from tests.cli.command_lines import Verb, is_option, verbs
from tests.cli.fake_api import ANSWERS, MODEL, FakeApi

ALL = pytest.mark.parametrize("verb", verbs(), ids=lambda verb: " ".join(verb.words))
COMPUTES = {verb.words for verb in verbs()} - {
    ("families",),
    ("show",),
    ("watch",),
    ("curves",),
    ("verify",),
    ("data", "inspect"),
}
ON_CPU = {("quantize",), ("compress",), ("decompress",), ("archive",), ("export",)}
TOGETHER = {("attention",), ("design",), ("complete",), ("audit",)}  # 64 pictures in one call; batches of their own
SAME = ("--seed", "--device", "--threads", "--batch-size", "--json", "--overwrite", "--precision", "--guidance")


def command(verb: Verb) -> Any:
    found: Any = parser()
    for word in verb.words:
        found = found.commands[word]
    return found


def flags(verb: Verb) -> set[str]:
    return {flag for parameter in verb.parameters for flag in parameter.opts}


@ALL
def test_every_help_has_an_example_that_parses(verb: Verb) -> None:
    words, found = shlex.split(command(verb).epilog), command(verb)
    start = len(verb.words) + 2
    assert words[:start] == ["Example:", "morphogen", *verb.words]
    context = found.make_context(found.name, words[start:])
    if verb.words == ("train",):
        known = mg.describe_family(context.params["family"])
        recipe = [field for field in known["recipe"] if f"--{field['name']}" not in OWN_FLAGS]
        options, recipe_given = parse_fields(context.args, [known["options"], recipe], OWN_FLAGS)
        assert options and not recipe_given
    else:
        assert context.args == []


@pytest.mark.parametrize("flag", SAME)
def test_options_of_one_name_are_described_alike(flag: str) -> None:
    said = {
        parameter.help
        for verb in verbs()
        if verb.words != ("train",)  # whose options are those of a recipe
        for parameter in verb.parameters
        if is_option(parameter) and flag in parameter.opts
    }
    assert len(said) == 1


@ALL
def test_every_verb_that_computes_takes_threads(verb: Verb) -> None:
    assert ("--threads" in flags(verb)) == (verb.words in COMPUTES)
    if "--out" in flags(verb) and verb.words[0] not in ("train", "quantize", "quickstart"):
        assert {"--json", "--overwrite"} <= flags(verb)
    if "model" in {parameter.name for parameter in verb.parameters} and verb.words in COMPUTES - ON_CPU:
        assert "--device" in flags(verb)
        assert "--batch-size" in flags(verb) or verb.words in TOGETHER


def test_verbs_stand_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    titles = [line.split()[1] for line in lines if line.startswith("╭─")]
    assert titles == ["Options", *VERBS] == ["Options", "Make", "Use", "Explain", "Judge", "Keep"]
    assert any("--install-completion" in line for line in lines)
    assert len(lines) < 110


@pytest.mark.parametrize("family", [each["name"] for each in mg.list_families()])
def test_types_are_said_in_words(family: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["families", family]) == 0
    said = capsys.readouterr().out
    for code in ("Annotated", "FieldInfo", "tuple[", "Literal", "Union", "NoneType", "Optional"):
        assert code not in said
    assert "whole number" in said and ", or none" in said


def test_the_page_has_the_same_groups() -> None:
    page = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
    for title, modules in VERBS.items():
        section = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        found = set(re.findall(r"^\| `([\w-]+(?: inspect)?)", section, re.MULTILINE)) - {"data inspect"}
        assert found == {module.__name__.rpartition(".")[2].replace("_", "-") for module in modules}


@pytest.mark.parametrize("name", sorted(ANSWERS.keys() & set(real.__all__) - {"training"}))
def test_the_stand_in_answers_with_the_classes_of_the_real_functions(name: str, api: FakeApi) -> None:
    given = {"model": MODEL, "models": [MODEL], "source": "digits", "name": "vae", "data": "digits", "samples": "s"}
    given |= {"file": "a.mgz", "out": "b.mgz", "molecules": "m.smi"}
    given |= {"scaffold": "C", "image": "a.png", "direction": ["factor-1"], "strength": [1.0]}
    function = getattr(real, name)
    wanted = {k: given[k] for k in inspect.signature(function).parameters if k in given}
    hint = get_type_hints(function)["return"]
    if name == "load":  # a stand-in of its own, whose methods are looked up on the real class
        assert hint is real.Model
    else:
        assert isinstance(getattr(api, name)(**wanted), get_origin(hint) or hint)
