"""Write the results page, benchmarks/RESULTS.md, from the files in benchmarks/results/.

    python -m benchmarks.page

`make bench` does so at its end.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import RESULTS, plain_parser
from benchmarks.page.render import page


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = plain_parser(__doc__)
    found.add_argument("--results", type=Path, default=RESULTS, help="the folder of the results")
    found.add_argument("--out", type=Path, default=RESULTS.parent / "RESULTS.md")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Write it."""
    chosen = parser().parse_args(arguments)
    chosen.out.write_text(page(chosen.results), encoding="utf-8")
    print(f"wrote {chosen.out}")


if __name__ == "__main__":
    main()
