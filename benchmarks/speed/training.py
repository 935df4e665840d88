"""How fast models train: the classic MLP VAE and GAN, and a diffusion U-Net, beside peers and loops written by hand.

    python -m benchmarks.speed.training vae
    python -m benchmarks.speed.training gan --rounds 5 --seconds 40 --only morphogen,torchgan
    python -m benchmarks.speed.training diffusion --compile

Contestants take turns (`benchmarks.speed.timing`); ratios are taken within a round. Needs MORPHOGEN_DATA; installs the
peers into .peers/. Nothing else may run meanwhile.

`vae`, `gan`: the networks of `benchmarks.speed.mlp` on the same MNIST pictures, 128 a step, with Adam. The first epoch
warms up and is not counted. Evaluation, checkpoints and sample sheets are left out for all. Compiling is reported
apart. The ceiling is the best square matrix product.

`diffusion`: ours is the whole of `mg.train` (data, noise, loss, clipping, AdamW, averaging) with a U-Net of the FLOPs
and of about the parameters of diffusers' UNet2DModel "S"; theirs is `benchmarks.peers.diffusers`, as published (fp32),
and with its best flags (bf16, then also compiled). Batch 64, pictures of Fashion-MNIST, 28 x 28. The ceiling is the
best 3 x 3 convolution in bf16, forward, of the widths and sizes in the network; FLOPs are counted by torch, three
forward passes a step.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness import ONLY_STEPS, Json, load_data, recorded, training
from benchmarks.page import tables
from benchmarks.page.tables import Contest, Figure, LeftOut, Result, Seen, Speed, at_least, best_ratio, ratio_seen
from benchmarks.speed import timing
from benchmarks.speed.contestants import EQUAL, MLP, NETS, OURS, diffusion_contestants
from benchmarks.speed.mlp import BATCH, gan_flops, vae_flops
from benchmarks.speed.timing import CEILING, DISTURBED, Contestant, summary
from morphogen.core import registry
from morphogen.core.family import Progress
from morphogen.core.rng import Rng

FLOPS: dict[str, Callable[[], float]] = {"vae": vae_flops, "gan": gan_flops}
NET_BATCH = 64
SECONDS = {"vae": 25.0, "gan": 25.0, "diffusion": 12.0}


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


# --------------------------------------------------------------------------------------- comparisons


def compare_mlp(model: str, rounds: int, seconds: float, names: Sequence[str], records: int | None) -> Json:
    """Speeds of each contestant, and ours as a multiple of each other's within the same round."""
    chosen, before = {name: MLP[model][name] for name in names}, recorded(device="cpu")
    with timing.stored("mnist", records) as pictures:
        jobs = {**timing.ceiling("products"), **chosen}
        found = timing.in_turn(jobs, rounds, "--pictures", pictures, "--seconds", seconds)
    ratios = {
        f"{ours} / {other}": timing.ratio(found, ours, other)
        for ours in OURS
        if ours in names
        for other in names
        if other not in OURS
    }
    versions = {**before["versions"], **timing.versions_of(chosen)}
    return {
        "what": f"training throughput of the classic MLP {model.upper()}, batch {BATCH}, MNIST",
        **before,
        "rounds": rounds,
        "seconds": seconds,
        "flops_per_image": FLOPS[model](),
        "versions": versions,
        "contestants": {name: _of_rounds(model, chosen[name].what, found[name]) for name in names},
        "ratios": ratios,
        "ceiling": {key: summary([one[key] for one in found[CEILING]]) for key in ("fp32_gflops", "bf16_gflops")},
    }


def _of_rounds(model: str, what: str, runs: Sequence[Json]) -> Json:
    speed = summary([run["images_per_s"] for run in runs])
    return {
        "what": what,
        "images_per_s": speed,
        "gflops": speed["median"] * FLOPS[model]() / 1e9,
        "warmup_s": [run["warmup_s"] for run in runs],
        "setup_s": [run["setup_s"] for run in runs] if "setup_s" in runs[0] else None,
        "other_cores": [run["other_cores"] for run in runs],
        "warnings": sorted({warning for run in runs for warning in run.get("warnings", [])}),
    }


def compare_diffusion(rounds: int, seconds: float, compiled: bool) -> Json:
    """Speeds of our networks and of diffusers' loop, and the equal one as a multiple of theirs."""
    contestants = diffusion_contestants(compiled)
    before = recorded(timing.versions_of(contestants))
    with timing.stored("fashion_mnist") as pictures:
        jobs = {**contestants, **timing.ceiling("convolutions")}
        found = timing.in_turn(jobs, rounds, "--pictures", pictures, "--seconds", seconds)
    top = median(one["gflops"] for one in found[CEILING])
    theirs = [name for name in contestants if name.startswith("diffusers")]
    ratios = {f"{EQUAL} / {name}": timing.ratio(found, EQUAL, name) for name in theirs}
    return {**before, "rounds": rounds, "ceiling_gflops": top, "rows": timing.rows(found, top), "ratios": ratios}


# ------------------------------------------------------------------------------- on the results page


def _mlp_speeds(record: Result) -> Iterator[Speed]:
    ceiling = {key: value["median"] for key, value in record["ceiling"].items()}
    for name, one in record["contestants"].items():
        used = max((cores for cores in one["other_cores"] if cores is not None), default=0.0)
        disturbed = f" (**disturbed**: other processes used {used:.2f} cores)" if used > DISTURBED else ""
        shares = [f"{100 * one['gflops'] / ceiling[f'{kind}_gflops']:.0f} % of {kind}" for kind in ("fp32", "bf16")]
        speed = one["images_per_s"]
        gflop = record["flops_per_image"] / 1e9
        yield Speed(f"{name}: {one['what']}{disturbed}", speed["median"], speed["range"], gflop, ", ".join(shares))


def _mlp_about(record: Result) -> str:
    ceiling = {key.partition("_")[0]: value["median"] for key, value in record["ceiling"].items()}
    return (
        f"{record['rounds']} rounds, interleaved, of {record['seconds']:g} s each after an epoch of warm-up,"
        f" {record['started']}. Matrix products reach {ceiling['fp32']:.0f} GFLOP/s in fp32 and {ceiling['bf16']:.0f}"
        " in bf16 in the same run."
    )


def net_speeds(record: Result) -> Iterator[Speed]:
    """The rows of a comparison of networks."""
    for name, row in record["rows"].items():
        share = f"{100 * row['share_of_ceiling']:.0f} %"
        yield Speed(name, row["images_per_s"], row["range"], row["gflop_per_image"], share)


def net_about(record: Result) -> str:
    """The ceiling of a comparison of networks."""
    return f"The best 3 x 3 convolution in bf16 reaches {record['ceiling_gflops']:.0f} GFLOP/s in the same run."


_GAN, _NET = "speed.training gan", "speed.training diffusion --compile"


def _mlp_contest(file: str, what: str, command: str) -> Contest:
    return Contest(file, f"Training the classic MLP {what}", command, _mlp_speeds, _mlp_about)


CONTESTS = (
    _mlp_contest("throughput", "VAE, batch 128, MNIST", "speed.training vae"),
    _mlp_contest("throughput-gan", "GAN, batch 128, MNIST", _GAN),
    _mlp_contest(
        "throughput-gan-avx2",
        "GAN, batch 128, MNIST, on a machine without bf16",
        f"{_GAN} --out benchmarks/results/throughput-gan-avx2.json",
    ),
    Contest("diffusion-speed", "Training a diffusion U-Net, batch 64, 28 x 28", _NET, net_speeds, net_about),
)


def _mlp(model: str, rival: str, name: str, bound: float) -> Figure:
    def read(record: Result) -> Seen:
        if name not in record["contestants"]:
            raise LeftOut(name)
        return best_ratio(*(f"{ours} / {name}" for ours in OURS))(record)

    figure = tables.of(f"speed.training {model}", "throughput" if model == "vae" else f"throughput-{model}")
    return figure(f"classic MLP {model.upper()}, training, over {rival}", at_least(bound), read)


def _best_flags(record: Result) -> Seen:
    """Ours over the faster of diffusers' bf16 loops."""
    names = [name for name in record["ratios"] if "bf16" in name]
    return ratio_seen(min(names, key=lambda name: record["ratios"][name]["median"]), record)


def _share(net: str) -> Callable[[Result], Seen]:
    def read(record: Result) -> Seen:
        row = record["rows"][f"ours, {net}"]
        low, high = (row["share_of_ceiling"] * end / row["images_per_s"] for end in row["range"])
        beside = f"{row['gflop_per_image']:.2f} GFLOP a picture, {row['million_parameters']:.1f} M parameters"
        return Seen(row["share_of_ceiling"], (low, high), beside, ".0%")

    return read


_net = tables.of(_NET, "diffusion-speed")
_U_NET, _published = "diffusion U-Net of", best_ratio(f"{EQUAL} / diffusers, as published")
FIGURES = (
    _mlp("vae", "pythae's trainer", "pythae", 2.5),
    _mlp("vae", "Keras' `fit`", "keras", 2.0),
    _mlp("vae", "a bare compiled bf16 loop", "bare", 0.9),
    _mlp("gan", "Keras' loop", "keras", 1.5),
    _mlp("gan", "Keras' loop with XLA", "keras-xla", 1.3),
    _mlp("gan", "torchgan's Trainer", "torchgan", 1.8),
    _mlp("gan", "a bare bf16 loop", "bare", 0.9),
    _net("diffusion U-Net, training, over diffusers' example loop as published", at_least(2.0), _published),
    _net("diffusion U-Net, training, over diffusers' best flags", at_least(1.3), _best_flags),
    *(
        _net(f"{_U_NET} {net}, share of the best bf16 convolution", at_least(bound, f"at least {said}"), _share(net))
        for net, bound, said in (("width 64", 0.45, "45 %"), ("width 128", 0.60, "60 %"))
    ),
)


# -------------------------------------------------------------------------------------- command line


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = timing.speed_parser(__doc__, SECONDS)
    found.add_argument(
        "--only", type=lambda names: names.split(","), metavar="A,B", help="some of an MLP's contestants"
    )
    found.add_argument("--records", type=int, help="give an MLP's rivals fewer pictures")
    found.add_argument("--compile", action="store_true", help="diffusion: what compilation gives to both sides, too")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, or be a contestant."""
    of = parser()
    asked = timing.parsed(of, SECONDS, arguments)
    if asked.inside:
        if asked.contest == "diffusion":
            found = diffusion_speed(asked.inside, asked.seconds, asked.compile)
        else:
            found = mlp_speed(asked.contest, asked.seconds, asked.inside)
        print(json.dumps(found))
        return
    if asked.contest == "diffusion":
        found = compare_diffusion(asked.rounds, asked.seconds, asked.compile)
    else:
        contestants: Mapping[str, Contestant] = MLP[asked.contest]
        names, records = asked.only or list(contestants), 2000 if asked.quick else asked.records
        if set(names) - set(contestants):
            of.error(f"--only takes {', '.join(contestants)}")
        found = compare_mlp(asked.contest, asked.rounds, asked.seconds, names, records)
    contest = {"vae": CONTESTS[0], "gan": CONTESTS[1], "diffusion": CONTESTS[3]}[asked.contest]
    timing.finish(contest, found, asked)


if __name__ == "__main__":
    main()
