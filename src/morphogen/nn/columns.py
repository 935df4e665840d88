"""How networks of real numbers read the rows of a table, and give them out.

A network reads features: the real view (`core/column_views.py`), in which numbers have become scores of about unit
deviation, and the indicators of categories and missing cells stay -1 and 1. What it puts out becomes a row by
`corners`, with a gradient, or by `rows_of`, without one. Likelihoods of rows are in `theory/columns.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from morphogen.core.column_views import C, layout
from morphogen.core.columns import Table


def read_columns(x: Tensor, table: Table) -> Tensor:
    """The real view x (B, W) -> features (B, W)."""
    features = x.clone()
    at = layout(table, x.device).at
    features[..., at] = C * x[..., at]
    return features


def corners(raw: Tensor, table: Table) -> Tensor:
    """Features (B, W) of the raw output (B, W) of a network: the likeliest corner of each block.

    The gradient is that of the block's softmax: the straight-through estimator (Bengio et al., 2013). So a
    discriminator cannot tell rows by values between the corners, and a generator learns towards which corner to go.
    """
    plan = layout(table, raw.device)
    made = raw.clone()
    flags = plan.flag[plan.flag >= 0]
    soft = torch.tanh(raw[..., flags])
    made[..., flags] = torch.where(soft > 0, 1.0, -1.0) + soft - soft.detach()
    for j in plan.places.tolist():
        block = table.slices[j]
        soft = torch.softmax(raw[..., block], -1)
        hard = torch.zeros_like(soft).scatter(-1, soft.argmax(-1, keepdim=True), 1.0)
        made[..., block] = 2.0 * (hard + soft - soft.detach()) - 1.0
    return made


@torch.no_grad()
def rows_of(features: Tensor, table: Table) -> Tensor:
    """The real view x (B, W) of the row that features (B, W) are nearest to; a missing number has the score 0."""
    plan = layout(table, features.device)
    x = corners(features, table)
    absent = (plan.flag >= 0) & (x[..., plan.flag.clamp_min(0)] > 0.0)
    x[..., plan.at] = torch.where(absent, 0.0, x[..., plan.at] / C)
    return x.clamp(-1.0, 1.0)


def given_elements(table: Table, given: Tensor, present: bool) -> Tensor:
    """Which elements (B, W) of the real view are known where the cells `given` (B, C) are.

    With `present` the indicators of missing cells are known, too: a cell that is not given is not missing.
    """
    known = torch.cat([given[:, j, None].expand(-1, c.width) for j, c in enumerate(table.columns)], 1).clone()
    if present:
        ends = [part.stop - 1 for part, c in zip(table.slices, table.columns, strict=True) if c.has_missing]
        known[:, ends] = True
    return known
