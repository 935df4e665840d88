"""Figures of the house, as a Markdown table: sizes by room, imports between rooms, long files, loose types.

python -m tools.house                     # the working tree
python -m tools.house 3175325 HEAD        # one column a commit; `.` is the working tree
"""

from __future__ import annotations

import argparse
import ast
import io
import subprocess
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LONG_FILE, LONG_FUNCTION = 400, 50
# Names that were given up for the field's own words.
GIVEN_UP = (
    *("stands_on", "described_by", "asked_often", "served", "told", "drawer", "drawn_how", "guided_by", "without_null"),
    *("class_row", "Made", "Question", "Answered", "Mover", "Rounds", "partly_hidden", "raced", "magnified", "_Room"),
)


def rooms(root: Path) -> dict[str, list[Path]]:
    """The source files of each room; `face` are the package's own files."""
    found: dict[str, list[Path]] = {}
    for path in sorted((root / "src/morphogen").rglob("*.py")):
        inside = path.relative_to(root / "src/morphogen").parts
        found.setdefault(inside[0] if len(inside) > 1 else "face", []).append(path)
    return found


def arrows(files: dict[str, list[Path]]) -> set[tuple[str, str]]:
    """Which room imports from which, anywhere in its files."""
    found = set()
    for room, paths in files.items():
        for path in paths:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    inside = [f"morphogen.{a.name}" for a in node.names if a.name in files]
                    names += inside if node.module == "morphogen" else [node.module]
                for name in names:
                    of = name.split(".")
                    if of[0] == "morphogen" and len(of) > 1 and of[1] != room:
                        found.add((room, of[1]))
    return found


def circles(edges: set[tuple[str, str]]) -> int:
    """How many pairs of rooms reach each other."""
    reach = set(edges)
    while more := {(a, d) for a, b in reach for c, d in reach if b == c} - reach:
        reach |= more
    return sum((b, a) in reach for a, b in reach if a < b)


def functions(paths: Sequence[Path]) -> Iterator[tuple[int, int, str]]:
    """The lines of each function, those without its signature and docstring, and its name."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                end, first = node.end_lineno or node.lineno, node.body[0]
                said = (first.end_lineno or 0) if ast.get_docstring(node) else first.lineno - 1
                yield end - node.lineno + 1, end - said, f"{path.stem}.{node.name}"


def names(paths: Sequence[Path]) -> Counter[str]:
    """How often each name is read or defined."""
    found: Counter[str] = Counter()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for field in ("id", "attr", "name"):
                if isinstance(name := getattr(node, field, None), str):
                    found[name] += 1
    return found


def lines(paths: Sequence[Path]) -> int:
    """Lines of files."""
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def figures(root: Path) -> dict[str, str]:
    """Each figure of one tree."""
    files = rooms(root)
    source = [path for paths in files.values() for path in paths]
    others = {name: sorted((root / name).rglob("*.py")) for name in ("benchmarks", "recipes", "tools", "tests")}
    edges, spans, used = arrows(files), sorted(functions(source)), names(source)
    longest = max(source, key=lambda path: lines([path]))
    stems = Counter(path.stem for path in source if path.stem not in ("__init__", "__main__", "base"))
    found = {"files": f"{len(source):,}", "lines of source": f"{lines(source):,}"}
    found |= {f"lines of {name}": f"{lines(paths):,}" for name, paths in others.items()}
    found |= {f"lines of {room}/": f"{lines(paths):,}" for room, paths in sorted(files.items())}
    found |= {
        "arrows between rooms": str(len(edges)),
        "pairs of rooms in a circle": str(circles(edges)),
        "longest file": f"{longest.stem}, {lines([longest])}",
        f"files over {LONG_FILE} lines": str(sum(lines([path]) > LONG_FILE for path in source)),
        f"test files over {LONG_FILE} lines": str(sum(lines([path]) > LONG_FILE for path in others["tests"])),
        "longest function": f"{spans[-1][2]}, {spans[-1][0]}",
        f"functions over {LONG_FUNCTION} lines": str(sum(length > LONG_FUNCTION for length, _, _ in spans)),
        "the same without signature and docstring": str(sum(body > LONG_FUNCTION for _, body, _ in spans)),
        "uses of `Any`": str(used["Any"]),
        "uses of `cast`": str(used["cast"]),
        "stems of several files": str(sum(count > 1 for count in stems.values())),
        "names given up": str(sum(used[name] for name in GIVEN_UP)),
    }
    return found


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("commits", nargs="*", default=["."])
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    columns = {}
    for commit in parser().parse_args(arguments).commits:
        if commit == ".":
            columns[commit] = figures(ROOT)
            continue
        command = ["git", "archive", commit, "--", "src", "tests", "benchmarks"]
        archive = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
        with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
            columns[commit] = figures(Path(folder))
    print("| | " + " | ".join(columns) + " |\n| --- |" + " ---: |" * len(columns))
    for figure in dict.fromkeys(name for column in columns.values() for name in column):
        print(f"| {figure} | " + " | ".join(column.get(figure, "-") for column in columns.values()) + " |")


if __name__ == "__main__":
    main()
