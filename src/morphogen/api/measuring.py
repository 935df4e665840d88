"""What measures of models and of samples have in common: names, networks, results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from morphogen.api.results import Evaluation
from morphogen.api.results.shown import warn_of
from morphogen.data import Dataset
from morphogen.data.in_memory import AnyData
from morphogen.data.load import IN_MEMORY
from morphogen.evaluation import Evaluation as Measured
from morphogen.evaluation.features.extraction import Network
from morphogen.evaluation.features.frozen import NAMES, frozen
from morphogen.evaluation.features.local_networks import pretrained
from morphogen.evaluation.tables.reference import TableSample
from morphogen.evaluation.tables.views import table_views


def find_network(name: str | None) -> Network | None:
    """A shipped feature network by name, or one's own by its path; None for the one that suits the data."""
    if name is None:
        return None
    return frozen(name) if name in NAMES or not Path(name).exists() else pretrained(name)


def source_name(source: AnyData) -> str:
    """What data are called in a result."""
    if isinstance(source, Dataset):
        return source.spec.source or source.spec.name
    return str(source) if isinstance(source, str | Path) else IN_MEMORY


def evaluation_of(found: Measured, source: AnyData, notes: Sequence[str] = (), **of: str) -> Evaluation:
    ladders = {
        name: {
            "n": ladder.n,
            "better": ladder.better,
            "tracks": {d: [(r.short, r.value) for r in track] for d, track in ladder.tracks().items()},
        }
        for name, ladder in found.ladders.items()
    }
    views = table_views(found.made) if isinstance(found.made, TableSample) else None
    result = Evaluation(
        of,
        source_name(source),
        tuple(found.results),
        found.left_out,
        ladders,
        tuple(notes),
        found.verdict,
        views,
        found.sentence,
    )
    warn_of(result.warnings)
    return result
