from collections.abc import Iterator
from pathlib import Path

from morphogen.train import Event


def quickstart(out: Path, budget: str) -> Iterator[Event]:
    raise NotImplementedError
