"""How fast pictures are drawn, and what share of the machine that is.

    python -m benchmarks.speed.sampling diffusion                 # beside diffusers' pipeline
    python -m benchmarks.speed.sampling hierarchical-vae          # the row `likelihood ladder-binary`, 64 at a time
    python -m benchmarks.speed.sampling gan                       # the row `gan fashion`, 256 at a time

Contestants and the ceiling take turns (`benchmarks.speed.timing`); nothing else may run meanwhile.

`diffusion`: RGB pictures of 32 x 32 by DPM-Solver++ 2M with 20 evaluations, 16 and 1 at a time, from untrained
networks, whose speed is that of trained ones. Ours has the FLOPs of diffusers' UNet2DModel "S"; theirs is a
DDPMPipeline. Both are loaded already; each in fp32, in bf16, and in bf16 compiled: ours as `compile=True` does, with
its weights as constants, theirs by `pipeline.unet = torch.compile(pipeline.unet)`. Compiling takes `compile_s` at
first, which is not counted. `hierarchical-vae`, `gan`: the model's own `sample`, in float32; it is trained first if it
is not there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness import ONLY_STEPS, Json, drawer, load_family, train, training
from benchmarks.page.tables import Contest, at_least
from benchmarks.quality import gan, likelihood
from benchmarks.speed import timing
from benchmarks.speed.timing import Contestant, for_seconds
from benchmarks.speed.training import NETS
from morphogen.core.rng import Rng

MODULE = "benchmarks.speed.sampling"
STEPS, SIZE, BATCHES = 20, 32, (16, 1)
CALLS = {16: 8, 1: 16}  # batches that one call draws
WAYS = {"fp32": ("fp32",), "bf16": ("bf16",), "bf16, compiled": ("bf16", "--compile")}
SECONDS = {"diffusion": 8.0, "hierarchical-vae": 20.0, "gan": 20.0}
ALONE = {"hierarchical-vae": (64, likelihood.ROWS["ladder-binary"]), "gan": (256, gan.ROWS["fashion"])}
PAIRS = [(f"ours, {way}, batch {n}", f"diffusers, {way}, batch {n}") for n, way in product(BATCHES, WAYS)]


def contestants(model: Path) -> dict[str, Contestant]:
    """Each side in each way, at each batch."""
    found = {}
    for (ours, theirs), (batch, how) in zip(PAIRS, product(BATCHES, WAYS.values()), strict=True):
        options = ("--precision", *how, "--batch", str(batch))
        found[ours] = Contestant((MODULE, "diffusion", "--inside", str(model.resolve()), *options))
        loop = ("benchmarks.peers.diffusers", "pipeline", "--steps", str(STEPS), *options)
        found[theirs] = Contestant(loop, "diffusers")
    return found


def diffusion_speed(model: Path, batch: int, precision: str, seconds: float, compiled: bool) -> Json:
    """Pictures a second of a loaded model, and the GFLOP of a picture."""
    with FlopCounterMode(display=False) as counter:
        drawer(model, precision, batch, compiled=False)(batch, 0)
    found: Json = {"gflop_per_image": counter.get_total_flops() / batch / 1e9}
    start, draw, n = time.perf_counter(), drawer(model, precision, batch, compiled=compiled), batch * CALLS[batch]
    draw(batch, 0)
    if compiled:
        found["compile_s"] = time.perf_counter() - start
    draw(n, 0)
    done, spent = for_seconds(seconds, lambda: draw(n, 0))
    return {"images_per_s": done * n / spent, **found}


def alone_speed(model: Path, batch: int, seconds: float) -> Json:
    """Pictures a second of a loaded model by its own `sample`."""
    family = load_family(model)
    with FlopCounterMode(display=False) as counter:
        family.sample(batch, None, Rng(0))
    done, spent = for_seconds(seconds, lambda: family.sample(batch, None, Rng(1)))
    return {"images_per_s": done * batch / spent, "gflop_per_image": counter.get_total_flops() / batch / 1e9}


CONTESTS = tuple(
    Contest(file, what, f"speed.sampling {name}", timing.speeds, timing.about)
    for name, file, what in (
        ("diffusion", "sampling-speed", "Drawing by diffusion, 32 x 32, 20 evaluations"),
        ("hierarchical-vae", "deep-sampling", "Drawing by the hierarchical VAE, 64 at a time"),
        ("gan", "gan-sampling", "Drawing by the GAN of Fashion-MNIST, 256 at a time"),
    )
)
FIGURES = tuple(
    timing.over(
        CONTESTS[0].command,
        CONTESTS[0].file,
        f"drawing, 20 evaluations, {batch} at a time, over diffusers' pipeline, both in {way}",
        at_least(1.5),
        *PAIRS[index],
    )
    for index, (batch, way) in enumerate(product(BATCHES, WAYS))
    if way != "fp32"
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = timing.speed_parser(__doc__, SECONDS)
    found.add_argument("--batch", type=int, default=16, help=argparse.SUPPRESS)
    found.add_argument("--precision", default="bf16", help=argparse.SUPPRESS)
    found.add_argument("--compile", action="store_true", help=argparse.SUPPRESS)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, or be a contestant."""
    asked = timing.parsed(parser(), SECONDS, arguments)
    contest = CONTESTS[list(SECONDS).index(asked.contest)]
    if asked.inside and asked.contest == "diffusion":
        model = Path(asked.inside)
        print(json.dumps(diffusion_speed(model, asked.batch, asked.precision, asked.seconds, asked.compile)))
    elif asked.inside:
        print(json.dumps(alone_speed(Path(asked.inside), asked.batch, asked.seconds)))
    elif asked.contest == "diffusion":
        options = {**NETS["equal"], "stepper": "dpm++2m", "steps": STEPS}
        recipe = {"steps": 1, "batch_size": 8, "compile": "off", **ONLY_STEPS}
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "model"
            list(training("diffusion", f"shapes:size={SIZE},n=100", model, options=options, recipe=recipe))
            found = timing.compete(contest.title, contestants(model), ["bf16 convolution"], PAIRS, asked)
        timing.finish(contest, found, asked)
    else:
        batch, row = ALONE[asked.contest]
        model = row.model(asked.quick)
        if not model.exists():
            train(row, quick=asked.quick)
        inside = (MODULE, asked.contest, "--inside", str(model.resolve()), "--batch", str(batch))
        jobs = {asked.contest: Contestant(inside)}
        timing.finish(contest, timing.compete(contest.title, jobs, ["fp32 convolution"], [], asked), asked)


if __name__ == "__main__":
    main()
