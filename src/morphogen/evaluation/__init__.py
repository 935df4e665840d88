"""Measure models. Every number has its interval, n, seed, protocol, trivial baselines and floor."""

from morphogen.evaluation.compare import Difference, differences
from morphogen.evaluation.context.reference import Reference
from morphogen.evaluation.evaluation import (
    METRICS,
    OF_SAMPLES,
    Evaluation,
    evaluate,
    judge_records,
    make_reference,
)
from morphogen.evaluation.result import Result

__all__ = [
    "METRICS",
    "OF_SAMPLES",
    "Difference",
    "Evaluation",
    "Reference",
    "Result",
    "differences",
    "evaluate",
    "judge_records",
    "make_reference",
]
