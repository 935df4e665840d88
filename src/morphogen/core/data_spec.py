"""`DataSpec`: one description of data for every family.

One affine map turns a stored element u (a byte, a number) into a model's x. The description also has the inverse and
the log-Jacobian of the map. For 8-bit pictures K = 256 and x = 2u / (K - 1) - 1. A density of x then becomes a mass of
u by log P(u) = log p(x) + D log(2 / (K - 1)), so bits/dim of different families are comparable.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any, Literal

import pydantic
import torch
from torch import Tensor

from morphogen.core.column_views import cells_of, real_view
from morphogen.core.columns import Table
from morphogen.core.errors import DataError
from morphogen.core.sequences import SequenceSchema
from morphogen.core.spec import Spec

Kind = Literal["continuous", "binary", "discrete", "sequence", "columns"]
Measure = Literal["mass", "density"]
PAD = 0  # the token id of padding
MAX_NAMES = 1 << 20  # the most classes, attributes, and values of one attribute
MAX_ELEMENTS = 1 << 26  # the most elements of one record
MAX_TOKENS = 1 << 16  # the most tokens of one text
MAX_LEVELS = 1 << 31


class Attribute(Spec):
    """One named property of a record: real-valued, or one of `values`.

    low, high    the range of a real-valued one in the training records, which models see as -1 to 1; None: not known
    """

    most_values = MAX_NAMES
    name: str
    values: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None

    @pydantic.model_validator(mode="after")
    def _a_range(self) -> Attribute:
        if (self.low is None) != (self.high is None):
            raise ValueError(f"the range of {self.name!r} has a low and a high end, or is not known")
        if self.low is not None and self.high is not None and not self.low <= self.high:
            raise ValueError(f"the range of {self.name!r} is in order (got {self.low:g} to {self.high:g})")
        return self


class TextSchema(Spec):
    """Captions as numbers.

    longest      the most tokens of a text, with its begin and end tokens; longer texts are cut
    cut          number of training captions that were cut
    vocabulary   number of different tokens; 0: the captions have no tokenizer, so no model reads them
    fingerprint  sha256 of the tokenizer
    more_words   words of these captions that the tokenizer, learned from others, has only in parts
    tokenizer    the tokenizer itself, as the text of its JSON file. `to_dict` leaves it out: an artifact keeps it in a
                 separate file, and the fingerprint identifies it.
    """

    longest: int = pydantic.Field(ge=0, le=MAX_TOKENS)
    examples: tuple[str, ...] = ()
    cut: int = pydantic.Field(default=0, ge=0)
    vocabulary: int = pydantic.Field(default=0, ge=0, lt=MAX_LEVELS)
    fingerprint: str = ""
    more_words: tuple[str, ...] = ()
    tokenizer: str = pydantic.Field("", repr=False)

    @pydantic.model_validator(mode="after")
    def _one_tokenizer(self) -> TextSchema:
        if self.tokenizer and hashlib.sha256(self.tokenizer.encode()).hexdigest() != self.fingerprint:
            raise ValueError("the tokenizer is not the one that the fingerprint was taken of")
        return self

    @pydantic.model_serializer(mode="wrap")
    def _without_the_tokenizer(self, plain: Any, info: pydantic.SerializationInfo) -> dict[str, Any]:
        values: dict[str, Any] = plain(self)
        if info.mode == "json":
            del values["tokenizer"]
        return values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TextSchema) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.fingerprint, self.longest, self.examples))


class DataSpec(Spec):
    """The kind, shape and range of the records, and the names of their conditions.

    kind      "continuous": x in [-1, 1]; "binary": x in {0, 1}; "discrete": int64 x in 0 .. levels-1;
              "sequence": int64 token ids (`core/sequences.py`); "columns": the real view in [-1, 1] of a table's cells
              (`column_views.py`), which `table` describes
    sequence  of kind "sequence": how texts become token ids; None where other software does that
    levels    number of values of one stored element (256 for 8-bit pictures); None for real numbers
    shift, scale   x = (u - shift) / scale for stored real numbers (levels None)
    """

    most_values = MAX_NAMES
    name: str
    source: str = ""
    shape: tuple[int, ...]
    kind: Kind
    levels: int | None = None
    shift: float = 0.0
    scale: float = 1.0
    preprocessing: dict[str, Any] = pydantic.Field(default_factory=dict)
    classes: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    text: TextSchema | None = None
    sequence: SequenceSchema | None = None
    context_shape: tuple[int, ...] | None = None
    table: Table | None = None
    splits: dict[str, int] = pydantic.Field(default_factory=dict)
    fingerprint: str = ""
    license: str = ""

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> DataSpec:
        if self.kind in ("discrete", "sequence") and self.levels is None:
            raise ValueError(f"kind {self.kind!r} needs levels, the number of values")
        if self.levels is not None and not 2 <= self.levels < MAX_LEVELS:
            raise ValueError(f"levels must be at least 2, and less than 2^31 (got {self.levels})")
        if (self.kind == "columns") != (self.table is not None):
            raise ValueError("kind 'columns' needs a table, the schema of its columns, and no other kind has one")
        if self.table is not None and self.shape != (self.table.width,):
            raise ValueError(f"the table has {self.table.width} elements a record (got the shape {self.shape})")
        if not (0 < self.scale < math.inf and math.isfinite(self.shift)):
            raise ValueError(f"scale must be positive, and shift finite (got {self.scale} and {self.shift})")
        if self.sequence is not None:
            read = self.sequence
            if (self.kind, self.shape, self.levels) != ("sequence", (read.longest,), read.vocabulary):
                raise ValueError(
                    f"sequences of {read.longest} tokens have kind 'sequence', that shape and their levels"
                )
        for shape in (self.shape, self.context_shape or ()):
            if any(n < 1 for n in shape) or math.prod(shape) > MAX_ELEMENTS or len(shape) > 8:
                raise ValueError(f"a record of shape {shape[:8]} is empty or has more than {MAX_ELEMENTS:,} elements")
        return self

    @property
    def dimensions(self) -> int:
        """D, the number of elements of one record."""
        return math.prod(self.shape)

    @property
    def is_picture(self) -> bool:
        """Whether the shape is (C, H, W) with one (gray), three (RGB) or four (RGBA) channels."""
        return len(self.shape) == 3 and self.shape[0] in (1, 3, 4)

    @property
    def low(self) -> float:
        """The smallest value of x."""
        return -1.0 if self.kind in ("continuous", "columns") else 0.0

    @property
    def high(self) -> float:
        """The largest value of x."""
        return float((self.levels or 2) - 1) if self.kind in ("discrete", "sequence") else 1.0

    @property
    def stored_range(self) -> tuple[float, float]:
        """The stored values of the smallest and the largest x; for real numbers shift - scale and shift + scale."""
        if self.kind == "binary":
            return 0.0, 1.0
        return (self.shift - self.scale, self.shift + self.scale) if self.levels is None else (0.0, self.levels - 1.0)

    def encode(self, stored: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Turn stored elements into x. The shape stays, but for a table, whose cells (N, C) become (N, W)."""
        if self.table is not None:
            return real_view(self.table, stored.double(), dtype=dtype)
        if self.kind in ("discrete", "sequence"):
            return stored.to(torch.int64)
        if self.kind == "binary":
            return stored.to(dtype)
        if self.levels is not None:
            return stored.to(dtype, copy=True).mul_(2.0 / (self.levels - 1)).sub_(1.0)
        return (stored.to(dtype) - self.shift) / self.scale

    def decode(self, x: Tensor) -> Tensor:
        """Turn x into stored elements: the inverse of `encode`, rounded and clamped to the levels."""
        if self.table is not None:
            return cells_of(self.table, x)
        if self.kind in ("discrete", "sequence"):
            return x.to(torch.int64)
        if self.kind == "binary":
            return x.round().clamp(0, 1).to(torch.uint8)
        if self.levels is not None:
            u = ((x.float() + 1.0) * ((self.levels - 1) / 2.0)).round().clamp(0, self.levels - 1)
            return u.to(torch.uint8 if self.levels <= 256 else torch.int64)
        return x * self.scale + self.shift

    @property
    def log_jacobian(self) -> float:
        """log |dx / du| of a whole record, in nats: add it to log p(x) to get log p(u)."""
        if self.kind != "continuous":
            return 0.0
        step = 1.0 / self.scale if self.levels is None else 2.0 / (self.levels - 1)
        return self.dimensions * math.log(step)

    def bits_per_dim(self, log_prob: float, measure: Measure) -> float:
        """-log2 P(u) / D from a log-likelihood in nats.

        `measure` says whether `log_prob` is a probability mass (a discretized likelihood) or a density of x. The
        log-Jacobian turns a density of x into a density of the stored elements.
        """
        nats = log_prob if measure == "mass" else log_prob + self.log_jacobian
        return -nats / (self.dimensions * math.log(2.0))

    def check(self, x: Tensor) -> None:
        """Raise `DataError` if `x` (B, *shape) does not fit this description."""
        if tuple(x.shape[1:]) != self.shape:
            raise DataError(f"{self.name}: expected records of shape {self.shape}, got {tuple(x.shape[1:])}.")
        if not torch.isfinite(x).all():
            raise DataError(f"{self.name}: records hold NaN or infinite values.")
        bounded = self.levels is not None or self.kind == "binary"
        if bounded and len(x) and (x.min() < self.low - 1e-4 or x.max() > self.high + 1e-4):
            raise DataError(
                f"{self.name}: values lie in [{x.min():.4g}, {x.max():.4g}], expected"
                f" [{self.low:g}, {self.high:g}] for kind {self.kind!r}."
            )
