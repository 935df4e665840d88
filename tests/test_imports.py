"""The house table of DESIGN.md: which room may import from which. Held over every import statement."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import morphogen

ROOT = Path(morphogen.__file__).parent
EVERYTHING = {"*"}
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "theory": {"core"},
    "nn": {"core"},
    "data": {"core"},
    "sampling": {"core", "theory"},
    "families": {"core", "theory", "nn", "sampling"},
    "report": {"core"},
    "artifact": {"core"},
    "training": {"core", "artifact", "report"},
    "evaluation": {"core", "theory", "nn", "data"},
    "applications": {"core", "theory", "data", "sampling", "artifact", "training", "evaluation"},
    "safeguards": {"core", "theory", "nn", "data", "sampling", "training", "evaluation", "artifact"},
    "testing": {"core", "theory", "data", "training", "artifact"},
    "api": EVERYTHING,
    "quickstart": {"core", "training", "report", "api"},
    "__init__": {"api", "core"},  # exports the functions of api and the errors of core
    "__main__": {"cli"},
    "cli": {"api", "quickstart", "report", "core"},  # core for the errors, which decide the exit status
    "studio": {"api", "report"},
    "server": {"api", "report"},
}


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
            rooms = [a.name for a in node.names if base == ("morphogen",) and a.name in MAY_IMPORT]
            targets = [(*base, room) for room in rooms] + [base] * (len(rooms) < len(node.names))
        for target in targets:
            if target[0] == "morphogen":
                yield (target[1] if len(target) > 1 else "api"), node.lineno


def violations(root: Path) -> list[str]:
    found = []
    for path in sorted(root.rglob("*.py")):
        room = room_of(path, root)
        if room not in MAY_IMPORT:
            found.append(f"{path.relative_to(root)}: the room {room!r} is not in the table")
            continue
        allowed = MAY_IMPORT[room] | {room}
        package = ("morphogen", *path.relative_to(root).parts[:-1])
        for target, line in imports(path.read_text(), package):
            if target not in allowed and allowed.isdisjoint(EVERYTHING):
                found.append(f"{path.relative_to(root)}:{line}: {room} must not import from {target}")
    return found


def test_every_room_imports_only_what_the_table_allows() -> None:
    assert violations(ROOT) == []


def test_the_table_names_only_its_own_rooms() -> None:
    assert set.union(*MAY_IMPORT.values()) - EVERYTHING <= set(MAY_IMPORT)


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
        ("report/a.py", "from morphogen import training", "report must not import from training"),
        ("data/a.py", "from .. import artifact", "data must not import from artifact"),
        ("families/vae.py", "import morphogen as mg", "families must not import from api"),
        ("cli/a.py", "from morphogen.families.vae import VAE", "cli must not import from families"),
        ("artifact.py", "from morphogen.training import loop", "artifact must not import from training"),
        ("shed/a.py", "", "the room 'shed' is not in the table"),
    ],
)
def test_a_violation_is_found(tmp_path: Path, path: str, source: str, what: str) -> None:
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(source)
    (found,) = violations(tmp_path)
    assert what in found


def test_allowed_imports_pass(tmp_path: Path) -> None:
    allowed = {
        "theory/a.py": "import torch\nfrom morphogen.core.rng import Rng\nfrom . import b\nfrom .b import c",
        "api.py": "from morphogen.families.vae import VAE\nfrom . import data",
        "cli/main.py": "import morphogen as mg\nfrom morphogen.core.errors import UsageError",
        "core/a.py": "import morphogenesis",
    }
    for path, source in allowed.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(source)
    assert violations(tmp_path) == []


@pytest.mark.parametrize("module", ("morphogen", "morphogen.cli.main", "morphogen.core.registry"))
def test_light_modules_do_not_import_torch(module: str) -> None:
    """So that `morphogen --help` answers at once."""
    if not (ROOT.parent / Path(*module.split("."))).with_suffix(".py").exists() and module != "morphogen":
        pytest.skip(f"{module} does not exist yet")
    code = f"import sys, {module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
