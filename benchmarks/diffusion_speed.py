"""How fast a diffusion model trains, in turn with diffusers' example loop, and what share of the machine that is.

    python -m benchmarks.diffusion_speed                 # 3 rounds, on all cores; nothing else may run meanwhile
    python -m benchmarks.diffusion_speed --rounds 1 --seconds 8

Ours is the whole of `mg.train` (data, noise, loss, clipping, AdamW, averaging) with a U-Net of the FLOPs and of about
the parameters of diffusers' UNet2DModel "S"; theirs is benchmarks/diffusers_peer.py, as published (fp32), and with its
best flags (bf16, then also compiled). Batch 64, pictures of Fashion-MNIST, 28 x 28. The ceiling is the best 3 x 3
convolution in bf16, forward, of the widths and sizes in the network, in the same round; FLOPs are counted by torch,
three forward passes a step. Needs MORPHOGEN_DATA.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.peers import ensure, versions

RESULT = Path(__file__).parent / "results" / "diffusion-speed.json"
BATCH = 64
NETS: dict[str, dict[str, Any]] = {
    "equal": {"widths": (32, 64, 128), "blocks": (4, 4, 6)},  # 2.46 GFLOP a picture and step, as diffusers' S
    "lean": {"fold": 2, "widths": (64, 128), "blocks": (2, 3)},  # the network of `diffusion fashion`
    "width 64": {"widths": (64, 128, 128), "blocks": (2, 2, 4)},
    "width 128": {"fold": 2, "widths": (128, 256), "blocks": (2, 3)},
}
PEERS = {"diffusers, as published": ("--precision", "fp32"), "diffusers, bf16": ("--precision", "bf16")}
COMPILED = {"diffusers, bf16, compiled": ("--precision", "bf16", "--compile")}


def ours(net: str, seconds: float, compiled: bool) -> dict[str, float]:
    """Pictures a second of the trainer, after its first steps, and the GFLOP of a picture's step."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    import morphogen as mg
    from morphogen.core import registry
    from morphogen.core.family import Progress
    from morphogen.core.rng import Rng

    data = mg.load_data("fashion_mnist")
    kind = registry.family("diffusion")
    model = kind(kind.Spec.parse(NETS[net]), data.spec, {})
    with FlopCounterMode(display=False) as counter:
        (step,) = model.steps(data.train.batch(slice(0, 4)), Rng(0), Progress(0, 0.0))
        torch.stack([term.mean() for term in step.terms.values()]).sum().backward()
    recipe = {"steps": 100_000, "batch_size": BATCH, "clip": 1.0, "sheet_seconds": 1e6, "checkpoint_seconds": 1e6}
    with tempfile.TemporaryDirectory() as folder:
        recipe["compile"] = "on" if compiled else "off"
        events = mg.train("diffusion", "fashion_mnist", Path(folder) / "model", options=NETS[net], recipe=recipe)
        first, start = 0, 0.0
        for event in events:
            now = time.perf_counter()
            if not first and event.step >= 12:
                first, start = event.step, now
            if first and now - start > seconds:
                break
        rate = (event.step - first) * BATCH / (now - start)
        events.close()  # type: ignore[attr-defined]
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    return {"images_per_s": rate, "gflop_per_image": counter.get_total_flops() / 4e9, "million_parameters": parameters}


def ceiling(seconds: float) -> dict[str, float]:
    """GFLOP/s of the best 3 x 3 convolution in bf16."""
    import torch

    from morphogen.training.distributed import resolve_device

    device = resolve_device("auto")
    best, cases = 0.0, [(32, 28), (64, 28), (64, 14), (128, 14), (128, 7), (256, 7)]
    for width, size in cases:
        x = torch.randn(BATCH, width, size, size).bfloat16().to(device, memory_format=torch.channels_last)
        conv = torch.nn.Conv2d(width, width, 3, padding=1).bfloat16().to(device, memory_format=torch.channels_last)
        with torch.inference_mode():
            conv(x)
            done, start = 0, time.perf_counter()
            while time.perf_counter() - start < seconds / len(cases):
                conv(x)
                done += 1
            if device.type == "cuda":
                torch.cuda.synchronize()
            best = max(best, 2.0 * 9 * width**2 * size**2 * BATCH * done / (time.perf_counter() - start) / 1e9)
    return {"gflops": best}


def recorded(peer: Path) -> dict[str, Any]:
    """Hardware and versions, for the results."""
    from morphogen.training import provenance
    from morphogen.training.distributed import resolve_device

    return {
        "started": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "hardware": provenance.hardware(resolve_device("auto"), 1),
        "versions": {**provenance.versions(), **versions(peer, "diffusers")},
    }


def _ran(command: list[Any]) -> dict[str, float]:
    done = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def compare(rounds: int, seconds: float, compiled: bool) -> dict[str, Any]:
    """Each contestant once a round, in processes of their own."""
    import numpy as np

    import morphogen as mg

    peer, here = ensure("diffusers"), [sys.executable, "-m", "benchmarks.diffusion_speed"]
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures.npy"
        np.save(pictures, mg.load_data("fashion_mnist").train.stored.numpy())
        theirs = [peer, "-m", "benchmarks.diffusers_peer", "speed", pictures, "--seconds", seconds]
        jobs: dict[str, list[Any]] = {f"ours, {net}": [*here, "--ours", net, "--seconds", seconds] for net in NETS}
        jobs |= {name: [*theirs, *flags] for name, flags in PEERS.items()}
        if compiled:
            jobs |= {name: [*theirs, *flags] for name, flags in COMPILED.items()}
            jobs["ours, equal, compiled"] = [*here, "--ours", "equal", "--compile", "--seconds", seconds]
        jobs["ceiling"] = [*here, "--ceiling", "--seconds", seconds]
        for index in range(rounds):
            for name, command in jobs.items():
                found.setdefault(name, []).append(_ran(command))
                print(f"round {index + 1}: {name}: {json.dumps(found[name][-1])}", flush=True)
    top = median(r["gflops"] for r in found["ceiling"])
    rows = {}
    for name, runs in found.items():
        if name != "ceiling":
            rates = [r["images_per_s"] for r in runs]
            gflops = median(rates) * runs[0]["gflop_per_image"]
            rows[name] = {**runs[0], "images_per_s": median(rates), "range": [min(rates), max(rates)]}
            rows[name] |= {"gflops": gflops, "share_of_ceiling": gflops / top}
    ratios = {}
    for name in rows:
        if name.startswith("diffusers"):
            pairs = zip(found["ours, equal"], found[name], strict=True)
            each = [a["images_per_s"] / b["images_per_s"] for a, b in pairs]
            ratios[f"ours, equal / {name}"] = {"median": median(each), "range": [min(each), max(each)]}
    return {
        **recorded(peer),
        "rounds": rounds,
        "ceiling_gflops": top,
        "rows": rows,
        "ratios": ratios,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--compile", action="store_true", help="also what compilation gives to both sides: minutes")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--ours", choices=NETS, help=argparse.SUPPRESS)
    parser.add_argument("--ceiling", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.ours:
        print(json.dumps(ours(asked.ours, asked.seconds, asked.compile)))
    elif asked.ceiling:
        print(json.dumps(ceiling(asked.seconds)))
    else:
        found = compare(asked.rounds, asked.seconds, asked.compile)
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        for name, row in found["rows"].items():
            speed, share = row["images_per_s"], 100 * row["share_of_ceiling"]
            print(f"{name:28} {speed:7.1f} images/s  {row['gflop_per_image']:.2f} GFLOP  {share:4.1f} % of the ceiling")
        for name, ratio in found["ratios"].items():
            print(f"{name}: {ratio['median']:.2f} ({ratio['range'][0]:.2f} to {ratio['range'][1]:.2f})")


if __name__ == "__main__":
    main()
