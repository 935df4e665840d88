"""The log of a training in forms that other programs read while it runs: a CSV file, or TensorBoard's event files.

The log itself is the truth (`report/log.py`). A mirror reads it again when something new may be there, but never for
more than a hundredth of the time. So a resumed run, which makes steps again, is mirrored rightly: the CSV is written
anew, and TensorBoard is told from which step on its events are void.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from morphogen.core.errors import DataError, UsageError, unknown
from morphogen.report.following import Standing, follow
from morphogen.report.saving import write_whole

FOLDER = "logs"
KINDS = ("csv", "tensorboard")
_SHARE = 0.01  # of the time, for reading the log


class Mirror(Protocol):
    """Writes what is new in a training."""

    def update(self, standing: Standing) -> None:
        """Take in the log as it is now."""

    def close(self) -> None:
        """Leave whole files behind."""


class Csv:
    """The lines of the log in one file, with a column for each term and number."""

    def __init__(self, file: Path) -> None:
        self.file, self._lines = file, 0

    def update(self, standing: Standing) -> None:
        lines = sum("terms" in entry for entry in standing.entries)
        if lines and lines != self._lines:
            self._lines = lines
            write_whole(self.file, standing.table().encode())

    def close(self) -> None:
        pass


class TensorBoard:
    """Scalars under `loss/`, `metrics/` and `health/`, warnings as text, sheets as images, each at its step."""

    def __init__(self, folder: Path, from_step: int, standing: Standing) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=from_step or None)
        self._written = sum(int(entry.get("step", 0)) < from_step for entry in standing.entries)
        self._sheet: Path | None = None

    def update(self, standing: Standing) -> None:
        for entry in standing.entries[self._written :]:
            step = int(entry["step"])
            groups = ("loss", entry.get("terms")), (_group(entry), entry.get("metrics"))
            for group, values in groups:
                for name, value in dict(values or {}).items():
                    if isinstance(value, int | float):
                        self._writer.add_scalar(f"{group}/{name}", value, step)
            if entry.get("images_per_s") is not None:
                self._writer.add_scalar("speed/records_per_s", entry["images_per_s"], step)
            if entry.get("kind") == "warning":
                self._writer.add_text("warnings", str(entry.get("message")), step)
        self._written = len(standing.entries)
        if standing.sheet is not None and standing.sheet != self._sheet:
            self._sheet = standing.sheet
            with Image.open(standing.sheet) as image:
                pixels = np.asarray(image.convert("RGB"))
            self._writer.add_image("samples", pixels, int(standing.sheet.stem.split("-")[-1]), dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def _group(entry: Mapping[str, Any]) -> str:
    return "health" if entry.get("kind") == "health" else "metrics"


class Mirrors:
    """The mirrors of one training, in `OUT/logs/`; `resumed` says that earlier events of theirs stay."""

    def __init__(self, out: Path, kinds: Sequence[str], resumed: bool) -> None:
        self.out, self.kinds, self.resumed = out, kinds, resumed
        self._open: list[Mirror] | None = None
        self._due = 0.0

    def update(self, step: int, last: bool = False) -> None:
        """Mirror what is new after `step`, if enough time has passed since."""
        start = time.perf_counter()
        if not last and start < self._due:
            return
        try:
            standing = follow(self.out)
        except (DataError, OSError):  # nothing is there yet
            return
        if self._open is None:
            self._open = [self._make(kind, step if self.resumed else 0, standing) for kind in self.kinds]
        for mirror in self._open:
            mirror.update(standing)
        self._due = time.perf_counter() + (time.perf_counter() - start) / _SHARE

    def close(self) -> None:
        """Leave whole files behind."""
        for mirror in self._open or ():
            mirror.close()

    def _make(self, kind: str, from_step: int, standing: Standing) -> Mirror:
        place = self.out / FOLDER
        return Csv(place / "log.csv") if kind == "csv" else TensorBoard(place / "tensorboard", from_step, standing)


def asked(log: str | Sequence[str] | None) -> tuple[str, ...]:
    """The kinds of mirrors that are asked for. Raises `UsageError` for an unknown one, or without its package."""
    kinds = tuple(log.split(",") if isinstance(log, str) else log or ())
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(unknown("form of the log", kind, KINDS))
    if "tensorboard" in kinds and find_spec("tensorboard") is None:
        raise UsageError("--log tensorboard needs the package tensorboard: pip install 'morphogen[tensorboard]'.")
    return tuple(dict.fromkeys(kinds))


def begun(out: Path) -> tuple[str, ...]:
    """The mirrors that a training in this folder has: a resumed one goes on with them."""
    found = [("csv", out / FOLDER / "log.csv"), ("tensorboard", out / FOLDER / "tensorboard")]
    return tuple(kind for kind, place in found if place.exists())
