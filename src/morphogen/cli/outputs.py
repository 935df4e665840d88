"""Where results go: the suffix decides the format, nothing is overwritten unasked, and a file is whole or not there."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphogen.cli.console import print_json, print_text
from morphogen.core.errors import MorphogenError, UsageError
from morphogen.core.paths import check_depth

if TYPE_CHECKING:
    from PIL.Image import Image

    from morphogen.core.data_spec import DataSpec

FOLDER = "DIR/"
TEXT = (".smi", ".txt")
PICTURE = (".png", ".jpg", ".jpeg", ".webp")
TABLE = (".csv", ".csv.gz", ".tsv", ".parquet")


@dataclass(frozen=True)
class Output:
    """A path to write to, in the format that its suffix names: one of the given suffixes, or `FOLDER`."""

    path: Path
    format: str

    @property
    def is_picture(self) -> bool:
        """Whether it is one picture file."""
        return self.format in PICTURE

    @classmethod
    def parse(cls, text: str, formats: Sequence[str], overwrite: bool) -> Output:
        """Check `--out` before any work is done. Raises `UsageError` with what to do instead.

        A folder is what ends in a slash, or exists as one, or has no suffix.
        """
        path = Path(text)
        check_depth(path)
        is_folder = text.endswith(("/", os.sep)) or path.is_dir() or not path.suffix
        double = "".join(path.suffixes[-2:]).lower()
        kind = FOLDER if is_folder else double if double in formats else path.suffix.lower()
        if kind not in formats:
            known = ", ".join(f if f == FOLDER else f"FILE{f}" for f in formats)
            came = "a folder" if is_folder else f"the suffix {path.suffix!r}"
            raise UsageError(f"--out {text}: cannot write to {came}; known are {known}.")
        if is_folder and path.exists() and not path.is_dir():
            raise UsageError(f"--out {text}: {path} is a file, no folder; choose another name.")
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            if not overwrite:
                raise UsageError(f"--out {text} exists: choose another name, or add --overwrite to replace it.")
            if is_folder and any(not re.fullmatch(r"\d+\.png", entry.name) for entry in path.iterdir()):
                raise UsageError(
                    f"--out {text} holds more than numbered pictures, so --overwrite does not replace it:"
                    " choose another folder."
                )
        parent = next(folder for folder in path.absolute().parents if folder.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise UsageError(f"--out {text}: {parent} is no folder that can be written to; choose another place.")
        return cls(path, kind)

    def write(self, data: bytes) -> None:
        """Write a file by way of a temporary one beside it."""
        with self._beside() as part:
            part.write_bytes(data)
            os.replace(part, self.path)

    def write_with(self, save: Callable[[Path], object]) -> None:
        """Write a file with the function of a result that does. Raises `MorphogenError` where the disk refuses."""
        try:
            save(self.path)
        except OSError as error:
            raise MorphogenError(f"--out {self.path} could not be written ({error.strerror or error}).") from error

    def write_folder(self, files: Mapping[str, bytes]) -> None:
        """Write a folder by way of a temporary one beside it."""
        with self._beside() as part:
            part.mkdir()
            for name, data in files.items():
                (part / name).write_bytes(data)
            if self.path.exists():  # empty, or nothing but numbered pictures: `parse` has seen to it
                shutil.rmtree(self.path)
            os.replace(part, self.path)

    @contextmanager
    def _beside(self) -> Iterator[Path]:
        """A name to write to first; nothing is left there. Raises `MorphogenError` where the disk does not let it."""
        part = self.path.with_name(f".{self.path.name}.part{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            yield part
        except OSError as error:
            raise MorphogenError(f"--out {self.path} could not be written ({error.strerror or error}).") from error
        finally:
            with suppress(OSError):
                shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)


def keep(
    target: Output,
    result: Any,
    recipe: Mapping[str, Any],
    *,
    arrays: Mapping[str, Any] | None = None,
    image: Callable[[], Image] | None = None,
    each: Callable[[], Iterable[tuple[Image, Mapping[str, Any]]]] | None = None,
    plane: bool = False,
) -> None:
    """Write a result: its arrays, its image with its recipe, or the image and the recipe of each of its pictures.

    Args:
        target: where to, and as what.
        result: one of `morphogen.api.results`.
        recipe: how it was made.
        arrays: instead of `result.arrays()`.
        image: instead of `result.image`.
        each: images for a folder of numbered files, each with its recipe.
        plane: whether points in the plane have an image, too.
    """
    from morphogen.report.saving import npz, picture_file

    if target.format == ".npz":
        target.write(npz(result.arrays() if arrays is None else arrays))
        return
    if target.format in TEXT:
        target.write(result.lines().encode())
        return
    require_pictures(getattr(result, "spec", None), plane=plane and each is None)
    if each is None:
        target.write(picture_file((image or result.image)(), recipe, target.format))
        return
    files = [picture_file(one, own, ".png") for one, own in each()]
    width = max(5, len(str(len(files) - 1)))
    target.write_folder({f"{i:0{width}}.png": file for i, file in enumerate(files)})


def require_pictures(spec: DataSpec | None, plane: bool = False) -> None:
    """Raise `UsageError` with the advice to write arrays; points in the `plane` have a picture, too."""
    if spec is not None and not spec.is_picture and not (plane and spec.shape == (2,)):
        instead = "FILE.npz" if spec.sequence is None else "FILE.smi or FILE.txt"
        raise UsageError(f"records of shape {spec.shape} are no pictures: give --out {instead}.")


def emit(
    target: Output | None,
    facts: Mapping[str, Any],
    json: bool,
    *,
    warnings: Iterable[str] = (),
    lines: Sequence[str] = (),
) -> None:
    """Say what was done: as JSON, or the warnings, then the lines, then what was written."""
    if json:
        where = {} if target is None else {"out": str(target.path)}
        print_json({**where, **facts, "warnings": list(warnings)})
        return
    print_text(*(f"warning: {warning}" for warning in warnings), *lines)
    if target is not None:
        print_text(f"wrote {target.path}")
