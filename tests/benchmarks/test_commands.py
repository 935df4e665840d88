"""Every command that a document, the Makefile or a docstring names exists, and its parser takes what stands there."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from benchmarks import run

ROOT = Path(__file__).resolve().parents[2]
PLACES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "benchmarks").rglob("*.md"),
    *(path for folder in ("src", "benchmarks", "recipes", "tools") for path in (ROOT / folder).rglob("*.py")),
    ROOT / "Makefile",
]
# up to what ends a command in prose, in a table or in a docstring
COMMAND = re.compile(r"(?:python|\(PY\)) -m ((?:benchmarks|recipes|tools)\.\w(?:(?!-->|,\s|,$)[^`#|\n{(;\"])*)")


def commands() -> dict[str, str]:
    """Each command, and a file that names it."""
    found = {}
    for path in PLACES:
        text = re.sub(r"`([^`\n]*)\n([^`\n]*)`", r"`\1 \2`", path.read_text(encoding="utf-8"))
        for command in COMMAND.findall(text):
            found.setdefault(" ".join(command.rstrip(". ").split()), str(path.relative_to(ROOT)))
    return found


def module_of(name: str):
    """The module that `python -m` runs; None for one that only runs in the environment of a peer."""
    path = ROOT / name.replace(".", "/")
    if name.startswith("benchmarks.peers."):
        assert path.with_suffix(".py").exists(), f"{name} does not exist"
        return None
    return importlib.import_module(f"{name}.__main__" if path.is_dir() else name)


def test_the_documents_name_the_commands():
    assert len({command.split()[0] for command in commands()}) > 15


@pytest.mark.parametrize("command", sorted(commands()))
def test_a_command_is_as_its_document_says(command):
    name, *arguments = shlex.split(command)
    module = module_of(name)
    if module is None or not hasattr(module, "parser"):
        return  # it exists; what it takes is known only where it runs
    parser = module.parser()
    options = {name: action for action in parser._actions for name in action.option_strings}
    positional = iter([action for action in parser._actions if not action.option_strings])
    if not arguments and any(action.required for action in parser._actions):
        return  # a topic is named, not a command
    filled = []
    for before, word in zip(["", *arguments], arguments, strict=False):
        action = options.get(before) or (None if word.startswith("-") else next(positional, None))
        any_of = word.isupper() and action is not None and action.choices  # ROW stands for any row
        filled.append(next(iter(action.choices)) if any_of else word)
    try:
        parser.parse_args(filled)
    except SystemExit as refused:
        raise AssertionError(f"`python -m {command}` in {commands()[command]} is refused") from refused


def test_what_runs_one_after_the_other_exists():
    for words, _, _ in run.SHORT + run.LONG:
        name, *arguments = f"benchmarks.{words}".split()
        quick = [] if words in {of[0] for of in run.LONG} else ["--quick"]
        module_of(name).parser().parse_args([*arguments, *quick])


def test_the_readme_lists_every_command():
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    topics = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
        for folder in ("benchmarks", "recipes", "tools")
        for path in (ROOT / folder).rglob("*.py")
        if "def parser()" in path.read_text(encoding="utf-8")
    ]
    assert len(topics) > 20
    assert [name for name in topics if f"python -m {name}" not in text] == []
