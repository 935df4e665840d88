"""Measuring models: every number with its interval, n, seed, protocol, trivial baselines and floor."""

from morphogen.evaluate.compare import Difference, differences
from morphogen.evaluate.evaluation import METRICS, Evaluation, evaluate, judge_records
from morphogen.evaluate.reference import Reference
from morphogen.evaluate.result import Result

__all__ = ["METRICS", "Difference", "Evaluation", "Reference", "Result", "differences", "evaluate", "judge_records"]
