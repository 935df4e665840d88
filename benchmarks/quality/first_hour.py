"""The first hour of a newcomer: defaults alone, small sets, minutes.

    python -m benchmarks.quality.first_hour ROW [--minutes M] [--seeds 3]   # defaults: family, data and budget alone
    python -m benchmarks.quality.first_hour search NAME [--seconds S]       # one candidate of the rules, in CPU seconds
    python -m benchmarks.quality.first_hour budget [--beside 3]             # is a budget kept while others work

`ROW` is judged by the kernel distance (KID) of samples to held-out records, beside one Gaussian. `search` compares the
settings that `families/recommending.py` chooses among: each trains for equal seconds of processor time, so that other
work on the machine counts for nothing. `budget` trains beside processes that multiply matrices, and says what the
command took. Results go to benchmarks/results/first-hour-*.json. Needs MORPHOGEN_DATA.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

import morphogen as mg
from benchmarks.harness import RUNS, Json, path_of, recorded, write
from morphogen import data
from morphogen.api.preparing import prepare
from morphogen.api.resuming import Asked

CLASSES, EACH = ("agricultural", "buildings", "forest", "harbor", "river"), 60
FOLDER = RUNS / "first-hour"
ROWS: dict[str, tuple[str, str, float]] = {  # family, data, minutes
    "aerial-32": ("diffusion", "AERIAL:size=32,resize=crop", 10),
    "aerial-64": ("diffusion", "AERIAL:size=64,resize=crop", 10),
    "aerial-64-vae": ("vae", "AERIAL:size=64,resize=crop", 4),
    "emoji": ("diffusion", "emoji:size=32", 20),
    "digits": ("diffusion", "digits", 2),
    "fashion": ("diffusion", "fashion_mnist", 10),
}
_EDM: Json = {"parametrization": "x0", "schedule": "edm", "times": "log-normal", "time_mean": -0.7, "time_std": 1.5}
_SMALL: Json = {**_EDM, "lr": 4e-3, "widths": (32, 64), "blocks": (1, 1), "fold": 2}
_DEEP: Json = {**_SMALL, "widths": (64, 128, 128), "blocks": (2, 2, 2), "conditional": True}
_FLOW: Json = {"likelihood": "gaussian", "variance": 0.02, "latent_dim": 128, "prior": "flow", "norm": False}
CANDIDATES: dict[str, tuple[str, Json, Json]] = {  # row, options, recipe
    "d32-small": ("aerial-32", _SMALL, {"batch_size": 16, "flips": True}),
    "d32-no-flips": ("aerial-32", _SMALL, {"batch_size": 16}),
    "d32-wide": ("aerial-32", {**_SMALL, "widths": (64, 128)}, {"batch_size": 16}),
    "d32-lr": ("aerial-32", {**_SMALL, "lr": 2e-3}, {"batch_size": 16}),
    "d32-deep": ("aerial-32", _DEEP, {"batch_size": 16, "flips": True}),
    "d32-deep-lr": ("aerial-32", {**_DEEP, "lr": 2e-3}, {"batch_size": 16, "flips": True}),
    "d64-fold4": ("aerial-64", {**_DEEP, "fold": 4, "widths": (128, 256, 256)}, {"batch_size": 16, "flips": True}),
    "d64-fold4-lr": (
        "aerial-64",
        {**_DEEP, "fold": 4, "widths": (128, 256, 256), "lr": 1e-3, "time_mean": 0.0},
        {"batch_size": 16, "flips": True},
    ),
    "d64-fold2": ("aerial-64", {**_DEEP, "lr": 2e-3, "time_mean": 0.0}, {"batch_size": 16, "flips": True}),
    "d64-fold2-four": (
        "aerial-64",
        {**_DEEP, "lr": 2e-3, "time_mean": 0.0, "widths": (64, 128, 128, 128), "blocks": (1, 1, 2, 2)},
        {"batch_size": 16, "flips": True},
    ),
    "v64-plain": ("aerial-64-vae", {}, {"batch_size": 16}),
    "v64-flow": (
        "aerial-64-vae",
        {**_FLOW, "widths": (32, 64, 128), "blocks": 1, "lr": 2e-3},
        {"batch_size": 16},
    ),
}


def aerial() -> Path:
    """300 pictures of five classes as a folder, made once from the archive of the set."""
    folder = FOLDER / "aerial"
    if folder.is_dir():
        return folder
    part, count = folder.with_name("aerial.part"), dict.fromkeys(CLASSES, 0)
    shutil.rmtree(part, ignore_errors=True)
    with tarfile.open(Path(os.environ["MORPHOGEN_DATA"]) / "ucmerced" / "images.tar") as archive:
        for member in archive.getmembers():
            found = re.match(r"(?:.*/)?train/(?:.*/)?([a-z]+)\d+\.jpg$", member.name)
            stream = archive.extractfile(member) if found and count.get(found[1], EACH) < EACH else None
            if found and stream is not None:
                count[found[1]] += 1
                (part / found[1]).mkdir(parents=True, exist_ok=True)
                (part / found[1] / Path(member.name).name).write_bytes(stream.read())
    part.rename(folder)
    return folder


def source(row: str) -> str:
    """The data of a row."""
    text = ROWS[row][1]
    return text.replace("AERIAL", str(aerial())) if text.startswith("AERIAL") else text


def judged(model: Path, row: str) -> Json:
    """KID of samples, with its interval and baselines."""
    found = mg.evaluate(model, source(row), metrics=["kid"], save=False)
    return {r.name: {"value": r.value, "interval": r.interval, "baselines": dict(r.baselines)} for r in found}


def defaults(row: str, minutes: float, seeds: int) -> Json:
    """Trainings of one row without any option."""
    family, _, _ = ROWS[row]
    runs = []
    for seed in range(seeds):
        out = FOLDER / f"{row}-{seed}"
        shutil.rmtree(out, ignore_errors=True)
        start = time.perf_counter()
        model = mg.train(family, source(row), out, seed=seed, budget=60 * minutes)
        took = time.perf_counter() - start
        runs.append(
            {"seed": seed, "took_s": took, "training": dict(model.describe()["provenance"]), **judged(out, row)}
        )
        print(row, seed, runs[-1], flush=True)
    return {"row": row, "minutes": minutes, "runs": runs}


def search(name: str, seconds: float) -> Json:
    """One candidate, for `seconds` of processor time by its measured steps."""
    torch.set_num_threads(1)
    row, options, recipe = CANDIDATES[name]
    family = ROWS[row][0]
    recipe = {
        **recipe,
        "auto": False,
        "compile": "off",
        "device": "cpu",
        "checkpoint_seconds": 1e5,
        "sheet_seconds": 1e5,
    }
    ready = prepare(
        Asked.of(family, data.load(source(row)), None, None, None, options, {**recipe, "steps": 10}, {}), 0.0
    )
    before = time.process_time()
    ready.planned(0.0)
    ready.planned(0.0)
    pace = (time.process_time() - before) / 10  # five trial steps each
    steps, out = max(1, round(seconds / pace)), FOLDER / "search" / name
    shutil.rmtree(out, ignore_errors=True)
    mg.train(family, source(row), out, options=options, recipe={**recipe, "steps": steps})
    return {"name": name, "cpu_s": seconds, "steps": steps, "options": options, "recipe": recipe, **judged(out, row)}


def budgets(beside: int, minutes: float) -> Json:
    """What a training of so many minutes takes, from the start of the command to its end, beside other work."""
    out = FOLDER / "budget"
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "morphogen.cli", "train", "vae", "--data", "digits", "--out", str(out)]
    with working(beside):
        start = time.perf_counter()
        subprocess.run([*command, "--budget", f"{60 * minutes:g}s"], check=True, stderr=subprocess.DEVNULL)
        took = time.perf_counter() - start
    return {"beside": beside, "budget_s": 60 * minutes, "took_s": took, "share": took / (60 * minutes)}


@contextmanager
def working(processes: int) -> Iterator[None]:
    """So many processes that multiply matrices, while the block runs."""
    others = [multiprocessing.Process(target=_multiply, daemon=True) for _ in range(processes)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.terminate()


def _multiply() -> None:
    torch.set_num_threads(1)
    a = torch.randn(512, 512)
    while True:
        a = (a @ a).clamp(-1, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=[*ROWS, "search", "budget"])
    parser.add_argument("name", nargs="?", choices=[*CANDIDATES])
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=100.0)
    parser.add_argument("--beside", type=int, default=0)
    asked = parser.parse_args()
    if asked.row == "search":
        name, found = f"search-{asked.name}", search(asked.name, asked.seconds)
    elif asked.row == "budget":
        name, found = f"budget-{asked.beside}", budgets(asked.beside, asked.minutes or 2.0)
    else:
        name, found = asked.row, defaults(asked.row, asked.minutes or ROWS[asked.row][2], asked.seeds)
    write(path_of(f"first-hour-{name}"), {**recorded(), **found})
    print(found)


if __name__ == "__main__":
    main()
