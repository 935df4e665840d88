"""The results page, benchmarks/RESULTS.md, from the files in benchmarks/results/.

It states what each file holds and judges it by what was asked; a figure whose file is missing stands there as not
measured. Results of a GPU lie beside the others as NAME-gpu.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks import run
from benchmarks.page.tables import Contest, Figure, Results, count, speed_table, table
from benchmarks.quality import (
    anomalies,
    compression,
    design,
    diffusion,
    equal_time,
    gan,
    likelihood,
    lossy,
    membership,
    modes,
    molecules,
    privacy,
    pythae_likelihood,
    restoration,
    text,
)
from benchmarks.speed import memory, sampling, scaling, training
from benchmarks.trust import fuzzing, kills, machines, situations
from benchmarks.validity import estimators, evaluation, steppers

SPEED: tuple[Figure, ...] = (
    *training.FIGURES,
    *sampling.FIGURES,
    *scaling.FIGURES,
    *memory.FIGURES,
    *run.FIGURES,
)
CONTESTS: tuple[Contest, ...] = (*training.CONTESTS, *sampling.CONTESTS, *scaling.CONTESTS)
QUALITY: dict[str, tuple[Figure, ...]] = {
    "Likelihood": (*likelihood.FIGURES, *pythae_likelihood.FIGURES, *diffusion.LIKELIHOOD_FIGURES),
    "Diffusion": (*diffusion.FIGURES, *steppers.FIGURES, *restoration.FIGURES),
    "Adversarial": (*modes.FIGURES, *gan.FIGURES),
    "At equal time": equal_time.FIGURES,
    "Pictures from words": text.FIGURES,
    "Molecules": (*molecules.FIGURES, *design.FIGURES),
    "Evaluation": (*estimators.FIGURES, *evaluation.FIGURES),
    "Privacy": privacy.FIGURES,
    "Membership": membership.FIGURES,
    "Compression": (*compression.FIGURES, *lossy.FIGURES, *machines.FIGURES),
    "Anomalies": anomalies.FIGURES,
    "Trust": (*kills.FIGURES, *situations.FIGURES, *fuzzing.FIGURES),
}
FIGURES: tuple[Figure, ...] = (*SPEED, *chain.from_iterable(QUALITY.values()))

HEAD = """# Results

Written by `python -m benchmarks.page` from the files in `benchmarks/results/`, which the commands in the tables
write; [README.md](README.md) says how each is measured.

Brackets hold 95 % intervals; for speeds, and for ratios of speeds (above 1 where this project is faster), the range
over the rounds of one run, in which the contestants take turns; for ratios of distances what the ends of both intervals
allow. A verdict is of the value alone, and says so where the bracket does not bear it out. A comparison that breaks a
rule of `benchmarks/fair.py` is void: unequal seconds or hardware, a contestant that did not train, too few rounds or
seeds. Its value stands there and says nothing until it is measured again."""


def loaded(folder: Path) -> tuple[Results, Results]:
    """Results by the names of their files, of this kind of machine and of those with a GPU."""
    here, on_gpu = {}, {}
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        devices = {hardware["device"] for hardware in machines_of(record)}
        if any(device.startswith("cuda") for device in devices):
            on_gpu[path.stem.removesuffix("-gpu")] = record
        else:
            here[path.stem] = record
    return here, on_gpu


def every(record: Any, key: str) -> Iterator[Any]:
    """All that stands under `key`, at any depth."""
    inside: list[Any] = record if isinstance(record, list) else []
    if isinstance(record, dict):
        if key in record:
            yield record[key]
        inside = list(record.values())
    yield from chain.from_iterable(every(value, key) for value in inside)


def machines_of(record: Any) -> list[Any]:
    """The hardware that a record names as `benchmarks.harness.recorded` does."""
    return [hardware for hardware in every(record, "hardware") if {"cpu", "threads", "device"} <= hardware.keys()]


def hardware_table(results: Results) -> str:
    """Hardware and versions, as the files record them, and the files that do not."""
    found: dict[str, tuple[list[str], set[str]]] = {}
    for name, record in results.items():
        versions = {f"{package} {version}" for each in every(record, "versions") for package, version in each.items()}
        told = {
            ", ".join([h["cpu"], count(h["threads"], "thread"), h.get("accelerator") or h["device"]])
            for h in machines_of(record)
        }
        for hardware in sorted(told) or ["not recorded"]:
            files, packages = found.setdefault(hardware, ([], set()))
            files.append(name)
            packages |= versions
    lines = ["| hardware | versions | results |", "| --- | --- | --- |"]
    for hardware, (files, packages) in sorted(found.items()):
        lines.append(f"| {hardware} | {', '.join(sorted(packages)) or '-'} | {', '.join(files)} |")
    return "\n".join(lines)


def gpu(results: Results) -> str:
    """The contests that a GPU ran, as one table."""
    present = [contest for contest in CONTESTS if contest.file in results]
    if not present:
        return "No GPU was at hand: none of the results files was recorded on one."
    lines = [
        "| benchmark | what | images/s | range | share of the ceiling | GPU |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for contest in present:
        accelerator = results[contest.file]["hardware"]["accelerator"]
        for one in contest.speeds(results[contest.file]):
            lines.append(f"| {contest.title} | {one.what} | {one.cells()} | {one.share or '-'} | {accelerator} |")
    return "\n".join(lines)


def tally(results: Results) -> str:
    """How many figures are met, missed, void and not measured."""
    said = [one.verdict(seen) if (seen := one.seen(results)) else "not measured" for one in FIGURES]
    missed, missing = sum("**missed**" in one.partition(";")[0] for one in said), said.count("not measured")
    met, barely = sum(one.startswith("met") for one in said), sum(one.startswith("met, but") for one in said)
    void = sum(one.startswith("**void**") for one in said)
    return (
        f"Of {len(said)} figures that were asked for, {met} are met ({barely} of them by a value whose"
        f" bracket reaches past the bound), {missed} missed, {void} void and {missing} not measured."
    )


def page(folder: Path) -> str:
    """The whole page."""
    results, on_gpu = loaded(folder)
    parts = [
        HEAD,
        tally(results),
        "## Hardware and versions",
        hardware_table({**results, **{f"{name} (GPU)": record for name, record in on_gpu.items()}}),
        "## Speed and memory",
        table(SPEED, results),
        *(speed_table(contest, results) for contest in CONTESTS),
        "## On a GPU",
        gpu(on_gpu),
        "## Quality",
        *chain.from_iterable((f"### {title}", table(figures, results)) for title, figures in QUALITY.items()),
    ]
    return "\n\n".join(parts) + "\n"
