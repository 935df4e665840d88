"""How fast pictures are drawn, and what share of the machine that is.

    python -m benchmarks.speed.sampling diffusion                 # beside diffusers' pipeline
    python -m benchmarks.speed.sampling diffusion --rounds 1 --seconds 6
    python -m benchmarks.speed.sampling hierarchical-vae          # the row `likelihood ladder-binary`, 64 at a time
    python -m benchmarks.speed.sampling gan                       # the row `gan fashion`, 256 at a time

Contestants and the ceiling take turns (`benchmarks.speed.timing`); nothing else may run meanwhile.

`diffusion`: RGB pictures of 32 x 32 by DPM-Solver++ 2M with 20 evaluations, 16 and 1 at a time, from untrained
networks, whose speed is that of trained ones. Ours is `mg.sample` with a U-Net of the FLOPs of diffusers' UNet2DModel
"S", the model read from its files at each call; theirs a DDPMPipeline that is loaded already, in fp32 as it comes and
within bf16 autocast. Both also compiled: ours as `compile=True` does, with its weights as constants and the model read
once; theirs by `pipeline.unet = torch.compile(pipeline.unet)`. That takes `compile_s` at first, which is not counted.
The ceiling is the best 3 x 3 convolution in bf16.

`hierarchical-vae`, `gan`: the model's own `sample`, loaded (and trained first if it is not there), in float32; the
ceiling is the best 3 x 3 convolution of 64 channels in float32.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness import ONLY_STEPS, Json, drawer, load_family, recorded, sample, train, training
from benchmarks.page import tables
from benchmarks.page.tables import Contest, Figure, Result, Speed, at_least, best_ratio
from benchmarks.quality import gan, likelihood
from benchmarks.speed import timing
from benchmarks.speed.contestants import NETS
from benchmarks.speed.timing import CEILING, Contestant, for_seconds
from benchmarks.speed.training import net_about, net_speeds
from morphogen.core.rng import Rng

MODULE = "benchmarks.speed.sampling"
STEPS, SIZE, BATCHES = 20, 32, (16, 1)
CALLS = {16: 8, 1: 16}  # batches that one call of `mg.sample` draws
COMPILED = "bf16, compiled"
SECONDS = {"diffusion": 8.0, "hierarchical-vae": 20.0, "gan": 20.0}
ALONE = {"hierarchical-vae": (64, likelihood.ROWS["ladder-binary"]), "gan": (256, gan.ROWS["fashion"])}


def contestants(model: Path) -> dict[str, Contestant]:
    """Each side in each precision, at each batch."""
    found = {}
    for batch, how in product(BATCHES, ("fp32", "bf16", COMPILED)):
        options = ("--precision", how[:4], *["--compile"] * (how == COMPILED), "--batch", str(batch))
        ours = (MODULE, "diffusion", "--inside", str(model.resolve()), *options)
        found[f"ours, {how}, batch {batch}"] = Contestant(ours)
        theirs = ("benchmarks.peers.diffusers", "pipeline", "--steps", str(STEPS), *options)
        found[f"diffusers, {how}, batch {batch}"] = Contestant(theirs, "diffusers")
    return found


def diffusion_speed(model: Path, batch: int, precision: str, seconds: float, compiled: bool) -> Json:
    """Pictures a second of `mg.sample`, and the GFLOP of a picture; compiled, of what `mg.sample` then does, once."""
    with FlopCounterMode(display=False) as counter:
        sample(model, batch, batch_size=batch, precision=precision)
    found: Json = {"gflop_per_image": counter.get_total_flops() / batch / 1e9}
    start = time.perf_counter()
    if compiled:
        draw = drawer(model, precision, batch)
    else:

        def draw(n: int, seed: int) -> object:
            return sample(model, n, seed, batch_size=batch, precision=precision)

    draw(batch, 0)
    if compiled:
        found["compile_s"] = time.perf_counter() - start
    n = batch * CALLS[batch]
    draw(n, 0)
    done, spent = for_seconds(seconds, lambda: draw(n, 0))
    return {"images_per_s": done * n / spent, **found}


def compare(rounds: int, seconds: float) -> Json:
    """Ours and diffusers' pipeline, and ours as a multiple of theirs in each precision."""
    options = {**NETS["equal"], "stepper": "dpm++2m", "steps": STEPS}
    recipe = {"steps": 1, "batch_size": 8, "compile": "off", **ONLY_STEPS}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        for _ in training("diffusion", f"shapes:size={SIZE},n=100", model, options=options, recipe=recipe):
            pass
        jobs = contestants(model)
        before = recorded(timing.versions_of(jobs))
        found = timing.in_turn({**timing.ceiling("convolutions"), **jobs}, rounds, "--seconds", seconds)
    top = median(one["gflops"] for one in found[CEILING])
    ratios = {}
    for batch, mine, theirs in product(BATCHES, ("bf16", COMPILED), ("fp32", "bf16", COMPILED)):
        pair = f"ours, {mine}, batch {batch}", f"diffusers, {theirs}, batch {batch}"
        ratios[f"ours, {mine} / {pair[1]}"] = timing.ratio(found, *pair)
    return {**before, "rounds": rounds, "ceiling_gflops": top, "rows": timing.rows(found, top), "ratios": ratios}


def alone(model: Path, batch: int, rounds: int, seconds: float) -> Json:
    """Pictures a second of a loaded model, in turn with the best convolution of 64 channels in float32."""
    family = load_family(model)
    with FlopCounterMode(display=False) as counter:
        family.sample(batch, None, Rng(0))
    gflop = counter.get_total_flops() / batch / 1e9
    layouts, speeds, ceilings = (torch.contiguous_format, torch.channels_last), [], []
    for index in range(rounds):
        done, spent = for_seconds(seconds / rounds, partial(family.sample, batch, None, Rng(index)))
        speeds.append(done * batch / spent)
        cases = ((64, 7), (64, 14))
        ceilings.append(timing.best_convolution(seconds / 4 / rounds, cases, torch.float32, layouts))
    speed, ceiling = median(speeds), median(ceilings)
    return {
        "what": f"sampling at batch {batch}, float32, {torch.get_num_threads()} threads",
        "pictures_per_s": speed,
        "range": [min(speeds), max(speeds)],
        "mflop_per_picture": 1e3 * gflop,
        "gflops": speed * gflop,
        "ceiling_gflops": ceiling,
        "share_of_ceiling": speed * gflop / ceiling,
    }


# ------------------------------------------------------------------------------- on the results page


def _alone_speeds(record: Result) -> Iterator[Speed]:
    gflop, share = record["mflop_per_picture"] / 1e3, f"{100 * record['share_of_ceiling']:.0f} %"
    yield Speed(record["what"], record["pictures_per_s"], record["range"], gflop, share)


def _alone_about(record: Result) -> str:
    ceiling = f"{record['ceiling_gflops']:.0f} GFLOP/s"
    return f"The best 3 x 3 convolution of 64 channels in fp32 reaches {ceiling} in the same run."


_COMMAND = "speed.sampling diffusion"
_DIFFUSION = "Drawing by diffusion, 32 x 32, 20 evaluations"
CONTESTS = (
    Contest("sampling-speed", _DIFFUSION, _COMMAND, net_speeds, net_about),
    Contest(
        "deep-sampling",
        "Drawing by the hierarchical VAE",
        "speed.sampling hierarchical-vae",
        _alone_speeds,
        _alone_about,
    ),
    Contest("gan-sampling", "Drawing by the GAN of Fashion-MNIST", "speed.sampling gan", _alone_speeds, _alone_about),
)


def _over_diffusers(batch: int, mine: Sequence[str], theirs: str, also: str = "") -> Figure:
    what = f"drawing, 20 evaluations, {batch} at a time, over diffusers' pipeline in {theirs[:4]}{also}"
    names = [f"ours, {how} / diffusers, {theirs}, batch {batch}" for how in mine]
    return tables.of(_COMMAND, "sampling-speed")(what, at_least(1.5), best_ratio(*names))


FIGURES = (
    *(_over_diffusers(batch, ("bf16", COMPILED), theirs) for batch in BATCHES for theirs in ("fp32", "bf16")),
    *(_over_diffusers(batch, (COMPILED,), COMPILED, ", both compiled") for batch in BATCHES),
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
    if asked.inside:
        model = Path(asked.inside)
        print(json.dumps(diffusion_speed(model, asked.batch, asked.precision, asked.seconds, asked.compile)))
        return
    if asked.contest == "diffusion":
        found = compare(asked.rounds, asked.seconds)
    else:
        batch, row = ALONE[asked.contest]
        model = row.model(asked.quick)
        if not model.exists():
            train(row, quick=asked.quick)
        found = alone(model, batch, asked.rounds, asked.seconds)
    timing.finish(CONTESTS[list(SECONDS).index(asked.contest)], found, asked)


if __name__ == "__main__":
    main()
