"""Private models: what is left of the records at a given epsilon, and what private steps cost.

    python -m benchmarks.quality.privacy mnist --epsilon 1           # accuracy of a classifier of synthetic pictures
    python -m benchmarks.quality.privacy fashion --epsilon 10
    python -m benchmarks.quality.privacy mnist --makers vae+vae-after-moments    # private steps of 10 minutes each
    python -m benchmarks.quality.privacy adult --epsilon 1           # a table: train on synthetic, test on real rows
    python -m benchmarks.quality.privacy adult --makers AIM          # a peer, from the same codes
    python -m benchmarks.quality.privacy cost                        # private steps beside plain ones
    python -m benchmarks.quality.privacy mnist --show

Pictures: a maker learns the 60,000 training pictures with (epsilon, 1e-5). Then a convolutional network learns 20,000
synthetic pictures with their classes, four passes at a fixed learning rate, half of them turned, sheared, shifted and
scaled a little and all with some noise, and is tested on the real test pictures once; its last weights count, so no
test picture chooses among trainings. `real records` trains the same network on real pictures, as a perfect maker would
give them.

Tables: makers, splits and the judge are those of `benchmarks.quality.tables`. The schema of each table (types, ranges,
values) is taken as public. AIM is OpenDP's, in .peers/; numbers reach it in at most 32 intervals of equal width.

Cost: the seconds of a training step with privacy over those of a plain one, same network and batch, interleaved. The
noise of a step costs the same at any batch; private trainings take 1,000 records and more at once.

Results are merged into benchmarks/results/privacy-NAME.json, one entry a maker, an epsilon and a seed. Pictures and all
tables but `breast` need MORPHOGEN_DATA.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import harness
from benchmarks.harness import QUICK, RUNS, Json, describe_training, load_data, load_family, read, training
from benchmarks.page.tables import Figure, LeftOut, Seen, at_least, at_most
from benchmarks.peers.environments import run_in
from benchmarks.quality import tables
from benchmarks.quality.picture_classifier import classify, right
from benchmarks.quality.tables import Split
from morphogen.core.batch import RawCondition
from morphogen.core.column_views import cells_of_codes, codes_of
from morphogen.core.rng import Rng
from morphogen.evaluation.evaluation import draw_rows
from morphogen.evaluation.tables.judge import judge_table
from morphogen.evaluation.tables.reference import TableSample
from morphogen.report.progress import watch
from morphogen.theory.statistics.intervals import binomial_interval

PICTURES = {"mnist": "mnist:validation=0", "fashion": "fashion_mnist:validation=0"}
TABLES = ("adult", "breast", "heart", "ilpd", "heart_failure", "support2", "diabetes130")
UNITS = {"diabetes130": ",unit=patient"}  # else each row is one
DELTA, SYNTHETIC = 1e-5, 20_000
REAL = "real records"
_STEPS: Json = {"batch_size": 1024, "accumulate": 4, "lr_schedule": "constant", "warmup": 0, "checkpoint_seconds": 1e6}
MAKERS: dict[str, Json] = {
    "class_gaussian": {"family": "class_gaussian", "options": {}, "recipe": {}},
    "class_gaussian of rank 64": {"family": "class_gaussian", "options": {"rank": 64}, "recipe": {}},
    "mean_embedding": {"family": "mean_embedding", "options": {}, "recipe": {"steps": 1500, "warmup": 20}},
    "vae": {
        "family": "vae",
        "options": {"conditional": True, "backbone": "mlp", "hidden": (256,), "latent_dim": 10, "lr": 2e-3},
        "recipe": {**_STEPS, "steps": 400},
    },
}
MAKERS["vae-after-moments"] = {**MAKERS["vae"], "terms": ",moments=0.5"}
AIM, INTERVALS = "AIM", 32
TABLE_MAKERS: dict[str, Json] = {
    "marginal_tree": {"family": "marginal_tree", "options": {}, "recipe": {}},
    "vae": {"family": "vae", "options": {}, "recipe": {**_STEPS, "batch_size": 512, "steps": 400}},
}


# ---------------------------------------------------------------------------------------------- pictures


def synthetic(model: Path, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """`n` pictures of each class in turn, as bytes would show them, and their classes."""
    family, found = load_family(model), []
    for start in range(0, n, 2000):
        label = (torch.arange(start, min(n, start + 2000))) % len(family.data.classes)
        x = family.sample(len(label), RawCondition(label), Rng(seed).shifted(start))
        found.append(family.data.encode(family.data.decode(x)))
    return torch.cat(found), torch.arange(n) % len(family.data.classes)


def pictures(name: str, maker: str, epsilon: float, seed: int, quick: bool) -> Json:
    """One maker on one data set: the accuracy on real test pictures."""
    data, started = load_data(PICTURES[name]), time.perf_counter()
    n, about = 500 if quick else SYNTHETIC, dict[str, Any]()
    train, test = data.train, data.split("test")
    assert train.labels is not None and test.labels is not None
    if maker == REAL:
        x, labels = train.spec.encode(train.stored[:n]), train.labels[:n]
    else:
        out = (QUICK if quick else RUNS) / "privacy" / name / f"{maker.replace(' ', '-')}-{epsilon:g}-{seed}"
        about = trained(MAKERS[maker], PICTURES[name], out, epsilon, seed, quick)
        x, labels = synthetic(out, n, seed)
    made = time.perf_counter()
    network = classify(x, labels, seed)
    hits = right(network, test.spec.encode(test.stored), test.labels)
    low, high = binomial_interval(hits, len(test))
    return {
        **about,
        "accuracy": {"value": hits / len(test), "interval": [low, high], "n": len(test)},
        "synthetic": n,
        "maker_s": round(made - started, 1),
        "classifier_s": round(time.perf_counter() - made, 1),
    }


def trained(maker: Json, source: str, out: Path, epsilon: float, seed: int, quick: bool, public: str = "") -> Json:
    """Train a maker privately; what it took and what it promises. A run that is there is made anew."""
    shutil.rmtree(out, ignore_errors=True)
    recipe = {
        **maker["recipe"],
        "seed": seed,
        "privacy": f"epsilon={epsilon:g},delta={DELTA:g}{public}{maker.get('terms', '')}",
    }
    if quick and "steps" in recipe:
        recipe["steps"] = 2
    started = time.perf_counter()
    for _ in watch(training(maker["family"], source, out, options=maker["options"], recipe=recipe), label=out.name):
        pass
    about: Json = {"fit_s": round(time.perf_counter() - started, 1), "training": describe_training(out)}
    import morphogen as mg

    return about | {"privacy": mg.describe(out)["privacy"]}


# ------------------------------------------------------------------------------------------------ tables


def rows(name: str, maker: str, epsilon: float, number: int, quick: bool) -> Json:
    """One maker on one split of a table."""
    split = Split(tables.TASKS[name], number, quick)
    out = split.path.parent / f"{number}-private-{maker}-{epsilon:g}"
    terms = f",public=ranges{UNITS.get(name, '')}"
    if maker == AIM:
        tree = out.with_name(f"{number}-private-marginal_tree-{epsilon:g}")
        if not tree.exists():
            trained(TABLE_MAKERS["marginal_tree"], split.source, tree, epsilon, number, quick, terms)
        made, about = of_aim(split, tree, out, epsilon)
    else:
        how, n = dict(TABLE_MAKERS[maker]), len(split.dataset.train)
        if how["recipe"]:
            how = {**how, "recipe": {**how["recipe"], "batch_size": min(512, max(8, n // 8 // 4 * 4))}}
        about = trained(how, split.source, out, epsilon, number, quick, terms)
        made = draw_rows(load_family(out), split.reference)
    results, left_out, _ = judge_table(made, baselines=False)
    found = {r.name: {"value": r.value, "interval": r.interval, "floor": r.floor} for r in results}
    return {**about, "results": found, "left_out": left_out}


def of_aim(split: Split, tree: Path, out: Path, epsilon: float) -> tuple[TableSample, Json]:
    """Rows of AIM, from the codes of a private tree of marginals, which come from public ranges.

    Codes of numbers are joined to at most 32 intervals, and a cell is drawn evenly from its interval.
    """
    table = load_family(tree).data.table
    assert table is not None
    widths = [max(1, -(-k // INTERVALS)) if c.is_number else 1 for c, k in zip(table.columns, table.codes, strict=True)]
    joined = torch.tensor(widths)
    codes = codes_of(table, split.dataset.train.stored.double())
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "codes.npy", (codes // joined).numpy())
    sizes = [-(-k // w) for k, w in zip(table.codes, widths, strict=True)]
    harness.save_json(out / "sizes.json", {"sizes": sizes})
    files = (out / "codes.npy", out / "sizes.json", epsilon, DELTA, split.reference.n, out / "made.npy")
    said = run_in("aim", "benchmarks.peers.aim_tables", *files)
    made = torch.from_numpy(np.load(out / "made.npy")) * joined
    place = torch.from_numpy(np.random.default_rng(split.number).random((2, *made.shape)))
    made = torch.minimum(made + (place[0] * joined).long(), torch.tensor(table.codes) - 1)
    rows = tables.Rows(cells_of_codes(table, made, place[1]).double().numpy(), split.reference.layout)
    return TableSample(rows, split.reference), json.loads(said.strip().splitlines()[-1])


# -------------------------------------------------------------------------------------------------- cost

_PERCEPTRON: Json = {"backbone": "mlp", "hidden": (512, 256)}
COSTS: dict[str, tuple[str, Json, int]] = {  # family, options, batch
    "perceptron": ("vae", _PERCEPTRON, 1024),
    "perceptron, small batch": ("vae", _PERCEPTRON, 256),
    "conv vae": ("vae", {"backbone": "conv"}, 256),
    "u-net": ("diffusion", {"backbone": "unet", "widths": (32, 64), "blocks": (1, 1)}, 256),
}


def cost(name: str, quick: bool) -> Json:
    """The seconds of private and of plain steps, in turn: the median of the ratios, and each way's fastest."""
    import os

    from morphogen.core import registry
    from morphogen.core.data_spec import DataSpec
    from morphogen.core.family import Progress
    from morphogen.core.strong_noise import StrongSource
    from morphogen.data import PoissonStream, Records, Stream
    from morphogen.trainer.distributed import World
    from morphogen.trainer.interrupt import Stop
    from morphogen.trainer.log import Log
    from morphogen.trainer.private import probing
    from morphogen.trainer.private.ledger import Ledger
    from morphogen.trainer.private.updates import PrivateUpdates
    from morphogen.trainer.recipe import Recipe
    from morphogen.trainer.trainer import Trainer

    kind, options, batch = COSTS[name]
    batch, rounds = (16, 2) if quick else (batch, 8)
    spec = DataSpec(name="noise", shape=(1, 28, 28), kind="continuous", levels=256)
    stored = torch.randint(0, 256, (60_000, 1, 28, 28), dtype=torch.uint8)
    records = Records(spec, stored, torch.arange(60_000))
    family_of = registry.family(kind)
    with Rng(0).forked():
        family = family_of(family_of.Spec.parse(options), spec, {})
    recipe = Recipe.parse({"steps": 1, "batch_size": batch, "device": "cpu", "precision": "fp32", "compile": "off"})
    world = World(torch.device("cpu"))
    plain = Trainer(family, Stream(records, batch, 0), recipe, world, Log(Path(os.devnull), world), Stop())
    players = {n: o.parameters for n, o in plain.optimizers.items()}
    ways = {"layers": probing.readable(family, players) is None}
    source = StrongSource()
    stream = PoissonStream(records, batch, source)
    private = {
        way: PrivateUpdates(family, stream, recipe, plain.optimizers, Ledger(None), source, 1.0, way == "layers")
        for way in (["layers"] if ways["layers"] else []) + ["one by one"]
    }

    def seconds(updates: Any, step: int) -> float:
        start = time.perf_counter()
        for optimizer, norm in updates.of(Progress(step, 0.5), "fp32", None):
            optimizer.move(norm, 0.0)
        return time.perf_counter() - start

    times: dict[str, list[float]] = {"plain": [], **{way: [] for way in private}}
    for i in range(rounds):
        times["plain"].append(seconds(plain._updates, i))
        for way, updates in private.items():
            if way == "layers" or i < 3:
                times[way].append(seconds(updates, i))
    best = {way: min(found) for way, found in times.items()}
    ratio = {way: best[way] / best["plain"] for way in private}
    return {"batch": batch, "images_per_s": {way: batch / s for way, s in best.items()}, "ratio": ratio}


# --------------------------------------------------------------------------------------------- the whole


def _accuracy(epsilon: float) -> Any:
    """How the accuracy of the maker that is best on the mean over seeds is read."""

    def read_it(record: Mapping[str, Any]) -> Seen:
        ours: dict[str, list[Json]] = {}
        for key, entry in record["entries"].items():
            if f"epsilon {epsilon:g}," in key:
                ours.setdefault(key.partition(",")[0], []).append(entry["accuracy"])
        if not ours:
            raise LeftOut("no maker at this epsilon")
        means = {name: np.mean([[e["value"], *e["interval"]] for e in seeds], 0) for name, seeds in ours.items()}
        name, (value, low, high) = max(means.items(), key=lambda item: float(item[1][0]))
        return Seen(float(value), (float(low), float(high)), f"{name}, mean of {len(ours[name])} seeds", ".1%")

    return read_it


def _slower(name: str) -> Any:
    """How the cost of private steps is read."""

    def read_it(record: Mapping[str, Any]) -> Seen:
        return Seen(min(record["entries"][name]["ratio"].values()), None, "", ".2f")

    return read_it


_MNIST = "MNIST: accuracy on real digits of a classifier of synthetic ones"
_COMMAND = "quality.privacy"
FIGURES = (
    Figure(f"{_MNIST}, epsilon 1", f"{_COMMAND} mnist", at_least(0.94), ("privacy-mnist",), _accuracy(1)),
    Figure(
        f"{_MNIST}, epsilon 10", f"{_COMMAND} mnist --epsilon 10", at_least(0.95), ("privacy-mnist",), _accuracy(10)
    ),
    Figure(
        "Fashion-MNIST: the same, epsilon 1", f"{_COMMAND} fashion", at_least(0.80), ("privacy-fashion",), _accuracy(1)
    ),
    *(
        Figure(
            f"a private step of a {name} over a plain one",
            f"{_COMMAND} cost",
            at_most(bound, stretch=stretch),
            ("privacy-cost",),
            _slower(name),
        )
        for name, bound, stretch in (("perceptron", 2.0, 1.4), ("conv vae", 3.0, 2.0), ("u-net", 4.0, 3.0))
    ),
)


def table(record: Mapping[str, Any]) -> str:
    """What is known as Markdown."""
    lines = []
    for key, entry in sorted(record["entries"].items()):
        if "accuracy" in entry:
            low, high = entry["accuracy"]["interval"]
            lines.append(f"| {key} | {100 * entry['accuracy']['value']:.1f} ({100 * low:.1f} to {100 * high:.1f}) |")
        elif "ratio" in entry:
            said = ", ".join(f"{way} {ratio:.2f}" for way, ratio in entry["ratio"].items())
            lines.append(f"| {key} | {entry['images_per_s']['plain']:,.0f} images/s plain; times slower: {said} |")
        else:
            names = ("accuracy", "associations", "tstr_linear", "tstr_boosting")
            told = (f"{n} {entry['results'][n]['value']:.3f}" for n in names if n in entry["results"])
            lines.append(f"| {key} | {', '.join(told)} |")
    return "\n".join(["| maker, epsilon, seed | result |", "| --- | --- |", *lines])


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = harness.plain_parser(__doc__)
    found.add_argument("name", choices=[*PICTURES, *TABLES, "cost"])
    found.add_argument("--epsilon", type=float, default=1.0)
    known = ", ".join(dict.fromkeys((*MAKERS, REAL, *TABLE_MAKERS, AIM)))
    found.add_argument("--makers", help=f"joined by +: {known}; class_gaussian or marginal_tree by default")
    found.add_argument("--seeds", type=int, default=1, help="so many trainings of pictures, or splits of a table")
    found.add_argument("--show", action="store_true", help="only print what is known")
    found.add_argument("--quick", action="store_true", help="few records, to see that all of it runs")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Make, judge and write."""
    asked = parser().parse_args(arguments)
    name, out = asked.name, harness.path_of(f"privacy-{asked.name}", asked.quick)
    record: Json = read(out) if out.exists() else {"what": f"private models: {asked.name}", "entries": {}}
    makers = (asked.makers or ("class_gaussian" if name in PICTURES else "marginal_tree")).split("+")
    known = {*MAKERS, REAL} if name in PICTURES else {*TABLE_MAKERS, AIM}
    if wrong := [maker for maker in makers if maker not in known]:
        parser().error(f"--makers of {name!r} are {', '.join(sorted(known))} (got {wrong[0]!r}).")
    jobs = [] if asked.show else [(m, s) for m in makers for s in range(asked.seeds)]
    if name == "cost" and not asked.show:
        for network in COSTS:
            record["entries"][network] = cost(network, asked.quick)
        jobs = []
    for maker, seed in jobs:
        make = pictures if name in PICTURES else rows
        entry = make(name, maker, asked.epsilon, seed, asked.quick)
        key = f"{maker}, {seed}" if maker == REAL else f"{maker}, epsilon {asked.epsilon:g}, {seed}"
        record["entries"][key] = entry
        harness.write(out, record)
    harness.write(out, record)
    print(table(record), flush=True)


if __name__ == "__main__":
    main()
