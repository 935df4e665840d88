"""The tokens of masked diffusion: elements of records, tokens of texts, cells of tables, or codes of pictures.

Each kind reads records as ids (B, D) and writes them again. With a `vq_vae` as the part "autoencoder" a picture is the
grid of its codes k(x), in the order of rows, and log p(x) >= log p(x | k(x)) + log P(k(x)), as in `families/vq_vae.py`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from morphogen.core.column_views import cells_of, cells_of_codes, codes_of, log_within_bins
from morphogen.core.columns import Table
from morphogen.core.data_spec import DataSpec, Measure
from morphogen.core.errors import SpecError
from morphogen.core.rng import Noise
from morphogen.core.sequences import SPECIAL, lengths
from morphogen.families.first_stage import CodedStage, of_the_same_data

MAX_VALUES = 4096  # of one element
MAX_CODES = 1 << 16  # of all columns of a table
MAX_ELEMENTS = 4096  # of one record: attention sees pairs


class Elements:
    """The elements of records, each of some values; the base of all kinds.

    values   how many ids there are
    places   D, the most tokens of a record
    measure  of the likelihood
    """

    measure: Measure = "mass"

    def __init__(self, data: DataSpec, values: int, places: int) -> None:
        self.data, self.values, self.places = data, values, places

    def ids(self, x: Tensor) -> Tensor:
        """Records (B, *shape) as ids (B, D)."""
        return self.data.decode(x).long().flatten(1)

    def read(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Records (B, *shape) as ids (B, D), the places that hold tokens (B, D) bool, and how many these are (B,)."""
        ids = self.ids(x)
        keep = torch.ones_like(ids, dtype=torch.bool)
        return ids, keep, keep.sum(-1)

    def written(self, ids: Tensor, rng: Noise) -> Tensor:
        """The inverse of `read`: records (B, *shape)."""
        return self.data.encode(ids.unflatten(1, self.data.shape))

    def log_p_of_records(self, x: Tensor) -> Tensor | None:
        """log p(x | its tokens), (B,); None where tokens say all."""
        return None


class Texts(Elements):
    """The tokens of texts: as many as a text is long."""

    def read(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ids = self.ids(x)
        n = lengths(ids).clamp_max(self.places - 1)
        keep = torch.arange(self.places, device=ids.device) < n[:, None]
        return torch.where(keep, ids.clamp_min(SPECIAL), ids), keep, n


class Cells(Elements):
    """The codes of a table's cells; those of a column come after those of the columns before it."""

    def __init__(self, data: DataSpec, table: Table) -> None:
        super().__init__(data, sum(table.codes), len(table.columns))
        self.table = table

    def first(self, device: torch.device) -> Tensor:
        """The id of each column's first code, (C,)."""
        return torch.tensor([0, *self.table.codes[:-1]], device=device).cumsum(0)

    def ids(self, x: Tensor) -> Tensor:
        return codes_of(self.table, cells_of(self.table, x)) + self.first(x.device)

    def cells(self, ids: Tensor, rng: Noise) -> Tensor:
        """Cells (B, C) with these codes, each drawn evenly within its code."""
        within = rng.uniform("within", len(ids), (self.places,), torch.float64)
        return cells_of_codes(self.table, ids - self.first(ids.device), within)

    def written(self, ids: Tensor, rng: Noise) -> Tensor:
        return self.data.encode(self.cells(ids, rng))

    def log_p_of_records(self, x: Tensor) -> Tensor | None:
        """Of values within their codes, so that the unit is that of all models of a table."""
        return log_within_bins(self.table, codes_of(self.table, cells_of(self.table, x))).sum(1)


class Codes(Elements):
    """The codes that another model gives pictures."""

    def __init__(self, data: DataSpec, stage: CodedStage) -> None:
        super().__init__(data, stage.code_values, math.prod(stage.code_shape))
        self.stage, self.measure = stage, stage.measure

    def ids(self, x: Tensor) -> Tensor:
        return self.stage.codes(x).flatten(1)

    def written(self, ids: Tensor, rng: Noise) -> Tensor:
        return self.stage.drawn(ids.unflatten(1, self.stage.code_shape), rng)

    def log_p_of_records(self, x: Tensor) -> Tensor | None:
        return self.stage.log_p_given_codes(x)


def tokens_of(data: DataSpec, stage: Any) -> Elements:
    """What the tokens of such records are. Raises `SpecError` for records that have none, or too many."""
    if stage is not None:
        if not isinstance(stage, CodedStage):
            raise SpecError(
                "the part 'autoencoder' of masked diffusion must be a model that turns pictures into codes, of the"
                f" family vq_vae, not a {type(stage).__name__}."
            )
        of_the_same_data(stage.data, data)
        return Codes(data, stage)
    if data.table is not None:
        values = sum(data.table.codes)
        if values > MAX_CODES:
            raise SpecError(
                f"masked diffusion takes tables of at most {MAX_CODES:,} codes, and {data.name!r} has {values:,}:"
                " drop columns of many values, or take another family."
            )
        return Cells(data, data.table)
    n = 2 if data.kind == "binary" else data.levels
    countable = data.kind in ("binary", "continuous", "discrete") or data.sequence is not None
    if not countable or n is None or n > MAX_VALUES or data.dimensions > MAX_ELEMENTS:
        raise SpecError(
            f"masked diffusion needs texts, tables, or records of at most {MAX_ELEMENTS:,} elements with at most"
            f" {MAX_VALUES:,} values each, but {data.name!r} has {data.kind} records of shape {data.shape}"
            f"{'' if n is None else f' with {n:,} values'}; for larger pictures, train vq_vae and give it as the part"
            " 'autoencoder'; families for other data: vae."
        )
    return (Elements if data.sequence is None else Texts)(data, n, data.dimensions)
