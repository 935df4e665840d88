"""The table of rooms in docs/architecture.md: which room may import from which. Held over every import statement."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import morphogen

ROOT = Path(morphogen.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
ALL_BUT_FACES = "all but the faces"
ENTRANCES = {"__init__": {"api", "core"}, "__main__": {"cli"}}  # the package's own two files, which are no rooms

# Arrows that the table does not have and the house still has. A line that is no longer needed fails the tests.
EXCEPTIONS: set[tuple[str, str]] = set()


def rows_of(page: str) -> dict[str, str]:
    """The right-hand column of each room of the table, in its order."""
    rows = re.findall(r"^\| `(\w+)/` \|[^|]*\| ([^|]+?) \|$", page, re.MULTILINE)
    assert len(dict(rows)) == len(rows), "a room stands twice in the table"
    return dict(rows)


def may_import(rows: dict[str, str]) -> dict[str, set[str]]:
    faces = {room for room, right in rows.items() if "api" in right.split(", ")}
    allowed = {}
    for room, right in rows.items():
        if right == ALL_BUT_FACES:
            allowed[room] = set(rows) - faces
        else:
            allowed[room] = set() if right == "-" else set(right.split(", "))
    return {**allowed, **ENTRANCES}


ROWS = rows_of(PAGE.read_text(encoding="utf-8"))
MAY_IMPORT = may_import(ROWS)


def room_of(path: Path, root: Path) -> str:
    return path.relative_to(root).parts[0].removesuffix(".py")


def imports(source: str, package: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """The rooms of ours that a module imports, with line numbers: anywhere in it, also for type checkers only.

    `package` is the dotted package the module lies in, against which relative imports are resolved.
    The package itself, `import morphogen`, stands for the room `api`, whose functions it exports.
    """
    for node in ast.walk(ast.parse(source)):
        targets: list[tuple[str, ...]] = []
        if isinstance(node, ast.Import):
            targets = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            # `from morphogen import data` is the room, `from morphogen import DataError` an export of the package.
            named = [a.name for a in node.names if base == ("morphogen",) and a.name in MAY_IMPORT]
            targets = [(*base, room) for room in named] + [base] * (len(named) < len(node.names))
        for target in targets:
            if target[0] == "morphogen":
                yield (target[1] if len(target) > 1 else "api"), node.lineno


def violations(root: Path) -> Iterator[tuple[tuple[str, str], str]]:
    """Each arrow that the table does not have, (from, to), with the place where it stands."""
    for path in sorted(root.rglob("*.py")):
        room = room_of(path, root)
        if room not in MAY_IMPORT:
            yield (room, ""), f"{path.relative_to(root)}: the room {room!r} is not in the table of {PAGE.name}"
            continue
        package = ("morphogen", *path.relative_to(root).parts[:-1])
        for target, line in imports(path.read_text(encoding="utf-8"), package):
            if target not in MAY_IMPORT[room] | {room}:
                yield (room, target), f"{path.relative_to(root)}:{line}: {room} must not import from {target}"


def test_every_room_imports_only_what_the_table_allows() -> None:
    assert [place for arrow, place in violations(ROOT) if arrow not in EXCEPTIONS] == []


def test_every_exception_is_still_needed() -> None:
    assert EXCEPTIONS - {arrow for arrow, _ in violations(ROOT)} == set()


def test_the_table_has_no_circle() -> None:
    """A room imports only from rooms above it."""
    above: set[str] = set()
    for room, right in ROWS.items():
        if right != ALL_BUT_FACES:
            assert MAY_IMPORT[room] <= above, f"{room} imports from a room that is not above it"
        above.add(room)


def test_the_page_has_the_rooms() -> None:
    assert {"core", "theory", "nn", "data", "families", "api", "cli"} <= set(ROWS)
    assert MAY_IMPORT["core"] == set()
    assert "cli" not in MAY_IMPORT["api"] and "families" in MAY_IMPORT["api"]


@pytest.mark.parametrize(
    ("path", "source", "what"),
    [
        ("core/a.py", "import morphogen.theory.elbo", "core must not import from theory"),
        (
            "theory/a.py",
            "def f():\n    from morphogen.nn.backbones.mlp import MLP",
            "theory/a.py:2: theory must not import from nn",
        ),
        (
            "nn/a.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..data import load",
            "import from data",
        ),
        ("report/a.py", "from morphogen import trainer", "report must not import from trainer"),
        ("data/a.py", "from .. import artifact", "data must not import from artifact"),
        ("families/vae.py", "import morphogen as mg", "families must not import from api"),
        ("api/a.py", "from morphogen.quickstart import chapter", "api must not import from quickstart"),
        ("cli/a.py", "from morphogen.families.vae import VAE", "cli must not import from families"),
        ("artifact.py", "from morphogen.trainer import loop", "artifact must not import from trainer"),
        ("shed/a.py", "", "the room 'shed' is not in the table"),
    ],
)
def test_a_violation_is_found(tmp_path: Path, path: str, source: str, what: str) -> None:
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(source)
    ((_, found),) = violations(tmp_path)
    assert what in found


def test_allowed_imports_pass(tmp_path: Path) -> None:
    allowed = {
        "theory/a.py": "import torch\nfrom morphogen.core.rng import Rng\nfrom . import b\nfrom .b import c",
        "api.py": "from morphogen.families.vae import VAE\nfrom . import data",
        "cli/main.py": "import morphogen as mg\nfrom morphogen import UsageError",
        "core/a.py": "import morphogenesis",
    }
    for path, source in allowed.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(source)
    assert list(violations(tmp_path)) == []


@pytest.mark.parametrize("module", ("morphogen", "morphogen.cli.main", "morphogen.core.registry"))
def test_light_modules_do_not_import_torch(module: str) -> None:
    """So that `morphogen --help` answers at once."""
    code = f"import sys, {module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
