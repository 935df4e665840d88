"""Make the environments of the peers that the benchmarks run beside, under .peers/.

python -m benchmarks.peers            # all of them
python -m benchmarks.peers pythae     # or one
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from benchmarks.peers.environments import PEERS, ensure, versions


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("peer", nargs="?", choices=[*PEERS, "all"], default="all")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Make them and print what is installed."""
    wanted = parser().parse_args(arguments).peer
    for name in PEERS if wanted == "all" else [wanted]:
        python = ensure(name)
        packages = [pin.partition("==")[0] for pin in PEERS[name].packages]
        print(name, python, versions(python, *packages))


if __name__ == "__main__":
    main()
