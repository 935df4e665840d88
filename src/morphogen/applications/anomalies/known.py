"""Which of the judged records are anomalies, where that is known, so that scores can be compared."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from morphogen.applications.anomalies.material import name_of
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError, UsageError, unknown
from morphogen.data import Records
from morphogen.data.in_memory import AnyData
from morphogen.data.load import read_source
from morphogen.data.tables.inference import texts_of
from morphogen.data.tables.options import TableOptions
from morphogen.data.tables.reading import is_frame, is_table, of_frame, read_table


def known_anomalies(source: AnyData, known: str, judged: Records, like: DataSpec | None) -> Tensor:
    """(N,) bool for the judged records of `source`.

    Args:
        source: where they come from.
        known: the classes that are anomalies, joined by commas, or COLUMN=VALUE of a table.
        judged: the records.
        like: what they were prepared as; None: as the source says.

    Returns:
        Whether each is an anomaly.

    Raises:
        UsageError: an unknown class or column.
        DataError: the records have no classes.
    """
    if judged.spec.table is not None:
        return _of_column(source, known)[judged.ids]
    raw = read_source(source, like)[1]
    if raw.labels is None or not raw.classes:
        raise DataError("known anomalies are named by their classes, and these records have none: give an array.")
    wanted = [name.strip() for name in known.split(",")]
    for name in wanted:
        if name not in raw.classes:
            raise UsageError(unknown("class", name, raw.classes))
    numbers = torch.tensor([raw.classes.index(name) for name in wanted])
    anomalous = torch.isin(raw.labels, numbers)
    place = torch.full((int(raw.all_ids.max()) + 1,), -1)
    place[raw.all_ids] = torch.arange(len(raw.all_ids))
    return anomalous[place[judged.ids]]


def _of_column(source: AnyData, known: str) -> Tensor:
    """Whether the cell of each row of a file or a data frame is written as COLUMN=VALUE says."""
    column, equals, value = known.partition("=")
    if is_frame(source):
        frame = of_frame(source, "data frame")
    elif is_table(place := Path(name_of(source))) and place.is_file():
        frame = read_table(place, TableOptions())
    else:
        raise UsageError("known anomalies of a table are read from a file or a data frame: give one, or an array.")
    if not equals or column not in frame.columns:
        raise UsageError(
            f"known anomalies of a table are COLUMN=VALUE (got {known!r}; columns: {', '.join(frame.columns[:20])})."
        )
    return torch.tensor([text == value for text in texts_of(frame[column])])
