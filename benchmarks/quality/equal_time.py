"""Fashion-MNIST at equal time: our VAE, GAN and diffusion beside pythae's best, a DCGAN in Keras, and diffusers.

    python -m benchmarks.quality.equal_time                       # train each, one after the other, then judge
    python -m benchmarks.quality.equal_time --minutes 10 --threads 2
    python -m benchmarks.quality.equal_time --train NAME          # train one alone and draw from it; --evaluate later
    python -m benchmarks.quality.equal_time --evaluate            # judge what was trained

Each contestant begins anew, on the same pictures, in a process of its own that is kept to so many threads, and trains
for so many minutes by the clock. Importing, the measurement by which diffusers' loop plans its cosine and drawing are
not counted; what our trainer does besides training (checkpoints, sheets, measuring its own budget) is. pythae stands
there three times, and the best counts: its networks for MNIST are so large that minutes on a processor are a fraction
of an epoch. Samples stay in runs/equal-time/NAME.npz, what the training took in NAME.json. They are judged by the
Frechet distance to held-out pictures, and all of it goes to benchmarks/results/equal-time.json, where what is known of
contestants that were not trained now stays, if it was after as long on as many threads: train both of a pair on one
machine. Needs MORPHOGEN_DATA; installs the peers into .peers/. Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import harness
from benchmarks.harness import Json, describe_training, frechet, load_data, path_of, read, sample, save_json, training
from benchmarks.page import tables
from benchmarks.page.tables import LeftOut, Result, Seen, at_most, count, ratio
from benchmarks.peers.environments import ROOT, ensure, versions
from benchmarks.quality import diffusion, gan
from morphogen.report.progress import watch

RUNS = harness.RUNS / "equal-time"
DATA = "fashion_mnist"

# Ours: the family, its options, the recipe but its length, and how it is sampled; and the autoencoder, in whose latents
# it works, that takes a share of the time before it.
OURS: dict[str, Json] = {
    "vae": {
        "what": "autoencoder with a flow-matching prior of its latents, 20 evaluations",
        "family": "flow_matching",
        "options": {"backbone": "unet", "widths": (64,), "blocks": (4,), "attention": 0, "lr": 2e-3},
        "recipe": {"batch_size": 64, "clip": 1.0},
        "sampling": {"stepper": "dpm++2m", "steps": 20, "precision": "auto"},
        "first": {
            "share": 0.4,
            "options": {
                "widths": (32, 64),
                "blocks": 1,
                "latent_channels": 1,
                "beta": 0.5,
                "adversarial": 0.5,
                "adversarial_from": 0.2,
            },
            "recipe": {"batch_size": 64},
        },
    },
    "gan": {
        "what": "GAN",
        "family": "gan",
        "options": gan.MODERN,
        "recipe": {"batch_size": gan.RECIPE["batch_size"]},
        "sampling": {},
    },
    "diffusion": {
        "what": "diffusion, 20 evaluations",
        "family": "diffusion",
        "options": dict(diffusion.ROWS["fashion"].options),
        "recipe": {"batch_size": 64, "clip": 1.0},
        "sampling": {"stepper": "dpm++2m", "steps": 20, "precision": "auto"},
    },
}
# Theirs: what it is, its environment, and the packages whose versions matter.
THEIRS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "pythae-rae": ("pythae's RAE-L2", "pythae", ("pythae", "torch")),
    "pythae-rae-mlp": ("pythae's RAE-L2, default networks", "pythae", ("pythae", "torch")),
    "pythae-vaegan": ("pythae's VAE-GAN", "pythae", ("pythae", "torch")),
    "keras": ("a Keras DCGAN", "keras", ("keras", "tensorflow-cpu")),
    "diffusers": ("diffusers, DDIM, 50 evaluations", "diffusers", ("diffusers", "accelerate", "torch")),
}
NAMES = (*OURS, *THEIRS)


def train_ours(name: str, runs: Path, minutes: float, draws: int, threads: int) -> None:
    """Train one of ours in this process, and draw from it."""
    torch.set_num_threads(threads)
    how, parts, facts = OURS[name], {}, {}
    if first := how.get("first"):
        of = runs / name / "autoencoder"
        facts["first"] = {**first, **_trained("autoencoder", of, first, minutes * first["share"], name)}
        parts["autoencoder"] = Path(os.path.relpath(of))  # as the record then names it
        minutes *= 1.0 - first["share"]
    found = _trained(how["family"], runs / name / "model", how, minutes, name, parts)
    drawn = sample(runs / name / "model", draws, seed=1, batch_size=250, **how["sampling"])
    np.savez(runs / f"{name}.npz", x=drawn)
    facts |= {key: how[key] for key in ("family", "options", "sampling")}
    save_json(runs / f"{name}.json", {**facts, **found})


def _trained(
    family: str, out: Path, how: Json, minutes: float, label: str, parts: dict[str, Path] | None = None
) -> Json:
    """The recipe and the record of a model that is trained here for so long."""
    recipe = {"compile": "off", "sheet_seconds": 600, **how["recipe"], "budget": f"{minutes}min"}
    for _ in watch(training(family, DATA, out, options=how["options"], recipe=recipe, parts=parts), label=label):
        pass
    found = describe_training(out)
    if not found["complete"]:
        raise SystemExit(f"{label} was interrupted: train it anew with --train {label}.")
    return {"recipe": recipe, **found}


def commands(name: str, runs: Path, minutes: float, draws: int, threads: int) -> list[list[Any]]:
    """What trains the contestant and draws from it into NAME.npz, with NAME.json beside it."""
    pictures, samples, length, n = runs / "pictures.npy", runs / f"{name}.npz", ("--minutes", minutes), ("--n", draws)
    if name in OURS:
        asked = ("--draws", draws, "--threads", threads, "--runs", runs)
        return [[sys.executable, "-m", "benchmarks.quality.equal_time", "--inside", name, *length, *asked]]
    python = ensure(THEIRS[name][1])
    if name == "keras":
        own = ("--threads", threads)
        return [[python, "-m", "benchmarks.peers.keras_dcgan", pictures, samples, *length, *n, *own]]
    if name == "diffusers":
        peer, model = [python, "-m", "benchmarks.peers.diffusers"], runs / name
        how = ("--n", min(draws, diffusion.PEER_SAMPLES), "--scheduler", "ddim", "--steps", 50)
        return [[*peer, "train", pictures, model, *length], [*peer, "sample", model, samples, *how]]
    kind, networks = name.split("-")[1], "default" if name.endswith("-mlp") else "mnist"
    peer = [python, "-m", "benchmarks.peers.pythae_pictures", kind, pictures, samples]
    return [[*peer, *length, *n, "--networks", networks]]


def train(name: str, runs: Path, minutes: float, draws: int, threads: int) -> None:
    """Train the contestant and draw from it, in processes of their own."""
    print(f"{name}: {minutes:g} minutes, {threads} threads", flush=True)
    samples, record = runs / f"{name}.npz", runs / f"{name}.json"
    shutil.rmtree(runs / name, ignore_errors=True)
    for stale in (samples, record):
        stale.unlink(missing_ok=True)
    if name in THEIRS and not (runs / "pictures.npy").exists():
        np.save(runs / "pictures.npy", load_data(DATA).train.stored.numpy())
    limits = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    environment = {**os.environ, **dict.fromkeys((*limits, "TF_NUM_INTEROP_THREADS"), str(threads))}
    for command in commands(name, runs, minutes, draws, threads):
        if subprocess.run([str(part) for part in command], cwd=ROOT, env=environment).returncode:
            raise SystemExit(f"{name} failed: {' '.join(map(str, command))}")
    facts = read(runs / name / "training.json" if name == "diffusers" else record)
    if name in THEIRS:
        what, peer, packages = THEIRS[name]
        facts["versions"] = versions(ensure(peer), *packages)
        facts["hardware"] = {**harness.recorded(device="cpu")["hardware"], "threads": threads}
    else:
        what = OURS[name]["what"]
    said = {"what": what, "minutes": minutes, "threads": threads}
    if hasattr(os, "sched_getaffinity"):
        said["cpus"] = sorted(os.sched_getaffinity(0))
    save_json(record, {**said, "training": facts})


def judge(runs: Path) -> Json:
    """The Frechet distance of each that is trained, beside what it took. Exits where their times were not equal."""
    known = {name: read(runs / f"{name}.json") for name in NAMES if (runs / f"{name}.json").exists()}
    if not known:
        raise SystemExit(f"{runs} holds nothing that was trained: leave out --evaluate.")
    if missing := [name for name in NAMES if name not in known]:
        print(f"not trained, and so not judged: {', '.join(missing)}", file=sys.stderr)
    each = {name: (one["minutes"], one["threads"]) for name, one in known.items()}
    if len(set(each.values())) > 1:
        told = ", ".join(f"{name} {minutes:g} min on {threads}" for name, (minutes, threads) in each.items())
        raise SystemExit(f"minutes and threads differ: {told}. Train the odd ones again with --train NAME.")
    ((minutes, threads),) = set(each.values())
    found: Json = {"data": DATA, "minutes": minutes, "threads": threads}
    for name, one in known.items():
        with np.load(runs / f"{name}.npz") as arrays:
            found[name] = {**one, "fd": frechet(arrays["x"], DATA)}
        harness.say(f"{one['what']}, FD", found[name]["fd"])
    return found


def joined(before: Json, found: Json) -> Json:
    """What was found now, and before it of contestants that are not in it, if that was after as long on as many."""
    same = all(before.get(key) == found[key] for key in ("data", "minutes", "threads"))
    return {**{name: before[name] for name in NAMES if same and name in before}, **found}


# ------------------------------------------------------------------------------- on the results page


HALF = 0.5  # of a rival's distance is asked for at most


def _as_long(mine: str, rivals: tuple[str, ...]) -> Callable[[Result], Seen]:
    """Ours over the best of theirs. Where one was not trained, only a miss is told: others can but confirm it.

    Raises LeftOut where the two were trained on different machines.
    """

    def read(record: Result) -> Seen:
        there, lacking = ([n for n in rivals if (n in record) is trained] for trained in (True, False))
        if not there:
            raise KeyError(lacking[0])
        best = min((record[name] for name in there), key=lambda one: one["fd"]["value"])
        if lacking and record[mine]["fd"]["value"] <= HALF * best["fd"]["value"]:
            raise KeyError(lacking[0])
        ours = record[mine]
        if (here := _processor(ours)) != (other := _processor(best)):
            raise LeftOut(f"trained on other machines: {here}, {other}")
        each = (
            f"{ours['what']}; {best['what']}",
            f"{record['minutes']:g} min, {count(record['threads'], 'thread')} each",
        )
        sizes = f"n = {ours['fd']['n']:,} and {best['fd']['n']:,}"
        left = [f"not trained: {', '.join(lacking)}"] if lacking else []
        return ratio(ours["fd"], best["fd"], *each, sizes, *left)

    return read


def _processor(one: Result) -> str:
    return str(one["training"]["hardware"]["cpu"])


_figure = tables.of("quality.equal_time", "equal-time")
_PYTHAE = ("pythae-rae", "pythae-rae-mlp", "pythae-vaegan")
FIGURES = tuple(
    _figure(f"Fashion-MNIST after as many minutes: {what}, Frechet distances", at_most(HALF), _as_long(name, rivals))
    for what, name, rivals in (
        ("our best of the VAE family over pythae's best", "vae", _PYTHAE),
        ("our GAN over a Keras DCGAN", "gan", ("keras",)),
        ("our diffusion over diffusers'", "diffusion", ("diffusers",)),
    )
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = harness.plain_parser(__doc__)
    what = found.add_mutually_exclusive_group()
    what.add_argument("--train", metavar="NAME", choices=NAMES, help=f"one of {', '.join(NAMES)}")
    what.add_argument("--evaluate", action="store_true", help="all is trained already")
    what.add_argument("--inside", choices=OURS, help=argparse.SUPPRESS)  # in the contestant's own process
    found.add_argument("--minutes", type=float, default=10.0, help="of training, each")
    found.add_argument("--threads", type=int, default=2)
    found.add_argument("--cpus", help="the processors to keep to, such as 0,1 (Linux)")
    most = f"{diffusion.PEER_SAMPLES:,}"
    found.add_argument("--draws", type=int, default=2000, help=f"samples of each; diffusers at most {most}")
    found.add_argument("--runs", type=Path, default=RUNS, help="folder of the samples")
    found.add_argument("--out", type=Path, default=path_of("equal-time"))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the contestants, each in a process of its own, and judge them."""
    of = parser()
    asked = of.parse_args(arguments)
    runs = asked.runs.resolve()
    runs.mkdir(parents=True, exist_ok=True)
    if asked.cpus:
        if not hasattr(os, "sched_setaffinity"):
            of.error("--cpus needs Linux: leave it out")
        os.sched_setaffinity(0, {int(cpu) for cpu in asked.cpus.split(",")})  # and every process that starts here
    how = (runs, asked.minutes, asked.draws, asked.threads)
    if asked.inside:
        train_ours(asked.inside, *how)
        return
    for name in () if asked.evaluate else [asked.train] if asked.train else NAMES:
        train(name, *how)
    if not asked.train:
        harness.write(asked.out, joined(read(asked.out) if asked.out.exists() else {}, judge(runs)))


if __name__ == "__main__":
    main()
