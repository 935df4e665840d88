"""Make the embedded set `portraits` from the style "toon" of the set `avatars`: 32 x 32 pixels, with their captions.

    python -m recipes.portraits  # needs MORPHOGEN_DATA; writes src/morphogen/data/embedded/portraits.npz

Pictures are halved by the mean of 2 x 2 pixels. Their parts recur from picture to picture, so LZMA makes them six times
smaller than deflation does; `numpy.load` reads both.
"""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np

from morphogen.data.portraits import FILE

_SPLITS = ("train", "test", "test_combo")
_TIME = (1980, 1, 1, 0, 0, 0)  # the same bytes whenever it is made


def write(data: Path, out: Path) -> int:
    """Write the set from the folder `data` that holds avatars/. Returns the number of pictures."""
    with np.load(data / "avatars" / "toon_64.npz") as stored:
        images, captions, splits = stored["images"], stored["caption"], stored["split"]
    kept = np.isin(splits, _SPLITS)
    halves = images[kept].reshape(-1, 32, 2, 32, 2, 3).mean((2, 4)).round().astype(np.uint8)
    arrays = {"images": halves, "captions": captions[kept].astype("S"), "split": splits[kept].astype("S")}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as file:
        for name, array in arrays.items():
            held = io.BytesIO()
            np.lib.format.write_array(held, array, allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{name}.npy", _TIME), held.getvalue(), zipfile.ZIP_LZMA)
    return len(halves)


if __name__ == "__main__":
    n = write(Path(os.environ["MORPHOGEN_DATA"]), FILE)
    print(f"{FILE}: {n:,} pictures, {FILE.stat().st_size:,} bytes")
