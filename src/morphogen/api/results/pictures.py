"""Records that a model made or saw."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
from PIL import Image

from morphogen.api.results.shown import Shown
from morphogen.api.results.tables import table_format
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError, UsageError
from morphogen.core.printable import one_line
from morphogen.data.molecules.writing import as_smiles, smi_file
from morphogen.data.sequences.tokenizers import to_texts
from morphogen.data.tables.writing import FORMATS, file_of
from morphogen.report import canvas
from morphogen.report.points import scatter
from morphogen.report.saving import png, write_whole
from morphogen.report.sheets import paired_sheet, picture, sheet, to_bytes


@final
@dataclass(frozen=True, eq=False)
class Pictures(Shown):
    """Records, most often pictures.

    Attributes:
        x: (n, *shape) in stored units: 0 .. 255 for 8-bit pictures; means where a model gives means
        spec: what they are
        ids: (n,) their record ids, where they have any
        labels: (n,) their classes, by position in `spec.classes`, where they have any
        warnings: what is to be said about how they were asked for
        columns: how many stand in a row of their sheet; 0 for about a square
        options: the options of sampling in effect, where they differ from the model's own

    Example:
        >>> pictures = mg.sample("runs/first", n=16, seed=1)
        >>> pictures.save("sheet.png")  # one sheet
        >>> pictures.save("sixteen")  # a folder of 16 files
        >>> pictures[0].size
        (8, 8)
    """

    x: np.ndarray
    spec: DataSpec
    ids: np.ndarray | None = None
    labels: np.ndarray | None = None
    warnings: tuple[str, ...] = ()
    columns: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Image.Image:
        return self.images[i]

    @property
    def pixels(self) -> np.ndarray:
        """(n, C, H, W) uint8. Raises `DataError` for records that are no pictures."""
        return to_bytes(self.x, self.spec)

    @property
    def texts(self) -> list[str]:
        """Each record as its text: for molecules their SMILES. Raises `DataError` for records that are no texts."""
        schema = self.spec.sequence
        if schema is None:
            raise DataError(f"records of {self.spec.name} are no texts; they have kind {self.spec.kind!r}.")
        texts = to_texts(schema, self.x)
        return as_smiles(schema, texts) if schema.content == "molecules" else texts

    def lines(self) -> str:
        """The records as a file of texts, one a line; for molecules with their number, and a mark on what is none."""
        texts = self.texts
        if self.spec.sequence is not None and self.spec.sequence.content == "molecules":
            return smi_file(texts)
        return "".join(f"{one_line(text)}\n" for text in texts)

    @property
    def images(self) -> list[Image.Image]:
        """Each record as a PIL image. Raises `DataError` for records that are no pictures."""
        return [picture(one) for one in self.pixels]

    def image(self) -> Image.Image:
        """All pictures on one sheet; a scatter plot of points in the plane."""
        if self.spec.shape == (2,):
            return Image.open(io.BytesIO(canvas.png(scatter(self.x))))
        return sheet(self.pixels, columns=self.columns or None)

    def arrays(self) -> Mapping[str, Any]:
        """x, and ids, labels and class_names where there are any: an .npz of them is a source of data."""
        classes = None if self.labels is None else list(self.spec.classes)
        return {"x": self.x, "ids": self.ids, "labels": self.labels, "class_names": classes}

    def save(self, path: Path | str) -> Path:
        """Write a sheet (.png), arrays (.npz), lines of text (.smi, .txt), or each picture as a file (a folder).

        Rows of a table are written as .csv, .csv.gz, .tsv or .parquet, as they were drawn; `mg.synthesize` gives rows
        that keep the rules of the table.

        Args:
            path: the file or the new folder to write; `~` is the home folder.

        Returns:
            The path that was written.

        Raises:
            UsageError: the name ends otherwise, or the folder is not empty.
            DataError: pictures are asked for, and the records are none.
        """
        target = Path(path).expanduser()
        if target.suffix in (".smi", ".txt"):
            return write_whole(target, self.lines().encode())
        if target.name.lower().endswith(FORMATS):
            if self.spec.table is None:
                raise UsageError(f"{path}: the records of {self.spec.name} are no rows of a table; write an .npz.")
            return write_whole(target, file_of(self.x, self.spec.table, table_format(target)))
        if target.suffix:
            return super().save(target)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UsageError(f"{path} exists and is not an empty folder: choose another name.")
        width = max(5, len(str(len(self) - 1)))
        for i, one in enumerate(self.images):
            write_whole(target / f"{i:0{width}}.png", png(one))
        return target


@final
@dataclass(frozen=True, eq=False)
class Reconstructions(Shown):
    """Records, and what a model makes of them.

    Attributes:
        original, made: the records and their reconstructions, one for one

    Example:
        >>> found = mg.reconstruct("runs/first", "digits", n=4)
        >>> found.save("reconstructions.png")
        >>> len(found.original), len(found.made)
        (4, 4)
    """

    original: Pictures
    made: Pictures

    @property
    def spec(self) -> DataSpec:
        """What the records are."""
        return self.original.spec

    def __iter__(self) -> Iterator[Pictures]:
        """So that `original, made = mg.reconstruct(...)` works."""
        return iter((self.original, self.made))

    def image(self) -> Image.Image:
        """Rows of originals, each above the row of their reconstructions."""
        return paired_sheet(self.original.pixels, self.made.pixels, ("original", "reconstruction"))

    def arrays(self) -> Mapping[str, Any]:
        """original, reconstruction and ids."""
        return {"original": self.original.x, "reconstruction": self.made.x, "id": self.original.ids}
