"""The results page, benchmarks/RESULTS.md, from the files in benchmarks/results/.

    python -m benchmarks.results_page

`make bench` writes it at its end. It states what each file holds and judges it by what was asked; a figure whose file
is missing stands there as not measured. Results of a GPU lie beside the others as NAME-gpu.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.results_generated import ADVERSARIAL, DIFFUSION, EQUAL_TIME, WORDS
from benchmarks.results_likelihood import EVALUATION, LIKELIHOOD
from benchmarks.results_rows import Results, table
from benchmarks.results_speed import CONTESTS, SPEED, gpu, growth, speeds

RESULTS, PAGE = Path(__file__).parent / "results", Path(__file__).parent / "RESULTS.md"

HEAD = """# Results

Written by `python -m benchmarks.results_page` from the files in `benchmarks/results/`, which the commands in the tables
write; [README.md](README.md) says how each is measured.

Brackets hold 95 % intervals; for speeds, and for ratios of speeds (above 1 where this project is faster), the range
over the rounds of one run, in which the contestants take turns; for ratios of distances what the ends of both intervals
allow. A verdict is of the value alone, and says so where the bracket does not bear it out."""


def loaded(folder: Path) -> tuple[Results, Results]:
    """Results by the names of their files, of this kind of machine and of those with a GPU."""
    here, on_gpu = {}, {}
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        devices = {hardware["device"] for hardware in every(record, "hardware")}
        if any(device.startswith("cuda") for device in devices):
            on_gpu[path.stem.removesuffix("-gpu")] = record
        else:
            here[path.stem] = record
    return here, on_gpu


def every(record: Any, key: str) -> Iterator[Any]:
    """All that stands under `key`, at any depth."""
    if isinstance(record, dict):
        if key in record:
            yield record[key]
        inside = record.values()
    else:
        inside = record if isinstance(record, list) else ()
    yield from chain.from_iterable(every(value, key) for value in inside)


def machines(results: Results) -> str:
    """Hardware and versions, as the files record them, and the files that do not."""
    found: dict[str, tuple[list[str], set[str]]] = {}
    for name, record in results.items():
        versions = {f"{package} {version}" for each in every(record, "versions") for package, version in each.items()}
        told = {
            ", ".join([h["cpu"], _count(h["threads"], "thread"), h.get("accelerator") or h["device"]])
            for h in every(record, "hardware")
        }
        for hardware in sorted(told) or ["not recorded"]:
            files, packages = found.setdefault(hardware, ([], set()))
            files.append(name)
            packages |= versions
    lines = ["| hardware | versions | results |", "| --- | --- | --- |"]
    for hardware, (files, packages) in sorted(found.items()):
        lines.append(f"| {hardware} | {', '.join(sorted(packages)) or '-'} | {', '.join(files)} |")
    return "\n".join(lines)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' if n != 1 else ''}"


def page(folder: Path) -> str:
    """The whole page."""
    results, on_gpu = loaded(folder)
    sections = {
        "Likelihood": LIKELIHOOD,
        "Diffusion": DIFFUSION,
        "Adversarial": ADVERSARIAL,
        "At equal time": EQUAL_TIME,
        "Pictures from words": WORDS,
        "Evaluation": EVALUATION,
    }
    rows = [*SPEED, *chain.from_iterable(sections.values())]
    said = [row.verdict(seen) if (seen := row.seen(results)) else "not measured" for row in rows]
    missed, missing = sum("**missed**" in one.partition(";")[0] for one in said), said.count("not measured")
    met, barely = sum(one.startswith("met") for one in said), sum(one.startswith("met, but") for one in said)
    parts = [
        HEAD,
        f"Of {len(rows)} figures that were asked for, {met} are met ({barely} of them by a value whose"
        f" bracket reaches past the bound), {missed} missed and {missing} not measured.",
        "## Hardware and versions",
        machines({**results, **{f"{name} (GPU)": record for name, record in on_gpu.items()}}),
        "## Speed and memory",
        table(SPEED, results),
        *(speeds(contest, results) for contest in CONTESTS),
        growth(results),
        "## On a GPU",
        gpu(on_gpu),
        "## Quality",
        *chain.from_iterable((f"### {title}", table(rows, results)) for title, rows in sections.items()),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the results")
    parser.add_argument("--out", type=Path, default=PAGE)
    chosen = parser.parse_args()
    chosen.out.write_text(page(chosen.results), encoding="utf-8")
    print(f"wrote {chosen.out}")


if __name__ == "__main__":
    main()
