"""Synthetic tables: our families beside trivial makers and peers, all by the same judge on the same splits.

    python -m benchmarks.quality.tables breast                       # the baselines and real rows on 20 splits
    python -m benchmarks.quality.tables adult --makers CTGAN+TVAE    # peers, at their defaults
    python -m benchmarks.quality.tables heart --makers vae --minutes 5
    python -m benchmarks.quality.tables heart --show                 # what is known

Results are merged into benchmarks/results/tables-TABLE.json, one entry a maker and split. Trainings lie under
runs/tables/ and go on where they were interrupted. Needs MORPHOGEN_DATA, but for `breast`; peers are installed into
.peers/. The measures are those of `morphogen evaluate` for tables; `docs/evaluation.md` gives their definitions.

breast is the breast cancer table of scikit-learn (569 rows, 30 numbers and the class), halved at random 20 times.
heart, ilpd and heart_failure are halved three times. adult, support2 and diabetes130 keep their published splits; of
diabetes130 the first 20,000 rows are taken, and of support2 the outcomes other than death are left out, since they give
it away. `training rows` are a copy, and beside held-out rows a fresh real sample: what real rows reach in fidelity and
utility.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks import harness
from benchmarks.harness import QUICK, RUNS, Json, describe_training, load_data, load_family, read, save_json, training
from benchmarks.peers.environments import run_in
from benchmarks.peers.sdv_tables import MAKERS as PEERS
from morphogen.data import Dataset
from morphogen.data.samples import load_samples
from morphogen.evaluation.evaluation import draw_rows
from morphogen.evaluation.metrics import likelihood
from morphogen.evaluation.tables.baselines import BASELINES
from morphogen.evaluation.tables.judge import judge_table
from morphogen.evaluation.tables.marginals import accuracy
from morphogen.evaluation.tables.reference import TableReference, TableSample
from morphogen.evaluation.tables.rows import Rows
from morphogen.report.progress import watch


@dataclass(frozen=True)
class Task:
    """One table.

    file     below MORPHOGEN_DATA
    options  of the source: types, target, columns to drop
    splits   how often it is halved at random; 0: once, as published
    n        number of synthetic rows; None: as many as training rows
    rows     the first so many rows of the file; None: all
    """

    name: str
    file: str
    options: str
    splits: int = 0
    n: int | None = None
    rows: int | None = None


TASKS = {
    task.name: task
    for task in (
        Task("breast", "", "target=target,category=target", 20),
        Task("adult", "tabular/adult.csv.gz", "target=income", n=32_561),
        Task("heart", "tabular/heart.csv", "target=num,category=num+cp+restecg+slope+thal", 3),
        Task("ilpd", "tabular/ilpd.csv", "target=disease,category=disease", 3),
        Task("heart_failure", "medical_tables/heart_failure.csv", "target=DEATH_EVENT,category=DEATH_EVENT", 3),
        Task(
            "support2",
            "medical_tables/support2.csv.gz",
            "target=death,category=death,drop=hospdead+surv2m+surv6m+prg2m+prg6m+d.time+dnr+dnrday+sfdm2",
        ),
        Task(
            "diabetes130",
            "medical_tables/diabetes130.csv.gz",
            "target=readmitted,group=patient,drop=encounter",
            rows=20_000,
        ),
    )
}
_SMALL: Json = {"batch_size": 64, "compile": "off", "sheet_seconds": 1e6}
OURS: dict[str, Json] = {
    name: {"family": name, "options": {}, "recipe": _SMALL}
    for name in ("vae", "gan", "diffusion", "flow_matching", "autoregressive")
}


def classwise_independent(train: Rows, n: int, rng: np.random.Generator) -> Rows:
    """Columns that are independent within each class of the target, and the classes at their shares."""
    target = train.layout.target
    assert target is not None
    classes = np.nan_to_num(train.cells[:, target], nan=-1.0)
    chosen = classes[rng.integers(len(classes), size=n)]
    cells = np.empty((n, train.cells.shape[1]))
    for name in np.unique(chosen):
        rows, wanted = train.cells[classes == name], chosen == name
        cells[wanted] = BASELINES["independent columns"](Rows(rows, train.layout), int(wanted.sum()), rng).cells
    return Rows(cells, train.layout)


SIMPLE: dict[str, Callable[[Rows, int, np.random.Generator], Rows]] = {
    **BASELINES,
    "class-wise independent": classwise_independent,
}


@dataclass
class Split:
    """One split of a table, loaded, with its reference."""

    task: Task
    number: int
    quick: bool = False
    path: Path = field(init=False)
    dataset: Dataset = field(init=False)
    reference: TableReference = field(init=False)

    def __post_init__(self) -> None:
        folder = (QUICK if self.quick else RUNS) / "tables" / self.task.name
        self.path = folder / f"{self.number}.csv"
        if not self.path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            split_table(self.task, self.number).write_csv(self.path)
        self.dataset = load_data(self.source)
        n = self.task.n or len(self.dataset.train)
        self.reference = TableReference.of(self.dataset, n=min(n, 300) if self.quick else n)

    @property
    def source(self) -> str:
        return f"{self.path}:{self.task.options},validation=0,schema_file=none"

    @property
    def seed(self) -> int:
        return self.number


def split_table(task: Task, number: int) -> pl.DataFrame:
    """The table with the column `split`, as it was published or halved at random."""
    if task.name == "breast":
        from sklearn.datasets import load_breast_cancer

        found = load_breast_cancer()
        frame = pl.DataFrame(dict(zip(found.feature_names, found.data.T, strict=True))).with_columns(
            pl.Series("target", found.target)
        )
    else:
        frame = pl.read_csv(_data() / task.file, infer_schema=False, n_rows=task.rows)
    if not task.splits:
        return frame
    order = np.random.default_rng(number).permutation(len(frame))
    half = np.where(order < len(frame) // 2, "train", "test")
    return frame.with_columns(pl.Series("split", half))


def _data() -> Path:
    import os

    return Path(os.environ["MORPHOGEN_DATA"])


# ----------------------------------------------------------------------------------------------- makers


def make(name: str, split: Split, minutes: float) -> tuple[TableSample, Json]:
    """The rows of a maker, and how long it took."""
    reference, start = split.reference, time.perf_counter()
    if name in SIMPLE:
        rows = SIMPLE[name](reference.train, reference.n, np.random.default_rng(split.seed))
        return TableSample(rows, reference), {"sample_s": round(time.perf_counter() - start, 2)}
    return _of_peer(name, split) if name in PEERS else _of_ours(name, split, minutes)


def _of_peer(name: str, split: Split) -> tuple[TableSample, Json]:
    folder, table = split.path.parent, split.dataset.spec.table
    assert table is not None
    train, about, out = (
        folder / f"{split.number}-{name.replace(' ', '-')}{end}" for end in (".train.csv", ".json", ".csv")
    )
    pl.read_csv(split.path, infer_schema=False).filter(pl.col("split") == "train").write_csv(train)
    save_json(about, {"types": {c.name: c.type for c in table.columns}, "seed": split.seed})
    said = run_in("sdv", "benchmarks.peers.sdv_tables", name, train, about, split.reference.n, out)
    made = load_samples(str(out), split.dataset.spec)
    rows = Rows(made.stored.double().numpy(), split.reference.layout)
    return TableSample(rows, split.reference), json.loads(said.strip().splitlines()[-1])


def _of_ours(name: str, split: Split, minutes: float) -> tuple[TableSample, Json]:
    how, out = OURS[name], split.path.parent / f"{split.number}-{name}"
    start = time.perf_counter()
    recipe = {**how["recipe"], "seed": split.seed, **({"steps": 2} if split.quick else {"budget": f"{minutes}min"})}
    events = training(how["family"], split.source, out, options=how["options"], recipe=recipe, resume=out.exists())
    for _ in watch(events, label=out.name):
        pass
    middle = time.perf_counter()
    family = load_family(out)
    made = draw_rows(family, split.reference)
    about: Json = {
        "fit_s": round(middle - start, 1),
        "sample_s": round(time.perf_counter() - middle, 1),
        "training": describe_training(out),
    }
    try:
        result, _ = likelihood.measure(family, split.dataset, ["nll"], samples=50)[0]
        about["nll"] = harness.briefly(result.to_dict())
    except Exception as error:  # a family without a likelihood, or one that needs more rows
        about["nll"] = {"left_out": str(error)}
    return made, about


def judged(name: str, split: Split, minutes: float) -> Json:
    """What the judge finds of one maker on one split."""
    made, about = make(name, split, minutes)
    start = time.perf_counter()
    results, left_out, verdict = judge_table(made, baselines=False)
    found: Json = {
        r.name: {"value": r.value, "interval": r.interval, "floor": r.floor, "details": dict(r.details)}
        for r in results
    }
    whole = accuracy(made.rows, split.reference.train.joined(split.reference.held_out))
    return {
        "split": split.number,
        **about,
        "n": len(made),
        "rows": [len(split.reference.train), len(split.reference.held_out)],
        "results": found,
        "accuracy_of_all": {"value": whole.mean.value, "interval": whole.mean.interval, "by_columns": whole.by_size},
        "verdict": verdict.to_dict(),
        "left_out": left_out,
        "judge_s": round(time.perf_counter() - start, 1),
    }


# ---------------------------------------------------------------------------------------------- results

COLUMNS = (
    "accuracy",
    "associations",
    "missingness",
    "two_sample",
    "tstr_linear",
    "tstr_boosting",
    "duplicates",
    "nearest",
    "membership",
    "membership_tpr",
    "interpolation",
)


def mean(entries: Sequence[Mapping[str, Any]], name: str) -> Json | None:
    """The mean over splits with its 95 % interval by Student's t; of one split, the judge's interval."""
    from morphogen.theory.statistics.intervals import student_quantile

    found = [e["results"][name] for e in entries if name in e["results"]]
    if not found:
        return None
    values = np.array([f["value"] for f in found])
    if len(values) == 1:
        return {"value": float(values[0]), "interval": found[0]["interval"], "n": 1}
    half = student_quantile(len(values) - 1) * float(values.std(ddof=1)) / len(values) ** 0.5
    value = float(values.mean())
    return {"value": value, "interval": [value - half, value + half], "n": len(values)}


def table(record: Mapping[str, Any]) -> str:
    """The means of all makers as Markdown."""
    lines = ["| maker | " + " | ".join(COLUMNS) + " |", "| --- |" + " ---: |" * len(COLUMNS)]
    for maker, entries in record["makers"].items():
        cells = [mean(entries, name) for name in COLUMNS]
        lines.append(f"| {maker} | " + " | ".join("-" if c is None else f"{c['value']:.3f}" for c in cells) + " |")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = harness.plain_parser(__doc__)
    found.add_argument("table", choices=TASKS)
    found.add_argument("--makers", default="+".join(SIMPLE), help="joined by +: " + ", ".join((*SIMPLE, *PEERS, *OURS)))
    found.add_argument("--splits", type=int, help="so many of them; all by default")
    found.add_argument("--minutes", type=float, default=20.0, help="of training, of each of ours")
    found.add_argument("--again", action="store_true", help="measure again what is known")
    found.add_argument("--show", action="store_true", help="only print what is known")
    found.add_argument("--quick", action="store_true", help="few rows and two steps, to see that all of it runs")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Make, judge and write."""
    asked = parser().parse_args(arguments)
    task, out = TASKS[asked.table], harness.path_of(f"tables-{asked.table}", asked.quick)
    record: Json = read(out) if out.exists() else {"what": f"synthetic rows of {task.name}", "makers": {}}
    splits = 1 if asked.quick else min(asked.splits or 99, max(1, task.splits))
    for number in range(0 if asked.show else splits):
        split = Split(task, number, asked.quick)
        for name in asked.makers.split("+"):
            known = record["makers"].setdefault(name, [])
            if any(entry["split"] == number for entry in known) and not asked.again:
                continue
            entry = judged(name, split, asked.minutes)
            record["makers"][name] = sorted(
                [e for e in known if e["split"] != number] + [entry], key=lambda e: e["split"]
            )
            harness.write(out, record)
            print(
                f"{task.name}, split {number}, {name}: {entry['verdict']['useful']}; {entry['verdict']['private']}",
                flush=True,
            )
    print(table(record))


if __name__ == "__main__":
    main()
