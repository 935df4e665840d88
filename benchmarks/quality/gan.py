"""Pictures by generative adversarial networks: Fashion-MNIST, enhancement of aerial pictures, emoji.

    python -m benchmarks.quality.gan fashion               # beside the classic pair and a DCGAN in Keras, as long each
    python -m benchmarks.quality.gan fashion --minutes 20
    python -m benchmarks.quality.gan aerial                # 4x, beside bicubic and a network trained on L1 alone
    python -m benchmarks.quality.gan emoji                 # conditioned on the group
    python -m benchmarks.quality.gan fashion --evaluate    # what is trained already
    python -m benchmarks.quality.gan fashion --train fashion-classic   # one model alone; --evaluate later

Models are trained (or trained on where they were interrupted) under runs/gan/; pictures go to docs/images/. Needs
MORPHOGEN_DATA; installs Keras into .peers/.

Enhancement is judged on held-back pictures. FD is the Frechet distance of what is made of their small copies to the
pictures themselves, both cut into quarters (which belong together, so that its interval is a little too narrow);
PSNR and SSIM (Wang et al., 2004; Gaussian windows of deviation 1.5, channels alike) are means over
pictures with 95 % intervals. The network trained on L1 alone is the same, with an adversarial term of no weight to
speak of (1 to 10,000).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from benchmarks import harness
from benchmarks.harness import QUICK, QUICK_N, RUNS, Json, Row, evaluate, frechet, load_data, mean_of, read, sample, say
from benchmarks.page import tables
from benchmarks.page.tables import Result, Seen, at_most, ratio, rung, seen_of, short
from benchmarks.peers.environments import run_in
from morphogen.core.batch import RawCondition
from morphogen.core.rng import Rng
from morphogen.report.sheets import sheet, to_bytes
from morphogen.theory.statistics.neighbors import nearest

FASHION, AERIAL, EMOJI = "fashion_mnist", "ucmerced:size=64,context=down4", "emoji:size=32,captions=none"
SAMPLES = 10_000
MODERN: Json = {"penalty_every": 4, "widths": (32, 64, 128)}
RECIPE: Json = {"batch_size": 32, "compile": "off", "sheet_seconds": 300}
_AERIAL: Json = {**RECIPE, "batch_size": 16, "flips": True}
ROWS = harness.by_name(
    Row("gan", "fashion", "Fashion-MNIST, GAN", "gan", FASHION, RECIPE, options=MODERN),
    Row(
        "gan",
        "fashion-classic",
        "Fashion-MNIST, the classic pair",
        "gan",
        FASHION,
        {**RECIPE, "batch_size": 128},
        preset="classic",
    ),
    Row("gan", "aerial", "4 x, GAN", "gan", AERIAL, _AERIAL, options={**MODERN, "reconstruction": 10.0}),
    Row("gan", "aerial-l1", "4 x, L1 alone", "gan", AERIAL, _AERIAL, options={**MODERN, "reconstruction": 1e4}),
    Row(
        "gan",
        "emoji",
        "emoji by group, GAN",
        "gan",
        EMOJI,
        RECIPE,
        options={**MODERN, "conditional": True, "augment": "adaptive"},
    ),
)
KERAS = "fashion-keras"


@dataclass(frozen=True)
class Effort:
    """The minutes of each training, whether all is trained already, and whether it only is to be seen that it runs."""

    minutes: float
    evaluate: bool = False
    quick: bool = False

    def trained(self, name: str) -> Path:
        """The model of that name, trained, or trained further, unless it is only to be evaluated."""
        row = ROWS[name]
        return row.model(self.quick) if self.evaluate else harness.train(row, minutes=self.minutes, quick=self.quick)

    def keras(self) -> Path:
        """Samples of the DCGAN, which is trained first unless it is only to be evaluated."""
        folder = (QUICK if self.quick else RUNS) / "gan"
        samples, pictures = folder / f"{KERAS}.npz", folder / "fashion.npy"
        if not self.evaluate:
            folder.mkdir(parents=True, exist_ok=True)
            np.save(pictures, load_data(FASHION).train.stored.numpy())
            minutes, n = 0.01 if self.quick else self.minutes, QUICK_N if self.quick else SAMPLES
            run_in("keras", "benchmarks.peers.keras_dcgan", pictures, samples, "--minutes", minutes, "--n", n)
        return samples

    def save(self, picture: Image.Image, name: str) -> None:
        """Keep a picture for the documents; of a quick run beside its results."""
        picture.save((QUICK if self.quick else harness.IMAGES) / name)


def fashion(effort: Effort) -> Json:
    """10,000 samples of each of three, trained for as long."""
    found: Json = {"minutes": effort.minutes}
    for name in ("fashion", "fashion-classic"):
        model = effort.trained(name)
        drawn = sample(model, QUICK_N if effort.quick else SAMPLES, seed=1)
        found[name] = {"fd": frechet(drawn, FASHION), "training": harness.describe_training(model)}
        say(f"{name}, FD", found[name]["fd"])
        effort.save(sheet(drawn[:64], columns=8), f"gan-{name}.png")
    samples = effort.keras()
    with np.load(samples) as arrays:
        found[KERAS] = {"fd": frechet(arrays["x"], FASHION), "training": read(samples.with_suffix(".json"))}
    say("Keras DCGAN, FD", found[KERAS]["fd"])
    return found


def aerial(effort: Effort) -> Json:
    """Held-back pictures enlarged 4 times."""
    records = load_data(AERIAL).split("test")
    batch = records.batch()
    cond, truth = batch.cond, records.stored.numpy()
    assert cond is not None and cond.context is not None
    given = to_bytes(records.spec.decode(cond.context).numpy(), records.spec)
    sides = truth.shape[:1:-1]
    ways = {"bicubic": np.stack([np.asarray(_picture(y).resize(sides, Image.Resampling.BICUBIC)) for y in given])}
    ways["bicubic"] = ways["bicubic"].transpose(0, 3, 1, 2)
    for name in ("aerial-l1", "aerial"):
        model = harness.load_family(effort.trained(name))
        parts = [
            model.sample(len(rows), RawCondition(context=cond.context[rows]), Rng(1).shifted(int(rows[0])))
            for rows in torch.arange(len(records)).split(50)
        ]
        ways[name] = records.spec.decode(torch.cat(parts)).numpy()
    # Quarters: 201 whole pictures are too few for the covariance of 64 features.
    reference = RUNS / "gan" / "aerial-quarters.npz"
    reference.parent.mkdir(parents=True, exist_ok=True)
    known = load_data(AERIAL).train.stored.numpy()
    np.savez(reference, x_train=_quarters(known), x_test=_quarters(truth))
    found: Json = {"minutes": effort.minutes, "n": len(truth)}
    for name, made in ways.items():
        quality = {"psnr": mean_of(_psnr(made, truth)), "ssim": mean_of(_ssim(made, truth))}
        found[name] = {"fd": frechet(_quarters(made), str(reference)), **quality}
        say(f"{name}, FD", found[name]["fd"])
        say("    PSNR, dB", quality["psnr"], ".2f")
        say("    SSIM", quality["ssim"], ".3f")
    shown = np.linspace(0, len(truth) - 1, 6).round().astype(int)
    small = np.stack([np.asarray(_picture(y).resize(sides, Image.Resampling.NEAREST)) for y in given[shown]])
    columns = [small.transpose(0, 3, 1, 2), *(made[shown] for made in ways.values()), truth[shown]]
    labels = ("given", "bicubic", "L1", "adversarial", "truth")
    both = np.stack(columns, axis=1).reshape(-1, *truth.shape[1:])
    effort.save(sheet(both, columns=len(labels), column_labels=labels), "gan-aerial.png")
    return found


def emoji(effort: Effort) -> Json:
    """Samples of each group, each beside the training picture nearest to it."""
    model = effort.trained("emoji")
    records = load_data(EMOJI).train
    flat = records.spec.encode(records.stored).flatten(1)
    rows, each = [], 6
    groups = records.spec.classes
    for group in groups:
        drawn = sample(model, each, label=group, seed=1)
        near = nearest(records.spec.encode(torch.from_numpy(drawn)).flatten(1), flat)[1]
        rows.append(np.stack((drawn, records.stored[near].numpy()), axis=1).reshape(-1, *drawn.shape[1:]))
    labels = ("drawn", "nearest") * each
    effort.save(sheet(np.concatenate(rows), columns=2 * each, row_labels=groups, column_labels=labels), "gan-emoji.png")
    found = evaluate(model, EMOJI, ["copied"], split="test_concept", save=False)
    for result in found["results"]:
        say(result["name"], result)
    return {"minutes": effort.minutes, "results": found["results"], "training": harness.describe_training(model)}


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


# ------------------------------------------------------------------------------- on the results page


def _beside_blur(record: Result) -> Seen:
    found = record["fashion"]
    return seen_of(found["fd"], found, bound=rung(found["fd"], "blur", "0.5 px"))


def _rival(name: str) -> Callable[[Result], Seen]:
    def read(record: Result) -> Seen:
        minutes = f"{record['minutes']:g} minutes of training each"
        return ratio(record["fashion"]["fd"], record[name]["fd"], minutes)

    return read


def _enhanced(record: Result) -> Seen:
    ways = [
        f"{name}: FD {short(record[name]['fd'])}, PSNR {record[name]['psnr']['value']:.2f} dB,"
        f" SSIM {record[name]['ssim']['value']:.3f}"
        for name in ("aerial", "aerial-l1", "bicubic")
    ]
    return ratio(record["aerial"]["fd"], record["bicubic"]["fd"], *ways, f"n = {record['n']}")


_fashion = tables.of("quality.gan fashion", "gan-fashion")
_aerial = tables.of("quality.gan aerial", "gan-aerial")
_BLURRED, _HALF = at_most(None, "below that of real pictures blurred by 0.5 px"), at_most(0.5, "below 0.5")
FIGURES = (
    _fashion("Fashion-MNIST, Frechet distance", _BLURRED, _beside_blur),
    _fashion("the same over the classic pair's, both distances", _HALF, _rival("fashion-classic")),
    _fashion("the same over a Keras DCGAN's, both distances", _HALF, _rival(KERAS)),
    _aerial("aerial pictures enlarged 4 times: Frechet distance over bicubic's", at_most(0.5), _enhanced),
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = harness.plain_parser(__doc__)
    found.add_argument("row", choices=["fashion", "aerial", "emoji"])
    found.add_argument("--minutes", type=float, default=20.0, help="of training, each model")
    found.add_argument("--quick", action="store_true", help="two steps and few samples, to see that all of it runs")
    found.add_argument("--evaluate", action="store_true", help="all is trained already")
    found.add_argument(
        "--train", metavar="MODEL", choices=[*ROWS, KERAS], help="train this one alone; --evaluate later"
    )
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, judge and write."""
    asked = parser().parse_args(arguments)
    effort = Effort(asked.minutes, asked.evaluate, asked.quick)
    if asked.train:
        effort.keras() if asked.train == KERAS else effort.trained(asked.train)
        return
    judged = {"fashion": fashion, "aerial": aerial, "emoji": emoji}[asked.row](effort)
    harness.write(harness.path_of(f"gan-{asked.row}", asked.quick), judged)


if __name__ == "__main__":
    main()
