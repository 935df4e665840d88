"""Both attacks on tables as results, each beside planted copies."""

from __future__ import annotations

import time
from collections.abc import Iterator

from torch import Tensor

from morphogen.evaluation.result import Result
from morphogen.evaluation.tables.distances import Halves
from morphogen.evaluation.tables.reference import layout_of
from morphogen.evaluation.tables.rows import Rows
from morphogen.safeguards.audit import Subject
from morphogen.safeguards.privacy.candidates import Candidates
from morphogen.safeguards.privacy.membership import FOUND_AT, HELD_OUT, PLANTED
from morphogen.safeguards.privacy.tables.attribute_inference import MOST_COLUMNS, Inference, attribute_inference
from morphogen.safeguards.privacy.tables.singling_out import DESCRIPTIONS, SinglingOut, singling_out

MOST_ROWS = 500  # of either kind


def table_attacks(subject: Subject, of: Candidates, samples: Tensor) -> Iterator[Result]:
    """The results of both attacks by synthetic rows (M, C)."""
    table = subject.dataset.spec.table
    assert table is not None  # the caller has seen to it
    layout = layout_of(table)

    def rows(stored: Tensor) -> Rows:
        return Rows(stored.cpu().double().numpy(), layout)

    made, real = rows(samples), rows(subject.dataset.train.stored)
    both = Halves(rows(of.members.stored[:MOST_ROWS]), rows(of.others.stored[:MOST_ROWS]))
    middle = len(both.held_out) // 2
    planted = Halves(both.held_out.take(slice(0, middle)), both.held_out.take(slice(middle, 2 * middle)))
    copies = planted.train.joined(made.take(slice(middle, None)))
    began = time.perf_counter()
    found = attribute_inference(made, both, real, subject.seed)
    check = attribute_inference(copies, planted, real, subject.seed)
    columns = min(MOST_COLUMNS, len(layout.sizes))
    how = f"each of {columns} columns guessed by the nearest of {len(made):,} synthetic rows: share of right guesses"
    yield _result("attribute-inference", how, found, check, subject, len(both.train), began)
    began = time.perf_counter()
    single, sure = singling_out(made, both, subject.seed), singling_out(planted.train, planted, subject.seed)
    how = f"{DESCRIPTIONS:,} descriptions taken from synthetic rows: share of them that fit exactly one row"
    yield _result("singling-out", how, single, sure, subject, len(both.train), began)


def _result(
    name: str,
    how: str,
    found: Inference | SinglingOut,
    planted: Inference | SinglingOut,
    subject: Subject,
    m: int,
    began: float,
) -> Result:
    warnings = []
    if found.p_value < FOUND_AT:
        warnings.append(
            f"{name.replace('-', ' ')} works better on training rows than on held-out ones: {found.members:.1%} and"
            f" {found.others:.1%}."
        )
    return Result(
        name=name,
        value=found.risk.value,
        interval=found.risk.interval,
        unit="share",
        n=m,
        better="lower",
        protocol=f"{how}, of training rows less of held-out rows, {m:,} of either kind; 0 is no risk",
        baselines={HELD_OUT: found.others, PLANTED: planted.risk.value},
        floor=0.0,
        warnings=tuple(warnings),
        details={
            "p_value": found.p_value,
            "training_rows": found.members,
            "held_out_rows": found.others,
            "planted": {"value": planted.risk.value, "p_value": planted.p_value},
        },
        duration_s=round(time.perf_counter() - began, 2),
        **subject.about(),
    )
