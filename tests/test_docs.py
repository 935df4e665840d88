"""The documents are true: links and anchors lead somewhere, named commands and files exist, the reference is whole.

`tests/test_docs_run.py` runs their snippets. Every command line that a page names has to parse by the command line
itself: those in `bash`, `sh` and `text` blocks whole, those inside a sentence as far as they go, so that a sentence may
leave out an argument.
"""

from __future__ import annotations

import importlib
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import morphogen as mg
from morphogen.cli.flags import parse_fields
from morphogen.cli.main import parser

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "morphogen"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
each_page = pytest.mark.parametrize("page", [pytest.param(p, id=str(p.relative_to(ROOT))) for p in PAGES])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"morphogen ((?:[a-z]|--?\w).*)")


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", read(page))


def blocks(page: Path, language: str) -> list[str]:
    return [text for name, text in FENCE.findall(read(page)) if name == language]


# ------------------------------------------------------------------ links


def targets(text: str) -> list[str]:
    return re.findall(r"\]\((?!https?://)([^)\s]+)\)", text)


def slugs(page: Path) -> set[str]:
    """The anchors of a page, as both a repository's browser and the site name them."""
    found = set(re.findall(r"^::: (\S+)", read(page), re.MULTILINE))
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        words = re.sub(r"[^\w\s-]", "", heading).strip().lower()
        if re.sub(r"[-\s]+", "-", words) == words.replace(" ", "-"):
            found.add(words.replace(" ", "-"))
    return found


@each_page
def test_links_and_anchors_lead_somewhere(page: Path) -> None:
    for target in targets(prose(page)):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in slugs(file), f"{page.name} links to {target}: no such heading"


def test_every_page_is_in_the_navigation() -> None:
    navigation = re.findall(r"(\S+\.md)$", read(ROOT / "mkdocs.yml"), re.MULTILINE)
    assert len(set(navigation)) == len(navigation)
    pages = {str(p.relative_to(ROOT / "docs")) for p in PAGES[2:]}
    assert pages - set(navigation) == set(), "name these pages in mkdocs.yml, under nav"


def test_every_picture_is_shown() -> None:
    shown = {
        (page.parent / t).resolve() for page in [*PAGES, ROOT / "benchmarks/RESULTS.md"] for t in targets(read(page))
    }
    assert {p.resolve() for p in (ROOT / "docs" / "images").iterdir()} - shown == set()


# ------------------------------------------------------------------ commands


def commands(page: Path) -> list[tuple[str, bool]]:
    """The command lines that a page names, and whether each is whole."""
    text = "".join(text for name, text in FENCE.findall(read(page)) if name in ("bash", "sh", "text"))
    lines = text.replace("\\\n", " ").splitlines()
    inside = re.findall(r"`([^`\n]+)`", prose(page))
    named = [(line, True) for line in lines] + [(line, False) for line in inside]
    return [(found[1], whole) for line, whole in named if (found := re.match(COMMAND, line))]


@cache
def flags(family: str) -> tuple[Any, Any]:
    found = mg.describe_family(family)
    return found["options"], found["recipe"]


def parse(line: str, whole: bool) -> None:
    """Read a command line as the real one does, without doing it. One that is not whole may lack arguments."""
    words = shlex.split(line, comments=True)
    words = words[: words.index(">")] if ">" in words else words  # into a file of the shell
    whole = whole and "--help" not in words
    command: Any = parser()
    while words and hasattr(command, "commands"):
        if words[0] == "--help" or any(words[0] in parameter.opts for parameter in command.params):
            return
        assert words[0] in command.commands, f"there is no verb {words[0]!r}"
        command = command.commands[words.pop(0)]
    required = [parameter.required for parameter in command.params]
    try:
        for parameter in command.params:
            parameter.required = parameter.required and whole
        context = command.make_context(command.name, [word for word in words if word not in ("...", "--help")])
    finally:
        for parameter, one in zip(command.params, required, strict=True):
            parameter.required = one
    if command.name == "train" and (context.params["family"] or "FAMILY") != "FAMILY":
        options, recipe = flags(context.params["family"])
        own = {parameter.name for parameter in command.params}
        parse_fields(context.args, [options, [field for field in recipe if field["name"] not in own]])


@each_page
def test_every_command_that_is_named_exists(page: Path) -> None:
    for line, whole in commands(page):
        try:
            parse(line, whole)
        except Exception as error:
            pytest.fail(f"{page.name}: morphogen {line}: {error}")


@pytest.mark.parametrize(
    "line",
    ["evaluate-sample made", "edit-latent m i --direktion x", "sample m --n many --out f", "train vae --latent 8"],
)
def test_a_wrong_command_is_found(line: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Say `morphogen {line}` to do it.\n")
    ((found, whole),) = commands(page)
    with pytest.raises((Exception, AssertionError), match=r"no verb|No such option|valid integer|unknown flag"):
        parse(found, whole)


def test_every_verb_is_documented() -> None:
    page = read(ROOT / "docs" / "command-line.md")
    root: Any = parser()
    verbs = [f"data {verb}" for verb in root.commands["data"].commands] + [v for v in root.commands if v != "data"]
    assert "evaluate-samples" in verbs
    assert [verb for verb in verbs if not re.search(rf"^\| `{verb}[` ]", page, re.MULTILINE)] == []


@each_page
def test_benchmarks_and_files_that_are_named_exist(page: Path) -> None:
    for module in re.findall(r"python -m ((?:benchmarks|recipes|tools)[\w.]*)", read(page)):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), f"{page.name}: {module}"
    for name in re.findall(r"`((?:\w+/)+\w+\.py)`", prose(page)):
        assert (SOURCE / name).exists() or (ROOT / name).exists(), f"{page.name} names {name}"


PATH = re.compile(r"(?<![\w./-])(?:[a-z_]+/)+\w+\.py\b")


@pytest.mark.parametrize(
    "room", [p for p in sorted(SOURCE.iterdir()) if p.is_dir() and p.name != "__pycache__"], ids=lambda p: p.name
)
def test_files_that_code_names_exist(room: Path) -> None:
    for file in room.rglob("*.py"):
        for name in PATH.findall(read(file)):
            places = (ROOT, SOURCE, file.parent)
            assert any((place / name).is_file() for place in places), f"{file.relative_to(ROOT)} names {name}"


# ------------------------------------------------------------------ the reference


def directives() -> list[str]:
    return [
        name for page in (ROOT / "docs" / "api").glob("*.md") for name in re.findall(r"^::: (\S+)", read(page), re.M)
    ]


def test_the_reference_names_what_exists() -> None:
    for name in directives():
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), f"docs/api: {name}"


def test_the_reference_is_whole() -> None:
    described = [name.rpartition(".")[2] for name in directives()]
    assert len(set(described)) == len(described)
    missing = [name for name in mg.__all__ if not name.startswith("__") and name not in described]
    assert missing == [], "add `::: morphogen.NAME` to a page of docs/api"
