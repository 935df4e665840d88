"""The check `memorization`: whether drawn records repeat training records, by the measures of `evaluate`.

Pictures and points are searched for copies, as they are, moved and mixed (`evaluation/metrics/copying.py`,
`disguised_copies.py`); rows of tables for duplicates, for nearness to training rows, and for interpolation between them
(`evaluation/tables/distances.py`). Each is judged beside held-out records.
"""

from __future__ import annotations

from morphogen.core.capabilities import Samples
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import MorphogenError
from morphogen.core.family import require
from morphogen.evaluation.evaluation import draw, draw_rows, make_reference
from morphogen.evaluation.metrics import fidelity
from morphogen.evaluation.result import Result
from morphogen.evaluation.tables.judge import judge_table
from morphogen.evaluation.tables.reference import TableReference, TableSample
from morphogen.safeguards.audit import Finding, Subject

COPIES = ("copied", "copied_pixels", "copied_moved", "copied_mixed")
OF_ROWS = ("duplicates", "nearest", "interpolation")
MOST = 2000  # drawn records


def memorization(subject: Subject) -> Finding:
    """Draw records, and search them for training records. Raises `CapabilityError` for a model that draws none."""
    family, dataset = subject.family, subject.dataset
    require(family, Samples, "search for copies")
    n = min(subject.samples or MOST, len(dataset.train))
    reference = make_reference(dataset, split=subject.split, n=n, seed=subject.seed)
    if isinstance(reference, TableReference):
        return _of_rows(draw_rows(family, reference), dataset.spec)
    metrics = [fidelity.METRICS[name] for name in fidelity.applicable(reference) if name in COPIES]
    made = draw(family, reference)
    results, left_out = fidelity.judge(made, reference, metrics, strict=False, made_by=" that the model made")
    return Finding(tuple(results), left_out)


def _of_rows(made: TableSample, spec: DataSpec) -> Finding:
    results: list[Result] = []
    left_out: dict[str, str] = {}
    source, made_by = spec.source or spec.name, " that the model made"
    for name in OF_ROWS:
        try:
            results += judge_table(made, [name], made_by=made_by, data=source, fingerprint=spec.fingerprint)[0]
        except MorphogenError as error:
            left_out[name] = str(error)
    return Finding(tuple(results), left_out)
