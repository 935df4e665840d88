"""Trainings of equal time: our VAE, GAN and diffusion beside pythae's, Keras' and diffusers', each set up well.

    python -m benchmarks.quality.equal_time fashion                  # 2, 5 and 10 minutes, three seeds each
    python -m benchmarks.quality.equal_time fashion --minutes 10 --only diffusion --seeds 0
    python -m benchmarks.quality.equal_time emoji                    # RGB at 32 px, 20 minutes
    python -m benchmarks.quality.equal_time fashion --evaluate       # judge what was trained
    python -m benchmarks.quality.equal_time fashion --search diffusers   # settings, a quarter as long

Ours trains first, in a process of its own on one thread, for so many minutes; then each rival for the seconds of a core
that ours took. Reading the pictures counts, importing and drawing do not; what our trainer does besides training
(checkpoints, measuring its budget) counts. Of several rivals the one counts whose first 2,000 samples of the first seed
are nearest to real pictures; what is compared are other 2,000 samples of each side. `benchmarks.fair` says which rows
are void. `--search` gives ours and theirs as many candidates and as much time each; the settings are those below
and in `benchmarks/peers/`. Samples stay in runs/equal-time/. Needs MORPHOGEN_DATA; installs the peers into .peers/.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import fair, harness
from benchmarks.harness import Json, describe_training, frechet, load_data, path_of, read, sample, save_json, training
from benchmarks.page import tables
from benchmarks.page.tables import Figure, Result, Seen, at_most, short
from benchmarks.peers.environments import ROOT, ensure, versions
from benchmarks.quality.diffusion import LEAN
from benchmarks.quality.gan import MODERN
from morphogen.report.progress import watch

MODULE = "benchmarks.quality.equal_time"
JUDGED = 2000  # samples that choose among rivals, and as many others that are compared
SEEDS, THREADS = (0, 1, 2), 1
HALF = 0.5  # of a rival's distance is asked for at most


@dataclass(frozen=True)
class Ours:
    """A training of ours: what it is, its family and options, its recipe but the length, and how it is sampled.

    `first` is the autoencoder, in whose latents it works and which takes `share` of the time; `search` are the changes
    of the options that were tried.
    """

    what: str
    family: str
    rivals: tuple[str, ...]
    options: Json
    recipe: Json
    sampling: Json = field(default_factory=dict)
    share: float = 0.0
    first: Json = field(default_factory=dict)
    search: tuple[Json, ...] = ()


@dataclass(frozen=True)
class Theirs:
    """A training of a peer: what it is, its environment, its module and setup, and the changes that were tried."""

    what: str
    peer: str
    module: str
    setup: str
    packages: tuple[str, ...]
    search: tuple[Json, ...] = ()


# fmt: off
_FLOW = {"backbone": "unet", "widths": (64,), "blocks": (4,), "attention": 0, "lr": 2e-3}
_AUTOENCODER = {"widths": (32, 64), "blocks": 1, "latent_channels": 1, "beta": 0.5, "adversarial": 0.5,
                "adversarial_from": 0.2}
_EVALUATIONS = {"stepper": "dpm++2m", "steps": 20, "precision": "auto"}
_RATES = ({"lr": 1e-3}, {"lr": 2e-3}, {"lr": 4e-3})
OURS = {
    "vae": Ours("autoencoder with a flow-matching prior of its latents, 20 evaluations", "flow_matching",
                ("pythae-rae", "pythae-rae-conv", "pythae-vaegan"), _FLOW, {"batch_size": 64, "clip": 1.0},
                _EVALUATIONS, 0.4, _AUTOENCODER, _RATES),
    "gan": Ours("GAN", "gan", ("keras",), MODERN, {"batch_size": 32},
                search=({"lr": 1e-3}, {"lr": 2e-3}, {"penalty_every": 8})),
    "diffusion": Ours("diffusion, 20 evaluations", "diffusion", ("diffusers",), {**LEAN, "time_mean": -0.6},
                      {"batch_size": 64, "clip": 1.0}, _EVALUATIONS, search=_RATES),
}
_PYTHAE = ("pythae", "benchmarks.peers.pythae_pictures")
THEIRS = {
    "pythae-rae": Theirs("pythae's RAE-L2", *_PYTHAE, "rae", ("pythae", "torch"), _RATES),
    "pythae-rae-conv": Theirs("pythae's RAE-L2, convolutions", *_PYTHAE, "rae-conv", ("pythae", "torch"), _RATES),
    "pythae-vaegan": Theirs("pythae's VAE-GAN, convolutions", *_PYTHAE, "vaegan", ("pythae", "torch"), _RATES),
    "keras": Theirs("a Keras GAN, R1, two rates, averages", "keras", "benchmarks.peers.keras_gan", "sized",
                    ("keras", "tensorflow-cpu"),
                    ({"widths": (256, 128, 64)}, {"gamma": 10.0}, {"g_rate": 5e-4, "d_rate": 1e-3})),
    "diffusers": Theirs("diffusers, tuned, UniPC, 20 evaluations", "diffusers", "benchmarks.peers.diffusers", "tuned",
                        ("diffusers", "torch"), _RATES),
}
# fmt: on


@dataclass(frozen=True)
class Contest:
    """Pictures, the minutes after which they are compared, which of ours take part, and the result of each length."""

    name: str
    what: str
    data: str
    minutes: tuple[float, ...]
    ours: tuple[str, ...]

    def file(self, minutes: float) -> str:
        """The name of the result, without .json."""
        return f"equal-time-{self.name}-{minutes:g}"


CONTESTS = {
    "fashion": Contest("fashion", "Fashion-MNIST", "fashion_mnist", (2.0, 5.0, 10.0), tuple(OURS)),
    "emoji": Contest("emoji", "emoji, RGB at 32 px", "emoji:size=32,captions=none", (20.0,), ("diffusion",)),
}


# ------------------------------------------------------------------------------------------------- training


@dataclass(frozen=True)
class Place:
    """One contest at one length with one seed, and its folder."""

    contest: Contest
    minutes: float
    seed: int
    folder: Path
    n: int = 2 * JUDGED

    def train_ours(self, name: str, change: Json) -> None:
        """Train one of ours in this process and draw from it."""
        how, out = OURS[name], self.folder / name
        shutil.rmtree(out, ignore_errors=True)
        before, parts, facts = fair.clock(), {}, {}
        if how.first:
            facts["first"] = self._trained(name, out / "first", "autoencoder", how.first, {"batch_size": 64}, how.share)
            parts["autoencoder"] = Path(os.path.relpath(out / "first"))  # as the record then names it
        options = {**how.options, **change}
        facts |= self._trained(name, out / "model", how.family, options, how.recipe, 1.0 - how.share, parts)
        spent = fair.since(before).to_dict()
        drawn = sample(out / "model", self.n, seed=1, batch_size=250, **how.sampling)
        np.savez(out.with_suffix(".npz"), x=drawn)
        save_json(out.with_suffix(".json"), {**facts, "options": options, "sampling": how.sampling, "spent": spent})

    def _trained(
        self,
        label: str,
        out: Path,
        family: str,
        options: Json,
        recipe: Json,
        share: float,
        parts: dict[str, Path] | None = None,
    ) -> Json:
        recipe = {"compile": "off", "sheet_seconds": 6000, **recipe, "seed": self.seed}
        recipe["budget"] = f"{share * self.minutes}min"
        events = training(family, self.contest.data, out, options=options, recipe=recipe, parts=parts or {})
        for _ in watch(events, label=label):
            pass
        return {"recipe": recipe, **describe_training(out)}

    def train(self, name: str, change: Json, seconds: float | None = None) -> Json:
        """Train a contestant in a process of its own; what it took. Rivals train for `seconds` of a core."""
        print(f"{self.contest.name}, {self.minutes:g} minutes, seed {self.seed}: {name} {change or ''}", flush=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        out, pictures = self.folder / f"{name}.npz", self.folder.parent / "pictures.npy"
        if name in OURS:
            inside = json.dumps([self.contest.name, self.minutes, self.seed, str(self.folder), self.n])
            command: list[object] = [sys.executable, "-m", MODULE, self.contest.name, "--inside", name, inside]
            command += ["--change", json.dumps(change)]
        else:
            if not pictures.exists():
                np.save(pictures, load_data(self.contest.data).train.stored.numpy())
            peer = THEIRS[name]
            command = [ensure(peer.peer), "-m", peer.module, peer.setup, pictures, out, "--seconds", seconds]
            command += ["--n", self.n, "--seed", self.seed, "--change", json.dumps(change)]
        limits = ("OMP_NUM", "MKL_NUM", "OPENBLAS_NUM", "TF_NUM_INTRAOP", "TF_NUM_INTEROP")
        one = {f"{of}_THREADS": str(THREADS) for of in limits}
        if subprocess.run([str(part) for part in command], cwd=ROOT, env={**os.environ, **one}).returncode:
            raise SystemExit(f"{name} failed: {' '.join(map(str, command))}")
        facts: Json = read(out.with_suffix(".json"))
        if name in THEIRS:
            facts["versions"] = versions(ensure(THEIRS[name].peer), *THEIRS[name].packages)
            facts["hardware"] = {**harness.recorded(device="cpu")["hardware"], "threads": THREADS}
            save_json(out.with_suffix(".json"), facts)
        return facts

    def judged(self, name: str) -> Json:
        """Distances of the samples that choose and of those that are compared, and what the training took."""
        with np.load(self.folder / f"{name}.npz") as arrays:
            x = arrays["x"]
        chooses, compared = (frechet(part, self.contest.data) for part in (x[: len(x) // 2], x[len(x) // 2 :]))
        facts = read(self.folder / f"{name}.json")
        what = (OURS.get(name) or THEIRS[name]).what
        harness.say(f"{what}, seed {self.seed}, FD", compared)
        return {"what": what, "seed": self.seed, "fd": compared, "fd_to_choose": chooses["value"], "training": facts}


def place_of(contest: Contest, minutes: float, seed: int, folder: str = "", n: int = 2 * JUDGED) -> Place:
    """Where one length and seed of a contest lies."""
    base = (harness.RUNS / "equal-time" / contest.name).resolve()
    return Place(contest, minutes, seed, Path(folder) if folder else base / f"{minutes:g}min-{seed}", n)


def compete(contest: Contest, minutes: float, seeds: Sequence[int], names: Sequence[str], evaluate: bool) -> None:
    """Train ours and its rivals for each seed, judge them and write the result; what is known of others stays."""
    path = path_of(contest.file(minutes))
    before = read(path) if path.exists() else {}
    known: dict[str, list[Json]] = before.get("contestants", {})
    for seed in seeds:
        place = place_of(contest, minutes, seed)
        for name in names:
            if not evaluate:
                own = place.train(name, {})
                for rival in OURS[name].rivals:
                    place.train(rival, {}, own["spent"]["processor_s"])
            for each in (name, *OURS[name].rivals):
                kept = [one for one in known.get(each, []) if one["seed"] != seed]
                known[each] = sorted([*kept, place.judged(each)], key=lambda one: int(one["seed"]))
        found = {"what": f"{contest.what} after {minutes:g} minutes", "data": contest.data, "minutes": minutes}
        harness.write(path, {**found, **harness.recorded(device="cpu"), "contestants": known})


def search(contest: Contest, minutes: float, name: str) -> None:
    """Train each candidate of one contestant for a quarter of the time with a seed of its own, and print the table."""
    of = OURS.get(name) or THEIRS[name]
    found = []
    for index, change in enumerate(({}, *of.search)):
        place = place_of(contest, minutes / 4, 99, str(harness.RUNS.resolve() / f"equal-time/search-{name}-{index}"))
        place.train(name, change, 15.0 * minutes)
        found.append({"change": change, "fd": place.judged(name)["fd_to_choose"]})
        print(found[-1], flush=True)
    harness.write(path_of(f"equal-time-search-{name}"), {"contestant": name, "minutes": minutes / 4, "tried": found})


# ------------------------------------------------------------------------------- on the results page


def compared(mine: str) -> Callable[[Result], Seen]:
    """Ours over the best of its rivals, seed by seed; void where `benchmarks.fair` says so."""

    def read_from(record: Result) -> Seen:
        each = record["contestants"]
        known = {name: {one["seed"]: one for one in each.get(name, [])} for name in (mine, *OURS[mine].rivals)}
        if lacking := [name for name, runs in known.items() if not runs]:
            raise KeyError(lacking[0])
        ours = known.pop(mine)
        rival = min(known, key=lambda name: next(iter(known[name].values()))["fd_to_choose"])
        pairs = [(run, known[rival][seed]) for seed, run in ours.items() if seed in known[rival]]
        ratios = [tables.ratio(a["fd"], b["fd"]) for a, b in pairs]
        ends = [end for one in ratios for end in one.ends or ()]
        few = fair.too_few(len(pairs), fair.MIN_SEEDS, "seeds")
        void = fair.verdict(*(reasons for a, b in pairs for reasons in _unfair(a, b)), few)
        beside = "; ".join(
            [f"{short(a['fd'])} over {short(b['fd'])}" for a, b in pairs]
            + [f"{pairs[0][0]['what']}; {pairs[0][1]['what']}", tables.count(len(pairs), "seed")]
        )
        return Seen(median(one.value for one in ratios), (min(ends), max(ends)), beside, ".3f", void=void)

    return read_from


def _unfair(ours: Result, theirs: Result) -> Sequence[Iterator[str]]:
    a, b = ours["training"], theirs["training"]
    return (
        fair.unequal_time(fair.spent(a), fair.spent(b)),
        fair.unequal_place(a, b),
        fair.untrained(ours["what"], ours["fd"]),
        fair.untrained(theirs["what"], theirs["fd"]),
    )


_TITLES = {
    "vae": "our VAE family over pythae's best",
    "gan": "our GAN over a Keras GAN",
    "diffusion": "our diffusion over diffusers'",
}
FIGURES: tuple[Figure, ...] = tuple(
    Figure(
        f"{contest.what} after {minutes:g} minutes of a core: {_TITLES[name]}, Frechet distances",
        f"quality.equal_time {contest.name}",
        at_most(HALF),
        (contest.file(minutes),),
        compared(name),
    )
    for contest in CONTESTS.values()
    for minutes in contest.minutes
    for name in contest.ours
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = harness.plain_parser(__doc__)
    found.add_argument("contest", choices=CONTESTS)
    found.add_argument("--minutes", type=float, nargs="+", help="only these lengths")
    found.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    found.add_argument("--only", choices=OURS, help="one of ours, with its rivals")
    found.add_argument("--evaluate", action="store_true", help="all is trained already")
    found.add_argument("--search", choices=[*OURS, *THEIRS], help="try the settings of one contestant")
    found.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)  # in the contestant's own process
    found.add_argument("--change", type=json.loads, default={}, help=argparse.SUPPRESS)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the contestants, each in a process of its own, and judge them; or search; or be a contestant."""
    asked = parser().parse_args(arguments)
    contest = CONTESTS[asked.contest]
    if asked.inside:
        import torch

        torch.set_num_threads(THREADS)
        name, (_, minutes, seed, folder, n) = asked.inside[0], json.loads(asked.inside[1])
        place_of(contest, minutes, seed, folder, n).train_ours(name, asked.change)
        return
    for minutes in asked.minutes or contest.minutes:
        if asked.search:
            search(contest, minutes, asked.search)
        else:
            compete(contest, minutes, asked.seeds, [asked.only] if asked.only else contest.ours, asked.evaluate)


if __name__ == "__main__":
    main()
