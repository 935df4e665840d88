"""Whether drawings show what their prompts say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np

from morphogen.api.results.evaluations import html_table
from morphogen.api.results.pictures import Pictures
from morphogen.api.results.shown import Brief
from morphogen.evaluation.result import Result
from morphogen.report.saving import chosen_format, json_file, write_whole
from morphogen.report.tables import RESULT_HEADERS, results_rows


@final
@dataclass(frozen=True, eq=False)
class Alignment(Brief):
    """Whether drawings show what their prompts say, and the drawings.

    Attributes:
        of: {"model": path, "family": name} or {"samples": source}
        results: shares of drawings that show what was asked for, split by split, then of copies
        left_out: why a result is missing
        drawn: as bytes, those of one split after the other; `captions` what was asked for, `asked` the split of each
        compared: (k,) the drawings that were compared with training pictures, one a prompt; `nearest` the training
            picture nearest to each of them, None where there were too few

    Example:
        >>> found = mg.evaluate_alignment("runs/words", "shapes", n=100)
        >>> found.drawn.save("drawn.png")
        >>> found.save("alignment.json")
    """

    of: Mapping[str, str]
    data: str
    results: tuple[Result, ...]
    drawn: Pictures
    captions: tuple[str, ...]
    asked: tuple[str, ...]
    compared: np.ndarray | None = None
    nearest: Pictures | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """All but the pictures, as `Evaluation.to_dict` gives it."""
        results = [result.to_dict() for result in self.results]
        return {**self.of, "data": self.data, "results": results, "left_out": dict(self.left_out), "ladders": {}}

    def save(self, path: Path | str) -> Path:
        """Write the results as .json. Returns the path; raises `UsageError` for another suffix."""
        chosen_format(path, (".json",))
        return write_whole(path, json_file(self.to_dict()))

    def _repr_html_(self) -> str:
        return html_table(RESULT_HEADERS, results_rows(result.to_dict() for result in self.results))


@final
@dataclass(frozen=True, eq=False)
class AlignmentPoint:
    """Alignment and fidelity of a model at one scale of guidance."""

    guidance: float
    alignment: tuple[Result, ...]
    fidelity: tuple[Result, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        of = {"alignment": self.alignment, "fidelity": self.fidelity}
        return {"guidance": self.guidance, **{k: [r.to_dict() for r in v] for k, v in of.items()}}
