"""Looking at a training from its folder, while it runs or afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from morphogen.api.opened import OpenModel, path_of
from morphogen.report import following
from morphogen.report.following import Standing
from morphogen.report.saving import chosen_format, write_whole


@final
@dataclass(frozen=True)
class Following:
    """Where a training stands.

    Attributes:
        standing: step, total, elapsed_s, ended, sheet and the entries of its log

    Example:
        >>> mg.follow("runs/first").save("curves.png")
    """

    standing: Standing

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        s = self.standing
        about = {"folder": str(s.folder), "step": s.step, "total": s.total, "elapsed_s": s.elapsed_s}
        return {**about, "ended": s.ended, "sheet": None if s.sheet is None else str(s.sheet)}

    def save(self, path: Path | str) -> Path:
        """Write the curves as .png or .svg, their numbers as .csv, or a page of all as .html. Returns the path.

        Raises `UsageError` for another suffix, and `DataError` for curves of a training that has none yet.
        """
        import io

        chosen = chosen_format(path, (".png", ".svg", ".csv", ".html"))
        if chosen in (".html", ".csv"):
            return write_whole(path, (self.standing.page() if chosen == ".html" else self.standing.table()).encode())
        out = io.BytesIO()
        self.standing.figure().savefig(out, format=Path(path).suffix[1:].lower())
        return write_whole(path, out.getvalue())

    def _repr_html_(self) -> str:
        return self.standing.page()

    def __str__(self) -> str:
        return self.standing.sentence()


def follow(out: OpenModel | Path | str) -> Following:
    """Look at a training from its folder, while it runs or afterwards.

    Args:
        out: the folder that the training writes to, or a model.

    Returns:
        Step, planned steps, seconds, the newest sheet, and the log.

    Raises:
        DataError: there is no training.

    Example:
        >>> print(mg.follow("runs/first"))  # doctest: +SKIP
    """
    return Following(following.follow(path_of(out)))
