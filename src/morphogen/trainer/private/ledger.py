"""The ledger: how many private rounds a run has made, on disk before they are made.

A block of rounds is written down before its first one. A run that is killed therefore never says less than it has
done: the rest of the block counts as spent. A checkpoint settles the ledger on what was really done.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from morphogen.artifact import replacing
from morphogen.core.errors import ArtifactError

NAME = "ledger.json"
BLOCK = 20  # rounds that are written down at once


class Ledger:
    """Rounds that were made, and those that are written down as made."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.spent = 0
        self._written = -1  # the first checkpoint says that nothing was spent yet

    def before_round(self) -> None:
        """Count one round, which is on disk before it is made."""
        if self.spent + 1 > self._written:
            self._write(self.spent + BLOCK)
        self.spent += 1

    def settle(self) -> None:
        """Write down what was made, and no more; only after a checkpoint has it."""
        if self._written != self.spent:
            self._write(self.spent)

    def recover(self, kept: int) -> int:
        """Go on from a checkpoint with `kept` rounds. Returns how many rounds were made after it and are lost.

        Raises `ArtifactError` if the ledger is missing or says less than the checkpoint.
        """
        try:
            assert self._path is not None
            written = int(json.loads(self._path.read_text(encoding="utf-8"))["rounds"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"{self._path}: the ledger of this private run cannot be read ({error}), so it is not known what was"
                " spent. Train into another folder."
            ) from None
        if written < kept:
            raise ArtifactError(f"{self._path}: the ledger says {written} rounds, and the checkpoint has made {kept}.")
        self.spent = self._written = written
        return written - kept

    def _write(self, rounds: int) -> None:
        if self._path is not None:
            with replacing(self._path) as file, file.open("w", encoding="utf-8") as stream:
                json.dump({"rounds": rounds}, stream)
                stream.flush()
                os.fsync(stream.fileno())
        self._written = rounds
