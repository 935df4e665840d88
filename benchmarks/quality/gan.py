"""Pictures by generative adversarial networks: Fashion-MNIST, enhancement of aerial pictures, emoji.

    python -m benchmarks.quality.gan fashion               # or another row; `fashion-classic`: the classic pair
    python -m benchmarks.quality.gan aerial                # 4x, beside bicubic and a network trained on L1 alone
    python -m benchmarks.quality.gan emoji                 # conditioned on the group
    python -m benchmarks.quality.gan fashion --evaluate    # what is trained already

20 minutes of one core a row; the peers at equal time are in `benchmarks.quality.equal_time`. Models stay in runs/gan/;
pictures go to docs/images/. Needs MORPHOGEN_DATA.

Enhancement is judged on held-back pictures. FD is the Frechet distance of what is made of their small copies to the
pictures themselves, both cut into quarters (which belong together, so that its interval is a little too narrow);
PSNR and SSIM (Wang et al., 2004; Gaussian windows of deviation 1.5, channels alike) are means over
pictures with 95 % intervals. The network trained on L1 alone is the same, with an adversarial term of no weight to
speak of (1 to 10,000).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from benchmarks import fair, harness
from benchmarks.harness import QUICK, RUNS, Asked, Json, Row, Run, evaluate, frechet, load_data, mean_of, sample, say
from benchmarks.page.tables import Result, Seen, at_most, ratio, rung, seen_of, short
from morphogen.core.batch import RawCondition
from morphogen.core.rng import Rng
from morphogen.report.sheets import sheet, to_bytes
from morphogen.theory.statistics.neighbors import nearest

FASHION, AERIAL, EMOJI = "fashion_mnist", "ucmerced:size=64,context=down4", "emoji:size=32,captions=none"
SAMPLES = 10_000


def save(picture: Image.Image, run: Run, name: str) -> None:
    """Keep a picture for the documents; of a quick run beside its results."""
    picture.save((QUICK if run.quick else harness.IMAGES) / name)


def fashion(run: Run) -> Json:
    """The distance of 10,000 samples."""
    drawn = sample(run.model, run.n(SAMPLES), seed=1)
    found = frechet(drawn, FASHION)
    say(f"{run.row.name}, FD", found)
    save(sheet(drawn[:64], columns=8), run, f"gan-{run.row.name}.png")
    return {"fd": found}


def aerial(run: Run) -> Json:
    """Held-back pictures enlarged 4 times, also by the row `aerial-l1`, which is trained first where it is not."""
    records = load_data(AERIAL).split("test")
    cond, truth = records.batch().cond, records.stored.numpy()
    assert cond is not None and cond.context is not None
    given = to_bytes(records.spec.decode(cond.context).numpy(), records.spec)
    sides = truth.shape[:1:-1]

    def enlarged(pictures: np.ndarray, how: Image.Resampling) -> np.ndarray:
        made = [np.asarray(Image.fromarray(y.transpose(1, 2, 0)).resize(sides, how)) for y in pictures]
        return np.stack(made).transpose(0, 3, 1, 2)

    ways = {"bicubic": enlarged(given, Image.Resampling.BICUBIC)}
    for name, folder in (("aerial-l1", harness.train(ROWS["aerial-l1"], quick=run.quick)), ("aerial", run.model)):
        model = harness.load_family(folder)
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
    found: Json = {"n": len(truth)}
    for name, made in ways.items():
        quality = {"psnr": mean_of(_psnr(made, truth)), "ssim": mean_of(_ssim(made, truth))}
        found[name] = {"fd": frechet(_quarters(made), str(reference)), **quality}
        say(f"{name}, FD", found[name]["fd"])
        say("    PSNR, dB", quality["psnr"], ".2f")
        say("    SSIM", quality["ssim"], ".3f")
    shown = np.linspace(0, len(truth) - 1, 6).round().astype(int)
    small = enlarged(given[shown], Image.Resampling.NEAREST)
    columns = [small, *(made[shown] for made in ways.values()), truth[shown]]
    labels = ("given", "bicubic", "L1", "adversarial", "truth")
    both = np.stack(columns, axis=1).reshape(-1, *truth.shape[1:])
    save(sheet(both, columns=len(labels), column_labels=labels), run, "gan-aerial.png")
    return found


def emoji(run: Run) -> Json:
    """Samples of each group, each beside the training picture nearest to it; the share that is copied."""
    records = load_data(EMOJI).train
    flat = records.spec.encode(records.stored).flatten(1)
    rows, each = [], 6
    groups = records.spec.classes
    for group in groups:
        drawn = sample(run.model, each, label=group, seed=1)
        near = nearest(records.spec.encode(torch.from_numpy(drawn)).flatten(1), flat)[1]
        rows.append(np.stack((drawn, records.stored[near].numpy()), axis=1).reshape(-1, *drawn.shape[1:]))
    labels = ("drawn", "nearest") * each
    both = sheet(np.concatenate(rows), columns=2 * each, row_labels=groups, column_labels=labels)
    save(both, run, "gan-emoji.png")
    found = evaluate(run.model, EMOJI, ["copied"], split="test_concept", save=False)
    for result in found["results"]:
        say(result["name"], result)
    return {"results": found["results"]}


def _quarters(x: np.ndarray) -> np.ndarray:
    """Each picture (N, C, H, W) as four of half the side."""
    h, w = x.shape[2] // 2, x.shape[3] // 2
    return np.concatenate([x[..., i : i + h, j : j + w] for i in (0, h) for j in (0, w)])


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


# ------------------------------------------------------------------------------------------- what is asked


def _beside_blur(record: Result) -> Seen:
    return seen_of(record["fd"], record, bound=rung(record["fd"], "blur", "0.5 px"))


def _over_classic(ours: Result, classic: Result) -> Seen:
    a, b = ours["training"], classic["training"]
    void = fair.verdict(fair.unequal_time(fair.spent(a), fair.spent(b)), fair.unequal_place(a, b))
    return ratio(ours["fd"], classic["fd"], void=void)


def _enhanced(record: Result) -> Seen:
    ways = [
        f"{name}: FD {short(record[name]['fd'])}, PSNR {record[name]['psnr']['value']:.2f} dB,"
        f" SSIM {record[name]['ssim']['value']:.3f}"
        for name in ("aerial", "aerial-l1", "bicubic")
    ]
    return ratio(record["aerial"]["fd"], record["bicubic"]["fd"], *ways, f"n = {record['n']}")


_ON_FASHION = (
    Asked(
        "Fashion-MNIST, Frechet distance", at_most(None, "below that of real pictures blurred by 0.5 px"), _beside_blur
    ),
    Asked(
        "the same over the classic pair's after as long, both distances",
        at_most(0.5, "below 0.5"),
        _over_classic,
        ("gan-fashion-classic",),
    ),
)
_ENHANCED = Asked("aerial pictures enlarged 4 times: Frechet distance over bicubic's", at_most(0.5), _enhanced)

# fmt: off
MODERN: Json = {"penalty_every": 4, "widths": (32, 64, 128)}
RECIPE: Json = {"budget": "20min", "batch_size": 32, "compile": "off", "sheet_seconds": 300}
_AERIAL: Json = {**RECIPE, "batch_size": 16, "flips": True}
ROWS = harness.by_name(
    Row("gan", "fashion", "Fashion-MNIST, GAN", "gan", FASHION, RECIPE, fashion, MODERN, asked=_ON_FASHION),
    Row("gan", "fashion-classic", "Fashion-MNIST, the classic pair", "gan", FASHION, {**RECIPE, "batch_size": 128},
        fashion, preset="classic"),
    Row("gan", "aerial", "aerial pictures enlarged 4 times, GAN", "gan", AERIAL, _AERIAL, aerial,
        {**MODERN, "reconstruction": 10.0}, asked=(_ENHANCED,)),
    Row("gan", "aerial-l1", "the same, L1 alone", "gan", AERIAL, _AERIAL, options={**MODERN, "reconstruction": 1e4}),
    Row("gan", "emoji", "emoji by group, GAN", "gan", EMOJI, RECIPE, emoji,
        {**MODERN, "conditional": True, "augment": "adaptive"}),
)
# fmt: on
FIGURES = harness.figures("quality.gan", ROWS)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    return harness.row_parser(__doc__, ROWS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, judge and write."""
    harness.run_rows(ROWS, parser().parse_args(arguments))


if __name__ == "__main__":
    main()
