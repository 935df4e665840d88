"""`Conditioner`: turns the conditions of the data (`RawCondition`) into inputs of networks (`Condition`).

Each field (the class label, each attribute) becomes one token, and then each token of the caption becomes one
(`nn/conditioning/text.py`). A categorical field is an embedding; a real-valued field is Fourier features and a linear
map. An unknown field is its own learned null embedding, and an unknown caption is one null token. So no condition at
all equals a condition with only nulls.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from morphogen.core.batch import Batch, Condition, RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError, SpecError
from morphogen.core.rng import Noise
from morphogen.core.spec import Spec
from morphogen.core.tapping import expanded
from morphogen.nn.conditioning.text import EncoderName, TextEncoder

COND = 64  # width of the tokens and the pooled vector
READER = "text"  # the part with a pretrained encoder for captions


class ConditionSpec(Spec):
    """Options of conditional models; a family's options extend them."""

    conditional: bool = Field(False, description="condition on what the data have of classes, attributes and captions")
    condition_dropout: float = Field(0.1, ge=0, le=1, description="share of records trained without their condition")
    text_encoder: EncoderName = Field("transformer", description="network that reads captions, trained with the model")


class _RealField(nn.Module):
    """Fourier features of one real value, whose range becomes [-1, 1], and a learned null. (B,), (B,) -> (B, dim)."""

    frequencies: Tensor

    def __init__(self, dim: int, low: float | None = None, high: float | None = None, features: int = 8) -> None:
        super().__init__()
        low, high = (-1.0, 1.0) if low is None or high is None else (low, high)
        self.middle, self.spread = 0.5 * (low + high), 0.5 * (high - low) or 1.0
        self.register_buffer("frequencies", math.pi * 2.0 ** torch.arange(-1, features - 1), persistent=False)
        self.linear = nn.Linear(2 * features + 1, dim)
        self.null = nn.Parameter(torch.randn(dim))

    def forward(self, value: Tensor, known: Tensor) -> Tensor:
        value = (value - self.middle) / self.spread
        angle = value[:, None] * self.frequencies
        features = torch.cat((value[:, None], angle.sin(), angle.cos()), dim=-1)
        return torch.where(known[:, None], self.linear(features), expanded(self.null, len(value)))


class Conditioner(nn.Module):
    """Built from a `DataSpec`; `dim` is the width D of the tokens and of the pooled vector. A pretrained encoder in
    `parts` reads the captions, and `text_encoder` reads its output."""

    def __init__(
        self,
        data: DataSpec,
        dim: int,
        text_encoder: EncoderName = "transformer",
        parts: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        readable = data.text is not None and data.text.vocabulary > 0
        reader = dict(parts or {}).get(READER)
        if reader is not None and not readable:
            raise SpecError(f"the part {READER!r} reads captions, and {data.name!r} has none: leave it out.")
        if not data.classes and not data.attributes and not readable:
            raise SpecError(
                f"a conditional model needs data with classes, attributes or captions, but {data.name!r} has none: drop"
                " --conditional, or use labelled data (class subfolders, a `labels` array) or captioned data."
            )
        self.classes, self.attributes = len(data.classes), data.attributes
        self.label = nn.Embedding(self.classes + 1, dim) if self.classes else None  # the last row is the null
        self.fields = nn.ModuleList(
            nn.Embedding(len(a.values) + 1, dim) if a.values else _RealField(dim, a.low, a.high)
            for a in data.attributes
        )
        self.text, self.longest = None, 0
        if data.text is not None and readable:
            self.text = TextEncoder(data.text.vocabulary, dim, text_encoder, reader)
            self.longest = data.text.longest
        self.pool = nn.Linear(dim, dim)
        self.act = nn.SiLU()

    def forward(self, cond: RawCondition | None, n: int) -> Condition:
        """The conditions of `n` records; `None` means that all fields are unknown."""
        read = self._read(cond, n)
        if cond is None or cond.towards is None or cond.share is None:
            return read
        return read.blended(self._read(cond.towards, n), cond.share)

    def _read(self, cond: RawCondition | None, n: int) -> Condition:
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
        every = torch.stack(tokens, dim=1) if tokens else self.pool.weight.new_zeros(n, 0, self.pool.in_features)
        mask = torch.ones(every.shape[:2], dtype=torch.bool, device=device)  # (B, fields)
        total = every.sum(1)
        if self.text is not None:
            words, shown, whole = self.text(*self._words(cond, n, device))
            every, mask, total = torch.cat((every, words), 1), torch.cat((mask, shown), 1), total + whole
        context = None if cond is None else cond.context
        return Condition(every, mask, self.act(self.pool(total)), context)

    def _attributes(self, cond: RawCondition | None, n: int, device: torch.device) -> tuple[Tensor, Tensor]:
        if cond is None or cond.attributes is None:
            shape = (n, len(self.attributes))
            return torch.zeros(shape, device=device), torch.zeros(shape, dtype=torch.bool, device=device)
        known = torch.ones_like(cond.attributes, dtype=torch.bool) if cond.present is None else cond.present
        return torch.nan_to_num(cond.attributes), known

    def _words(self, cond: RawCondition | None, n: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """The ids and the mask, always (n, longest), so that the arithmetic is the same with and without text."""
        if cond is None or cond.text is None:
            nothing = torch.zeros(n, self.longest, dtype=torch.int64, device=device)
            return nothing, nothing.bool()
        known = torch.ones_like(cond.text, dtype=torch.bool) if cond.text_mask is None else cond.text_mask
        room = self.longest - cond.text.shape[1]
        if room < 0:
            raise DataError(f"texts of {cond.text.shape[1]} tokens; this model reads at most {self.longest}: cut them.")
        return F.pad(cond.text, (0, room)), F.pad(known, (0, room), value=False)


def drop_conditions(batch: Batch, rng: Noise, share: float, context_share: float = 0.0) -> RawCondition | None:
    """The conditions of the batch; a random `share` of the records loses its condition, so that the null is learned.

    Of several attributes, half of the records keep all, and the others each with probability 1/2: a user may ask for
    some of them.

    If records have both words and a label or attributes, a third of the others keeps only the words, and another third
    keeps everything but the words. So a user may give either without the other.

    An independent `context_share` of the records gets a context of zeros. For networks this equals no context, because
    a linear map without bias reads the context.
    """
    cond = batch.cond
    if cond is None:
        return None
    if share:
        cond = cond.kept(rng.uniform("condition_dropout", batch.address) >= share)
        if cond.attributes is not None and cond.attributes.shape[1] > 1 and cond.present is not None:
            u = rng.uniform("attribute_dropout", batch.address, (cond.attributes.shape[1] + 1,))
            cond = dataclasses.replace(cond, present=cond.present & ((u[:, 1:] >= 0.5) | (u[:, :1] < 0.5)))
    if cond.text is not None and (cond.label is not None or cond.attributes is not None):
        which = rng.integers("condition_kind", batch.address, 3)
        cond = cond.kept(which != 0, words=which != 1)
    if context_share and cond.context is not None:
        keep = (rng.uniform("context_dropout", batch.address) >= context_share).to(cond.context)
        cond = dataclasses.replace(cond, context=cond.context * keep[:, None, None, None])
    return cond


def conditioner_of(spec: ConditionSpec, data: DataSpec, parts: nn.ModuleDict) -> Conditioner | None:
    """The conditioner of a family with these options, `COND` wide; None if the family reads no condition."""
    return Conditioner(data, COND, spec.text_encoder, dict(parts)) if spec.conditional else None
