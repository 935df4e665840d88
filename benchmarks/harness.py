"""What all benchmarks share: rows that are trained and judged, and results that are written with their hardware.

A topic of `benchmarks/quality/` is a list of `Row`s, each with its seeds and with what is asked of it. `run_rows`
trains a row (or goes on where it was interrupted), judges it, and writes `benchmarks/results/TOPIC-ROW.json`; its model
stays in `runs/TOPIC/ROW`, of several seeds in `runs/TOPIC/ROW-SEED`. `--evaluate` judges a row that is trained already,
`--train` only trains, and `--quick` sees in seconds that all of it runs: two steps, few samples, everything in
`runs/bench-quick/`.

All calls that train, load, draw or judge through the public interface of morphogen are in this file.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import morphogen as mg
from benchmarks import fair
from benchmarks.page.tables import Figure, Seen, Target
from benchmarks.peers.environments import ROOT
from morphogen.applications.sampling import sample_in_chunks
from morphogen.core.rng import Rng
from morphogen.data import Dataset
from morphogen.data.named import folder
from morphogen.report.progress import watch
from morphogen.trainer import provenance
from morphogen.trainer.compile import wrap_for_drawing
from morphogen.trainer.distributed import resolve_device

Json = dict[str, Any]
RESULTS, IMAGES = ROOT / "benchmarks" / "results", ROOT / "docs" / "images"
RUNS, QUICK = Path("runs"), Path("runs/bench-quick")
QUICK_STEPS, QUICK_N = 2, 300  # 300 samples are enough for a Frechet distance of 64 features
ONLY_STEPS = {"sheet_seconds": 1e6, "checkpoint_seconds": 1e6}  # a recipe in which the trainer does nothing but steps


@dataclass(frozen=True)
class Run:
    """A trained row, to be judged."""

    row: Row
    model: Path
    quick: bool = False

    def n(self, full: int) -> int:
        """How many records to judge by: `full`, or few of them in a quick run."""
        return min(full, QUICK_N) if self.quick else full


@dataclass(frozen=True)
class Asked:
    """A figure that is asked of a row: what it is, the target, how it is read, and other results that this needs."""

    what: str
    target: Target
    read: Callable[..., Seen]
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One training, what is measured of it and what is asked. `topic` and `name` name the model's folder and the file.

    With `seeds` there is a training for each, and the result lists what was measured of them. `prepare` writes the
    data before a training, where they are made here.
    """

    topic: str
    name: str
    what: str
    family: str
    data: str
    recipe: Mapping[str, Any]
    judge: Callable[[Run], Json] = lambda run: {}
    options: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    start: Row | None = None  # its weights are where this row begins
    parts: Mapping[str, Row] = field(default_factory=dict)
    asked: tuple[Asked, ...] = ()
    seeds: tuple[int, ...] = ()
    prepare: Callable[[], None] = lambda: None

    @property
    def result(self) -> str:
        """The name of the result's file, without .json."""
        return f"{self.topic}-{self.name}"

    def model(self, quick: bool = False, seed: int | None = None) -> Path:
        """The folder of its model."""
        name = self.name if seed is None else f"{self.name}-{seed}"
        return (QUICK if quick else RUNS) / self.topic / name


def by_name(*rows: Row) -> dict[str, Row]:
    """The rows by their names."""
    return {row.name: row for row in rows}


def figures(command: str, rows: Mapping[str, Row]) -> tuple[Figure, ...]:
    """What is asked of the rows of a topic, whose `command` has the name of a row after it."""
    return tuple(
        Figure(one.what, f"{command} {name}", one.target, (row.result, *one.files), one.read)
        for name, row in rows.items()
        for one in row.asked
    )


# --------------------------------------------------------------------------------------------- morphogen


def training(family: str, data: str, out: Path, **how: Any) -> Generator[Any]:
    """The events of a training, of the options that are given alone; closing it ends the training."""
    yield from mg.training(family, data, out, **{**how, "recipe": {"auto": False, **how.get("recipe", {})}})


def train(row: Row, *, seed: int | None = None, minutes: float | None = None, quick: bool = False) -> Path:
    """Train a row, or go on with it. A quick run begins anew and trains what the row stands on as well."""
    row.prepare()
    out, recipe = row.model(quick, seed), dict(row.recipe)
    needed = [*row.parts.values(), *([row.start] if row.start else [])]
    if minutes is not None:
        recipe["budget"] = f"{minutes}min"
    if seed is not None:
        recipe["seed"] = seed
    if quick:
        recipe = {k: v for k, v in recipe.items() if k not in ("budget", "epochs")} | {"steps": QUICK_STEPS}
        recipe |= {"batch_size": 4, "compile": "off"}
        shutil.rmtree(out, ignore_errors=True)
        out.with_name(f"{out.name}-spent.json").unlink(missing_ok=True)
        for other in needed:
            train(other, quick=True)
    events = training(
        row.family,
        row.data,
        out,
        preset=row.preset,
        options=dict(row.options),
        recipe=recipe,
        resume=out.exists(),
        start=row.start.model(quick) if row.start else None,
        parts={part: other.model(quick) for part, other in row.parts.items()},
    )
    before = fair.clock()
    for _ in watch(events, label=out.name):
        pass
    add_spent(out, fair.since(before))
    return out


def add_spent(model: Path, spent: fair.Spent) -> None:
    """Note beside a model what a training took, added to what it took before an interruption."""
    path = model.with_name(f"{model.name}-spent.json")
    known = read(path) if path.exists() else {"wall_s": 0.0, "processor_s": 0.0}
    save_json(path, {key: known[key] + value for key, value in spent.to_dict().items()})


def load_data(source: str) -> Dataset:
    """A data set."""
    return mg.load_data(source)


def load_family(model: Path) -> Any:
    """The family of a trained model, ready to be asked."""
    return mg.load(model).module


def describe_training(model: Path) -> Json:
    """What the training took: duration, hardware, versions, recipe; and what `train` noted of its seconds."""
    spent = model.with_name(f"{model.name}-spent.json")
    found: Json = mg.describe(model)["provenance"]
    return {**found, **({"spent": read(spent)} if spent.exists() else {})}


def sample(model: Path, n: int, seed: int = 0, **how: Any) -> np.ndarray:
    """Samples of a model, as bytes where its data are."""
    return np.asarray(mg.sample(model, n, seed, **how).x)


def drawer(model: Path, precision: str, batch: int, *, compiled: bool) -> Callable[[int, int], object]:
    """What `mg.sample` does for (n, seed) once the model is loaded and, if so, its networks are compiled."""
    family = mg.load(model, "cpu").module
    networks = wrap_for_drawing(family) if compiled else []

    def draw(n: int, seed: int) -> object:
        found = sample_in_chunks(family, n, lambda rows: None, Rng(seed), {}, precision=precision, size=batch)
        assert not any(network.warning for network in networks), "not compiled"
        return found

    return draw


def quantize(model: Path, out: Path, n: int) -> Json:
    """The integer form of a model, and what it costs on `n` of its held-out records."""
    return mg.quantize(model, out, n=n).to_dict()


def evaluate(model: Path, data: str, metrics: list[str], **how: Any) -> Json:
    """The evaluation of a model on the test split."""
    return mg.evaluate(model, data, metrics, **how).to_dict()


def audit(model: Path, data: str, out: Path, **how: Any) -> Json:
    """What the attacks on the privacy of a model find."""
    found: Json = mg.audit(model, data, "privacy", out=out, **how).to_dict()["checks"]["privacy"]
    return found


def evaluate_alignment(model: Path, data: str, **how: Any) -> Any:
    """The alignment of a model's drawings with prompts of held-out records."""
    return mg.evaluate_alignment(model, data, **how)


def alignment_curve(model: Path, data: str, scales: Sequence[float], **how: Any) -> list[Json]:
    """Alignment and fidelity at each scale of guidance."""
    return [point.to_dict() for point in mg.alignment_curve(model, data, scales, **how)]


def detect(data: Any, **how: Any) -> mg.Detections:
    """The detection of anomalies without a model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mg.MorphogenWarning)
        return mg.detect(None, data, **how)


def data_folder(name: str) -> Path:
    """Where a named set lies."""
    return folder(name)


def frechet(x: np.ndarray, data: str) -> Json:
    """The Frechet distance of bytes to the held-out records of `data`, with its ladder of degradations."""
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/samples.npz", x=x)
        found = mg.evaluate_samples(f"{folder}/samples.npz", data, ["fd"]).to_dict()
    return {**found["results"][0], "ladders": found["ladders"]}


def briefly(found: Json) -> Json:
    """Its value, interval and n."""
    return {key: found[key] for key in ("value", "interval", "n")}


def mean_of(values: Any) -> Json:
    """The mean of values (N,), with a 95 % interval of N independent ones."""
    x = np.asarray(values, dtype=float)
    value, error = float(x.mean()), 1.96 * float(x.std(ddof=1)) / len(x) ** 0.5
    return {"value": value, "interval": [value - error, value + error], "n": len(x)}


# ----------------------------------------------------------------------------------------------- results


def recorded(*versions: Mapping[str, str], device: str = "auto") -> Json:
    """When, on what hardware and with which versions; `versions` of peers are added to ours."""
    found = provenance.versions()
    for more in versions:
        found |= more
    started = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    return {"started": started, "hardware": provenance.hardware(resolve_device(device), 1), "versions": found}


def path_of(name: str, quick: bool = False) -> Path:
    """Where the result of that name lies."""
    return (QUICK if quick else RESULTS) / f"{name}.json"


def save_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Write a result, with the hardware and versions of this process where it has none of its own."""
    save_json(path, record if "hardware" in record else {**recorded(device="cpu"), **record})


def read(path: Path) -> Any:
    """A result or another record in JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def say(what: str, found: Mapping[str, Any], form: str = ".4g") -> None:
    """Print a value with its interval."""
    low, high = (format(end, form) for end in found["interval"])
    size = f", n = {found['n']:,}" if "n" in found else ""
    print(f"{what}: {found['value']:{form}} ({low} to {high}){size}", flush=True)


# ------------------------------------------------------------------------------------------ command line


def plain_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the module's docstring."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def row_parser(doc: str | None, rows: Mapping[str, Row], *others: str) -> argparse.ArgumentParser:
    """The options of a topic of rows; `others` are choices that are no rows."""
    found = plain_parser(doc)
    found.add_argument("row", choices=[*rows, *others, "all"])
    found.add_argument("--quick", action="store_true", help="two steps and few samples, to see that all of it runs")
    what = found.add_mutually_exclusive_group()
    what.add_argument("--evaluate", action="store_true", help="the row is trained already")
    what.add_argument("--train", action="store_true", help="train alone; --evaluate later")
    return found


def run_rows(rows: Mapping[str, Row], asked: argparse.Namespace) -> None:
    """Train, judge and write the rows that are asked for."""
    for row in rows.values() if asked.row == "all" else [rows[asked.row]]:
        seeds: Sequence[int | None] = (row.seeds[:1] if asked.quick else row.seeds) or (None,)
        each = []
        for seed in seeds:
            model = row.model(asked.quick, seed) if asked.evaluate else train(row, seed=seed, quick=asked.quick)
            if not asked.train:
                judged = row.judge(Run(row, model, asked.quick))
                each.append({"training": describe_training(model), **judged})
        if each:
            numbered = [{"seed": seed, **one} for seed, one in zip(seeds, each, strict=True)]
            budget = {"budget": row.recipe["budget"]} if "budget" in row.recipe else {}
            judged = {"seeds": numbered} if row.seeds else each[0]
            write(path_of(row.result, asked.quick), {"what": row.what, **budget, **judged})
