"""Anomalies: the default score beside baselines without a model, and whether the promised rate of false alarms is kept.

    python -m benchmarks.quality.anomalies mnist           # or another row; `all` for every one
    python -m benchmarks.quality.anomalies adbench --quick

    mnist, fashion   one class against nine, the mean over ten classes: learned from the class's training pictures
    pneumonia        chest X-rays, learned from normal ones; also after all pictures have the same gradient energy
    deeppcb          circuit boards: whole patches, and pixels where there are maps; blank patches are left out;
                     learned from templates, calibrated on boards
    adbench          24 tables, learned from half of the normal rows (one-class)
    contaminated     the same, learned from half of all rows, anomalies among them, by the score "robust"
    alarms           false alarms at alpha = 0.05, pooled over 24 tables and 20 splits
    time             seconds to score 10,000 pictures of 28 x 28 and 10,000 rows of 20 columns

One protocol and one set of options for all. The seeds draw which normal records are learned from, which calibrate and
which are judged. Columns of tables are brought to the range of the rows that are learned from. Needs MORPHOGEN_DATA.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

import morphogen as mg
from benchmarks import harness
from benchmarks.harness import Json, load_data
from benchmarks.page import tables
from benchmarks.page.tables import Figure, Result, Seen, at_least, at_most

SEEDS = (0, 1, 2)
ALPHA = 0.05
SPLITS = 20
WITH_MAPS = ("principal components", "gradient energy")
HELD_OUT = 600  # training pictures of a class that calibrate
BLANK = 5.0  # standard deviation of bytes below which a patch is blank
SETS = (
    *("annthyroid", "breastw", "cardio", "cardiotocography", "glass", "hepatitis", "ionosphere", "letter"),
    *("lymphography", "mammography", "mnist", "musk", "optdigits", "pendigits", "pima", "satellite", "satimage-2"),
    *("shuttle", "thyroid", "vertebral", "vowels", "wbc", "wdbc", "wine"),
)


@dataclass(frozen=True)
class Task:
    """Arrays of one detection: what is learned from, what calibrates, what is judged, and which of it is anomalous.

    masks  (n, H, W) bool: anomalous pixels, where they are known
    """

    name: str
    reference: np.ndarray
    normal: np.ndarray
    judged: np.ndarray
    anomalous: np.ndarray
    masks: np.ndarray | None = None


# ------------------------------------------------------------------------------------------ tasks


def one_class(source: str, seed: int, quick: bool) -> Iterator[Task]:
    """Each class against the nine others."""
    found = load_data(source)
    train, test = found.split("train"), found.split("test")
    assert train.labels is not None and test.labels is not None
    x, y, x_test, y_test = (t.numpy() for t in (train.stored, train.labels, test.stored, test.labels))
    for k in range(2 if quick else 10):
        own = np.random.default_rng(seed).permutation(np.flatnonzero(y == k))
        own, judged = (own[:400], slice(300)) if quick else (own, slice(None))
        held = min(HELD_OUT, len(own) // 4)
        yield Task(str(k), x[own[held:]], x[own[:held]], x_test[judged], y_test[judged] != k)


def equal_energy(x: np.ndarray) -> np.ndarray:
    """Pictures (n, 1, H, W) of bytes whose gradients have one mean square: contrast about the mean, scaled."""
    v = x.astype(np.float64)
    down, right = np.diff(v, axis=2), np.diff(v, axis=3)
    energy = (down**2).mean((1, 2, 3)) + (right**2).mean((1, 2, 3))
    scale = np.sqrt(60.0 / np.maximum(energy, 1e-9))[:, None, None, None]
    mean = v.mean((2, 3), keepdims=True)
    return np.rint(np.clip(mean + (v - mean) * scale, 0.0, 255.0)).astype(np.uint8)


def pneumonia(seed: int, quick: bool) -> Iterator[Task]:
    """Normal X-rays against those with pneumonia, as they are and at equal sharpness."""
    found = load_data("pneumonia_mnist")
    x, y = (np.concatenate([np.asarray(v) for v in vs]) for vs in _halves(found, ("train", "validation")))
    x_test, y_test = found.split("test").stored.numpy(), np.asarray(found.split("test").labels)
    usual = np.random.default_rng(seed).permutation(np.flatnonzero(y == 0))
    usual = usual[:300] if quick else usual
    held = len(usual) // 4
    for name, change in (("plain", lambda v: v), ("equal sharpness", equal_energy)):
        yield Task(name, change(x[usual[held:]]), change(x[usual[:held]]), change(x_test), y_test == 1)


def _halves(found: harness.Dataset, splits: Sequence[str]) -> Iterator[list[np.ndarray]]:
    yield [found.split(name).stored.numpy() for name in splits]
    yield [np.asarray(found.split(name).labels) for name in splits]


def boards(seed: int, quick: bool) -> Iterator[Task]:
    """Patches of boards; a third of the normal ones of boards calibrates, the others are judged."""
    folder = harness.data_folder("deeppcb")
    templates = np.load(folder / "train_normal.npz")["images"]
    with np.load(folder / "test.npz") as stored:
        x, y = stored["images"], stored["labels"]
        masks = np.unpackbits(stored["masks"], axis=-1).astype(bool)
    kept = x.std((1, 2)) >= BLANK
    x, y, masks = x[kept], y[kept], masks[kept]
    templates = templates[templates.std((1, 2)) >= BLANK]
    rng = np.random.default_rng(seed)
    usual = rng.permutation(np.flatnonzero(y == 0))
    held, judged = usual[: len(usual) // 3], np.concatenate((usual[len(usual) // 3 :], np.flatnonzero(y > 0)))
    size = slice(500) if quick else slice(None)
    learned = templates[rng.permutation(len(templates))[size]]
    yield Task("patches", learned[:, None], x[held][:, None], x[judged][:, None], y[judged] > 0, masks[judged])


def rows(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The columns (n, d) and the marks (n,) of a table."""
    found = load_data(f"adbench:what={name},target=anomaly,validation=0,test=0").split("train")
    assert found.spec.table is not None
    target = found.spec.table.names.index("anomaly")
    cells = found.stored.numpy()
    values = found.spec.table["anomaly"].values
    return np.delete(cells, target, axis=1), cells[:, target] == values.index("1")


def adbench(seed: int, quick: bool, contaminated: bool = False) -> Iterator[Task]:
    """Half of the (normal) rows is learned from, and a tenth of the normal others calibrates."""
    for name in ("wbc", "glass") if quick else SETS:
        x, y = rows(name)
        order = np.random.default_rng(seed).permutation(len(x))
        usual, odd = order[~y[order]], order[y[order]]
        if contaminated:
            learned, rest = order[: len(order) // 2], order[len(order) // 2 :]
        else:
            learned, rest = usual[: len(usual) // 2], np.concatenate((usual[len(usual) // 2 :], odd))
        held = rest[~y[rest]][: max(20, len(usual) // 20)]
        judged = np.setdiff1d(rest, held)
        yield Task(name, x[learned], x[held], x[judged], y[judged])


# ------------------------------------------------------------------------------------------ measuring


def measured(task: Task, seed: int, compare: bool = True, score: str = "default") -> Json:
    """The scores of one task: AUROC, AUPR and found anomalies of each, and the realized rate."""
    found = harness.detect(
        {"x": task.judged},
        normal={"x": task.normal},
        reference={"x": task.reference},
        known=task.anomalous,
        compare=compare,
        score=score,
        alpha=ALPHA,
        maps=1 if task.masks is None else len(task.judged),
        seed=seed,
    )
    usual = ~task.anomalous
    return {
        **({} if task.masks is None or found.maps is None else {"pixels": pixel_auroc(task.masks, found)}),
        "task": task.name,
        "seed": seed,
        "score": found.score,
        "alarms": [int(found.alarms[usual].sum()), int(usual.sum()), len(found.calibration)],
        "scores": {
            one.name: {
                "auroc": 100 * one.separation.auroc.value,
                "aupr": 100 * one.separation.aupr,
                "found": 100 * one.separation.found,
            }
            for one in found.compared
        },
    }


def summary(runs: Sequence[Json]) -> Json:
    """The mean of each score over tasks and seeds, and of our gain over each baseline, paired by task and seed."""
    ours = runs[0]["score"]
    found: Json = {}
    for name in runs[0]["scores"]:
        values = {kind: [run["scores"][name][kind] for run in runs] for kind in ("auroc", "aupr", "found")}
        found[name] = {kind: float(np.mean(of)) for kind, of in values.items()}
        if name != ours:
            gains = [run["scores"][ours]["auroc"] - run["scores"][name]["auroc"] for run in runs]
            found[name]["gain"] = harness.mean_of(gains) if len(gains) > 1 else {"value": gains[0]}
    best = max((name for name in found if name != ours), key=lambda name: found[name]["auroc"])
    alarms, n, _ = np.sum([run["alarms"] for run in runs], axis=0)
    return {"ours": ours, "best": best, "means": found, "false_alarms": {"share": alarms / n, "n": int(n)}}


def compared(tasks: Callable[[int, bool], Iterator[Task]], quick: bool, score: str = "default") -> Json:
    """Every task by every seed."""
    runs = []
    for seed in SEEDS[:1] if quick else SEEDS:
        for task in tasks(seed, quick):
            runs.append(measured(task, seed, score=score))
            aurocs = {name: round(of["auroc"], 2) for name, of in runs[-1]["scores"].items()}
            print(f"{task.name}, seed {seed}: {aurocs}", flush=True)
    return {"summary": summary(runs), "runs": runs}


def by_task(tasks: Callable[[int, bool], Iterator[Task]], quick: bool) -> Json:
    """As `compared`, with a summary for each task."""
    runs = compared(tasks, quick)["runs"]
    names = dict.fromkeys(run["task"] for run in runs)
    return {"tasks": {name: summary([run for run in runs if run["task"] == name]) for name in names}, "runs": runs}


def pixels(quick: bool) -> Json:
    """Boards by patch, and the AUROC over pixels of each score that has maps."""
    found = by_task(boards, quick)
    task = next(boards(0, quick))
    found["pixels"] = {found["runs"][0]["score"]: float(np.mean([run["pixels"] for run in found["runs"]]))}
    how = {"normal": {"x": task.normal}, "reference": {"x": task.reference}, "maps": len(task.judged)}
    for name in WITH_MAPS:
        found["pixels"][name] = pixel_auroc(task.masks, harness.detect({"x": task.judged}, score=name, **how))
    print(found["pixels"], flush=True)
    return found


def pixel_auroc(masks: np.ndarray | None, found: mg.Detections) -> float:
    """The AUROC of the maps of all judged pictures over their pixels, in percent."""
    assert masks is not None and found.maps is not None
    return 100 * float(roc_auc_score(masks[found.order].ravel(), found.maps.ravel()))


def alarms(quick: bool) -> Json:
    """False alarms of all tables and splits, with the interval that beta-binomial counts would have."""
    total, records, mean, variance = 0, 0, 0.0, 0.0
    for seed in range(2 if quick else SPLITS):
        for task in adbench(seed, quick):
            count, m, n = measured(task, seed, compare=False)["alarms"]
            k = math.floor(ALPHA * (n + 1) + 1e-9)
            share = k / (n + 1)
            total, records, mean = total + count, records + m, mean + m * share
            variance += m * share * (1 - share) * (m + n + 1) / (n + 2)
    ends = [(mean + sign * 1.96 * math.sqrt(variance)) / records for sign in (-1, 1)]
    return {"share": total / records, "n": records, "expected": mean / records, "interval": ends}


def timed(quick: bool) -> Json:
    """Seconds to judge, learning included."""
    n, rng = 500 if quick else 10_000, np.random.default_rng(0)
    found = load_data("mnist")
    x = found.split("train").stored.numpy()
    table = rng.normal(size=(2 * n, 20))
    seconds = {}
    for name, judged, normal, reference in (
        ("pictures", x[:n], x[n : n + 1000], x[n + 1000 : n + 7000]),
        ("rows", table[:n], table[n : n + 1000], table[n + 1000 : n + 7000]),
    ):
        start = time.perf_counter()
        harness.detect({"x": judged}, normal={"x": normal}, reference={"x": reference})
        seconds[name] = time.perf_counter() - start
    return {"seconds": seconds, "n": n}


ROWS: Mapping[str, tuple[str, Callable[[bool], Json]]] = {
    "mnist": ("MNIST, one class against nine", lambda quick: compared(lambda s, q: one_class("mnist", s, q), quick)),
    "fashion": (
        "Fashion-MNIST, one class against nine",
        lambda quick: compared(lambda s, q: one_class("fashion_mnist", s, q), quick),
    ),
    "pneumonia": ("chest X-rays", lambda quick: by_task(pneumonia, quick)),
    "deeppcb": ("circuit boards", pixels),
    "adbench": ("24 tables, learned from normal rows", lambda quick: compared(adbench, quick)),
    "contaminated": (
        "24 tables, learned from all rows",
        lambda quick: compared(lambda s, q: adbench(s, q, contaminated=True), quick, "robust"),
    ),
    "alarms": ("false alarms at 5 %, pooled over 24 tables and 20 splits", alarms),
    "time": ("seconds of a detection", timed),
}


# --------------------------------------------------------------------------------------- on the results page


def _mean(found: Result) -> Seen:
    ours, best = found["means"][found["ours"]], found["means"][found["best"]]
    gain = best["gain"]
    beside = f"best baseline {best['auroc']:.2f} ({found['best']}), gain {gain['value']:+.2f}; AUPR {ours['aupr']:.1f}"
    return Seen(ours["auroc"], None, f"{beside}, {ours['found']:.1f} % found at 5 % false alarms", ".2f")


def _summary(record: Result) -> Seen:
    return _mean(record["summary"])


def _of_task(name: str) -> Callable[[Result], Seen]:
    return lambda record: _mean(record["tasks"][name])


def _above(record: Result) -> Seen:
    found = record["summary"]
    best = max(found["means"][name]["auroc"] for name in found["means"] if name != found["ours"])
    return Seen(found["means"][found["ours"]]["auroc"], None, "", ".2f", bound=best + 1.0)


def _pixels(record: Result) -> Seen:
    name = max(record["pixels"], key=record["pixels"].get)
    return Seen(record["pixels"][name], None, name, ".1f")


def _share(record: Result) -> Seen:
    low, high = record["interval"]
    inside = f"beta-binomial {low:.3%} to {high:.3%}, n = {record['n']:,}"
    return Seen(record["share"], None, inside, ".2%", bound=high)


def _seconds(name: str) -> Callable[[Result], Seen]:
    return lambda record: Seen(record["seconds"][name], None, "", ".1f")


def _figure(row: str, what: str, target: tables.Target, read: Callable[[Result], Seen]) -> Figure:
    return tables.of(f"quality.anomalies {row}", f"anomalies-{row}")(what, target, read)


FIGURES = (
    _figure("mnist", "MNIST, one class against nine, AUROC", at_least(99.2), _summary),
    _figure("fashion", "Fashion-MNIST, likewise", at_least(94.6), _summary),
    _figure("pneumonia", "chest X-rays, AUROC", at_least(95.0), _of_task("plain")),
    _figure("pneumonia", "the same at equal sharpness", at_least(95.0), _of_task("equal sharpness")),
    _figure("deeppcb", "circuit boards, whole patches, AUROC", at_least(85.0), _of_task("patches")),
    _figure("deeppcb", "circuit boards, pixels, AUROC", at_least(92.0), _pixels),
    _figure("adbench", "24 tables, one-class, AUROC", at_least(93.2), _summary),
    _figure("contaminated", "the same, contaminated", at_least(None, "best baseline plus 1"), _above),
    _figure("alarms", "false alarms at 5 %", at_most(None, "inside the beta-binomial interval"), _share),
    _figure("time", "10,000 pictures of 28 x 28, seconds", at_most(20.0), _seconds("pictures")),
    _figure("time", "10,000 rows of 20 columns, seconds", at_most(5.0), _seconds("rows")),
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = harness.plain_parser(__doc__)
    found.add_argument("row", choices=[*ROWS, "all"])
    found.add_argument("--quick", action="store_true", help="few records, to see that all of it runs")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure rows."""
    asked = parser().parse_args(arguments)
    for name in ROWS if asked.row == "all" else [asked.row]:
        what, measure = ROWS[name]
        start = time.perf_counter()
        found = measure(asked.quick)
        harness.write(
            harness.path_of(f"anomalies-{name}", asked.quick),
            {"what": what, **found, "duration_s": round(time.perf_counter() - start)},
        )
        print(f"{name}: {found.get('summary') or {k: v for k, v in found.items() if k != 'runs'}}", flush=True)


if __name__ == "__main__":
    main()
