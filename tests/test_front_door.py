"""`import morphogen as mg`: light, complete, and helpful about names."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import morphogen as mg


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, morphogen; print([m for m in ('torch', 'numpy', 'pydantic') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_what_type_checkers_see_is_what_there_is() -> None:
    tree = ast.parse(Path(mg.__file__).with_name("api").joinpath("__init__.py").read_text())
    imported = {a.asname or a.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for a in node.names}
    assert imported == {*mg.__all__} - {"__version__"}
    for name in mg.__all__:
        assert getattr(mg, name) is not None
    assert set(mg.__all__) <= set(dir(mg))


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(AttributeError, match="did you mean 'sample'"):
        _ = mg.smaple


def test_no_room_takes_the_name_of_a_function() -> None:
    rooms = {path.parent.name for path in Path(mg.__file__).parent.glob("*/__init__.py")}
    assert rooms.isdisjoint(mg.__all__)
