"""Write the tables between the marks of docs/results/evaluation.md, and its pictures, from what was measured.

    python -m tools.evaluation_docs

The tables are those of `python -m benchmarks.validity.evaluation all`; ladders are those that the package ships. Needs
MORPHOGEN_DATA.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Any

import morphogen as mg
from benchmarks.harness import IMAGES, ROOT, path_of, plain_parser, read
from benchmarks.validity.evaluation import DISGUISES
from morphogen.core.rng import Rng
from morphogen.data import Dataset
from morphogen.evaluation import Reference
from morphogen.evaluation.context.degradations import available
from morphogen.evaluation.metrics.fidelity import METRICS
from morphogen.report import canvas
from morphogen.report.ladder_plot import ladder as draw_ladder
from morphogen.report.ladder_plot import ladder_pictures
from recipes.scales import SHIPPED

PAGE = ROOT / "docs" / "results" / "evaluation.md"


def between_marks(text: str, blocks: Mapping[str, str]) -> str:
    """The page with each block between its marks, `<!-- NAME: ... -->` and `<!-- end -->`. Exits if one is missing."""
    for mark, block in blocks.items():
        pattern = rf"(<!-- {mark}: .*?-->\n).*?(<!-- end -->)"
        places = list(re.finditer(pattern, text, flags=re.DOTALL))
        if len(places) != 1:
            raise SystemExit(f"the page has {len(places)} places for {mark!r}, expected one.")
        (place,) = places
        text = f"{text[: place.start()]}{place[1]}\n{block}\n\n{place[2]}{text[place.end() :]}"
    return text


def ladders() -> str:
    """The ladder of each named set, with its pictures, which are drawn here."""
    parts = []
    for name in SHIPPED:
        dataset: Dataset = mg.load_data(name)
        reference = Reference(dataset)
        found = reference.scales([METRICS["fd"], METRICS["kid"]])
        held_out, scale = dataset.split("test"), found["fd"]
        assert scale.ladder is not None and scale.floor is not None
        tracks = {d: [(r.short, r.value) for r in track] for d, track in scale.ladder.tracks().items()}
        figure = draw_ladder(
            tracks,
            baselines=scale.baselines,
            floor=(scale.floor, scale.floor_interval),
            x_label=f"FD-{reference.features.name}",
        )
        (IMAGES / f"ladder-{name}.png").write_bytes(canvas.png(figure))
        rows: dict[str, list[tuple[str, Any]]] = {}
        real = reference.held_out[:3]
        for kind in available(dataset.train, held_out):
            if kind.name != "dropped":  # other pictures, no other look
                changed = [(kind.short(s), kind.apply(real, s, Rng(0))) for s in kind.strengths]
                rows[kind.name] = [("real", real), *changed]
        ladder_pictures(rows).save(IMAGES / f"degradations-{name}.png")
        parts += [
            f"**{name}**, n = {reference.n:,}, network `{reference.features.name}`; floor of FD {scale.floor:.4g},"
            f" of KID {found['kid'].floor:.3g}.\n",
            f"![Frechet distance of degraded pictures, {name}](../images/ladder-{name}.png)\n",
            f"![The degradations, {name}](../images/degradations-{name}.png)\n",
        ]
    return "\n".join(parts)


def degradations() -> str:
    """Which degradations each metric sees."""
    found = _read("degradations")
    lines: list[str] = []
    for name, one in found["sets"].items():
        kinds = list(next(iter(one["metrics"].values()))["tau"])
        lines += [f"\n**{name}**, n = {one['n']:,}, network `{one['network']}`\n"]
        lines += ["| metric | " + " | ".join(kinds) + " | claimed, but not monotone |"]
        lines += ["| --- |" + " ---: |" * len(kinds) + " --- |"]
        for metric, row in one["metrics"].items():
            cells = [
                f"{row['tau'][k]:.2f}{'*' if k in found['claims'][metric] else ''}{' m' if row['monotone'][k] else ''}"
                for k in kinds
            ]
            lines.append(
                f"| {metric} | " + " | ".join(cells) + f" | {', '.join(row['claimed_but_not_monotone']) or '-'} |"
            )
    return "\n".join(lines).strip()


def copying() -> str:
    """False alarms, and the copies that are found out."""
    found = _read("copying")
    lines = [
        "| set, training pictures, by | false alarms | " + " | ".join(DISGUISES) + " |",
        "| --- |" + " ---: |" * (1 + len(DISGUISES)),
    ]
    for name, sizes in found["sets"].items():
        for size, one in sizes.items():
            for view in (view for view, of in one.items() if isinstance(of, dict)):
                low, high = one[view]["interval"]
                caught: dict[str, list[str]] = {}
                for how, share in one[view]["caught"].items():
                    caught.setdefault(how.rpartition(",")[0], []).append(f"{share:.0%}")
                cells = " | ".join(" / ".join(caught[how]) if how in caught else "-" for how in DISGUISES)
                alarms = f"{one[view]['false_alarms']:.1%} ({low:.1%} to {high:.1%})"
                lines.append(f"| {name}, {size.split()[0]}, {view} | {alarms} | {cells} |")
    return "\n".join(lines)


def times(found: Mapping[str, Any]) -> str:
    """Seconds of each way to judge; not those of the benchmark itself."""
    seconds = {what: value for what, value in found.items() if isinstance(value, float) and what != "duration_s"}
    rows = [f"| {what} | {value:.1f} |" for what, value in seconds.items()]
    hardware = found["hardware"]
    return "\n".join(
        ["| what | seconds |", "| --- | ---: |", *rows, "", f"{hardware['cpu']}, {hardware['threads']} threads."]
    )


def _read(name: str) -> Any:
    return read(path_of(f"evaluation-{name}"))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    return plain_parser(__doc__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page anew."""
    parser().parse_args(arguments)
    IMAGES.mkdir(exist_ok=True)
    blocks = {
        "ladders": ladders(),
        "degradations": degradations(),
        "copying": copying(),
        "time": times(_read("time")),
    }
    PAGE.write_text(between_marks(PAGE.read_text(encoding="utf-8"), blocks), encoding="utf-8")


if __name__ == "__main__":
    main()
