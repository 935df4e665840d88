"""Run the notebooks of docs/notebooks and store what they show, with small pictures.

    python -m tools.notebooks                # all of them, about ten minutes of one core
    python -m tools.notebooks four-families  # one by its name

Each runs in an empty folder. Pictures are stored with at most 96 colors, which sheets of these sizes do not show.
"""

from __future__ import annotations

import argparse
import base64
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path("docs/notebooks")
COLORS = 96
LONGEST_S = 1200  # of a cell


def run(path: Path) -> int:
    """Run a notebook and write it with its outputs. Returns the bytes of the file."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=LONGEST_S, resources={"metadata": {"path": folder}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        cell["outputs"] = [_small(output) for output in cell.get("outputs", []) if output.get("name") != "stderr"]
        if cell.cell_type != "code":
            del cell["outputs"]
    nbformat.write(notebook, path)
    return path.stat().st_size


def _small(output: Any) -> Any:
    """An output whose picture has few colors, and nothing but the picture where there is one."""
    data = output.get("data", {})
    if "image/png" in data:
        image = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
        out = io.BytesIO()
        image.quantize(COLORS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        output["data"] = {"image/png": base64.b64encode(out.getvalue()).decode()}
    return output


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the notebooks that are named, or all."""
    names = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all by default")
    asked = parser.parse_args(arguments).names or names
    for name in asked:
        if name not in names:
            parser.error(f"there is no notebook {name!r}: known are {', '.join(names)}")
        print(f"{name}: {run(FOLDER / f'{name}.ipynb'):,} bytes", flush=True)


if __name__ == "__main__":
    main()
