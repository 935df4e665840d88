"""How fast pictures are drawn, in turn with diffusers' pipeline, and what share of the machine that is.

    python -m benchmarks.sampling_speed                 # 3 rounds, on all cores; nothing else may run meanwhile
    python -m benchmarks.sampling_speed --rounds 1 --seconds 6

RGB pictures of 32 x 32 by DPM-Solver++ 2M with 20 evaluations, 16 and 1 at a time, from untrained networks, whose
speed is that of trained ones. Ours is `mg.sample` with a U-Net of the FLOPs of diffusers' UNet2DModel "S", the model
read from its files at each call; theirs a DDPMPipeline that is loaded already, in fp32 as it comes and within bf16
autocast. Both also compiled: ours as `compile=True` does, with its weights as constants and the model read once; theirs
by `pipeline.unet = torch.compile(pipeline.unet)`. That takes `compile_s` at first, which is not counted. The ceiling is
the best 3 x 3 convolution in bf16 of the same round.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.diffusion_speed import NETS, ceiling, recorded
from benchmarks.peers import ensure

RESULT = Path(__file__).parent / "results" / "sampling-speed.json"
STEPS, SIZE, BATCHES = 20, 32, (16, 1)
CALLS = {16: 8, 1: 16}  # batches that one call of `mg.sample` draws
COMPILED = "bf16, compiled"


def made(out: Path) -> None:
    """A model of ours, trained for a step."""
    import morphogen as mg

    options = {**NETS["equal"], "stepper": "dpm++2m", "steps": STEPS}
    recipe = {"steps": 1, "batch_size": 8, "compile": "off", "sheet_seconds": 1e6}
    for _ in mg.train("diffusion", f"shapes:size={SIZE},n=100", out, options=options, recipe=recipe):
        pass


def ours(model: Path, batch: int, precision: str, seconds: float, compiled: bool) -> dict[str, float]:
    """Pictures a second of `mg.sample`, and the GFLOP of a picture; compiled, of what `mg.sample` then does, once."""
    from torch.utils.flop_counter import FlopCounterMode

    import morphogen as mg
    from morphogen.api import drawing
    from morphogen.core.rng import Rng
    from morphogen.training.compile import wrap_for_drawing

    with FlopCounterMode(display=False) as counter:
        mg.sample(model, batch, batch_size=batch, precision=precision)
    found = {"gflop_per_image": counter.get_total_flops() / batch / 1e9}
    n = batch * CALLS[batch]
    start = time.perf_counter()
    if compiled:
        family = drawing.drawer(model, "cpu")
        networks = wrap_for_drawing(family)

    def draw(n: int, seed: int) -> None:
        if compiled:
            drawing.made(family, n, lambda rows: None, Rng(seed), {}, precision=precision, size=batch)
        else:
            mg.sample(model, n, seed, batch_size=batch, precision=precision)

    draw(batch, 0)
    if compiled:
        assert not any(network.warning for network in networks)
        found["compile_s"] = time.perf_counter() - start
    draw(n, 0)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        draw(n, done)
        done += n
    return {"images_per_s": done / (time.perf_counter() - start), **found}


def compare(rounds: int, seconds: float) -> dict[str, Any]:
    """Each contestant once a round, in processes of their own."""
    peer, here = ensure("diffusers"), [sys.executable, "-m", "benchmarks.sampling_speed"]
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        made(model)
        jobs: dict[str, list[Any]] = {}
        for batch in BATCHES:
            for how in ("fp32", "bf16", COMPILED):
                shared = ["--precision", how[:4], "--seconds", seconds, *["--compile"] * (how == COMPILED)]
                jobs[f"ours, {how}, batch {batch}"] = [*here, "--ours", model, "--batch", batch, *shared]
                theirs = [peer, "-m", "benchmarks.diffusers_peer", "pipeline", "--n", batch, "--steps", STEPS]
                jobs[f"diffusers, {how}, batch {batch}"] = [*theirs, *shared]
        for index in range(rounds):
            tops = found.setdefault("ceiling", [])
            tops.append(ceiling(seconds))
            for name, command in jobs.items():
                done = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True)
                found.setdefault(name, []).append(json.loads(done.stdout.strip().splitlines()[-1]))
                print(f"round {index + 1}: {name}: {json.dumps(found[name][-1])}", flush=True)
    top = median(r["gflops"] for r in found.pop("ceiling"))
    rows = {}
    for name, runs in found.items():
        rates = [r["images_per_s"] for r in runs]
        gflops = median(rates) * runs[0]["gflop_per_image"]
        rows[name] = {**runs[0], "images_per_s": median(rates), "range": [min(rates), max(rates)]}
        rows[name] |= {"share_of_ceiling": gflops / top}
    ratios = {}
    pairs = [(mine, theirs) for mine in ("bf16", COMPILED) for theirs in ("fp32", "bf16", COMPILED)]
    for batch, (mine, theirs) in product(BATCHES, pairs):
        one, other = found[f"ours, {mine}, batch {batch}"], found[f"diffusers, {theirs}, batch {batch}"]
        each = [a["images_per_s"] / b["images_per_s"] for a, b in zip(one, other, strict=True)]
        name = f"ours, {mine} / diffusers, {theirs}, batch {batch}"
        ratios[name] = {"median": median(each), "range": [min(each), max(each)]}
    return {**recorded(peer), "rounds": rounds, "ceiling_gflops": top, "rows": rows, "ratios": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=16, help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="bf16", help=argparse.SUPPRESS)
    parser.add_argument("--compile", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.ours:
        print(json.dumps(ours(asked.ours, asked.batch, asked.precision, asked.seconds, asked.compile)))
        return
    found = compare(asked.rounds, asked.seconds)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for name, row in found["rows"].items():
        print(f"{name:28} {row['images_per_s']:7.2f} images/s  {100 * row['share_of_ceiling']:4.1f} % of the ceiling")
    for name, ratio in found["ratios"].items():
        print(f"{name}: {ratio['median']:.2f} ({ratio['range'][0]:.2f} to {ratio['range'][1]:.2f})")


if __name__ == "__main__":
    main()
