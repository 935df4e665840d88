"""A model inside an archive: its spec.json and its weights, pressed together.

The weights of an integer form have two bytes. LZMA models each of them apart (lp = 1), so that weights of fewer bits
take about their entropy.
"""

from __future__ import annotations

import hashlib
import lzma
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from morphogen import artifact
from morphogen.applications.compression.container import MAX_MODEL, Header, InsideModel
from morphogen.core.errors import ArtifactError, DataError

_FILES = ("spec.json", "weights.safetensors")
_FILTERS = [{"id": lzma.FILTER_LZMA1, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 1, "pb": 1}]


def pressed(model: Path) -> bytes:
    """The model in a directory as bytes. Raises `ArtifactError` for one that stands on parts."""
    listed = artifact.manifest.read(model)
    if any(name.startswith(("parts/", "tokenizer.")) for name in listed):
        raise ArtifactError(
            f"{model}: a model that stands on others cannot lie inside an archive: leave --with-model out."
        )
    spec, weights = ((model / name).read_bytes() for name in _FILES)
    if len(spec) + len(weights) > MAX_MODEL - 16:
        raise ArtifactError(
            f"{model}: a model inside an archive has at most {MAX_MODEL:,} bytes: leave --with-model out."
        )
    data = len(spec).to_bytes(8, "little") + spec + bytes(len(spec) % 2) + weights  # these begin at an even place
    return len(data).to_bytes(8, "little") + lzma.compress(data, lzma.FORMAT_RAW, filters=_FILTERS)


def described(inside: bytes) -> InsideModel:
    """What the header says of it."""
    return InsideModel(bytes=len(inside), sha256=hashlib.sha256(inside).hexdigest())


def checked(inside: bytes, header: Header, where: Path) -> bytes:
    """The bytes of a model as they were written. Raises `DataError`."""
    if header.inside is None or described(inside) != header.inside:
        raise DataError(f"{where}: the model inside the archive is damaged or cut off; name another copy with --model.")
    return inside


@contextmanager
def unpacked(inside: bytes, where: Path) -> Iterator[Path]:
    """A directory with the model, which is gone after. Raises `DataError`."""
    size = int.from_bytes(inside[:8], "little")
    data = b""
    if 8 <= size <= MAX_MODEL:
        try:
            data = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS).decompress(inside[8:], max_length=size)
        except (lzma.LZMAError, EOFError):
            data = b""
    n = int.from_bytes(data[:8], "little")
    if len(data) != size or 8 + n > size:
        raise DataError(f"{where}: the model inside the archive is none; name another copy with --model.")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "model"
        root.mkdir()
        (root / _FILES[0]).write_bytes(data[8 : 8 + n])
        (root / _FILES[1]).write_bytes(data[8 + n + n % 2 :])
        artifact.manifest.write(root)
        yield root
