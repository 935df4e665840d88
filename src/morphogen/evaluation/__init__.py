"""Measure models. Every number has its interval, n, seed, protocol, trivial baselines and floor."""

from morphogen.evaluation.compare import Difference, differences
from morphogen.evaluation.context.reference import Reference
from morphogen.evaluation.evaluation import METRICS, Evaluation, evaluate, judge_records
from morphogen.evaluation.result import Result

__all__ = ["METRICS", "Difference", "Evaluation", "Reference", "Result", "differences", "evaluate", "judge_records"]
