r"""The autoregressive model of a table: the codes of the columns in any order.

    log P(row) = sum_i log P(c_o(i) | c_o(1), ..., c_o(i-1))   for every order o of the columns

(`nn/backbones/any_order.py`). Training takes one order a step: `fixed_order` of the steps take the order in which rows
are sampled and scored, which has the columns of few values first and the numbers last. The other steps take a random
one, which teaches the network to predict a column from any set of others. So the cells of a row that are given come
first, whichever they are, and the others are drawn after them: P(the rest | what is given), cell by cell.

The loss is that of a posterior mode: outputs have a normal prior of deviation `prior_std`, whose weight falls as the
number of records N grows,

    -log P(row) + |outputs|^2 / (2 N prior_std^2).

Within its bin a number is uniform on its grid, so that log P(row) is in the unit of all models of a table
(`theory/columns.py`).
"""

from __future__ import annotations

import copy

import torch
from pydantic import Field
from torch import Tensor, nn

from morphogen.core.chunks import chunks
from morphogen.core.column_views import cells_of, cells_of_codes, codes_of, log_within_bins
from morphogen.core.data_spec import DataSpec
from morphogen.core.family import Progress
from morphogen.core.rng import Noise
from morphogen.core.spec import Spec
from morphogen.nn.backbones.any_order import AnyOrder
from morphogen.nn.backbones.filling import fill

CHUNK = 1024  # rows that are scored or drawn together
SIZES = ((2_000, 4, 16, 0.1), (20_000, 8, 32, 0.3), (1 << 62, 16, 64, 1.0))  # by records: width, hidden, prior_std


class RowsSpec(Spec):
    """Options of the model of a table; those of the family extend them."""

    column_width: int | None = Field(
        None, ge=1, description="tables: features of a cell that other columns read; none: 4 to 16, by the records"
    )
    column_hidden: int | None = Field(
        None, ge=1, description="tables: width of the layers of a column; none: 16 to 64, by the records"
    )
    column_blocks: int = Field(1, ge=0, description="tables: residual layers of a column")
    fixed_order: float = Field(
        0.5, ge=0, le=1, description="tables: share of the steps in the order of sampling; the others take a random one"
    )
    shrinkage: float = Field(
        0.01, gt=0, lt=1, description="tables: of the correlations from which training starts, towards none"
    )
    prior_std: float | None = Field(
        None, gt=0, description="tables: deviation of the prior of the outputs; none: 0.1 to 1, by the records"
    )


class Rows(nn.Module):
    """The any-order model of the table of `data`; `cond` is the width of its pooled condition, 0 for none."""

    fixed: Tensor

    def __init__(self, spec: RowsSpec, data: DataSpec, cond: int, dropout: float) -> None:
        super().__init__()
        assert data.table is not None
        self.spec, self.table, self.records = spec, data.table, data.splits.get("train", SIZES[0][0])
        _, width, hidden, self.prior_std = next(sizes for sizes in SIZES if self.records <= sizes[0])
        if spec.prior_std is not None:
            self.prior_std = spec.prior_std
        self.net = AnyOrder(
            self.table,
            self.records,
            width=spec.column_width or width,
            hidden=spec.column_hidden or hidden,
            blocks=spec.column_blocks,
            shrinkage=spec.shrinkage,
            cond=cond,
            dropout=dropout,
        )
        columns = self.table.columns
        first = sorted(range(len(columns)), key=lambda j: (columns[j].is_number, columns[j].n_codes))
        self.register_buffer("fixed", torch.tensor(first), persistent=False)

    # ---------------------------------------------------------------- training

    def order(self, rng: Noise, at: Progress) -> Tensor:
        """The order of the columns of one training step, the same for all of its records."""
        if float(rng.uniform("fixed_order", [at.step])[0]) < self.spec.fixed_order:
            return self.fixed
        return rng.permutation("order", at.step, len(self.fixed)).to(self.fixed.device)

    def codes(self, x: Tensor) -> Tensor:
        """The codes (B, C) of rows in the real view x (B, W)."""
        return codes_of(self.table, cells_of(self.table, x))

    def penalty(self) -> Tensor:
        """-log of the prior of the outputs, for one record of all: ()."""
        squares = torch.stack([weight.square().sum() for weight in self.net.penalized()]).sum()
        return squares / (2.0 * self.records * self.prior_std**2)

    def forward(self, codes: Tensor, order: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """log P of each code (B, C), given those before it in `order`, and the penalty ()."""
        with torch.autocast(codes.device.type, enabled=False):  # bf16 is too coarse for log-probabilities of a copula
            return self.net(codes, order, None if c is None else c.float()), self.penalty()

    # ----------------------------------------------------------------- scores

    def log_p(self, x: Tensor, c: Tensor | None) -> Tensor:
        """log P of each cell (B, C), given those before it in the order of sampling (unit: `theory/columns.py`)."""
        codes, found = self.codes(x), []
        for rows in chunks(len(codes), CHUNK):
            found.append(self.net(codes[rows], self.fixed, None if c is None else c[rows]))
        return torch.cat(found) + log_within_bins(self.table, codes).to(found[0].dtype)

    # ----------------------------------------------------------------- drawing

    def drawn(
        self,
        cells: Tensor,
        given: Tensor,
        rng: Noise,
        c: Tensor | None,
        temperature: float = 1.0,
        present: bool = False,
    ) -> Tensor:
        """The cells (n, C), of which those that are not `given` (n, C) are drawn. `present`: none of these is missing.

        It computes in float64, because rounding, which differs between batch sizes, must not decide a code.
        """
        columns, dtype = len(self.table.columns), torch.float64
        net = copy.deepcopy(self.net).double().eval()
        made = []
        for rows in chunks(len(cells), CHUNK):
            some, known, here = cells[rows].to(dtype), given[rows], rng.shifted(rows.start)
            uniform = here.uniform("cells", len(some), (columns,), dtype)
            within = here.uniform("within", len(some), (columns,), dtype)
            codes = codes_of(self.table, torch.where(known, some, 0.0))
            codes = fill(net, codes, known, self.fixed, uniform, None if c is None else c[rows], temperature, present)
            made.append(torch.where(known, some, cells_of_codes(self.table, codes, within)))
        return torch.cat(made)
