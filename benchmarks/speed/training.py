"""How fast models train: the classic MLP VAE and GAN, and a diffusion U-Net, beside peers and loops written by hand.

    python -m benchmarks.speed.training vae
    python -m benchmarks.speed.training gan --rounds 5 --seconds 40 --only morphogen-eager,torchgan
    python -m benchmarks.speed.training diffusion

Contestants take turns (`benchmarks.speed.timing`); ratios are taken within a round, of two that are alike: compiled
beside compiled, where Keras' `tf.function` counts as such, eager beside eager. Of the GAN ours is eager beside all.
Needs MORPHOGEN_DATA; installs the peers into .peers/. Nothing else may run meanwhile.

`vae`, `gan`: the networks of `benchmarks.speed.mlp` on the same MNIST pictures, 128 a step, with Adam. The first epoch
warms up and is not counted, nor is compiling. Evaluation, checkpoints and sample sheets are left out for all.

`diffusion`: ours is the whole of `mg.train` (data, noise, loss, clipping, AdamW, averaging) with a U-Net of the FLOPs
and of about the parameters of diffusers' UNet2DModel "S"; theirs is the example's loop of `benchmarks.peers.diffusers`,
as published (fp32), with bf16, and compiled, too. Batch 64, pictures of Fashion-MNIST, 28 x 28. FLOPs are counted by
torch, three forward passes a step.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness import ONLY_STEPS, Json, load_data, training
from benchmarks.page.tables import Contest, Figure, Result, Seen, at_least
from benchmarks.speed import timing
from benchmarks.speed.mlp import BATCH, gan_flops, vae_flops
from benchmarks.speed.timing import Contestant
from morphogen.core import registry
from morphogen.core.family import Progress
from morphogen.core.rng import Rng

MODULE = "benchmarks.speed.training"
NET_BATCH = 64
SECONDS = {"vae": 25.0, "gan": 25.0, "diffusion": 12.0}
NETS: dict[str, Json] = {
    "equal": {"widths": (32, 64, 128), "blocks": (4, 4, 6)},  # 2.46 GFLOP a picture and step, as diffusers' S
    "lean": {"fold": 2, "widths": (64, 128), "blocks": (2, 3)},  # the network of `benchmarks.quality.diffusion fashion`
    "width 64": {"widths": (64, 128, 128), "blocks": (2, 2, 4)},
    "width 128": {"fold": 2, "widths": (128, 256), "blocks": (2, 3)},
}


def _mlp(family: str, gflop: float, **rivals: tuple[str, str, str]) -> dict[str, Contestant]:
    """Ours compiled and not, and rivals: module, environment, what it is."""
    found = {
        name: Contestant((MODULE, family, "--inside", on), "", f"this project, preset classic, --compile {on}", gflop)
        for name, on in (("morphogen", "on"), ("morphogen-eager", "off"))
    }
    for name, (module, peer, what) in rivals.items():
        loop = f"{family}-xla" if name == "keras-xla" else family
        found[name] = Contestant((f"benchmarks.{module}", loop), peer, what, gflop)
    return found


def _nets() -> dict[str, Contestant]:
    loop = "benchmarks.peers.diffusers", "speed", "--precision"
    ours = {f"ours, {net}": Contestant((MODULE, "diffusion", "--inside", net)) for net in NETS}
    return {
        **ours,
        "ours, equal, compiled": Contestant((MODULE, "diffusion", "--inside", "equal", "--compile")),
        "diffusers, as published": Contestant((*loop, "fp32"), "diffusers"),
        "diffusers, bf16": Contestant((*loop, "bf16"), "diffusers"),
        "diffusers, bf16, compiled": Contestant((*loop, "bf16", "--compile"), "diffusers"),
    }


_KERAS = ("peers.keras_loops", "keras", "Keras `fit` on TensorFlow, own train_step")
_BARE = "a hand-written torch loop: fused Adam, bf16 if it is fast"
CONTESTANTS: dict[str, dict[str, Contestant]] = {
    "vae": _mlp(
        "vae",
        vae_flops() / 1e9,
        pythae=("peers.pythae", "pythae", "pythae's BaseTrainer"),
        keras=_KERAS,
        bare=("speed.mlp", "", f"{_BARE}, compiled, clipping, averages"),
    ),
    "gan": _mlp(
        "gan",
        gan_flops() / 1e9,
        keras=_KERAS,
        **{"keras-xla": ("peers.keras_loops", "keras", "the same with jit_compile=True")},
        torchgan=("peers.torchgan", "torchgan", "torchgan's Trainer"),
        bare=("speed.mlp", "", _BARE),
    ),
    "diffusion": _nets(),
}
# What is asked of pairs that are alike: ours, theirs, how it is said, and the least ratio.
PAIRS: dict[str, tuple[tuple[str, str, str, float], ...]] = {
    "vae": (
        ("morphogen-eager", "pythae", "pythae's trainer, neither compiled", 2.5),
        ("morphogen", "keras", "Keras' `fit`, both compiled", 2.0),
        ("morphogen", "bare", "a bare compiled bf16 loop", 0.9),
    ),
    "gan": (
        ("morphogen-eager", "keras", "Keras' loop", 1.5),
        ("morphogen-eager", "keras-xla", "Keras' loop with XLA", 1.3),
        ("morphogen-eager", "torchgan", "torchgan's Trainer", 1.8),
        ("morphogen-eager", "bare", "a bare bf16 loop", 0.9),
    ),
    "diffusion": (
        ("ours, equal", "diffusers, as published", "diffusers' example loop as published", 2.0),
        ("ours, equal", "diffusers, bf16", "diffusers' loop in bf16", 1.3),
        ("ours, equal, compiled", "diffusers, bf16, compiled", "diffusers' loop in bf16, both compiled", 1.3),
    ),
}


# --------------------------------------------------------------------- ours, in a process of its own


def mlp_speed(family: str, seconds: float, compiled: str) -> Json:
    """Images a second of our trainer after its first epoch; `setup_s` are the seconds before the first step."""
    spent, images, last, warmup_s, setup_s = 0.0, 0, 0, None, None
    warnings: list[str] = []
    epoch = load_data("mnist").spec.splits["train"]
    recipe = {"epochs": 100_000, "batch_size": BATCH, "compile": compiled}
    with tempfile.TemporaryDirectory() as folder:
        events = training(family, "mnist", Path(folder) / "model", preset="classic", recipe=recipe)
        for event in events:
            warnings += event.warnings
            if event.images_per_s is None:
                continue
            made, last = BATCH * (event.step - last), event.step
            setup_s = event.elapsed_s - made / event.images_per_s if setup_s is None else setup_s
            if BATCH * event.step <= epoch:
                continue
            warmup_s = event.elapsed_s if warmup_s is None else warmup_s
            images, spent = images + made, spent + made / event.images_per_s
            if spent >= seconds:
                break
        events.close()
    return {"images_per_s": images / spent, "warmup_s": warmup_s, "setup_s": setup_s, "warnings": warnings}


def diffusion_speed(net: str, seconds: float, compiled: bool) -> Json:
    """Pictures a second of the trainer, after its first steps, and the GFLOP of a picture's step."""
    data = load_data("fashion_mnist")
    kind = registry.family("diffusion")
    model = kind(kind.Spec.parse(NETS[net]), data.spec, {})
    with FlopCounterMode(display=False) as counter:
        (step,) = model.steps(data.train.batch(slice(0, 4)), Rng(0), Progress(0, 0.0))
        torch.stack([term.mean() for term in step.terms.values()]).sum().backward()
    recipe = {"steps": 100_000, "batch_size": NET_BATCH, "clip": 1.0, "compile": "on" if compiled else "off"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "model"
        events = training("diffusion", "fashion_mnist", out, options=NETS[net], recipe={**recipe, **ONLY_STEPS})
        first, start = 0, 0.0
        for event in events:
            now = time.perf_counter()
            if not first and event.step >= 12:
                first, start = event.step, now
            if first and now - start > seconds:
                break
        rate = (event.step - first) * NET_BATCH / (now - start)
        events.close()
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    return {"images_per_s": rate, "gflop_per_image": counter.get_total_flops() / 4e9, "million_parameters": parameters}


# ------------------------------------------------------------------------------- on the results page


CONTESTS = tuple(
    Contest(file, f"Training {what}", f"speed.training {command}", timing.speeds, timing.about)
    for file, what, command in (
        ("throughput", "the classic MLP VAE, batch 128, MNIST", "vae"),
        ("throughput-gan", "the classic MLP GAN, batch 128, MNIST", "gan"),
        ("diffusion-speed", "a diffusion U-Net, batch 64, 28 x 28", "diffusion"),
        (
            "throughput-gan-avx2",
            "the classic MLP GAN, batch 128, MNIST, on a machine without bf16",
            "gan --out benchmarks/results/throughput-gan-avx2.json",
        ),
    )
)
WHAT = {"vae": "classic MLP VAE", "gan": "classic MLP GAN", "diffusion": "diffusion U-Net of equal FLOPs"}


def _share(net: str) -> Callable[[Result], Seen]:
    def read(record: Result) -> Seen:
        row, top = record["rows"][f"ours, {net}"], record["ceiling"]["bf16 convolution"]["median"]
        of = row["gflop_per_image"] / top
        low, high = (of * end for end in row["images_per_s"]["range"])
        beside = f"{row['gflop_per_image']:.2f} GFLOP a picture, {row['million_parameters']:.1f} M parameters"
        return Seen(of * row["images_per_s"]["median"], (low, high), beside, ".0%")

    return read


FIGURES = (
    *(
        timing.over(one.command, one.file, f"{WHAT[name]}, training, over {said}", at_least(least), ours, theirs)
        for name, one in zip(SECONDS, CONTESTS, strict=False)
        for ours, theirs, said, least in PAIRS[name]
    ),
    *(
        Figure(
            f"diffusion U-Net of {net}, share of the best bf16 convolution",
            CONTESTS[2].command,
            at_least(least, f"at least {100 * least:g} %"),
            (CONTESTS[2].file,),
            _share(net),
        )
        for net, least in (("width 64", 0.45), ("width 128", 0.60))
    ),
)


# -------------------------------------------------------------------------------------- command line


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = timing.speed_parser(__doc__, SECONDS)
    found.add_argument("--only", type=lambda names: names.split(","), metavar="A,B", help="some of the contestants")
    found.add_argument("--compile", action="store_true", help=argparse.SUPPRESS)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, or be a contestant."""
    of = parser()
    asked = timing.parsed(of, SECONDS, arguments)
    if asked.inside and asked.contest == "diffusion":
        print(json.dumps(diffusion_speed(asked.inside, asked.seconds, asked.compile)))
    elif asked.inside:
        print(json.dumps(mlp_speed(asked.contest, asked.seconds, asked.inside)))
    else:
        known = CONTESTANTS[asked.contest]
        if set(asked.only or ()) - set(known):
            of.error(f"--only takes {', '.join(known)}")
        chosen = {name: known[name] for name in asked.only or known}
        nets = asked.contest == "diffusion"
        pairs = [pair[:2] for pair in PAIRS[asked.contest]]
        contest = CONTESTS[list(SECONDS).index(asked.contest)]
        with timing.stored("fashion_mnist" if nets else "mnist", 2000 if asked.quick else None) as pictures:
            ceilings = ["bf16 convolution" if nets else "products"]
            found = timing.compete(contest.title, chosen, ceilings, pairs, asked, "--pictures", pictures)
        timing.finish(contest, found, asked)


if __name__ == "__main__":
    main()
