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
    tree = ast.parse(Path(mg.__file__).read_text())
    promised = {a.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for a in node.names}
    assert {name for name in promised if name and not name.startswith("_")} == {*mg.__all__} - {"__version__"}
    for name in mg.__all__:
        assert getattr(mg, name) is not None
    assert set(mg.__all__) <= set(dir(mg))


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(AttributeError, match="did you mean 'sample'"):
        _ = mg.smaple


@pytest.mark.parametrize("first", ["import morphogen.train, morphogen.evaluate", "pass"])
def test_functions_that_share_their_name_with_a_room_can_be_called(first: str) -> None:
    code = f"""
{first}
import morphogen as mg
for call in (lambda: mg.train("no-such-family", "digits", "x"), lambda: mg.evaluate("no-such-model", "digits")):
    try:
        list(call())
    except mg.MorphogenError as error:
        print("called")
import morphogen.train
from morphogen import train
assert mg.train is train and train.__name__ == "morphogen.train"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "called\ncalled\n", done.stderr
