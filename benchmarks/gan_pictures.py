"""Pictures by generative adversarial networks: Fashion-MNIST, enhancement of aerial pictures, emoji; and how fast.

    python -m benchmarks.gan_pictures fashion               # beside the classic pair and a DCGAN in Keras, as long each
    python -m benchmarks.gan_pictures fashion --minutes 20
    python -m benchmarks.gan_pictures aerial                # 4x, beside bicubic and a network trained on L1 alone
    python -m benchmarks.gan_pictures emoji                 # conditioned on the group
    python -m benchmarks.gan_pictures fashion --evaluate    # what is trained already
    python -m benchmarks.gan_pictures sampling              # how fast the network of fashion draws, 256 at a time

Each row trains what it needs (or goes on where it was interrupted) under runs/gan/, judges it, and writes
benchmarks/results/gan-ROW.json, and pictures to docs/images/. Needs MORPHOGEN_DATA; installs Keras into .peers/.

Enhancement is judged on held-back pictures. FD is the Frechet distance of what is made of their small copies to the
pictures themselves, both cut into quarters (which belong together, so that its interval is a little too narrow);
PSNR and SSIM (Wang et al., 2004; Gaussian windows of deviation 1.5, channels alike) are means over
pictures with 95 % intervals. The network trained on L1 alone is the same, with an adversarial term of no weight to
speak of (1 to 10,000).
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

import morphogen as mg
from benchmarks.deep import sampling
from benchmarks.peers import ROOT, ensure
from morphogen.core.batch import RawCondition
from morphogen.core.rng import Rng
from morphogen.report.progress import watch
from morphogen.report.sheets import sheet, to_bytes
from morphogen.theory.statistics.neighbors import nearest

RUNS, RESULTS, IMAGES = Path("runs/gan"), Path(__file__).parent / "results", ROOT / "docs" / "images"
FASHION, AERIAL, EMOJI = "fashion_mnist", "ucmerced:size=64,context=down4", "emoji:size=32,captions=none"
DRAWN, KERAS = 10_000, RUNS / "fashion-keras.npz"
MODERN: dict[str, Any] = {"penalty_every": 4, "widths": (32, 64, 128)}
RECIPE: dict[str, Any] = {"batch_size": 32, "compile": "off", "sheet_seconds": 300}
# model -> its data, preset and options, and its recipe
MODELS: dict[str, tuple[str, str | None, dict[str, Any], dict[str, Any]]] = {
    "fashion": (FASHION, None, MODERN, RECIPE),
    "fashion-classic": (FASHION, "classic", {}, {**RECIPE, "batch_size": 128}),
    "aerial": (AERIAL, None, {**MODERN, "reconstruction": 10.0}, {**RECIPE, "batch_size": 16, "flips": True}),
    "aerial-l1": (AERIAL, None, {**MODERN, "reconstruction": 1e4}, {**RECIPE, "batch_size": 16, "flips": True}),
    "emoji": (EMOJI, None, {**MODERN, "conditional": True, "augment": "adaptive"}, RECIPE),
}


def trained(name: str, minutes: float, evaluate_only: bool) -> Path:
    """The model of that name, trained for so long, or trained further, unless it is only to be evaluated."""
    data, preset, options, recipe = MODELS[name]
    out = RUNS / name
    if not evaluate_only:
        recipe = {**recipe, "budget": f"{minutes}min"}
        events = mg.train("gan", data, out, preset=preset, options=options, recipe=recipe, resume=out.exists())
        for _ in watch(events, label=name):
            pass
    return out


def keras(minutes: float) -> None:
    """Train the DCGAN for so long, and draw from it."""
    pictures = RUNS / "fashion.npy"
    np.save(pictures, mg.load_data(FASHION).train.stored.numpy())
    how = ["--minutes", str(minutes), "--n", str(DRAWN)]
    command = [ensure("keras"), "-m", "benchmarks.keras_dcgan", pictures.resolve(), KERAS.resolve(), *how]
    subprocess.run(command, check=True, cwd=ROOT)


def distance(x: np.ndarray, data: str) -> dict[str, Any]:
    """The Frechet distance of uint8 pictures to the held-out ones, with their ladder of degradations."""
    scratch = RUNS / "scratch.npz"
    np.savez(scratch, x=x)
    found: dict[str, Any] = mg.evaluate_samples(str(scratch), data, ["fd"])
    return {**found["results"][0], "ladders": found["ladders"]}


def fashion(minutes: float, evaluate_only: bool) -> dict[str, Any]:
    """10,000 samples of each of three, trained for as long."""
    found: dict[str, Any] = {"minutes": minutes}
    for name in ("fashion", "fashion-classic"):
        model = trained(name, minutes, evaluate_only)
        drawn = mg.sample(model, DRAWN, seed=1).x
        found[name] = {"fd": distance(drawn, FASHION), "training": mg.show(model)["provenance"]}
        _say(name, found[name]["fd"])
        _save(sheet(drawn[:64], columns=8), f"gan-{name}.png")
    if not evaluate_only:
        keras(minutes)
    with np.load(KERAS) as arrays:
        found["fashion-keras"] = {"fd": distance(arrays["x"], FASHION), "training": _json(KERAS.with_suffix(".json"))}
    _say("Keras DCGAN", found["fashion-keras"]["fd"])
    return found


def aerial(minutes: float, evaluate_only: bool) -> dict[str, Any]:
    """Held-back pictures enlarged 4 times."""
    records = mg.load_data(AERIAL).split("test")
    batch = records.batch()
    cond, truth = batch.cond, records.stored.numpy()
    assert cond is not None and cond.context is not None
    given = to_bytes(records.spec.decode(cond.context).numpy(), records.spec)
    sides = truth.shape[:1:-1]
    ways = {"bicubic": np.stack([np.asarray(_picture(y).resize(sides, Image.Resampling.BICUBIC)) for y in given])}
    ways["bicubic"] = ways["bicubic"].transpose(0, 3, 1, 2)
    for name in ("aerial-l1", "aerial"):
        model: Any = mg.load_model(trained(name, minutes, evaluate_only)).family
        parts = [
            model.sample(len(rows), RawCondition(context=cond.context[rows]), Rng(1).shifted(int(rows[0])))
            for rows in torch.arange(len(records)).split(50)
        ]
        ways[name] = records.spec.decode(torch.cat(parts)).numpy()
    # Quarters: 201 whole pictures are too few for the covariance of 64 features.
    reference = RUNS / "aerial-quarters.npz"
    known = mg.load_data(AERIAL).train.stored.numpy()
    np.savez(reference, x_train=_quarters(known), x_test=_quarters(truth))
    found: dict[str, Any] = {"minutes": minutes, "n": len(truth)}
    for name, made in ways.items():
        quality = {"psnr": _mean(_psnr(made, truth)), "ssim": _mean(_ssim(made, truth))}
        found[name] = {"fd": distance(_quarters(made), str(reference)), **quality}
        _say(name, found[name]["fd"])
        print(f"    PSNR {quality['psnr']['value']:.2f} dB, SSIM {quality['ssim']['value']:.3f}", flush=True)
    shown = np.linspace(0, len(truth) - 1, 6).round().astype(int)
    small = np.stack([np.asarray(_picture(y).resize(sides, Image.Resampling.NEAREST)) for y in given[shown]])
    columns = [small.transpose(0, 3, 1, 2), *(made[shown] for made in ways.values()), truth[shown]]
    labels = ("given", "bicubic", "L1", "adversarial", "truth")
    both = np.stack(columns, axis=1).reshape(-1, *truth.shape[1:])
    _save(sheet(both, columns=len(labels), column_labels=labels), "gan-aerial.png")
    return found


def emoji(minutes: float, evaluate_only: bool) -> dict[str, Any]:
    """Samples of each group, each beside the training picture nearest to it."""
    model = trained("emoji", minutes, evaluate_only)
    records = mg.load_data(EMOJI).train
    flat = records.spec.encode(records.stored).flatten(1)
    rows, each = [], 6
    groups = records.spec.classes
    for group in groups:
        drawn = mg.sample(model, each, label=group, seed=1).x
        near = nearest(records.spec.encode(torch.from_numpy(drawn)).flatten(1), flat)[1]
        rows.append(np.stack((drawn, records.stored[near].numpy()), axis=1).reshape(-1, *drawn.shape[1:]))
    labels = ("drawn", "nearest") * each
    _save(sheet(np.concatenate(rows), columns=2 * each, row_labels=groups, column_labels=labels), "gan-emoji.png")
    found: dict[str, Any] = mg.evaluate(model, EMOJI, ["copied"], split="test_concept", save=False)
    for result in found["results"]:
        _say(result["name"], result)
    return {"minutes": minutes, "results": found["results"], "training": mg.show(model)["provenance"]}


def sampled(minutes: float, evaluate_only: bool) -> dict[str, Any]:
    """Pictures a second of the network of fashion, which is trained for them first if it is not there."""
    model = trained("fashion", minutes, evaluate_only or (RUNS / "fashion").exists())
    found = sampling(model, batch=256)
    print(found, flush=True)
    return found


def _quarters(x: np.ndarray) -> np.ndarray:
    """Each picture (N, C, H, W) as four of half the side."""
    h, w = x.shape[2] // 2, x.shape[3] // 2
    return np.concatenate([x[..., i : i + h, j : j + w] for i in (0, h) for j in (0, w)])


def _picture(x: np.ndarray) -> Image.Image:
    return Image.fromarray(x.transpose(1, 2, 0))


def _psnr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    error = np.square(a.astype(float) - b).mean((1, 2, 3))
    return 10.0 * np.log10(255.0**2 / error)


def _ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    def blurred(v: np.ndarray) -> np.ndarray:
        found: np.ndarray = gaussian_filter(v, (0, 0, 1.5, 1.5), truncate=3.5)
        return found

    x, y = a.astype(float), b.astype(float)
    mx, my = blurred(x), blurred(y)
    vx, vy, both = blurred(x * x) - mx * mx, blurred(y * y) - my * my, blurred(x * y) - mx * my
    c, d = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    found: np.ndarray = (2 * mx * my + c) * (2 * both + d) / ((mx * mx + my * my + c) * (vx + vy + d))
    return found[:, :, 5:-5, 5:-5].mean((1, 2, 3))  # where windows lie within the picture


def _mean(values: np.ndarray) -> dict[str, Any]:
    value, error = float(values.mean()), 1.96 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return {"value": value, "interval": [value - error, value + error], "n": len(values)}


def _say(name: str, found: dict[str, Any]) -> None:
    low, high = found["interval"]
    print(f"{name}: {found['name']} {found['value']:.4g} ({low:.4g} to {high:.4g}), n = {found['n']}", flush=True)


def _save(picture: Image.Image, name: str) -> None:
    picture.save(IMAGES / name)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=["fashion", "aerial", "emoji", "sampling"])
    parser.add_argument("--minutes", type=float, default=20.0, help="of training, each model")
    parser.add_argument("--evaluate", action="store_true", help="all is trained already")
    parser.add_argument(
        "--train", metavar="MODEL", choices=[*MODELS, "fashion-keras"], help="train this one alone; --evaluate later"
    )
    asked = parser.parse_args()
    RUNS.mkdir(parents=True, exist_ok=True)
    if asked.train:
        if asked.train in MODELS:
            trained(asked.train, asked.minutes, False)
        else:
            keras(asked.minutes)
        return
    rows = {"fashion": fashion, "aerial": aerial, "emoji": emoji, "sampling": sampled}
    record = rows[asked.row](asked.minutes, asked.evaluate)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"gan-{asked.row}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
