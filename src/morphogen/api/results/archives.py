"""Archives and integer forms: what was made, and what it counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np

from morphogen.api.results.shown import Brief
from morphogen.report.html import escape
from morphogen.report.saving import chosen_format, json_file, npz, write_whole


@final
@dataclass(frozen=True, eq=False)
class Archive:
    """An archive, and what it counts.

    Attributes:
        path: the file
        records: how many records are in it; of those that could be read, where it was read
        shape: of a record
        bytes: of the whole file, the model inside included
        model_bytes: of the model inside; 0 without one
        bits_per_dim: bits of the file without the model inside, for each value of the records
        model: the fingerprint of the model that reads it; None for plain coding
        family: the family of that model
        exact: whether it is the same on every machine
        blocks: how many blocks, by coder
        ideal_bits_per_dim: what the model's probabilities ask for of the records that it coded; None where not known
        gap: by how much the file needs more than that, as a share
        rivals: bits per dimension of general codecs on the same records, where they were asked for
        break_even: from how many such records on the file with the model is smaller than by the best of them; None
            where it never is, or where it is not known
        seconds: it took
        quality: 1 to 100 of pictures that were coded with a loss; None without one
        psnr: of these pictures in dB, the mean over them; None where it was read and not written
        ms_ssim: their multi-scale structural similarity, likewise
        warnings: what is damaged, or should be known

    Example:
        >>> found = mg.compress(None, "digits", "digits.mgz")
        >>> found.records, found.shape
        (1797, (1, 8, 8))
    """

    path: str
    records: int
    shape: tuple[int, ...]
    bytes: int
    model_bytes: int
    bits_per_dim: float | None
    model: str | None
    family: str | None
    exact: bool
    blocks: Mapping[str, int]
    ideal_bits_per_dim: float | None = None
    gap: float | None = None
    rivals: Mapping[str, float] = field(default_factory=dict)
    break_even: int | None = None
    seconds: float = 0.0
    quality: int | None = None
    psnr: float | None = None
    ms_ssim: float | None = None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    def save(self, path: Path | str) -> Path:
        """Write it as .json. Returns the path; raises `UsageError` for another suffix."""
        chosen_format(path, (".json",))
        return write_whole(path, json_file(self.to_dict()))

    def _repr_html_(self) -> str:
        rate = "" if self.bits_per_dim is None else f", {self.bits_per_dim:.3f} bits per dimension"
        return f"<p>{escape(self.path)}: {self.records:,} records in {self.bytes:,} bytes{rate}</p>"


@final
@dataclass(frozen=True, eq=False)
class Decompressed(Brief):
    """The records of an archive.

    Attributes:
        x: (n, *shape) uint8, as they were
        names: (n,) as they were; None where they had none
        places: (n,) the place of each among all records of the archive; a damaged block leaves a gap
        levels: values are 0 .. levels - 1
        seconds: it took
        warnings: what is damaged

    Example:
        >>> mg.compress(None, "digits", "digits.mgz").records
        1797
        >>> mg.decompress("digits.mgz").x.shape
        (1797, 1, 8, 8)
    """

    x: np.ndarray
    names: tuple[str, ...] | None
    places: np.ndarray
    levels: int
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.x)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.x, dtype=dtype)

    def arrays(self) -> Mapping[str, Any]:
        """x, names and place."""
        return {"x": self.x, "names": self.names, "place": self.places}

    def save(self, path: Path | str) -> Path:
        """Write x, names and place as .npz. Returns the path; raises `UsageError` for another suffix."""
        chosen_format(path, (".npz",))
        return write_whole(path, npz(self.arrays()))

    def _repr_html_(self) -> str:
        return f"<p>{len(self.x):,} records of shape {self.x.shape[1:]}</p>"


@final
@dataclass(frozen=True, eq=False)
class Quantized:
    """The integer form of a model, and what it costs.

    Attributes:
        path: where it lies
        bits: of a weight
        bits_per_dim: of the records that it was measured on, before and after
        loss: by how much the mean rose, as a share of it
        n: how many records it was measured on
        checked: outputs of layers that Python's integers gave again, all of them equal
        largest_sum: the largest sum that can occur in a layer, in integer units: below 2^53 = 9.0e15
        bytes: of its weights file

    Example:
        >>> made = mg.quantize("runs/pixels", "runs/eight-bits", "digits", n=2, bits=8)
        >>> made.largest_sum < 2**53
        True
    """

    path: str
    bits: int
    bits_per_dim: tuple[float, float]
    loss: float
    n: int
    checked: int
    largest_sum: int
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    def save(self, path: Path | str) -> Path:
        """Write it as .json. Returns the path; raises `UsageError` for another suffix."""
        chosen_format(path, (".json",))
        return write_whole(path, json_file(self.to_dict()))

    def _repr_html_(self) -> str:
        before, after = self.bits_per_dim
        return f"<p>{escape(self.path)}: {before:.4f} bits per dimension became {after:.4f} ({self.loss:+.3%})</p>"
