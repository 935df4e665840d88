"""Held-out pictures with a loss: rate, PSNR and MS-SSIM of archives beside JPEG, WebP, AVIF and JPEG XL.

    python -m benchmarks.quality.lossy aerial               # 20 minutes of training
    python -m benchmarks.quality.lossy aerial-60            # 60 minutes
    python -m benchmarks.quality.lossy aerial --evaluate    # a row that is trained already

Each row trains a `rate_distortion` model on aerial pictures of 128 x 128 and makes its integer form. At some qualities
it packs the test split into an archive and reads that back, each in a process of its own. The rate counts the whole
file, without the model, whose bytes stand beside. The codecs write a file for each picture: JPEG with optimized tables,
WebP with method 6, AVIF at speed 4, by Pillow; JPEG XL with effort 7, in the environment "codecs". PSNR and MS-SSIM are
those of RGB, means over pictures; a difference is of the rate at equal quality, by Bjontegaard. The curves are drawn in
docs/images/lossy-ROW.png. Models stay in runs/lossy/ROW. Needs MORPHOGEN_DATA.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import harness
from benchmarks.harness import QUICK, Json, Row, Run, by_name, load_data, run_rows
from benchmarks.page import tables
from benchmarks.page.tables import Figure, Result, Seen, at_most
from benchmarks.peers.environments import run_in
from benchmarks.quality.compression import CHECKED, morphogen
from morphogen.applications.compression.archives import nearness
from morphogen.core.errors import UsageError
from morphogen.report.canvas import COLORS, figure, png, styled
from morphogen.theory.bjontegaard import bd_rate

DISTANCES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.5, 6.5, 10.0, 15.0)  # of JPEG XL
QUALITIES = (5, 20, 35, 50, 65, 80, 95)
PILLOW: Mapping[str, tuple[str, Sequence[int], Mapping[str, Any]]] = {
    "JPEG": ("JPEG", (5, 10, 20, 30, 40, 50, 65, 75, 85, 92, 96), {"optimize": True}),
    "JPEG 4:4:4": ("JPEG", (5, 10, 20, 30, 40, 50, 65, 75, 85, 92, 96), {"optimize": True, "subsampling": 0}),
    "WebP": ("WEBP", (1, 5, 15, 30, 45, 60, 75, 85, 92, 97), {"method": 6}),
    "AVIF": ("AVIF", (15, 25, 35, 45, 55, 65, 75, 85, 92), {"speed": 4}),
}
Points = list[Json]  # rate in bits per pixel, psnr in dB, ms_ssim


def point(at: float, stored: np.ndarray, made: np.ndarray, size: int) -> Json:
    """The place of a codec on its curve, for pictures (N, C, H, W) in `size` bytes."""
    near = np.array(nearness(stored, made, 256)).mean(0)
    pixels = stored.size // stored.shape[1]
    return {"at": at, "bits_per_pixel": 8.0 * size / pixels, "psnr": float(near[0]), "ms_ssim": float(near[1])}


def ours(run: Run, integers: Path, stored: np.ndarray, folder: Path) -> Points:
    """The curve of our archives, whole files."""
    found, data = Points(), run.row.data
    for quality in QUALITIES[3::3] if run.quick else QUALITIES:
        file, npz = folder / f"{quality}.mgz", folder / f"{quality}.npz"
        wrote = morphogen("compress", integers, "--data", data, "--split", "test", "--quality", quality, "--out", file)
        read = morphogen("decompress", file, "--model", integers, "--out", npz)
        with np.load(npz) as again:
            found.append(point(quality, stored, again["x"], wrote["bytes"]))
        if abs(found[-1]["psnr"] - wrote["psnr"]) > 1e-6:
            raise SystemExit("the archive gave other pictures than its writer saw.")
        found[-1]["seconds"] = {"compress": wrote["seconds"], "decompress": read["seconds"]}
        print(json.dumps(found[-1]), flush=True)
    return found


def of_pillow(stored: np.ndarray, name: str) -> Points:
    """The curve of a codec that Pillow has, a file for each picture."""
    kind, qualities, options = PILLOW[name]
    found = Points()
    for quality in qualities:
        size, made = 0, np.empty_like(stored)
        for i, x in enumerate(stored):
            out = io.BytesIO()
            Image.fromarray(x.transpose(1, 2, 0)).save(out, kind, quality=quality, **options)
            size += out.tell()
            made[i] = np.asarray(Image.open(out).convert("RGB")).transpose(2, 0, 1)
        found.append(point(quality, stored, made, size))
    return found


def of_jpeg_xl(stored: np.ndarray, folder: Path) -> Points:
    """The curve of JPEG XL."""
    pictures, out = folder / "pictures.npy", folder / "jpeg-xl.npz"
    np.save(pictures, stored.transpose(0, 2, 3, 1))
    run_in("codecs", "benchmarks.peers.jpeg_xl", pictures, out, *DISTANCES)
    with np.load(out) as found:
        return [
            point(d, stored, found[f"x-{d}"].transpose(0, 3, 1, 2), int(found[f"bytes-{d}"].sum())) for d in DISTANCES
        ]


def difference(anchor: Points, other: Points, of: str) -> float | None:
    """The difference of rates at equal PSNR or MS-SSIM, the latter as -10 log10(1 - MS-SSIM); None without one."""
    try:
        return bd_rate(_curve(anchor, of), _curve(other, of))
    except UsageError:
        return None


def _curve(points: Points, of: str) -> tuple[np.ndarray, np.ndarray]:
    """Rates and qualities that rise with them; a point that is worse than one of fewer bits is left out."""
    rate, quality = (np.array([p[key] for p in points]) for key in ("bits_per_pixel", of))
    order = np.argsort(rate)
    rate, quality = rate[order], quality[order]
    if of == "ms_ssim":
        quality = -10.0 * np.log10(1.0 - quality)
    rises = quality > np.concatenate(([-np.inf], np.maximum.accumulate(quality)[:-1]))
    return rate[rises], quality[rises]


def at_equal_bytes(points: Points, others: Mapping[str, Points]) -> list[Json]:
    """PSNR of every codec at the rates of ours, by straight lines over log rate; None outside of its curve."""
    found = []
    for p in points:
        row: Json = {"bits_per_pixel": p["bits_per_pixel"], "morphogen": p["psnr"]}
        for name, other in others.items():
            rate, quality = _curve(other, "psnr")
            inside = rate[0] <= p["bits_per_pixel"] <= rate[-1]
            at = float(np.interp(np.log(p["bits_per_pixel"]), np.log(rate), quality))
            row[name] = at if inside else None
        found.append(row)
    return found


@styled
def drawn(curves: Mapping[str, Points]) -> bytes:
    """PSNR and MS-SSIM against the rate, as PNG."""
    fig, first = figure(9.0, 3.6)
    fig.delaxes(first)
    for axes, of, label in zip(fig.subplots(1, 2), ("psnr", "ms_ssim"), ("PSNR, dB", "MS-SSIM, dB"), strict=True):
        for color, (name, points) in zip(COLORS, curves.items(), strict=False):
            axes.plot(*_curve(points, of), color=color, marker=".", label=name, linewidth=1.4)
        axes.set(xscale="log", xlabel="bits per pixel", ylabel=label)
    fig.axes[0].legend(loc="best")
    return png(fig)


def judge(run: Run) -> Json:
    """Measure a trained row."""
    stored = load_data(run.row.data).split("test").stored.numpy()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        integers = folder / "integers"
        n = ("--n", 2 if run.quick else min(CHECKED, len(stored)))
        form = morphogen("quantize", run.model, "--out", integers, "--data", run.row.data, *n)
        found = ours(run, integers, stored, folder)
        seen = stored[:8] if run.quick else stored
        others = {name: of_pillow(seen, name) for name in PILLOW}
        others["JPEG XL"] = of_jpeg_xl(seen, folder)
        size = sum(path.stat().st_size for path in (integers / "weights.safetensors", integers / "spec.json"))
    picture = (QUICK if run.quick else harness.IMAGES) / f"lossy-{run.row.name}.png"
    picture.write_bytes(drawn({"morphogen": found, **others}))
    return {
        "integer_form": form,
        "pictures": len(stored),
        "model_bytes": size,
        "curve": found,
        "others": others,
        "at_equal_bytes": at_equal_bytes(found, others),
        "bd_rate": {of: {k: difference(v, found, of) for k, v in others.items()} for of in ("psnr", "ms_ssim")},
        "webp_over_jpeg": difference(others["JPEG"], others["WebP"], "psnr"),
    }


def _row(name: str, minutes: int, options: Json) -> Row:
    recipe = {
        "budget": f"{minutes}min",
        "batch_size": 8,
        "flips": True,
        "compile": "off",
        "sheet_seconds": 1e6,
        "checkpoint_seconds": 600,
    }
    what = f"aerial pictures of 128 x 128 with a loss; {minutes} minutes of a shared core"
    return Row("lossy", name, what, "rate_distortion", "ucmerced:size=128", recipe, judge, options)


ROWS = by_name(_row("aerial", 20, {}), _row("aerial-60", 60, {}))


# --------------------------------------------------------------------------------------- on the results page


def _over(name: str) -> Any:
    def read(record: Result) -> Seen:
        beside = "; ".join(
            f"against {other} {value:+.1%}"
            for other, value in record["bd_rate"]["psnr"].items()
            if other != name and value is not None
        )
        by_ssim = record["bd_rate"]["ms_ssim"][name]
        return Seen(record["bd_rate"]["psnr"][name], None, f"by MS-SSIM {by_ssim:+.1%}; {beside}", "+.1%")

    return read


def _figures(name: str) -> tuple[Figure, ...]:
    figure_of, minutes = tables.of(f"quality.lossy {name}", ROWS[name].result), ROWS[name].recipe["budget"]
    what = f"aerial pictures with a loss, {minutes}: rate at equal PSNR"
    return (
        figure_of(f"{what}, against JPEG", at_most(-0.35, "at most -35 %"), _over("JPEG")),
        figure_of(f"{what}, against WebP", at_most(0.10, "at most +10 %"), _over("WebP")),
    )


FIGURES = (*_figures("aerial"), *_figures("aerial-60"))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    return harness.row_parser(__doc__, ROWS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure rows."""
    run_rows(ROWS, parser().parse_args(arguments))


if __name__ == "__main__":
    main()
