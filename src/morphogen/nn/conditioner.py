"""`Conditioner`: from what the data say (`RawCondition`) to what networks read (`Condition`).

One token per field: the class label, and each attribute. A categorical field is an embedding, a
real-valued one Fourier features and a linear map. What is not known is the field's own learned
null embedding, so that no condition at all equals an all-null one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from morphogen.core.batch import Batch, Condition, RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError
from morphogen.core.rng import Rng


class _RealField(nn.Module):
    """Fourier features of one real value in about [-1, 1], with a learned null. (B,), (B,) -> (B, dim)."""

    frequencies: Tensor

    def __init__(self, dim: int, features: int = 8) -> None:
        super().__init__()
        self.register_buffer("frequencies", math.pi * 2.0 ** torch.arange(-1, features - 1), persistent=False)
        self.linear = nn.Linear(2 * features + 1, dim)
        self.null = nn.Parameter(torch.randn(dim))

    def forward(self, value: Tensor, known: Tensor) -> Tensor:
        angle = value[:, None] * self.frequencies
        features = torch.cat((value[:, None], angle.sin(), angle.cos()), dim=-1)
        return torch.where(known[:, None], self.linear(features), self.null)


class Conditioner(nn.Module):
    """Built from a `DataSpec`; `dim` is the width D of tokens and of the pooled vector."""

    def __init__(self, data: DataSpec, dim: int) -> None:
        super().__init__()
        if not data.classes and not data.attributes:
            raise SpecError(
                f"a conditional model needs data with classes or attributes, but {data.name!r} has neither:"
                " drop --conditional, or use labelled data (class subfolders, or a `labels` array)."
            )
        self.classes, self.attributes = len(data.classes), data.attributes
        self.label = nn.Embedding(self.classes + 1, dim) if self.classes else None  # the last row is the null
        self.fields = nn.ModuleList(
            nn.Embedding(len(a.values) + 1, dim) if a.values else _RealField(dim) for a in data.attributes
        )
        self.pool = nn.Linear(dim, dim)
        self.act = nn.SiLU()

    def forward(self, cond: RawCondition | None, n: int) -> Condition:
        """Conditions of `n` records; `None` means that nothing is known of any."""
        device = self.pool.weight.device
        tokens = []
        if self.label is not None:
            label = torch.full((n,), -1, device=device) if cond is None or cond.label is None else cond.label
            tokens.append(self.label(torch.where(label < 0, self.classes, label)))
        values, known = self._attributes(cond, n, device)
        for i, field in enumerate(self.fields):
            if isinstance(field, nn.Embedding):
                null = field.num_embeddings - 1
                tokens.append(field(torch.where(known[:, i], values[:, i].long(), null)))
            else:
                tokens.append(field(values[:, i], known[:, i]))
        stacked = torch.stack(tokens, dim=1)  # (B, L, D)
        mask = torch.ones(stacked.shape[:2], dtype=torch.bool, device=device)
        context = None if cond is None else cond.context
        return Condition(stacked, mask, self.act(self.pool(stacked.sum(1))), context)

    def _attributes(self, cond: RawCondition | None, n: int, device: torch.device) -> tuple[Tensor, Tensor]:
        if cond is None or cond.attributes is None:
            shape = (n, len(self.attributes))
            return torch.zeros(shape, device=device), torch.zeros(shape, dtype=torch.bool, device=device)
        known = torch.ones_like(cond.attributes, dtype=torch.bool) if cond.present is None else cond.present
        return torch.nan_to_num(cond.attributes), known


def partly_hidden(batch: Batch, rng: Rng, share: float) -> RawCondition | None:
    """The batch's conditions, those of a random `share` of its records unknown, so that the null is learned too."""
    if batch.cond is None or not share:
        return batch.cond
    return batch.cond.kept(rng.uniform("condition_dropout", batch.address) >= share)
